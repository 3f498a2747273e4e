"""Countries of ISO 3166-1, by code or by English name."""

from collections.abc import Mapping

import pycountry

from domain.names import fold_name

# Names that people write and the standard does not have.
_EVERYDAY_NAMES = {
    "brunei": "BN",
    "burma": "MM",
    "cape verde": "CV",
    "dr congo": "CD",
    "east timor": "TL",
    "falkland islands": "FK",
    "great britain": "GB",
    "holland": "NL",
    "ivory coast": "CI",
    "macau": "MO",
    "macedonia": "MK",
    "micronesia": "FM",
    "palestine": "PS",
    "russia": "RU",
    "swaziland": "SZ",
    "turkey": "TR",
    "uk": "GB",
    "us virgin islands": "VI",
    "vatican": "VA",
    "vatican city": "VA",
}


class CountryUnknown(ValueError):
    """Neither a code nor an English name of a country."""


def alpha2(text: str) -> str:
    """The alpha-2 code of a country given by alpha-2 or alpha-3 code or English name, in any case: `DE` for `germany`.

    Accents and a leading "the" may be left out. Raises CountryUnknown: a near miss is not guessed at.
    """
    try:
        return _BY_NAME[_folded(text)]
    except KeyError:
        raise CountryUnknown("not an ISO 3166-1 alpha-2 or alpha-3 code, nor the English name of a country") from None


def _folded(text: str) -> str:
    return " ".join(fold_name(text).replace("’", "'").split()).removeprefix("the ")


def _by_name() -> Mapping[str, str]:
    names = dict(_EVERYDAY_NAMES)
    for country in pycountry.countries:
        known = [country.alpha_2, country.alpha_3, country.name]
        known += [getattr(country, name) for name in ("official_name", "common_name") if hasattr(country, name)]
        # The standard sorts by what matters: "Korea, Republic of" is written "Republic of Korea" elsewhere.
        first, comma, rest = country.name.partition(", ")
        if comma:
            known.append(f"{rest} {first}")
        names.update((_folded(name), country.alpha_2) for name in known)
    return names


_BY_NAME = _by_name()
