"""The parts of a `Recorder`: a selector, an inbox and sockets that note what they answer.

They own what they wrap. The hot calls, `select`, `recv`, `send`, are written for speed.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from reactor.errors import UsageError
from reactor.loop import Loop
from reactor.system import Inbox
from reactor.testing.owner import OneThread
from reactor.testing.tape import BLOCK_RECORDS, Record, TapeWriter

T = TypeVar("T")

#: What is noted stays in memory no longer than this, when nothing more happens.
QUIET_SECONDS = 0.05

#: What a call of the system may raise, and a replay can raise again.
ERRORS = (OSError, ValueError, TypeError, OverflowError, LookupError)


def error_of(error: BaseException) -> tuple[str, tuple[Any, ...]]:
    """Return *error* as the journal keeps it."""
    if isinstance(error, socket.gaierror):
        return "gaierror", error.args
    if isinstance(error, OSError):
        return "OSError", (error.errno, error.strerror)
    return type(error).__name__, error.args


def label(call: Any) -> tuple[str, str]:
    """Return the name of a call that a thread has sent, and what tells it from others: a descriptor, plain arguments."""
    if call is None:
        return "stop", ""
    callback, args, _ = call
    if getattr(callback, "__func__", None) is Loop._call_queued_once:
        callback, args, _ = args[0]
    name = getattr(callback, "__qualname__", type(callback).__name__)
    fd = getattr(getattr(callback, "__self__", None), "_fd", "")
    plain = [value for value in args if isinstance(value, (str, bytes, int, float))]
    return name, f"{fd}:{zlib.crc32(repr(plain).encode('utf-8', 'replace')):08x}"


class RecordedInbox(Inbox):
    """Notes what was taken, when, and in which order."""

    def __init__(self, note: Callable[[Record], None], thread: OneThread, number: int) -> None:
        super().__init__()
        self._note, self._of, self._number = note, thread, number

    def take(self) -> list[Any]:
        calls = super().take()
        self._note(("take", None, self._number, tuple(map(label, calls))))
        return calls

    def __bool__(self) -> bool:
        waiting = len(self) > 0
        if threading.get_ident() == self._of.owner:
            self._note(("waiting", None, self._number, waiting))
        return waiting


class RecordedSelector(selectors.BaseSelector):
    """A selector whose answers are noted. It owns the real one."""

    def __init__(self, real: selectors.BaseSelector, tape: TapeWriter) -> None:
        self._real, self._tape = real, tape

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._noted("register", fileobj, events, lambda: self._real.register(fileobj, events, data))

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._noted("unregister", fileobj, None, lambda: self._real.unregister(fileobj))

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._noted("modify", fileobj, events, lambda: self._real.modify(fileobj, events, data))

    def _noted(self, operation: str, fd: int, events: int | None, call: Callable[[], T]) -> T:
        try:
            key = call()
        except ERRORS as error:
            self._tape.append((operation, fd, events, None, error_of(error)))
            raise
        self._tape.append((operation, fd, events, None))
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        tape = self._tape
        if len(tape.pending) >= BLOCK_RECORDS:
            tape.flush()
        try:
            if timeout is None or timeout > QUIET_SECONDS:
                ready = self._real.select(QUIET_SECONDS) or self._select_long(timeout)
            else:
                ready = self._real.select(timeout)
        except ERRORS as error:
            tape.append(("select", None, timeout, None, error_of(error)))
            raise
        tape.append(("select", None, timeout, tuple([key.fd << 2 | events for key, events in ready])))
        return ready

    def _select_long(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for the rest of *timeout*; before, let nobody lose what has been noted."""
        began = time.monotonic()
        self._tape.flush()
        if timeout is None:
            return self._real.select(None)
        return self._real.select(max(0.0, timeout - QUIET_SECONDS - (time.monotonic() - began)))

    def close(self) -> None:
        self._real.close()

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


def refuse(what: str) -> NoReturn:
    """Raise for a call of a socket that a replay could not answer."""
    raise UsageError(f"a recorded socket has no {what}: what it leads to would not be in the journal")


class Unrecorded(socket.socket):
    """A socket without what could not be replayed."""

    __slots__ = ()

    def detach(self) -> int:
        refuse("detach")

    def dup(self) -> NoReturn:
        refuse("dup")

    def makefile(self, *_: Any, **__: Any) -> NoReturn:
        refuse("makefile")

    def sendfile(self, *_: Any, **__: Any) -> NoReturn:
        refuse("sendfile")

    def recvmsg_into(self, *_: Any) -> NoReturn:
        refuse("recvmsg_into")


