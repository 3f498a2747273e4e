"""Countries are found by code or English name, and never guessed."""

import pycountry
import pytest

from domain.countries import CountryUnknown, alpha2
from tests.tables import each


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("GB", "GB"),
        ("gb", "GB"),
        ("GBR", "GB"),
        ("gbr", "GB"),
        ("United Kingdom", "GB"),
        ("  united   KINGDOM ", "GB"),
        ("UK", "GB"),
        ("United Kingdom of Great Britain and Northern Ireland", "GB"),
        ("Germany", "DE"),
        ("Federal Republic of Germany", "DE"),
        ("United States", "US"),
        ("United States of America", "US"),
        ("the Netherlands", "NL"),
        ("Korea, Republic of", "KR"),
        ("Republic of Korea", "KR"),
        ("South Korea", "KR"),
        ("Viet Nam", "VN"),
        ("Vietnam", "VN"),
        ("Russia", "RU"),
        ("Türkiye", "TR"),
        ("turkiye", "TR"),
        ("Turkey", "TR"),
        ("Côte d'Ivoire", "CI"),
        ("Cote d’Ivoire", "CI"),
        ("Ivory Coast", "CI"),
        ("Åland Islands", "AX"),
        ("Czech Republic", "CZ"),
    ],
)
def test_a_code_or_an_english_name_becomes_the_alpha_2_code(text: str, code: str) -> None:
    assert alpha2(text) == code


@pytest.mark.parametrize(
    "text",
    ["", " ", "X", "XX", "ZZZ", "Atlantis", "Deutschland", "Germ", "Germani", "276", "🇩🇪", "Congo, Korea", "G.B."],
)
def test_what_is_none_is_refused_and_not_guessed(text: str) -> None:
    with pytest.raises(CountryUnknown):
        alpha2(text)


@each("country", pycountry.countries)
def test_each_country_is_found_by_all_that_the_standard_calls_it(country: pycountry.db.Country) -> None:
    names = [country.alpha_2, country.alpha_3, country.name]
    names += [getattr(country, name) for name in ("official_name", "common_name") if hasattr(country, name)]

    assert {alpha2(name) for name in names} == {country.alpha_2}
