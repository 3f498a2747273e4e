"""Reading our own Markdown: code blocks, tables, and the sections of api_documentation.md."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ROOT = Path(__file__).parent.parent.parent
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return [code for name, code in _BLOCK.findall(text) if name == language]


def fences(text: str) -> list[tuple[str, str]]:
    """Every block between fences, with its language: none is passed over, wherever it stands and whatever it is."""
    found: list[tuple[str, str]] = []
    language, code = None, ""
    for line in text.splitlines():
        if not line.lstrip(" >*-").startswith(("```", "~~~")):
            code += f"{line}\n"
        elif language is None:
            language, code = line.strip()[3:].strip(), ""
        else:
            found.append((language, code))
            language = None
    assert language is None, f"a block of {language} has no end"
    return found


def section(text: str, heading: str) -> str:
    """From this heading to the next one of the same or a higher level."""
    level = len(heading) - len(heading.lstrip("#"))
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"there is no {heading!r}"
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, without the heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    dividers = {number for number, row in enumerate(cells) if set("".join(row)) <= {"-", ":"} and any(row)}
    return [row for number, row in enumerate(cells) if number not in dividers and number + 1 not in dividers]


def code(cell: str) -> str:
    return cell.strip("`")


@dataclass(frozen=True)
class Sample:
    """A request or an answer in a `http` block."""

    first_line: str
    headers: dict[str, str]
    body: str

    @classmethod
    def parse(cls, block: str) -> "Sample":
        head, _, body = block.partition("\n\n")
        first, *headers = head.strip().splitlines()
        return cls(first, dict(line.split(": ", 1) for line in headers), body.strip())

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body, strict_parsing=True))

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.first_line.split()[1]).query, strict_parsing=True, keep_blank_values=True))


@dataclass(frozen=True)
class RouteSection:
    """What api_documentation.md says of one route."""

    method: str
    path: str
    text: str

    @property
    def authentication(self) -> str:
        (stated,) = re.findall(r"^\*\*Authentication:\*\* (.*?)\s*$", self.text, re.MULTILINE)
        return str(stated)

    @property
    def roles(self) -> str | None:
        found = re.findall(r"^\*\*Roles:\*\* (.*?)\s*$", self.text, re.MULTILINE)
        return found[0] if found else None

    @property
    def scope(self) -> str | None:
        found = re.findall(r"^\*\*Scope of an API key:\*\* `(\S+)`$", self.text, re.MULTILINE)
        return found[0] if found else None

    @property
    def request(self) -> Sample:
        return Sample.parse(blocks(self.text, "http")[0])

    @property
    def answer(self) -> Sample:
        return Sample.parse(blocks(self.text, "http")[1])

    @property
    def status(self) -> int:
        return int(self.answer.first_line.split()[1])

    @property
    def errors(self) -> list[tuple[int, str, str]]:
        table = rows(self.text.partition("\nErrors:\n")[2])
        return [(int(status), code(error), text) for status, error, text in table]

    @property
    def fields(self) -> set[str]:
        """The names in the table of fields or parameters."""
        return {code(row[0]) for row in rows(self.text.partition("\nRequest:\n")[0])} - {"…"}

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def route_sections() -> list[RouteSection]:
    parts = re.split(r"^### `([A-Z]+) (/\S+)`\n", read("api_documentation.md"), flags=re.MULTILINE)[1:]
    return [
        RouteSection(method, path, re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0])
        for method, path, text in zip(parts[0::3], parts[1::3], parts[2::3], strict=True)
    ]
