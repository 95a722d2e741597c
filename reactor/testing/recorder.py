"""Recorder: the real operating system, with everything that it answers written to a journal.

What is noted is what comes in: readiness, bytes, errnos, descriptor numbers, readings of the clock, names that were looked
up, signals, and what threads have sent, each where the loop took it. Of what goes out a checksum is noted, by which a replay
knows its program. What cannot be replayed is refused here, when it is recorded.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Self, TypeVar

import attrs

from reactor.errors import UsageError
from reactor.system import Gone, Inbox, SignalAction, Socket, System
from reactor.testing.owner import OneThread
from reactor.testing.recorded import ERRORS, RecordedInbox, RecordedSelector, error_of, recorded_sockets
from reactor.testing.tape import Header, Record, TapeWriter

T = TypeVar("T")


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
    _make_selector: Callable[[], selectors.BaseSelector] = attrs.field(default=selectors.DefaultSelector, alias="selector")
    tape: TapeWriter = attrs.field(init=False, repr=False)
    _note: Callable[[Record], None] = attrs.field(init=False, repr=False)
    _real: System = attrs.field(init=False, factory=System)
    _socket_class: type[socket.socket] = attrs.field(init=False, repr=False)
    _actions: dict[int, SignalAction] = attrs.field(init=False, factory=dict)
    _before: dict[int, SignalAction] = attrs.field(init=False, factory=dict)
    _open: bool = attrs.field(init=False, default=True)

    def __attrs_post_init__(self) -> None:
        from importlib.metadata import PackageNotFoundError, version

        library = "from source"
        with contextlib.suppress(PackageNotFoundError):
            library = version("selector-reactor")
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Time and threads

    def monotonic(self) -> float:
        now = time.monotonic()
        if threading.get_ident() == self.owner:
            self._note(now)
        return now

    def time(self) -> float:
        now = time.time()
        if threading.get_ident() == self.owner:
            self._note(("time", None, None, now))
        return now

    def enter(self) -> int:
        self._note(("enter", None, None, None))
        return super().enter()

    def inbox(self) -> Inbox:
        return RecordedInbox(self._note, self, self._next_inbox())

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
        except ERRORS as error:
            self._note((operation, None, asked, None, error_of(error)))
            raise
        self._note((operation, None, asked, sock.fileno()))
        return sock

    def _ask(self, operation: str, asked: Any, call: Callable[[], T]) -> T:
        """Return what *call* returns, and note it."""
        self.claim(operation)
        try:
            answer = call()
        except ERRORS as error:
            self._note((operation, None, asked, None, error_of(error)))
            raise
        self._note((operation, None, asked, answer))
        return answer

    def random(self) -> float:
        return self._ask("random", None, self._real.random)

    # Names

    def getaddrinfo(self, host: str | None, port: int, *, family: int = 0, flags: int = 0) -> list[tuple[int, Any]]:
        asked = (host, port, int(family), int(flags))
        if threading.get_ident() == self.owner:
            return self._ask("getaddrinfo", asked, lambda: self._real.getaddrinfo(host, port, family=family, flags=flags))
        # In another thread: a replay finds it by what was asked, as soon as it has come to this record.
        try:
            found = self._real.getaddrinfo(host, port, family=family, flags=flags)
        except ERRORS as error:
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

    # What a descriptor is at

    def hung_up(self, fds: Sequence[int]) -> dict[int, Gone]:
        found = self._ask("hung_up", list(fds), lambda: [(fd, gone.name) for fd, gone in self._real.hung_up(fds).items()])
        return {fd: Gone[name] for fd, name in found}

    def progress(self, sock: Socket) -> tuple[int, int] | None:
        return self._ask("progress", sock.fileno(), lambda: self._of_plain(sock, self._real.progress))

    def unread(self, sock: Socket) -> None:
        """Tell nothing: where it is asked, Python's profiler would have to hear the calls, of which a replay makes none."""

    def idle_seconds(self, sock: Socket) -> float | None:
        return self._ask("idle_seconds", sock.fileno(), lambda: self._of_plain(sock, self._real.idle_seconds))

    def _of_plain(self, sock: Socket, question: Callable[[Socket], T]) -> T:
        """Return the real system's answer about *sock*; what it asks the socket on its way is no record of its own."""
        plain = socket.socket(sock.family, sock.type, sock.proto, fileno=sock.fileno())
        try:
            return question(plain)
        finally:
            plain.detach()

    # Files that are sent. Their numbers may be others in a replay.

    def file_size(self, fd: int) -> int:
        return self._ask("file_size", None, lambda: self._real.file_size(fd))

    def send_file(self, sock: Socket, fd: int, offset: int, count: int) -> int:
        return self._ask("send_file", (sock.fileno(), offset, count), lambda: self._real.send_file(sock, fd, offset, count))

    def read_at(self, fd: int, offset: int, count: int) -> bytes:
        return self._ask("read_at", (offset, count), lambda: self._real.read_at(fd, offset, count))

    # Signals

    def get_signal(self, number: int) -> SignalAction:
        action = self._actions.get(number) if number in self._actions else self._real.get_signal(number)
        self._note(("get_signal", None, int(number), action_code(action)))
        return action

    def set_signal(self, number: int, action: SignalAction) -> SignalAction:
        try:
            before = self._install(number, action)
        except ERRORS as error:
            self._note(("set_signal", None, _plain_number(number), None, error_of(error)))
            raise
        self._note(("set_signal", None, int(number), action_code(before)))
        return before

    def _install(self, number: int, action: SignalAction) -> SignalAction:
        """Set *action*; where it is Python code, what is really set is `_struck`, which notes that it came."""
        before = self._actions.get(number)
        if callable(action):
            self._actions[number] = action  # first, since the signal may come at once
        try:
            found = self._real.set_signal(number, self._struck if callable(action) else action)
        except BaseException:
            self._actions.pop(number, None)  # of a number that can have no action
            raise
        if callable(action):
            self._before.setdefault(number, found)
        else:
            self._actions.pop(number, None)
        return found if before is None else before

    def _struck(self, number: int, frame: FrameType | None) -> None:
        self._note(("signal", None, number, None))
        action: Any = self._actions[number]
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
    """Return a signal's action as the journal keeps it: SIG_DFL, SIG_IGN by number, Python's own by name, or "own"."""
    if action is signal.default_int_handler:
        return "default_int_handler"
    return "own" if callable(action) else None if action is None else int(action)
