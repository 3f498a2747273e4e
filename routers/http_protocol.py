"""HTTP/1.1 as uvicorn reads it, with a limit on all that comes before a body: its parser would take any amount."""

from http import HTTPStatus

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from core import ids
from core.errors import HeadersTooLarge, HttpMalformed, PspError, UrlTooLong
from routers.problems import problem
from routers.request_counts import count_unreadable
from routers.security_headers import SecurityHeaders

MAX_URL_BYTES = 16 * 1024
MAX_HEADERS = 100
MAX_HEADERS_BYTES = 128 * 1024
_LINGER_S = 2
_SECURITY = SecurityHeaders(production=False)


class LimitedHttp(HttpToolsProtocol):
    """414 for a URL that is too long, 431 for too many or too large headers, 400 for what is no HTTP, all in the form
    of all errors, and then the connection ends. It ends without where requests before it on the same connection still
    wait: these are answered."""

    _refusal: type[PspError] = HttpMalformed
    _refused = False
    _running: RequestResponseCycle | None = None
    """The request that was begun last. (`cycle` is the newest: several may have been sent at once.)"""
    _fed_in_vain = 0
    """Bytes since a request began or brought something of its body: those of its headers, or of trailers."""

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._fed_in_vain += len(data)
        super().data_received(data)
        if self._fed_in_vain > MAX_HEADERS_BYTES and not self._refused:
            self._refusal = HeadersTooLarge
            self.send_400_response("")

    def on_message_begin(self) -> None:
        self._fed_in_vain = 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        self._fed_in_vain = 0
        super().on_body(body)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._refuse(UrlTooLong)

    def on_headers_complete(self) -> None:
        size = sum([len(name) + len(value) for name, value in self.headers])
        if size > MAX_HEADERS_BYTES or len(self.headers) > MAX_HEADERS:
            self._refuse(HeadersTooLarge)
        super().on_headers_complete()

    def _refuse(self, error: type[PspError]) -> None:
        # What is raised here ends the parser's work, and comes back as a call of send_400_response.
        self._refusal = error
        raise ValueError(error.message)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, where no request that came whole still waits for its own answer.

        Otherwise the answer to the last of these says that the connection ends with it.
        """
        self._refused = True
        last: RequestResponseCycle | None = self.cycle
        if last is not None and last.more_body and not last.response_complete:
            last = self._break_off(last)
        if last is None or last.response_complete:
            self._answer_refusal()
        else:
            last.keep_alive = False

    def _break_off(self, cycle: RequestResponseCycle) -> RequestResponseCycle | None:
        """Let the newest request go, whose body never ends: nothing is written for it any more. The one before it, if
        that waits for its answer."""
        if self.pipeline:
            self.pipeline.popleft()  # it has not begun
            return self.pipeline[0][0] if self.pipeline else self._running
        cycle.disconnected = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        if cycle.response_started:
            self.transport.close()  # its answer has no end, so no other can follow it
        return None

    def _answer_refusal(self) -> None:
        if self.transport.is_closing():
            return
        request_id = ids.fresh("req")
        count_unreadable(self._refusal.status)
        answer = problem(request_id, self._refusal.status, self._refusal.code, self._refusal.message)
        headers = [*answer.raw_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close")]
        lines = [b"%b: %b\r\n" % header for header in (*headers, *_SECURITY.beside(headers))]
        status = HTTPStatus(answer.status_code)
        first = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
        self.transport.write(b"%b%b\r\n%b" % (first, b"".join(lines), bytes(answer.body)))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # Closed at once, while the client is still sending, the connection would be reset and the answer lost.
        self.loop.call_later(_LINGER_S, self.transport.close)
