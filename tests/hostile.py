"""What is put into every place that takes text, to see whether it is taken for anything but text."""

import json
from collections.abc import Mapping

LINES = "x\r\nX-Injected: yes\r\n\r\n"
MEGABYTE = 1_000_000

TEXTS: Mapping[str, str] = {
    "$where": "$where",
    "$$ROOT": "$$ROOT",
    "a path": "a.b",
    "$set": "$set",
    "$ownerId": "$ownerId",
    "__proto__": "__proto__",
    "an operator as text": '{"$ne": null}',
    "a script": "';return true;//",
    "SQL": "' OR 1=1 --",
    "a template": "{{7*7}}${7*7}<%= 7*7 %>",
    "a format": "%s%n%x{0.__class__}",
    "%00": "%00",
    "a file": "../../etc/passwd",
    "a file of Windows": "..\\..\\windows\\win.ini",
    "HTML": "<script>alert(1)</script>",
    "an entity": "&lt;!ENTITY x SYSTEM 'file:///etc/passwd'>",
    "a command": "`id`;$(id)|id",
    "a look-up": "${jndi:ldap://localhost/a}",
    "lines": LINES,
    "line separators": "a\u2028b\u2029c\u0085d",
    "control characters": "a\x01\x08\x1b[31mb\x7f",
    "right to left": "\u202eabc\u202c\u200f\u2067",
    "nothing to be seen": "\u200b\u200d\u2060\ufe0f",
    "a mark alone": "\u0301",
    "marks": "e\u0301\u0327" + "\u0301" * 20,
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467\U0001f1e9\U0001f1ea",
    "a BOM": "\ufeffa\ufffe",
    "compatibility forms": "\ufb01\u2460\uff21\u212b\u017f\u0130\u0131",
    "spaces around": "  a\u00a0 ",
    "a number": "1e400",
    "many digits": "9" * 1000,
    "NaN": "NaN",
    "null": "null",
    "true": "true",
    "a long text": "\u00e9" * 5000,
}
"""As text, in a body, a query, a path or a header."""

# Not JSON that this API reads, or not text.
VALUES: Mapping[str, bytes] = {
    "$ne": b'{"$ne": null}',
    "$gt": b'{"$gt": ""}',
    "$regex": b'{"$regex": ".*", "$options": "s"}',
    "$expr": b'{"$expr": {"$function": {"body": "while(1);", "args": [], "lang": "js"}}}',
    "a list": b'["a"]',
    "a list of operators": b'[{"$ne": null}]',
    "null": b"null",
    "true": b"true",
    "NUL": b'"a\\u0000b"',
    "a raw NUL": b'"a\0b"',
    "half a surrogate pair": b'"\\ud800"',
    "the other half": b'"\\udfff\\ud800"',
    "no UTF-8": b'"\xff\xfe"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "a megabyte": b'"' + b"a" * MEGABYTE + b'"',
    "10,000 brackets": b"[" * 10_000 + b"]" * 10_000,
    "10,000 brackets that stay open": b"[" * 10_000,
    "objects in objects": b'{"a":' * 40 + b"1" + b"}" * 40,
    "31 levels": b"[" * 29 + b"]" * 29,
    "1e400": b"1e400",
    "-1e-400": b"-1e-400",
    "1,000 digits": b"9" * 1000,
    "10,000 digits": b"9" * 10_000,
    "an endless exponent": b"1e" + b"9" * 1000,
    "2^63": b"9223372036854775808",
    "NaN as a number": b"NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "a name twice": b'{"a": 1, "a": 2}',
    "names with dots": b'{"a.b": "c", ".": "d", "..": "e"}',
    "names with dollars": b'{"$where": "a", "$": "b", "$set": "c", "$a.$b": "$$ROOT"}',
    "names with NUL": b'{"a\\u0000b": "c"}',
    "names of prototypes": b'{"__proto__": "a", "constructor": "b", "toString": "c", "_id": "d"}',
    "names nobody sees": json.dumps({"\u202e": "a", "\ufeff": "b", "e\u0301": "c", "\u00e9": "d"}).encode(),
}
"""As JSON, in a body."""

BYTES: Mapping[str, bytes] = {
    "NUL": b"a\0b",
    "no UTF-8": b"\xff\xfe",
    "a surrogate": b"\xed\xa0\x80",
    "overlong": b"\xc0\xae\xc0\xae\xc0\xaf",
    "a megabyte": b"a" * MEGABYTE,
}
"""In a query, a path or a header, beside the texts."""


IN_JSON: Mapping[str, bytes] = {**{name: json.dumps(text).encode() for name, text in TEXTS.items()}, **VALUES}
IN_BYTES: Mapping[str, bytes] = {**{name: text.encode() for name, text in TEXTS.items()}, **BYTES}
