"""What this process logs, whoever logs it: libraries and the server as well as we."""

import logging
import traceback
from collections.abc import Callable
from typing import Any

_ACCESS = "uvicorn.access"
_UNREADABLE = "(a log message that does not fit its arguments)"


def pass_all_logs_through(clean: Callable[[str], str]) -> None:
    """From now on nothing reaches any log but through this function: neither messages nor the text of exceptions.

    By the factory of records, since a filter of a logger does not see what its children log. `clean` must not raise.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "cleans", False):
        return

    def make_clean(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if record.name == _ACCESS and isinstance(record.args, tuple):
            # Its formatter wants the parts of the line.
            record.args = tuple(clean(arg) if isinstance(arg, str) else arg for arg in record.args)
            return record
        try:
            message = record.getMessage()
        except Exception:  # what cannot be put together must not be printed in parts either
            message, shown = "", _UNREADABLE
        else:
            shown = clean(message)
        if shown != message:
            record.msg, record.args = shown, None
        if record.exc_info and record.exc_info[0] is not None:
            # What formatters find here they take, and make no text of their own.
            record.exc_text = clean("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
        return record

    make_clean.cleans = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_clean)
