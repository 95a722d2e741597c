"""A gateway for WSGI applications (PEP 3333): in the loop, or in threads, none of which waits for a client."""

from __future__ import annotations

import io
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextvars import Context, copy_context
from functools import lru_cache, partial
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs

from examples.http_lite.app import Action, App, always
from examples.http_lite.connection import Flow
from examples.http_lite.request import Request
from examples.http_lite.response import Answer, other_method

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Give = Callable[[Any], object]
#: RFC 9110, 7.6.1, and ours to say: what an application may not set.
_OURS = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"))
#: What is not passed on: `Proxy` would be taken for a setting of the process (CVE-2016-5385); the others are said otherwise.
_KEPT = frozenset(("proxy", "content-length", "transfer-encoding"))
_PORT = re.compile(r":\d*$")
#: How long the end of the server waits for strings that threads are making, before it gives up closing their bodies.
CLOSE_SECONDS = 5.0


@attrs.define(eq=False)
class _Call:
    """One call of the application, and what it says by `start_response`, and by what that returns."""

    app: Application
    environ: dict[str, Any]
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    written: list[bytes] = attrs.field(factory=list)
    is_sent: bool = False

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        if exc_info is not None and self.is_sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self.status:
            raise RuntimeError("start_response was called twice")
        self.status, self.headers = int(status[:3]), tuple(headers)
        return self.written.append

    def answer(self) -> Answer:
        """Return the application's answer; its body is bytes if that is all of it, else the first string and the others."""
        result = self.app(self.environ, self.start_response)
        chunks = None
        if type(result) is list and len(result) == 1 and type(result[0]) is bytes and self.status and not self.written:
            first = result[0]
        else:
            chunks = self._chunks(result)
            first = next(chunks, b"")  # the application may start no sooner than with it
        try:
            self.is_sent = True
            fields, length = _said(self.headers)
            answer = Answer(self.status, first, "", fields, length)  # which refuses 0: start_response was not called
        except BaseException:  # what is not sent is closed, whatever it was
            if chunks is not None:
                chunks.close()
            raise
        if (chunks is not None) if length is None else length != len(first):
            answer.body = (first, chunks or self._chunks(()))
        elif chunks is not None:
            chunks.close()
        return answer

    def _chunks(self, result: Iterable[bytes]) -> Generator[bytes, None, None]:
        """Return what the application writes and *result*, but for what is empty."""
        try:
            for data in result:
                written, self.written[:] = b"".join(self.written), []
                if written or data:
                    yield written + data
            if self.written:
                yield b"".join(self.written)
        finally:
            getattr(result, "close", bool)()


@lru_cache(maxsize=1024)
def _said(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[tuple[str, str], ...], int | None]:
    """Return those of *headers* that are the application's to set, and the length that they announce."""
    lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
    return tuple(each for each in headers if each[0].lower() not in _OURS), lengths[0] if lengths else None


@attrs.define(eq=False)
class _Body:
    """A body that is made as the client takes it, string by string, each in a thread or in a pass of the loop."""

    first: bytes | None
    chunks: Generator[bytes, None, None]  # has begun, so that to close it closes what the application has returned
    context: Context
    gateway: Gateway
    flow: Flow | None = None
    is_asked: bool = False
    #: Held while the application makes a string, or hears that no more is taken.
    lock: threading.Lock = attrs.field(init=False, repr=False, factory=threading.Lock)

    def __call__(self, flow: Flow) -> None:
        """Begin."""
        self.flow, flow.on_room, flow.on_over = flow, self.ask, self.close
        self.ask()

    def ask(self) -> None:
        """Have the next string be made."""
        if not self.is_asked:
            self.is_asked = True
            self.gateway.run(self.make, self.take, self.fail)

    def make(self) -> bytes | None:
        """Return the next string; None: there is none."""
        with self.lock:
            first, self.first = self.first, None
            return self.context.run(next, self.chunks, None) if first is None else first

    def take(self, data: bytes | None) -> None:
        """Send it, and ask for another one if the client takes more."""
        assert self.flow is not None
        self.is_asked = False
        if self.flow.connection is None:
            self.close()
        elif data is None:
            self.flow.end()
        elif self.flow.write(data):
            self.ask()

    def fail(self, error: Exception) -> None:
        assert self.flow is not None
        self.is_asked = False
        self.flow.cut()
        raise error

    def close(self) -> None:
        """Nothing is taken any more, or nothing at all: the application hears of it, here and now if the server ends."""
        if self.is_asked:
            return
        if self.gateway.app.reactor.is_shutting_down:  # which waits for no call
            self.end()
        else:
            self.gateway.run(self.end, bool, None)

    def end(self, seconds: float = -1) -> None:
        """Let the application hear of it, at the latest in so many *seconds*, or else never; twice is allowed."""
        if self.lock.acquire(timeout=seconds):
            try:
                self.context.run(self.chunks.close)
            finally:
                self.gateway.bodies.pop(self, None)
                self.lock.release()


