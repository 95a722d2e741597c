"""What the tests share: selectors to run on, handlers that remember what they heard, sockets in awkward states."""

from __future__ import annotations

import contextlib
import errno
import pathlib
import selectors
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from reactor import CloseKind, CloseReason, ErrorContext, Handler, Reactor, Stream
from reactor.poller import READ
from reactor.system import Socket
from reactor.testing import Host
from reactor.testing.sockets import SimulatedSocket
from tests.worlds import System

#: Every selector that this platform has.
SELECTORS: tuple[Callable[[], selectors.BaseSelector], ...] = tuple(
    getattr(selectors, name)
    for name in ("SelectSelector", "PollSelector", "EpollSelector", "DevpollSelector", "KqueueSelector")
    if hasattr(selectors, name)
)

#: A test that waits longer than this has failed. Seconds.
PATIENCE = 20.0


@attrs.define(eq=False, kw_only=True, repr=False)
class Watched(Reactor):
    """A reactor that remembers what was raised; the `reactor` fixture fails a test that did not expect it."""

    raised: list[ErrorContext] = attrs.field(init=False, factory=list)

    def on_error(self, context: ErrorContext) -> None:
        self.raised.append(context)

    def until(self, predicate: Callable[[], object]) -> None:
        """Serve until *predicate* holds; fail if it does not within the test's patience."""
        assert self.run_until(predicate, timeout=PATIENCE), f"still not true; {self.dump()}"

    def until_closed(self, stream: Recorder) -> None:
        """Serve until *stream* has heard on_close."""
        self.until(lambda: stream.events[-1:] == ["close"])

    def turn(self, passes: int = 1) -> None:
        """Make passes that do not wait."""
        for _ in range(passes):
            self.run_once(0)


@attrs.define(eq=False)
class Recorder(Stream):
    """A stream that writes down every hook, and may do something from inside each."""

    act: dict[str, Callable[[Recorder], object]] = attrs.field(factory=dict)
    events: list[str] = attrs.field(init=False, factory=list)
    received: bytearray = attrs.field(init=False, factory=bytearray)

    def hear(self, event: str) -> None:
        self.events.append(event)
        if event in self.act:
            self.act[event](self)

    def on_connect(self) -> None:
        self.hear("connect")

    def on_data(self, data: bytes) -> None:
        self.received += data
        self.hear("data")

    def on_end(self) -> None:
        self.hear("end")
        if "end" not in self.act:
            super().on_end()

    def on_pause(self) -> None:
        self.hear("pause")

    def on_drain(self) -> None:
        self.hear("drain")

    def on_timeout(self, kind: str) -> None:
        self.hear("timeout")
        super().on_timeout(kind)

    def on_error(self, exc: Exception) -> None:
        self.hear("error")

    def on_close(self, reason: CloseReason) -> None:
        self.hear("close")

    @property
    def kind(self) -> CloseKind | None:
        return None if self.reason is None else self.reason.kind


@attrs.define(eq=False)
class Watcher(Handler):
    """A bare handler: what it wants is set by the test, what it hears is counted."""

    wants: int = READ
    act: Callable[[Watcher], object] | None = None
    heard: list[str] = attrs.field(init=False, factory=list)

    @property
    def interest(self) -> int:
        return self.wants

    def on_readable(self) -> None:
        self.heard.append("readable")
        if self.act is not None:
            self.act(self)

    def on_writable(self) -> None:
        self.heard.append("writable")
        if self.act is not None:
            self.act(self)

    def on_close(self, reason: CloseReason) -> None:
        self.heard.append("close")


class Clock(System):
    """A system whose clock stands still until nothing is ready, then jumps to where the loop would have waited to."""

    def __init__(self) -> None:
        #: How long the loop wanted to wait, each time.
        self.waits: list[float | None] = []
        if not isinstance(self, Host):  # a simulation has such a clock
            self._moment = 1000.0
            self.monotonic = lambda: self._moment

    @property
    def moment(self) -> float:
        return self.monotonic()

    @moment.setter
    def moment(self, moment: float) -> None:
        if isinstance(self, Host):
            self.sim.now = moment
        else:
            self._moment = moment

    def selector(self) -> selectors.BaseSelector:
        return Jumping(super().selector(), self)


class Wrapping(selectors.BaseSelector):
    """A selector that has another one do its work."""

    def __init__(self, inner: selectors.BaseSelector) -> None:
        self.inner = inner

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self.inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.inner.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return self.inner.select(timeout)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self.inner.get_map()

    def close(self) -> None:
        self.inner.close()


class Jumping(Wrapping):
    """Never waits: moves its clock instead."""

    def __init__(self, inner: selectors.BaseSelector, clock: Clock) -> None:
        super().__init__(inner)
        self.clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.clock.waits.append(timeout)
        if isinstance(self.clock, Host):
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "the loop would wait for ever"
            self.clock.moment += timeout
        return ready


@contextlib.contextmanager
def listening(backlog: int = 16, family: int = socket.AF_INET) -> Iterator[socket.socket]:
    """A blocking listener on loopback that no reactor knows of."""
    with socket.socket(family) as listener:
        listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        listener.listen(backlog)
        listener.settimeout(PATIENCE)
        yield listener


