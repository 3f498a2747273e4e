"""Tables of cases that cost less than a test of their own does: setting up and reporting a thousand takes seconds."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def each(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make one test of all cases. Like `pytest.mark.parametrize`: every case is tried, and each that fails is told."""
    table = [{names: case} if isinstance(names, str) else dict(zip(names, case, strict=True)) for case in cases]
    assert table, "there is no case"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def of_all(**fixtures: Any) -> None:
            wrong: list[Exception] = []
            for case in table:
                try:
                    test(**fixtures, **case)
                except Exception as error:
                    error.add_note(", ".join(f"{name} = {value!s:.200}" for name, value in case.items()))
                    wrong.append(error)
            if wrong:
                raise ExceptionGroup(f"{len(wrong)} of {len(table)} cases are wrong", wrong)

        fixtures = [one for one in inspect.signature(test).parameters.values() if one.name not in table[0]]
        of_all.__signature__ = inspect.Signature(fixtures)  # type: ignore[attr-defined]
        return of_all

    return decorate
