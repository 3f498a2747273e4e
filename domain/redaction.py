"""What no log, error or kept request may show, in one place: secrets by the name of their field or header, and card
numbers and credentials by their form, wherever they stand.

Nothing here raises, and all of it takes time that grows with the length of the text and no faster.
"""

import re
import string
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from domain.cards import CardInvalid, masked, pans_in, parse_pan

REDACTED = "[redacted]"
_DEEPEST = 100
_LONGEST_USUAL_NAME = 64
_SHORTEST_BY_FORM = 12
_NO_CARD_NUMBER = 10**11

# Names are compared in lower case, without anything between their words.
_SECRET_PARTS = (
    *("password", "passwd", "passphrase", "secret", "credential", "cookie", "cvc", "cvv", "securitycode"),
    *("apikey", "accesskey", "paymentkey", "privatekey", "signingkey", "encryptionkey"),
    *("accesstoken", "refreshtoken", "idtoken", "authtoken", "csrftoken", "sessiontoken", "jwt"),
)
_SECRET_NAMES = frozenset(
    {"auth", "authorization", "proxyauthorization", "cvn", "pass", "pin", "proof", "pwd", "token"}
)
_ABOUT_A_SECRET = ("id", "ids", "at", "type", "prefix", "days", "keys")
"""Ends of names: the id of a key, the time when a password changed, a list of objects."""
_NUMBER_NAMES = frozenset({"number", "cardnumber", "cardno", "pan"})
_BESIDE_CARD_NUMBERS = frozenset({"expmonth", "expyear", "holdername"})
_BESIDE_SECRETS = _BESIDE_CARD_NUMBERS | {"card", "webhookurl"}
_SECRET_HEADER_PARTS = (
    "auth",
    "cookie",
    "secret",
    "token",
    "jwt",
    "password",
    "-key",
    "apikey",
    "session",
    "credential",
)
_KEYS_THAT_OPEN_NOTHING = frozenset({"idempotency-key"})

_BETWEEN_DIGITS = " +\u00a0-"
_DIGITS_TYPED = re.compile(rf"\+?[0-9](?:[{_BETWEEN_DIGITS}]*+[0-9]){{11,}}+")
_SEPARATORS = re.compile(f"[{_BETWEEN_DIGITS}]")
_DIGIT = re.compile("[0-9]")
_YEAR = re.compile("20[0-9]{2}")
_LONGEST_LOOKED_AT = 2000
"""In a longer text whatever is long enough for a card number is masked unseen: to look takes microseconds a digit."""
_LONGEST_PHONE_NUMBER = 13
"""Digits behind a plus sign. No card has so few any more that begins as a phone number may."""