@contextlib.contextmanager
def hole(family: int = socket.AF_INET) -> Iterator[Any]:
    """The address of a listener whose queue is full, so that the kernel drops each SYN: nobody ever answers there.

    Linux; see tcp(7), `tcp_abort_on_overflow`.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listening(0, family))
        for _ in range(3):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets; both with a timeout, so that a test cannot hang."""
    with listening() as listener:
        here = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
        there, _ = listener.accept()
        there.settimeout(PATIENCE)
        return here, there


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected Unix sockets."""
    here, there = socket.socketpair()
    there.settimeout(PATIENCE)
    return here, there


PAIRS = (tcp_pair, unix_pair)


def exists(path: pathlib.Path) -> bool:
    """Tell whether the file of a Unix socket is there, in the world of the test."""
    return System().socket_file(str(path)) is not None


def reset(sock: socket.socket) -> None:
    """Close by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def read_all(sock: socket.socket) -> bytes:
    """Read until the peer ends."""
    read = bytearray()
    while chunk := sock.recv(65536):
        read += chunk
    return bytes(read)


def fill(sock: socket.socket) -> int:
    """Write until the kernel takes no more; return how much it took."""
    sock.setblocking(False)
    taken = 0
    try:
        while True:
            taken += sock.send(b"x" * 65536)
    except BlockingIOError:
        return taken


def jam(stream: Stream) -> int:
    """Write until the kernel takes no more, and a little is queued; return how many bytes were written in all."""
    written = 0
    while not stream.buffered:
        stream.write(b"j" * 65536)
        written += 65536
    return written


class Refusing(Wrapping):
    """A selector that is full when *left* more descriptors have been registered, or handed from one handler to another."""

    def __init__(self, error: Exception) -> None:
        super().__init__(selectors.DefaultSelector())
        self.error, self.left = error, 100

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.left == 0:
            raise self.error
        self.left -= 1
        return super().register(fileobj, events, data)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if data is not self.inner.get_key(fileobj).data:
            self.unregister(fileobj)  # as the stdlib's do
            return self.register(fileobj, events, data)
        return super().modify(fileobj, events, data)


class Fault(System):
    """A system whose sockets fail as they are told: `faults["accept"] = [errno, …]`, taken one by one, then no more."""

    def __init__(self) -> None:
        self.faults: dict[str, list[int | BaseException]] = {}
        self.calls: Counter[str] = Counter()

    def socket(self, family: int) -> Socket:
        self.trip("socket")
        return self.wrap(super().socket(family))

    def send_file(self, sock: Socket, fd: int, offset: int, count: int) -> int:
        self.trip("send_file")
        return super().send_file(sock, fd, offset, count)

    def trip(self, call: str) -> int:
        """Raise, or return, what the next call of this name is to give; 0 for nothing."""
        self.calls[call] += 1
        waiting = self.faults.get(call, [])
        if not waiting:
            return 0
        fault = waiting.pop(0)
        if isinstance(fault, BaseException):
            raise fault
        if call in ("connect_ex", "so_error"):
            return fault
        raise OSError(fault, errno.errorcode[fault])

    def wrap(self, sock: Socket) -> Socket:
        """Return a faulty socket in place of *sock*."""
        timeout = sock.gettimeout()
        if isinstance(sock, SimulatedSocket):
            assert isinstance(self, Host)
            sock.detach()
            return SimulatedFaultySocket(self, sock.end, timeout)
        faulty = FaultySocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        faulty.settimeout(timeout)
        faulty.fault = self
        return faulty


class Virtual(Fault, Clock):
    """Both: sockets that fail, and a clock that jumps."""

    def __init__(self) -> None:
        Fault.__init__(self)
        Clock.__init__(self)


class FaultySocket(socket.socket):
    """A socket that asks its system before each call whether it is to fail."""

    fault: Fault

    def accept(self) -> tuple[socket.socket, Any]:
        self.fault.trip("accept")
        return super().accept()

    def recv(self, *args: Any) -> bytes:
        self.fault.trip("recv")
        return super().recv(*args)

    def send(self, data: Any, *args: int) -> int:
        self.fault.trip("send")
        return super().send(data, *args)

    def sendmsg(self, *args: Any) -> int:
        self.fault.trip("send")
        return super().sendmsg(*args)

    def connect_ex(self, address: Any) -> int:
        return self.fault.trip("connect_ex") or super().connect_ex(address)

    def getpeername(self) -> Any:
        self.fault.trip("getpeername")
        return super().getpeername()

    def getsockname(self) -> Any:
        self.fault.trip("getsockname")
        return super().getsockname()

    def setsockopt(self, *args: Any) -> None:
        self.fault.trip("setsockopt")
        super().setsockopt(*args)

    def getsockopt(self, *args: Any) -> Any:
        self.fault.trip("getsockopt")
        return super().getsockopt(*args)

    def shutdown(self, how: int) -> None:
        self.fault.trip("shutdown")
        super().shutdown(how)

    def listen(self, *args: int) -> None:
        self.fault.trip("listen")
        super().listen(*args)

    def bind(self, address: Any) -> None:
        self.fault.trip("bind")
        super().bind(address)


class SimulatedFaultySocket(FaultySocket, SimulatedSocket):
    """One in the simulation."""

    @property
    def fault(self) -> Fault:  # type: ignore[override]
        assert isinstance(self._host, Fault)
        return self._host


def faults(reactor: Watched, **calls: list[int | BaseException]) -> None:
    """Have the next calls of these names, on the system and its sockets, fail with these errnos."""
    assert isinstance(reactor.system, Fault)
    reactor.system.faults.update(calls)
