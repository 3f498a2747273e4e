"""JSON as this API reads and writes it.

Reading is stricter than RFC 8259: no non-finite numbers, no duplicate names, at most 32 levels, no lone surrogates
and no NUL, so that what is stored can always be shown again. Numbers with a fraction become `Decimal`, never float.
"""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import orjson

MAX_DEPTH = 32
# Only an escape can bring these into text that is valid UTF-8: the decoder refuses them raw.
_FORBIDDEN_CHARACTERS = re.compile("[\x00\ud800-\udfff]")

_BRACKET_OR_STRING = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*+"?', re.DOTALL)


class JsonInvalid(ValueError):
    """The text is not JSON that this API reads; the message says why, the position where (if known)."""

    def __init__(self, reason: str, position: int = 0):
        super().__init__(reason)
        self.position = position


def loads(raw: bytes) -> Any:
    """Parse a request body. Raises JsonInvalid for everything this API does not read."""
    try:
        text = raw.decode("utf-8")
        _refuse_depth(text)
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise JsonInvalid("The body is not UTF-8", error.start) from None
    except json.JSONDecodeError as error:
        raise JsonInvalid(error.msg, error.pos) from None
    except JsonInvalid:
        raise
    except ValueError:
        # Python refuses to read integers of more than 4,300 digits.
        raise JsonInvalid("A number is too large") from None
    if "\\u" in text:
        _refuse_forbidden_characters(value)
    return value


def dumps(value: Any) -> bytes:
    """Compact ASCII JSON: no spaces, so the same object is the same bytes in answers and in webhooks.

    For values of our own making: integers of up to 64 bits; a number that is not finite would be written as null.
    """
    written = orjson.dumps(value)
    # orjson is thirteen times as fast; it knows no ASCII form, which only text beyond ASCII needs.
    return written if written.isascii() else _ENCODER.encode(value).encode("ascii")


def loads_own(raw: bytes) -> Any:
    """Parse what `dumps` wrote. Numbers with a fraction are floats, as they were."""
    return orjson.loads(raw)


def canonical(value: Any) -> bytes:
    """Like dumps, with names in order: equal values are equal bytes, whatever order they came in."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _refuse_depth(text: str) -> None:
    # Cheap for nearly every body; the exact count leaves out what stands inside strings.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _BRACKET_OR_STRING.finditer(text):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise JsonInvalid(f"Nesting is deeper than {MAX_DEPTH} levels", token.start())


def _refuse_forbidden_characters(value: Any) -> None:
    if isinstance(value, str):
        if _FORBIDDEN_CHARACTERS.search(value):
            raise JsonInvalid("Text contains a NUL or a lone surrogate")
    elif isinstance(value, list):
        for item in value:
            _refuse_forbidden_characters(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            _refuse_forbidden_characters(name)
            _refuse_forbidden_characters(item)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise JsonInvalid("A name appears twice in one object")
    return result


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise JsonInvalid("A number is too large") from None


def _refuse_constant(name: str) -> NoReturn:
    raise JsonInvalid(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_refuse_constant)
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