_MAYBE_NAMED = re.compile(
    r"pass|pwd|pin|secret|credential|cookie|cv[cvn]|code|key|token|jwt|auth|proof|number|cardno|pan|exp|holder|%|\\u"
)
_NAME = re.compile(r"""(?<![\w%\\.\[-])([\w%\\.\[\]-]{2,200}+)["']?\s*+[:=]\s*+""")
_VALUE = re.compile(
    r"""[bru]{0,2}"(?:[^"\\]|\\.)*+"? | [bru]{0,2}'(?:[^'\\]|\\.)*+'? | \\+(["'])(?:(?!\1).)*+
    | \{[^}]*+\}? | \[[^\]]*+\]? | (?:(?:basic|bearer|digest)\s+)?[^\s&"]++""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_AROUND_A_VALUE = "\"',;)}] \t\r\n"
_LAST_PART = re.compile(r"[^.\[\]]+(?=[.\[\]]*$)")
_NOT_ALPHANUMERIC = re.compile("[^a-z0-9]")

# The ids of API keys and payment keys are 26 characters, and the beginning by which a key is shown has 10: both stay.
_KEYS = re.compile(r"(psp_(?:sk|rt)_)[0-9A-Za-z]{11,}+|(pk_)[0-9A-Za-z]{27,}+|(whsec_)[\w+/=-]{8,}+", re.ASCII)
_MAYBE_JWT = re.compile(r"eyJ[\w-]*+(?:\.[\w-]*+){0,2}", re.ASCII)
_MAYBE_CREDENTIALS = re.compile(r"\b(basic|bearer)(\s++)([\w+/=.~-]++)", re.ASCII | re.IGNORECASE)
_SIGNS = ("psp_", "pk_", "whsec_", "eyj", "//", "/3ds/", "basic", "bearer", "%", "\\")
_ALL_NAMES = (*_SECRET_PARTS, *_SECRET_NAMES, *_NUMBER_NAMES, *_BESIDE_CARD_NUMBERS)
# Where one is a part of another, the part is enough.
_NAMES = [name for name in _ALL_NAMES if not any(part in name and part != name for part in _ALL_NAMES)]
_A_NAME_OF_OURS = b'"authorizationexpiresat":'
"""It stands in each payment that is answered, and only looks like the name of a secret."""
_TYPED_CARD = re.compile(
    rb'("number": ?")([0-9]{12,19})'
    rb'(", ?"expMonth": ?[0-9]{1,2}, ?"expYear": ?(?:20)?[0-9]{2}, ?"cvc": ?")[0-9]{3,4}(?=")'
)
"""As it is most often sent."""
_MASKED_CARD = re.compile(
    rb'"number": ?"\d{6}x{2,9}\d{4}",(?:"last4":"\d{4}",)? ?"expmonth": ?\d{1,2}, ?"expyear": ?(?:20)?\d{2},'
    rb' ?"cvc": ?"(?:xxx|\[redacted\])"(?:, ?"holdername": ?(?:null|"[a-z .\'-]*"))?'
)
"""As we answer it, or as a typed one is shown: nothing of it is left to take out."""
_BETWEEN_LETTERS = bytes(byte for byte in range(128) if not chr(byte).isalnum())
_DIGITS_ALIKE = bytes.maketrans(b"0123456789", b"0000000000")
_PROOF = re.compile(r"(/3ds/[^/\s]++/)[^/?\s\"'&]++")
_URL_PASSWORD = re.compile(r"(//[^\s/:@]*+:)[^\s/]+(?=@)")

_WORD = re.compile(r"\S+")
_UNICODE_ESCAPE = re.compile(r"(?<!\\)\\++u([0-9A-Fa-f]{4})")
_ESCAPED_AGAIN_AT_MOST = 4
_STAYS_IN_ADDRESSES = string.punctuation.replace("%", "")


def redact(value: Any) -> Any:
    """A JSON value without its secrets. What is no secret stays as it is; null and "" are none under any name."""
    return _redacted(value, _DEEPEST)


def redact_text(text: str) -> str:
    """Any text without its secrets: a log line, an address, a body that is no JSON. Escaped ones (`%34`, `\\u0034`) are
    found as well."""
    text = _without_secrets(text)
    if "%" in text or "\\u" in text:
        text = _WORD.sub(_without_escaped_secrets, text)
    return text


def shown_at_a_glance(raw: bytes) -> bytes | None:
    """JSON without its secrets, where it is certain at a glance what they are, which costs a tenth of reading it and
    judging its values. None where a closer look is needed, which most often finds nothing."""
    shown = _TYPED_CARD.sub(_without_card, raw)
    if not shown.isascii() or b"000000000000" in shown.translate(_DIGITS_ALIKE, b" +-"):
        return None
    lowered = _MASKED_CARD.sub(b"", shown.lower().replace(_A_NAME_OF_OURS, b""))
    # Text, because it is searched twice as fast as bytes.
    text, letters = lowered.decode("ascii"), lowered.translate(None, _BETWEEN_LETTERS).decode("ascii")
    for sign in _SIGNS:
        if sign in text:
            return None
    for name in _NAMES:
        if name in letters:
            return None
    return shown


def mask_pans(text: str) -> str:
    """The text with the card numbers in it masked: people paste them where they do not belong, an address, say, and
    with other digits beside them."""
    if len(text) < 12:
        return text
    return _DIGITS_TYPED.sub(_masked if len(text) <= _LONGEST_LOOKED_AT else _masked_unseen, text)


def is_secret_field(name: str) -> bool:
    """Whether what stands under this name is never shown: in camelCase, snake_case, capitals or kebab-case."""
    return _field(name).secret


def could_hold_a_secret(name: str) -> bool:
    """Whether somebody may send a secret under this name by mistake: who mixes up the fields of a card sends its number
    or its security code as another one of them."""
    field = _field(name)
    return field.secret or field.plain in _NUMBER_NAMES or field.plain in _BESIDE_SECRETS


@lru_cache(maxsize=1024)  # the same few names come with every answer
def is_secret_header(name: str) -> bool:
    """Signatures are none: they are proofs of one message, made to be shown with it."""
    name = name.lower().replace("_", "-")
    return name not in _KEYS_THAT_OPEN_NOTHING and any(part in name for part in _SECRET_HEADER_PARTS)


@dataclass(frozen=True, slots=True)
class _Field:
    """What a field's name says of its value."""

    shown: str
    plain: str
    """In lower case, without anything between its words."""
    secret: bool
    of_a_card: bool


def _field(name: str) -> _Field:
    # Names come again and again. Long ones do not, and whoever sends them must not fill the memory.
    return _usual_field(name) if len(name) <= _LONGEST_USUAL_NAME else _judged(name)


def _judged(name: str) -> _Field:
    last = _LAST_PART.search(_unescaped(name))
    plain = _NOT_ALPHANUMERIC.sub("", last[0].lower()) if last else ""
    secret = any(part in plain for part in _SECRET_PARTS) and not plain.endswith(_ABOUT_A_SECRET)
    of_a_card = plain in _NUMBER_NAMES or plain in _BESIDE_CARD_NUMBERS
    return _Field(redact_text(name), plain, secret or plain in _SECRET_NAMES, of_a_card)


_usual_field = lru_cache(maxsize=4096)(_judged)


def _redacted(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        # No secret is so short and without anything but letters and digits, unless its name says so.
        return value if len(value) < _SHORTEST_BY_FORM and value.isalnum() else redact_text(value)
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < _NO_CARD_NUMBER):
        return value
    if isinstance(value, dict | list | tuple):
        if depth == 0:
            return REDACTED
        if isinstance(value, dict):
            return dict([_redacted_field(_field(str(name)), item, depth - 1) for name, item in value.items()])
        return [_redacted(item, depth - 1) for item in value]
    text = str(value)
    shown = mask_pans(text)
    return value if shown == text and isinstance(value, int | float | Decimal) else shown


def _redacted_field(field: _Field, value: Any, depth: int) -> tuple[str, Any]:
    if value is None or value == "":
        return field.shown, value
    if field.secret:
        return field.shown, REDACTED
    shown = _redacted(value, depth)
    if field.of_a_card and isinstance(value, str | int | float):
        shown = REDACTED if _typed_by_mistake(field.plain, str(value)) else shown
    return field.shown, shown


def _typed_by_mistake(name: str, text: str) -> bool:
    """Whether it is a card number in which a digit is wrong, and which is as good as the right one; or, where month,
    year or name belong, a security code."""
    if mask_pans(text) != text:
        return False
    if name in _NUMBER_NAMES:
        return len(_DIGIT.findall(text)) >= 12
    return name in _BESIDE_CARD_NUMBERS and len(_DIGIT.findall(text)) >= 3 and not _YEAR.fullmatch(text)


def _without_secrets(text: str) -> str:
    lowered = text.lower()
    if (":" in text or "=" in text) and _MAYBE_NAMED.search(lowered):
        text = _without_named_secrets(text)
    for sign, pattern, replacement in _FORMS:
        if sign in text:
            text = pattern.sub(replacement, text)
    if "bearer" in lowered or "basic" in lowered:
        text = _MAYBE_CREDENTIALS.sub(_without_credentials, text)
    return mask_pans(text)


def _without_named_secrets(text: str) -> str:
    """Without what follows the name of a secret: `password=…`, `"apiKey": "…"`."""
    parts, done, at = list[str](), 0, 0
    while name := _NAME.search(text, at):
        at, field = name.end(), _field(name[1])
        if not field.secret and not field.of_a_card:
            continue
        value = _VALUE.match(text, at)
        if value and (field.secret or _typed_by_mistake(field.plain, value[0].strip(_AROUND_A_VALUE))):
            quotes = '"' if value[0].startswith('"') else ""
            parts += [text[done:at], quotes, REDACTED, quotes]
            done = at = value.end()
    return "".join(parts) + text[done:]


def _without_key(found: re.Match[str]) -> str:
    return f"{found[1] or found[2] or found[3]}{REDACTED}"


def _without_jwt(found: re.Match[str]) -> str:
    return REDACTED if found[0].count(".") == 2 else found[0]


def _without_credentials(found: re.Match[str]) -> str:
    """Basic and Bearer are words of English as well."""
    scheme, space, credentials = found.groups()
    if scheme.lower() == "basic":
        try:
            secret = ":" in b64decode(credentials + "=" * (-len(credentials) % 4), validate=True).decode()
        except ValueError:
            secret = False
    else:
        secret = len(credentials) >= 16 and bool(_DIGIT.search(credentials))
    return f"{scheme}{space}{REDACTED}" if secret else found[0]


_FORMS: tuple[tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    ("psp_", _KEYS, _without_key),
    ("pk_", _KEYS, _without_key),
    ("whsec_", _KEYS, _without_key),
    ("eyJ", _MAYBE_JWT, _without_jwt),
    ("/3ds/", _PROOF, rf"\1{REDACTED}"),
    ("//", _URL_PASSWORD, rf"\1{REDACTED}"),
)


def _without_escaped_secrets(word: re.Match[str]) -> str:
    readable = _unescaped(word[0])
    shown = _without_secrets(readable)
    return word[0] if shown == readable else quote(shown, safe=_STAYS_IN_ADDRESSES, errors="replace")


def _unescaped(text: str) -> str:
    for _ in range(_ESCAPED_AGAIN_AT_MOST):
        if "%" not in text and "\\u" not in text:
            break
        text = _UNICODE_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), unquote(text))
    return text


def _without_card(found: re.Match[bytes]) -> bytes:
    before, number, between = found.groups()
    try:
        pan, _ = parse_pan(number.decode("ascii"))
    except CardInvalid:
        return found[0]
    return b"".join((before, masked(pan).encode(), between, REDACTED.encode()))


def _masked_unseen(found: re.Match[str]) -> str:
    return _DIGIT.sub("X", found[0])


def _masked(found: re.Match[str]) -> str:
    """Digits with whatever of them could be a card number masked, wherever it begins and ends."""
    typed = found[0]
    digits = _SEPARATORS.sub("", typed)
    if typed[0] == "+" and len(digits) <= _LONGEST_PHONE_NUMBER:
        return typed
    places = [place for place, character in enumerate(typed) if character not in _BETWEEN_DIGITS]
    shown = list(typed)
    for pan in pans_in(digits):
        for place in places[pan][6:-4]:
            shown[place] = "X"
    return "".join(shown)
