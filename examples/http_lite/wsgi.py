"""A gateway for WSGI applications (PEP 3333): in the loop, or in threads that are held while the client takes no more."""

from __future__ import annotations

import io
import queue
import re
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs

from examples.http_lite.request import Request
from examples.http_lite.response import Answer, Flow, Later, status_page
from reactor import Reactor, ReactorClosed

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
#: RFC 9110, 7.6.1 and ours to say: what an application may not set.
_OURS = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length", "content-type", "date", "server"))


_HOST_PORT = re.compile(r"(.*):(\d*)")


@attrs.define(eq=False)
class _Start:
    """What the application said by `start_response`, and wrote by what that returned."""

    status: int = 0
    headers: list[tuple[str, str]] = attrs.field(factory=list)
    written: list[bytes] = attrs.field(factory=list)
    is_sent: bool = False
    #: Whether the first chunk is the last one.
    is_whole: bool = False

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], None]:
        try:
            if self.status and exc_info is None:
                raise AssertionError("start_response was called twice")
            if self.is_sent and exc_info is not None:
                raise exc_info[1].with_traceback(exc_info[2])
        finally:
            exc_info = None
        self.status, self.headers = int(status[:3]), list(headers)
        return self.written.append

    def answer(self, body: Any) -> Answer:
        """Return the answer that begins with this."""
        if not self.status:
            raise AssertionError("start_response was not called")
        self.is_sent = True
        named = {name.lower(): value for name, value in self.headers}
        fields = tuple((name, value) for name, value in self.headers if name.lower() not in _OURS)
        length = named.get("content-length")
        return Answer(self.status, body, named.get("content-type", ""), fields, None if length is None else int(length))


@attrs.define(eq=False)
class Gateway:
    """Answers requests by a WSGI application.

    Args:
        app: the application.
        reactor: whose loop it is.
        threads: how many requests are in work at a time; 0: one, in the loop, which waits for it.
    """

    app: Application
    reactor: Reactor
    threads: int = 4
    _jobs: queue.SimpleQueue[Callable[[], None]] = attrs.field(init=False, factory=queue.SimpleQueue)

    def __attrs_post_init__(self) -> None:
        for number in range(self.threads):
            # Daemons: an application that never returns cannot keep the process from ending.
            threading.Thread(target=self._work, name=f"wsgi-{number}", daemon=True).start()

    def __call__(self, request: Request) -> Any:
        """Return the application's answer, or the promise of it."""
        if request.method in ("TRACE", "CONNECT") or request.path == "*":
            return status_page(405)
        if not self.threads:
            start = _Start()
            chunks = self._chunks(request, start)
            first = next(chunks, None)
            return _whole(start, first, chunks) or start.answer(_chain(first, chunks))
        later = Later()
        self._jobs.put(lambda: self._run(request, later))
        return later

    def close(self) -> None:
        """End the threads, each when it has done what it is about."""
        for _ in range(self.threads):
            self._jobs.put(_end)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is _end:
                return
            try:
                job()
            except ReactorClosed:  # nobody is left to be answered
                return

    def _chunks(self, request: Request, start: _Start) -> Generator[bytes, None, None]:
        """Return what the application gives, the first chunk no sooner than it has started."""
        result = self.app(self._environ(request), start)
        try:
            start.is_whole = isinstance(result, (list, tuple)) and len(result) == 1 and not start.written
            for data in result:
                yield from _pop(start.written)
                if data:
                    yield data
            yield from _pop(start.written)
        finally:
            getattr(result, "close", lambda: None)()

    def _run(self, request: Request, later: Later) -> None:
        """In a thread: have *request* answered, bit by bit."""
        start, tell, bridge = _Start(), self.reactor.call_threadsafe, _Bridge()
        chunks = self._chunks(request, start)
        try:
            first = next(chunks, None)
            if (whole := _whole(start, first, chunks)) is not None:
                tell(later.give, whole)
                return
            tell(later.give, start.answer(Flow(bridge.start, bridge.room, bridge.over)))
            if bridge.goes_on():  # else HEAD, or the client has gone
                for data in _chain(first, chunks):
                    tell(bridge.push, data)
                    if not bridge.goes_on():
                        return
                tell(bridge.end)
        except ReactorClosed:
            raise
        except Exception as error:
            tell(self.reactor.report, request.line, error)
            tell(bridge.cut if start.is_sent else later.give, *(() if start.is_sent else (status_page(500),)))
        finally:
            chunks.close()

    def _environ(self, request: Request) -> dict[str, Any]:
        """Return the environment of PEP 3333."""
        host = _HOST_PORT.fullmatch(request.host)
        name, port = (host[1], host[2]) if host else (request.host, "")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
            "QUERY_STRING": request.query,
            "SERVER_NAME": name or "localhost",
            "SERVER_PORT": port or "80",
            "SERVER_PROTOCOL": f"HTTP/{request.version}",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": self.threads > 1,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for key, value in request.fields.items():
            if key == "content-type":
                environ["CONTENT_TYPE"] = value
            elif "_" not in key and key not in ("content-length", "transfer-encoding"):  # X_Y would pass for X-Y
                environ["HTTP_" + key.upper().replace("-", "_")] = value
        if request.body or "content-length" in request.fields:
            environ["CONTENT_LENGTH"] = str(len(request.body))
        return environ


@attrs.define(eq=False)
class _Bridge:
    """Between a thread that makes a body and the loop that sends it: after each chunk the thread waits to be told."""

    _verdicts: queue.SimpleQueue[bool] = attrs.field(factory=queue.SimpleQueue)
    _flow: Flow | None = None
    _is_held: bool = False

    def goes_on(self) -> bool:
        """In the thread: wait until more is wanted; False: nothing more is."""
        return self._verdicts.get()

    def start(self, flow: Flow) -> None:
        """The answer's head is on its way."""
        self._flow = flow
        self._verdicts.put(True)

    def push(self, data: bytes) -> None:
        """Send what the thread has made."""
        assert self._flow is not None
        if self._flow.write(data):
            self._verdicts.put(True)
        else:
            self._is_held = True

    def room(self) -> None:
        """The client has taken enough."""
        if self._is_held:
            self._is_held = False
            self._verdicts.put(True)

    def over(self) -> None:
        """Nothing more is taken."""
        self._verdicts.put(False)

    def end(self) -> None:
        """That was all."""
        if self._flow is not None:
            self._flow.end()

    def cut(self) -> None:
        """The application failed in the middle."""
        if self._flow is not None:
            self._flow.cut()


def _end() -> None:
    """The job after which a thread ends."""


def _pop(written: list[bytes]) -> Iterator[bytes]:
    """Return and forget what was written."""
    while written:
        yield written.pop(0)


def _whole(start: _Start, first: bytes | None, chunks: Generator[bytes, None, None]) -> Answer | None:
    """Return the whole answer, if *first* is all of its body: it can leave in one call."""
    length = next((value for name, value in start.headers if name.lower() == "content-length"), None)
    if first is None or start.is_whole or length == str(len(first)):
        chunks.close()
        return start.answer(first or b"")
    return None


def _chain(first: bytes | None, chunks: Generator[bytes, None, None]) -> Iterator[bytes]:
    """Return *first* and the rest."""
    try:
        yield first or b""
        yield from chunks
    finally:
        chunks.close()