@attrs.define(eq=False)
class Gateway:
    """Answers requests by a WSGI application, in so many threads of the reactor's; 0: in the loop, which waits for it."""

    wsgi: Application
    app: App
    threads: int = 4
    #: Those that were begun and not closed.
    bodies: dict[_Body, None] = attrs.field(init=False, repr=False, factory=dict)
    is_over: bool = attrs.field(init=False, default=False)
    _waiting: deque[tuple[_Call, Give]] = attrs.field(init=False, factory=deque)
    _busy: int = attrs.field(init=False, default=0)

    def find(self, request: Request) -> Action:
        """Return what answers *request*."""
        if request.method in ("TRACE", "CONNECT") or request.path == "*":
            return always(other_method(request.method, ("GET", "HEAD", "OPTIONS", "POST")))
        return partial(self._answer, self._environ(request))

    def _answer(self, environ: dict[str, Any], request: Request) -> Any:
        call = _Call(self.wsgi, {**environ, "wsgi.input": request.file or io.BytesIO(), "REMOTE_ADDR": self.app.client})
        return partial(self._queue, call) if self.threads else self._made(call)

    def _queue(self, call: _Call, give: Give) -> None:
        self._waiting.append((call, give))
        self._busy += 1
        self._idle()

    def _idle(self, _: object = None) -> None:
        """A thread may be idle: have it work for as long as anybody waits, which is cheaper than one call at a time."""
        self._busy -= 1
        if self._waiting and self._busy < self.threads:
            self._busy += 1
            self.app.reactor.run_in_thread(self._work, then=self._idle, on_error=self._idle)

    def _work(self) -> None:
        """In a thread: make the calls that wait."""
        while True:
            try:
                call, give = self._waiting.popleft()
            except IndexError:
                return
            try:
                answer: Any = self._made(call)
            except Exception as error:
                answer = error
            self.app.reactor.call_threadsafe(self._give, answer, give)

    def _made(self, call: _Call) -> Answer:
        """Return the answer to a call, in a context of its own, with a body that a connection can send."""
        context = copy_context()
        answer = context.run(call.answer)
        if type(answer.body) is tuple:
            first, chunks = answer.body
            answer.body = body = _Body(first, chunks, context, self)
            self.bodies[body] = None
            if self.is_over:  # asked in this order, since `close` may be at work this moment
                body.end()
        return answer

    def close(self) -> None:
        """The reactor runs no more, and drops what was to be called: close the bodies that are left, here."""
        self.is_over, until = True, time.monotonic() + CLOSE_SECONDS
        for body in list(self.bodies):
            try:
                body.end(max(0.0, until - time.monotonic()))
            except Exception as error:
                self.app.reactor.report("close() of a body", error)

    @staticmethod
    def _give(answer: Any, give: Give) -> None:
        if not give(answer) and isinstance(answer, Answer) and isinstance(answer.body, _Body):
            answer.body.close()

    def run(self, function: Callable[[], Any], then: Give, on_error: Give | None) -> None:
        """Call *function*, in a thread, or soon."""
        if self.threads:
            self.app.reactor.run_in_thread(function, then=then, on_error=on_error)
        else:
            self.app.reactor.call_soon(self._run, function, then, on_error)

    @staticmethod
    def _run(function: Callable[[], Any], then: Give, on_error: Give | None) -> None:
        try:
            result = function()
        except Exception as error:
            if on_error is None:
                raise
            on_error(error)
        else:
            then(result)

    def _environ(self, request: Request) -> dict[str, Any]:
        """Return the environment of PEP 3333, but for what differs from call to call."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
            "QUERY_STRING": request.query,
            "SERVER_NAME": _PORT.sub("", request.host) or "localhost",
            "SERVER_PORT": str(self.app.port),  # not the one that the client names: RFC 3875, 4.1.15
            "SERVER_PROTOCOL": f"HTTP/{request.version}",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.input_terminated": True,
            "wsgi.multithread": self.threads > 1,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for key, value in request.fields.items():
            if key == "content-type":
                environ["CONTENT_TYPE"] = value
            elif "_" not in key and key not in _KEPT:  # X_Y would pass for X-Y
                environ["HTTP_" + key.upper().replace("-", "_")] = value
        if request.size or "content-length" in request.fields:
            environ["CONTENT_LENGTH"] = str(request.size)
        return environ
