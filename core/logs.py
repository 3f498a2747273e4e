"""What this process logs, whoever logs it: libraries and the server as well as we."""

import logging
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.typing import EventDict

ACCESS = "mock_psp.access"
"""Has a line for each request."""
STEPS = "mock_psp.worker"
"""Has a line for each answer of the bank and each attempt to deliver a webhook."""
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
        if isinstance(record.msg, dict):  # the fields of a structured line
            record.msg = _cleaned(record.msg, clean)
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


def _cleaned(fields: EventDict, clean: Callable[[str], str]) -> EventDict:
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    # One look at all of them: nearly always there is nothing to clean.
    together = "\n".join(texts.values())
    return fields if clean(together) == together else {**fields, **{name: clean(text) for name, text in texts.items()}}


def write_logs(*, as_json: bool) -> None:
    """From now on everything that is logged goes to standard error, a line each (and what an exception needs): JSON for
    machines, or text for people. Where somebody has set up handlers of their own, these stay and nothing is done.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(log_formatter(as_json=as_json))
    root.addHandler(handler)
    # Nobody reads them, and to find them out takes longer than all of ours.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root.setLevel(logging.INFO)
    theirs = logging.getLogger(_ACCESS)
    for name in (ACCESS, STEPS):
        # So does `uvicorn --no-access-log` leave it.
        logging.getLogger(name).disabled = not theirs.hasHandlers()
    for name in ("uvicorn", "uvicorn.error", _ACCESS):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # Each request has a line of ours (routers/access_log.py).
    theirs.propagate = False


def log_formatter(*, as_json: bool) -> logging.Formatter:
    """What makes a line of a record."""
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            _describe,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer() if as_json else _for_people,
        ],
        keep_exc_info=True,
    )


def structured_logger(name: str) -> Any:
    """A logger that takes fields beside the event, by their names."""
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def _describe(_: Any, __: str, fields: EventDict) -> EventDict:
    """What each line has, whoever logs it. The text of an exception is that which was cleaned."""
    record: logging.LogRecord = fields["_record"]
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    described: EventDict = {
        "timestamp": moment.removesuffix("+00:00") + "Z",
        "level": record.levelname.lower(),
        "logger": record.name,
        **fields,
    }
    if described.pop("exc_info", None):
        described["exception"] = record.exc_text
        # Or it would stand behind the line once more: this record is the formatter's own copy.
        record.exc_info = record.exc_text = None
    return described


def _for_people(_: Any, __: str, fields: MutableMapping[str, Any]) -> str:
    exception = fields.pop("exception", None)
    time_of_day = fields.pop("timestamp")[11:]
    first = f"{time_of_day} {fields.pop('level').upper():<8} {fields.pop('event')}"
    fields.pop("logger")
    named = "".join(f"  {name}={value}" for name, value in fields.items() if value is not None)
    return first + named + (f"\n{exception}" if exception else "")
