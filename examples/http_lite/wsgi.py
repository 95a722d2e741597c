"""A gateway for WSGI applications (PEP 3333): in the loop, or in threads that are held while the client takes no more."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import lru_cache, partial
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs

from examples.http_lite.app import Action, App, always
from examples.http_lite.connection import Flow
from examples.http_lite.request import Request
from examples.http_lite.response import Answer, other_method

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
#: RFC 9110, 7.6.1, and ours to say: what an application may not set.
_OURS = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"))
_HOST_PORT = re.compile(r"(.*?)(?::(\d*))?")


@attrs.define(eq=False)
class _Call:
    """One call of the application, and what it says by `start_response`, and by what that returns."""

    app: Application
    environ: dict[str, Any]
    status: int = 0
    headers: list[tuple[str, str]] = attrs.field(factory=list)
    written: list[bytes] = attrs.field(factory=list)
    is_sent: bool = False

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], None]:
        if exc_info is not None and self.is_sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self.status:
            raise AssertionError("start_response was called twice")
        self.status, self.headers = int(status[:3]), list(headers)
        return self.written.append

    def answer(self) -> Answer:
        """Return the application's answer; its body is bytes if that is all of it, else a generator."""
        result, chunks = self.app(self.environ, self.start_response), None
        if type(result) is list and len(result) == 1 and self.status and not self.written:
            first = result[0]
        else:
            chunks = self._chunks(result)
            first = next(chunks, b"")  # the application may start no sooner than with it
        try:
            assert self.status, "start_response was not called"
            self.is_sent = True
            fields, length = _said(tuple(self.headers))
            answer = Answer(self.status, first, "", fields, length)
        except BaseException:
            if chunks is not None:
                chunks.close()
            raise
        if (chunks is not None) if length is None else length != len(first):
            answer.body = _chain(first, chunks or ())
        elif chunks is not None:
            chunks.close()
        return answer

    def _chunks(self, result: Iterable[bytes]) -> Generator[bytes, None, None]:
        """Return what the application writes and *result*, but for what is empty."""
        try:
            for data in result:
                if self.written:
                    yield b"".join(self._take_written())
                if data:
                    yield data
            if self.written:
                yield b"".join(self._take_written())
        finally:
            getattr(result, "close", lambda: None)()

    def _take_written(self) -> list[bytes]:
        written, self.written[:] = self.written[:], []
        return written


def _chain(first: bytes, chunks: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Return *first* and the rest, which is closed with it."""
    yield first
    yield from chunks


@lru_cache(maxsize=1024)
def _said(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[tuple[str, str], ...], int | None]:
    """Return those of *headers* that are the application's to set, and the length that they announce."""
    named = [(name, value) for name, value in headers if name.lower() not in _OURS]
    lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
    return tuple(named), lengths[0] if lengths else None


@attrs.define(eq=False)
class Gateway:
    """Answers requests by a WSGI application, in so many threads of the reactor's; 0: in the loop, which waits for it."""

    wsgi: Application
    app: App
    threads: int = 4
    _waiting: deque[tuple[_Call, Callable[[Any], object]]] = attrs.field(init=False, factory=deque)
    _busy: int = attrs.field(init=False, default=0)

    def find(self, request: Request) -> Action:
        """Return what answers *request*."""
        if request.method in ("TRACE", "CONNECT") or request.path == "*":
            return always(other_method(request.method, ("GET", "HEAD", "OPTIONS", "POST")))
        return partial(self._answer, self._environ(request))

    def _answer(self, environ: dict[str, Any], request: Request) -> Any:
        call = _Call(self.wsgi, {**environ, "wsgi.input": request.file or io.BytesIO(), "REMOTE_ADDR": self.app.client})
        if not self.threads:
            return call.answer()
        return partial(self._begin, call)

    def _begin(self, call: _Call, give: Callable[[Any], object]) -> None:
        self._waiting.append((call, give))
        self._start()

    def _start(self) -> None:
        """Have another thread work, if there is one, and work for it."""
        if self._waiting and self._busy < self.threads:
            self._busy += 1
            self.app.reactor.run_in_thread(self._work, then=self._idle, on_error=self._idle)

    def _idle(self, _: object) -> None:
        self._busy -= 1
        self._start()

    def _work(self) -> None:
        """In a thread: make the calls that wait."""
        while True:
            try:
                call, give = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._give(call, give)
            except Exception as error:
                self.app.reactor.call_threadsafe(give, error)

    def _give(self, call: _Call, give: Callable[[Any], object]) -> None:
        """In a thread: *give* the answer, and make the rest of its body no faster than the client takes it."""
        answer, tell, turns = call.answer(), self.app.reactor.call_threadsafe, threading.Semaphore(0)
        chunks, flows = answer.body, list[Flow]()
        if not isinstance(chunks, Generator):
            tell(give, answer)
            return

        def start(flow: Flow) -> None:
            flow.on_room = flow.on_over = turns.release
            flows.append(flow)
            turns.release()

        def push(data: bytes) -> None:
            if flows[0].write(data):
                turns.release()

        answer.body = start
        with closing(chunks):
            tell(lambda: give(answer) or turns.release())
            try:
                for data in chunks:
                    turns.acquire()
                    if not flows or flows[0].is_over:
                        return
                    tell(push, data)
                turns.acquire()
                if flows:
                    tell(flows[0].end)
            except Exception:
                if flows:
                    tell(flows[0].cut)
                raise

    def _environ(self, request: Request) -> dict[str, Any]:
        """Return the environment of PEP 3333, but for what differs from call to call."""
        host = _HOST_PORT.fullmatch(request.host)
        assert host is not None
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
            "QUERY_STRING": request.query,
            "SERVER_NAME": host[1] or "localhost",
            "SERVER_PORT": host[2] or "80",
            "SERVER_PROTOCOL": f"HTTP/{request.version}",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
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
        if request.size or "content-length" in request.fields:
            environ["CONTENT_LENGTH"] = str(request.size)
        return environ
