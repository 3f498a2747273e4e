"""I7: no log shows a secret, whoever writes it: we, a library, or the server."""

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest
from uvicorn.logging import AccessFormatter, DefaultFormatter

from core.logs import log_formatter, pass_all_logs_through, structured_logger
from domain.redaction import REDACTED, redact_text

PAN, SECRET = "4242424242424242", "hunter2-of-the-canary"


@pytest.fixture(autouse=True)
def _cleaned() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    pass_all_logs_through(redact_text)
    yield
    logging.setLogRecordFactory(before)


OF_TEXT = ["mock_psp.request", "services.delivery", "uvicorn.error", "a.library"]
ACCESS = "uvicorn.access"  # its lines have a form of their own


@pytest.fixture(params=[*OF_TEXT, ACCESS])
def log(request: pytest.FixtureRequest) -> Iterator[tuple[logging.Logger, StringIO]]:
    logger, written = logging.getLogger(request.param), StringIO()
    handler = logging.StreamHandler(written)
    # With colours, as in a terminal, uvicorn takes another message than that of the record.
    handler.setFormatter(
        AccessFormatter('%(client_addr)s - "%(request_line)s" %(status_code)s', use_colors=False)
        if logger.name == ACCESS
        else DefaultFormatter("%(message)s", use_colors=True)
    )
    logger.addHandler(handler)
    yield logger, written
    logger.removeHandler(handler)


def write(log: logging.Logger, message: str, *args: object) -> None:
    if log.name == ACCESS:
        path = f"/?{message % args}".replace(" ", "%20")
        log.critical('%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", path, "1.1", 200)
    else:
        log.critical(message, *args)


def test_a_message_and_its_arguments_are_cleaned(log: tuple[logging.Logger, StringIO]) -> None:
    write(log[0], "card %s password=%s mongodb://grace:%s@db", PAN, SECRET, SECRET)

    written = log[1].getvalue()
    assert PAN not in written
    assert SECRET not in written
    assert "424242XXXXXX4242" in written
    assert REDACTED in written


def test_what_holds_no_secret_is_written_as_it_is(log: tuple[logging.Logger, StringIO]) -> None:
    write(log[0], "order %d of %s", 1001, "Grace")

    assert "1001" in log[1].getvalue()
    assert "Grace" in log[1].getvalue()


@pytest.mark.parametrize("log", OF_TEXT, indirect=True)
def test_an_exception_is_cleaned_with_what_caused_it(log: tuple[logging.Logger, StringIO]) -> None:
    try:
        raise RuntimeError(f"apiKey='{SECRET}'") from ValueError(f"no such card: {PAN}")  # noqa: TRY301
    except RuntimeError:
        log[0].exception("it failed")

    written = log[1].getvalue()
    assert "RuntimeError: apiKey=" in written
    assert "ValueError: no such card: 424242XXXXXX4242" in written
    assert PAN not in written
    assert SECRET not in written


@pytest.mark.parametrize("log", OF_TEXT, indirect=True)
def test_what_does_not_fit_its_arguments_is_not_shown_in_parts(
    log: tuple[logging.Logger, StringIO], capsys: pytest.CaptureFixture[str]
) -> None:
    log[0].critical("%d", f"password={SECRET}")

    assert SECRET not in log[1].getvalue() + capsys.readouterr().err


def test_a_message_for_the_terminal_keeps_its_arguments(log: tuple[logging.Logger, StringIO]) -> None:
    if log[0].name != "uvicorn.access":
        log[0].critical("running on %s", "a", extra={"color_message": "RUNNING on %s"})
        assert "RUNNING on a" in log[1].getvalue()


@pytest.fixture(params=[True, False], ids=["json", "text"])
def lines(request: pytest.FixtureRequest) -> Iterator[StringIO]:
    """What our own formatter makes of a logger called `ours`."""
    written = StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(log_formatter(as_json=request.param))
    logging.getLogger("ours").addHandler(handler)
    yield written
    logging.getLogger("ours").removeHandler(handler)


def test_the_fields_of_a_structured_line_are_cleaned(lines: StringIO) -> None:
    structured_logger("ours").error(
        "request", request_id=f"card-{PAN}", account=None, note=f"password={SECRET}", status=7
    )

    written = lines.getvalue()
    assert PAN not in written
    assert SECRET not in written
    assert "card-424242XXXXXX4242" in written
    assert "7" in written


def test_a_line_of_ours_has_the_cleaned_exception_once(lines: StringIO) -> None:
    try:
        raise RuntimeError(f"apiKey='{SECRET}'") from ValueError(f"no such card: {PAN}")  # noqa: TRY301
    except RuntimeError:
        logging.getLogger("ours").exception("it failed with %s", PAN)

    written = lines.getvalue()
    assert PAN not in written
    assert SECRET not in written
    assert written.count("RuntimeError: apiKey=") == 1
    if written.startswith("{"):
        (line,) = written.splitlines()
        assert json.loads(line)["event"] == "it failed with 424242XXXXXX4242"
