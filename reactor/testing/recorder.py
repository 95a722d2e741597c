"""Recorder: the real operating system, with everything that it answers written to a journal.

What is noted is what comes in: readiness, bytes, errnos, descriptor numbers, readings of the clock, looked-up names, signals,
and what threads have sent, each where the loop took it. Of what goes out, a length and a checksum is noted, by which a replay
knows its program. What cannot be replayed is refused here, when it is recorded. The program's own sockets, from elsewhere,
become recorded ones when a handler gets them.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn, TypeVar

import attrs

from reactor.errors import UsageError
from reactor.loop import Loop
from reactor.system import Inbox, Socket, SignalAction, System
from reactor.testing.owner import OneThread
from reactor.testing.tape import BLOCK_RECORDS, Header, Record, TapeWriter

T = TypeVar("T")

#: What is noted stays in memory no longer than this, when nothing more happens.
QUIET_SECONDS = 0.05

#: What a call of the system may raise, and a replay can raise again.
_ERRORS = (OSError, ValueError, TypeError, OverflowError, LookupError)


def error_of(error: BaseException) -> tuple[str, tuple[Any, ...]]:
    """Return *error* as the journal keeps it."""
    if isinstance(error, socket.gaierror):
        return "gaierror", error.args
    if isinstance(error, OSError):
        return "OSError", (error.errno, error.strerror)
    return type(error).__name__, error.args


def label(call: Any) -> tuple[str, str]:
    """Return the name of a call that a thread has sent, and what else tells it from others: plain arguments, a descriptor."""
    if call is None:
        return "stop", ""
    callback, args, _ = call
    if getattr(callback, "__func__", None) is Loop._call_queued_once:
        callback, args = args[0]
    name = getattr(callback, "__qualname__", type(callback).__name__)
    fd = getattr(getattr(callback, "__self__", None), "_fd", "")
    plain = [value for value in args if isinstance(value, (str, bytes, int, float))]
    return name, f"{fd}:{zlib.crc32(repr(plain).encode('utf-8', 'replace')):08x}"


@attrs.define(eq=False)
class Recorder(OneThread):
    """A system for one program's reactors, all in one thread, that writes a journal.

    Args:
        path: the journal; replaced.
        ring_bytes: keep only the last so many bytes, in memory; they are written when user code has raised, on *dump_on*, or
            by `dump`. Such a journal can be shown, and replayed only as long as nothing has been dropped.
        dump_on: a signal on which the ring is written.
        selector: makes the selector; by default the platform's best.
    """

    path: str
    ring_bytes: int | None = None
    dump_on: int | None = None
    _make_selector: Callable[[], selectors.BaseSelector] = selectors.DefaultSelector
    tape: TapeWriter = attrs.field(init=False, repr=False)
    _note: Callable[[Record], None] = attrs.field(init=False, repr=False)
    _real: System = attrs.field(init=False, factory=System)
    _socket_class: type[socket.socket] = attrs.field(init=False, repr=False)
    _actions: dict[int, SignalAction] = attrs.field(init=False, factory=dict)
    _before: dict[int, SignalAction] = attrs.field(init=False, factory=dict)
    _open: bool = attrs.field(init=False, default=True)

    def __attrs_post_init__(self) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            library = version("selector-reactor")
        except PackageNotFoundError:
            library = "from source"
        self.tape = TapeWriter(self.path, self.ring_bytes, Header(library=library))
        self._note = self.tape.append
        self._socket_class = recorded_sockets(self.tape)
        if self.is_main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._install(signal.SIGINT, signal.default_int_handler)
            if self.dump_on is not None:
                self._before[self.dump_on] = signal.signal(self.dump_on, lambda _, __: self.dump())

    def dump(self) -> None:
        """Write what is in the ring to the journal."""
        self.tape.dump()

    def close(self) -> None:
        """End the journal, and put Ctrl-C and *dump_on* back. The reactors must be closed. Closing twice is allowed."""
        if not self._open:
            return
        self._open = False
        self._note(("end", None, None, None))
        if self.is_main_thread():
            for number, before in self._before.items():
                if number == self.dump_on or signal.getsignal(number) == self._struck:
                    signal.signal(number, before)
        self.tape.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Time and threads

    def monotonic(self) -> float:  # type: ignore[override]
        now = time.monotonic()
        if threading.get_ident() == self.owner:
            self._note(now)
        return now

    def time(self) -> float:  # type: ignore[override]
        now = time.time()
        if threading.get_ident() == self.owner:
            self._note(("time", None, None, now))
        return now

    def enter(self) -> int:
        self._note(("enter", None, None, None))
        return super().enter()

    def inbox(self) -> Inbox:
        return RecordedInbox(self, self._next_inbox())

    def note_error(self, where: str, error: BaseException) -> None:
        self._note(("raised", None, where, type(error).__name__))
        self.dump()

    # Sockets and the selector

    def selector(self) -> selectors.BaseSelector:
        return self.adopt_selector(self._make_selector())

    def adopt_selector(self, selector: selectors.BaseSelector) -> selectors.BaseSelector:
        self.claim("Reactor()")
        return RecordedSelector(selector, self.tape)

    def socket(self, family: int) -> Socket:
        def make() -> Socket:
            sock = self._socket_class(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            return sock

        return self._made("socket", int(family), make)

    def socketpair(self) -> tuple[Socket, Socket]:
        pair = self._real.socketpair()
        return self.adopt(pair[0]), self.adopt(pair[1])

    def doorbell(self) -> tuple[Socket, Socket]:
        """Return a pair whose ringing end is not recorded: who rings, and when, shows in what the other end receives."""
        reader, writer = self._real.socketpair()
        return self.adopt(reader), writer

    def adopt(self, sock: Socket) -> Socket:
        if isinstance(sock, self._socket_class):
            return sock
        if type(sock) is not socket.socket:
            raise UsageError(f"a recording has plain sockets only, not a {type(sock).__name__}: TLS is not covered")
        # In place, since the caller goes on using this object. The layouts are the same: no slots are added.
        sock.__class__ = self._socket_class
        self._note(("adopt", None, None, (sock.fileno(), int(sock.family), int(sock.type), sock.proto)))
        return sock

    def _made(self, operation: str, asked: Any, make: Callable[[], Socket]) -> Socket:
        self.claim(operation)
        try:
            sock = make()
        except _ERRORS as error:
            self._note((operation, None, asked, None, error_of(error)))
            raise
        self._note((operation, None, asked, sock.fileno()))
        return sock

    def _ask(self, operation: str, asked: Any, call: Callable[[], T]) -> T:
        """Return what *call* returns, and note it."""
        self.claim(operation)
        try:
            answer = call()
        except _ERRORS as error:
            self._note((operation, None, asked, None, error_of(error)))
            raise
        self._note((operation, None, asked, answer))
        return answer

    # Names

    def getaddrinfo(self, host: str | None, port: int, *, flags: int = 0) -> list[tuple[int, Any]]:
        asked = (host, port, int(flags))
        if threading.get_ident() == self.owner:
            return self._ask("getaddrinfo", asked, lambda: self._real.getaddrinfo(host, port, flags=flags))
        # In another thread: a replay finds it by what was asked, as soon as it has come to this record.
        try:
            found = self._real.getaddrinfo(host, port, flags=flags)
        except _ERRORS as error:
            self._note(("lookup", None, asked, None, error_of(error)))
            raise
        self._note(("lookup", None, asked, found))
        return found

    def sockaddr(self, address: Any) -> Any:
        return self._ask("sockaddr", str(address), lambda: self._real.sockaddr(address))

    def has_dualstack_ipv6(self) -> bool:
        return self._ask("has_dualstack_ipv6", None, self._real.has_dualstack_ipv6)

    def is_open(self, fd: int) -> bool:
        return self._ask("is_open", fd, lambda: self._real.is_open(fd))

    # Signals

    def get_signal(self, number: int) -> SignalAction:
        action = self._actions.get(number) if number in self._actions else self._real.get_signal(number)
        self._note(("get_signal", None, int(number), action_code(action)))
        return action

    def set_signal(self, number: int, action: SignalAction) -> SignalAction:
        try:
            before = self._install(number, action)
        except _ERRORS as error:
            self._note(("set_signal", None, _plain_number(number), None, error_of(error)))
            raise
        self._note(("set_signal", None, int(number), action_code(before)))
        return before

    def _install(self, number: int, action: SignalAction) -> SignalAction:
        """Set *action*; where it is Python code, what is really set is `_struck`, which notes that it came."""
        found = self._real.set_signal(number, self._struck if callable(action) else action)
        before = self._actions.pop(number, found)
        if callable(action):
            self._actions[number] = action
            self._before.setdefault(number, found)
        return before

    def _struck(self, number: int, frame: FrameType | None) -> None:
        action = self._actions.get(number)
        self._note(("signal", None, number, None))
        if callable(action):
            action(number, frame)

    def set_wakeup_fd(self, fd: int) -> int:
        return self._ask("set_wakeup_fd", None, lambda: self._real.set_wakeup_fd(fd))

    def ring(self, fd: int, signals: bytes) -> None:
        self._ask("ring", (fd, signals), lambda: self._real.ring(fd, signals))

    def raise_signal(self, number: int) -> None:
        self._note(("raise_signal", None, int(number), None))
        self.tape.flush()  # it may be the last thing that happens
        self._real.raise_signal(number)

    # The files of Unix sockets

    @contextlib.contextmanager
    def directory_lock(self, path: str) -> Iterator[bool]:
        with contextlib.ExitStack() as held:
            yield self._ask("directory_lock", path, lambda: held.enter_context(self._real.directory_lock(path)))

    def socket_file(self, path: str) -> tuple[int, int] | None:
        return self._ask("socket_file", path, lambda: self._real.socket_file(path))

    def is_socket_alive(self, path: str) -> bool:
        return self._ask("is_socket_alive", path, lambda: self._real.is_socket_alive(path))

    def absolute(self, path: str) -> str:
        return self._ask("absolute", path, lambda: self._real.absolute(path))

    def unlink(self, path: str) -> None:
        self._ask("unlink", path, lambda: self._real.unlink(path))

    def set_permissions(self, path: str, mode: int, owner: int | str | None, group: int | str | None) -> None:
        asked = (path, mode, owner, group)
        self._ask("set_permissions", asked, lambda: self._real.set_permissions(path, mode, owner, group))


def _plain_number(number: Any) -> Any:
    return int(number) if isinstance(number, int) else repr(number)


def action_code(action: SignalAction) -> int | str | None:
    """Return a signal's action as the journal keeps it: SIG_DFL and SIG_IGN by number, Python's own by name, others as "own"."""
    if action is signal.default_int_handler:
        return "default_int_handler"
    return "own" if callable(action) else None if action is None else int(action)


class RecordedInbox(Inbox):
    """Notes what was taken, when, and in which order."""

    def __init__(self, recorder: Recorder, number: int) -> None:
        super().__init__()
        self._recorder, self._number = recorder, number

    def take(self) -> list[Any]:
        calls = super().take()
        self._recorder._note(("take", None, self._number, tuple(map(label, calls))))
        return calls

    def __bool__(self) -> bool:
        waiting = len(self) > 0
        if threading.get_ident() == self._recorder.owner:
            self._recorder._note(("waiting", None, self._number, waiting))
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
        except _ERRORS as error:
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
        except _ERRORS as error:
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


def recorded_sockets(tape: TapeWriter) -> type[socket.socket]:
    """Return the class of the sockets that write to *tape*. Their hot calls are closures, and nothing more than they need."""
    note, plain, crc32 = tape.append, socket.socket, zlib.crc32
    plain_recv, plain_send = plain.recv, plain.send

    def noted(sock: socket.socket, operation: str, asked: Any, call: Callable[[], T]) -> T:
        """Return what *call* returns, and note it."""
        fd = sock.fileno()
        try:
            answer = call()
        except _ERRORS as error:
            note((operation, fd, asked, None, error_of(error)))
            raise
        note((operation, fd, asked, answer))
        return answer

    class RecordedSocket(socket.socket):
        __slots__ = ()  # a plain socket can become one of these

        def recv(self, size: int, flags: int = 0) -> bytes:  # type: ignore[override]
            try:
                data = plain_recv(self, size, flags)
            except _ERRORS as error:
                note(("recv", self.fileno(), size, None, error_of(error)))
                raise
            note(("recv", self.fileno(), size, data))
            return data

        def send(self, data: Any, flags: int = 0) -> int:  # type: ignore[override]
            try:
                sent = plain_send(self, data, flags)
            except _ERRORS as error:
                note(("send", self.fileno(), crc32(data), None, error_of(error)))
                raise
            note(("send", self.fileno(), crc32(data), sent))
            return sent

        def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:  # type: ignore[override]
            def receive() -> bytes:
                count = plain.recv_into(self, buffer, size, flags)
                return bytes(memoryview(buffer).cast("B")[:count])

            return len(noted(self, "recv_into", size, receive))

        def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:  # type: ignore[override]
            return noted(self, "recvfrom", size, lambda: plain.recvfrom(self, size, flags))

        def recvfrom_into(self, buffer: Any, size: int = 0, flags: int = 0) -> tuple[int, Any]:  # type: ignore[override]
            def receive() -> tuple[bytes, Any]:
                count, peer = plain.recvfrom_into(self, buffer, size, flags)
                return bytes(memoryview(buffer).cast("B")[:count]), peer

            data, peer = noted(self, "recvfrom_into", size, receive)
            return len(data), peer

        def recvmsg(self, size: int, room: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, Any]:  # type: ignore[override]
            if room:
                refuse("recvmsg with ancillary data")
            return noted(self, "recvmsg", size, lambda: plain.recvmsg(self, size, 0, flags))

        def sendto(self, data: Any, *where: Any) -> int:  # type: ignore[override]
            return noted(self, "sendto", (crc32(data), where[-1]), lambda: plain.sendto(self, data, *where))

        def sendmsg(self, buffers: Any, *more: Any) -> int:  # type: ignore[override]
            if more and more[0]:
                refuse("sendmsg with ancillary data")
            buffers = list(buffers)
            return noted(self, "sendmsg", crc32(b"".join(buffers)), lambda: plain.sendmsg(self, buffers, *more))

        def sendall(self, data: Any, flags: int = 0) -> None:  # type: ignore[override]
            noted(self, "sendall", crc32(data), lambda: plain.sendall(self, data, flags))

        def accept(self) -> tuple[socket.socket, Any]:
            fd = self.fileno()
            try:
                number, peer = self._accept()  # type: ignore[attr-defined]
            except _ERRORS as error:
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

        def listen(self, *backlog: int) -> None:  # type: ignore[override]
            noted(self, "listen", backlog, lambda: plain.listen(self, *backlog))

        def shutdown(self, how: int) -> None:
            noted(self, "shutdown", how, lambda: plain.shutdown(self, how))

        def getsockname(self) -> Any:
            return noted(self, "getsockname", None, lambda: plain.getsockname(self))

        def getpeername(self) -> Any:
            return noted(self, "getpeername", None, lambda: plain.getpeername(self))

        def getsockopt(self, *option: int) -> Any:  # type: ignore[override]
            return noted(self, "getsockopt", option, lambda: plain.getsockopt(self, *option))

        def setsockopt(self, *option: Any) -> None:  # type: ignore[override]
            noted(self, "setsockopt", option, lambda: plain.setsockopt(self, *option))

        def close(self) -> None:
            if self.fileno() >= 0:
                noted(self, "close", None, lambda: plain.close(self))

        def detach(self) -> int:
            refuse("detach")

        def dup(self) -> NoReturn:  # type: ignore[override]
            refuse("dup")

        def makefile(self, *_: Any, **__: Any) -> NoReturn:
            refuse("makefile")

        def sendfile(self, *_: Any, **__: Any) -> NoReturn:
            refuse("sendfile")

        def recvmsg_into(self, *_: Any) -> NoReturn:
            refuse("recvmsg_into")

    RecordedSocket.__name__ = RecordedSocket.__qualname__ = "RecordedSocket"
    return RecordedSocket


def refuse(what: str) -> NoReturn:
    """Raise for a call of a socket that a replay could not answer."""
    raise UsageError(f"a recorded socket has no {what}: what it leads to would not be in the journal")