def recorded_sockets(tape: TapeWriter) -> type[socket.socket]:  # noqa: C901  # a class, not a course of events
    """Return the class of the sockets that write to *tape*: the hot calls find all that they need in this closure."""
    note, plain, crc32 = tape.append, socket.socket, zlib.crc32
    plain_recv, plain_send = plain.recv, plain.send

    def noted(sock: socket.socket, operation: str, asked: Any, call: Callable[[], T]) -> T:
        """Return what *call* returns, and note it."""
        fd = sock.fileno()
        try:
            answer = call()
        except ERRORS as error:
            note((operation, fd, asked, None, error_of(error)))
            raise
        note((operation, fd, asked, answer))
        return answer

    class RecordedSocket(Unrecorded):
        __slots__ = ()  # a plain socket can become one of these

        def recv(self, size: int, flags: int = 0) -> bytes:
            try:
                data = plain_recv(self, size, flags)
            except ERRORS as error:
                note(("recv", self.fileno(), size, None, error_of(error)))
                raise
            note(("recv", self.fileno(), size, data))
            return data

        def send(self, data: Any, flags: int = 0) -> int:
            try:
                sent = plain_send(self, data, flags)
            except ERRORS as error:
                note(("send", self.fileno(), crc32(data), None, error_of(error)))
                raise
            note(("send", self.fileno(), crc32(data), sent))
            return sent

        def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
            def receive() -> bytes:
                count = plain.recv_into(self, buffer, size, flags)
                return bytes(memoryview(buffer).cast("B")[:count])

            return len(noted(self, "recv_into", size, receive))

        def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
            return noted(self, "recvfrom", size, lambda: plain.recvfrom(self, size, flags))

        def recvfrom_into(self, buffer: Any, size: int = 0, flags: int = 0) -> tuple[int, Any]:
            def receive() -> tuple[bytes, Any]:
                count, peer = plain.recvfrom_into(self, buffer, size, flags)
                return bytes(memoryview(buffer).cast("B")[:count]), peer

            data, peer = noted(self, "recvfrom_into", size, receive)
            return len(data), peer

        def recvmsg(self, size: int, room: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, Any]:
            if room:
                refuse("recvmsg with ancillary data")
            return noted(self, "recvmsg", size, lambda: plain.recvmsg(self, size, 0, flags))

        def sendto(self, data: Any, *where: Any) -> int:
            return noted(self, "sendto", (crc32(data), where[-1]), lambda: plain.sendto(self, data, *where))

        def sendmsg(self, buffers: Any, *more: Any) -> int:
            if more and more[0]:
                refuse("sendmsg with ancillary data")
            buffers = list(buffers)
            return noted(self, "sendmsg", crc32(b"".join(buffers)), lambda: plain.sendmsg(self, buffers, *more))

        def sendall(self, data: Any, flags: int = 0) -> None:
            noted(self, "sendall", crc32(data), lambda: plain.sendall(self, data, flags))

        def accept(self) -> tuple[socket.socket, Any]:
            fd = self.fileno()
            try:
                number, peer = self._accept()  # type: ignore[attr-defined]
            except ERRORS as error:
                note(("accept", fd, None, None, error_of(error)))
                raise
            note(("accept", fd, None, (number, peer)))
            return RecordedSocket(self.family, self.type, self.proto, fileno=number), peer

        def connect(self, address: Any) -> None:
            noted(self, "connect", address, lambda: plain.connect(self, address))

        def connect_ex(self, address: Any) -> int:
            return noted(self, "connect_ex", address, lambda: plain.connect_ex(self, address))

        def bind(self, address: Any) -> None:
            noted(self, "bind", address, lambda: plain.bind(self, address))

        def listen(self, *backlog: int) -> None:
            noted(self, "listen", backlog, lambda: plain.listen(self, *backlog))

        def shutdown(self, how: int) -> None:
            noted(self, "shutdown", how, lambda: plain.shutdown(self, how))

        def getsockname(self) -> Any:
            return noted(self, "getsockname", None, lambda: plain.getsockname(self))

        def getpeername(self) -> Any:
            return noted(self, "getpeername", None, lambda: plain.getpeername(self))

        def getsockopt(self, *option: int) -> Any:
            return noted(self, "getsockopt", option, lambda: plain.getsockopt(self, *option))

        def setsockopt(self, *option: Any) -> None:
            noted(self, "setsockopt", option, lambda: plain.setsockopt(self, *option))

        def close(self) -> None:
            if self.fileno() >= 0:
                noted(self, "close", None, lambda: plain.close(self))

    RecordedSocket.__name__ = RecordedSocket.__qualname__ = "RecordedSocket"
    return RecordedSocket
