"""The ways in which other reactors have gone wrong, each by its number, on every selector.

A trap that a module's own tests spring in several ways is sprung here once more, on whole programs where it can be.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from reactor import (
    READ,
    WRITE,
    Acceptor,
    Address,
    CloseKind,
    CloseReason,
    Connector,
    DelayError,
    Handler,
    Limits,
    Reactor,
    Stream,
    Unsupported,
)
from reactor.errnos import ACCEPT, Accepting
from tests.kit import (
    Clock,
    Fault,
    Jumping,
    Recorder,
    Virtual,
    Watched,
    Watcher,
    fill,
    jam,
    listening,
    read_all,
    reset,
    tcp_pair,
    unix_pair,
)


def system_of(reactor: Watched) -> Fault:
    assert isinstance(reactor.system, Fault)
    return reactor.system


class Made(list[Recorder]):
    """A factory that keeps what it makes."""

    def __call__(self) -> Recorder:
        self.append(Recorder())
        return self[-1]


@attrs.define(eq=False)
class Outcome(Connector):
    """How an attempt ended: "connected", or the errno."""

    ended: list[object] = attrs.field(init=False, factory=list)

    def on_connect(self, sock: socket.socket) -> None:
        self.ended.append("connected")
        sock.close()

    def on_failed(self, exc: Exception) -> None:
        self.ended.append(exc.errno if isinstance(exc, OSError) else exc)


def dead_address() -> tuple[str, int]:
    with listening() as listener:
        host, port = listener.getsockname()
        return host, port


# Readiness and connect


def test_trap_1_a_fresh_socket_is_not_registered(reactor: Watched) -> None:
    """A socket that has not begun to connect is reported as writable; nobody asks before connect says "in progress"."""
    with socket.socket() as fresh:
        connector = Outcome(dead_address())
        reactor.adopt(connector, fresh)
        reactor.turn()
        assert connector.ended == []
        connector.cancel()


def test_trap_2_and_3_one_connect_and_one_so_error(faulty: Watched) -> None:
    """The kernel forgets the error when it has told it: it is read once, and connect is called once."""
    connector = Outcome(dead_address()).start(faulty)
    faulty.run()
    assert connector.ended == [errno.ECONNREFUSED]
    assert system_of(faulty).calls["connect_ex"] == 1
    assert system_of(faulty).calls["getsockopt"] == 1


def test_trap_4_eagain_of_a_unix_connect_is_not_in_progress(reactor: Watched, tmp_path: Any) -> None:
    """With a full backlog nothing is connected, whatever poll says; when there is room, it is."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(path)
        listener.listen(0)
        fillers = []
        while True:
            filler = stack.enter_context(socket.socket(socket.AF_UNIX))
            filler.setblocking(False)
            if filler.connect_ex(path):
                break
            fillers.append(filler)
        connector = Outcome(f"unix:{path}").start(reactor)
        for _ in range(20):
            reactor.run_once(0.002)
        assert connector.ended == []
        for _ in fillers:
            listener.accept()[0].close()
        reactor.until(lambda: connector.ended)
        assert connector.ended == ["connected"]


def test_trap_5_success_at_once_is_told_from_the_loop(reactor: Watched, tmp_path: Any) -> None:
    """No event will complete it, and the caller of connect is still on the stack."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        handler = Recorder()
        reactor.connect(handler, tmp_path / "s")
        assert handler.events == []
        reactor.turn()
        assert handler.events == ["connect"]


def test_trap_6_any_event_ends_a_failed_connect(reactor: Watched) -> None:
    """Refused with only one bit reported, whichever: the failure is found."""
    for hook in ("on_readable", "on_writable"):
        connector = Outcome(dead_address()).start(reactor)
        with selectors.DefaultSelector() as other:
            other.register(connector.sock, WRITE)
            assert other.select(20)
        getattr(connector, hook)()
        reactor.turn()
        assert connector.ended == [errno.ECONNREFUSED]


def test_trap_8_data_in_the_event_of_the_completion(reactor: Watched) -> None:
    """A banner that came with the completion is read, though nothing else ever comes."""
    with listening() as listener:
        handler = Recorder()
        reactor.connect(handler, listener.getsockname())
        there, _ = listener.accept()
        with there:
            there.send(b"220 ready")
            reactor.until(lambda: handler.received)
            assert handler.events == ["connect", "data"]


def test_trap_9_a_self_connect_is_a_refusal(faulty: Watched) -> None:
    """A socket whose two names are one has connected to itself: it is thrown away, and nobody reads his own bytes."""
    address = dead_address()
    real = system_of(faulty).socket

    def bound(family: int) -> socket.socket:
        sock = real(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        return sock

    faulty.system.socket = bound  # type: ignore[method-assign]
    handler = Recorder()
    faulty.connect(handler, address)
    faulty.run()
    assert handler.events == ["close"]
    assert handler.reason is not None
    assert isinstance(handler.reason.error, OSError)
    assert handler.reason.error.errno == errno.ECONNREFUSED


def test_trap_11_losers_are_closed_and_their_numbers_belong_to_others(virtual: Watched) -> None:
    """Two addresses are connected in one batch: one wins, and who gets the loser's number hears nothing of its event."""
    newcomers: list[Watcher] = []

    def connected(stream: Recorder) -> None:
        here, there = unix_pair()
        newcomers.append(virtual.attach(Watcher(wants=READ | WRITE), here))
        newcomers.append(virtual.attach(Watcher(wants=READ), there))
        newcomers[0].wants = READ
        newcomers[0].refresh()

    with listening() as one, listening() as other:
        handler = Recorder({"connect": connected})
        virtual.connect(handler, [one.getsockname(), other.getsockname()])
        assert isinstance(virtual.system, Clock)
        virtual.system.moment += 0.25
        virtual.turn()
        virtual.turn(2)
        assert handler.events == ["connect"]
        assert [newcomer.heard for newcomer in newcomers] == [[], []]
        assert set(virtual.handlers) == {handler, *newcomers}


def test_trap_10_every_call_tolerates_readiness_for_nothing(faulty: Watched) -> None:
    """EAGAIN from recv, send and accept though "ready" closes nothing, calls nothing, and later it works."""
    here, there = unix_pair()
    with there:
        made = Made()
        acceptor = faulty.listen(made, "127.0.0.1:0")
        stream = faulty.attach(Recorder(), system_of(faulty).wrap(here))
        system_of(faulty).faults = {name: [errno.EAGAIN] * 2 for name in ("recv", "send", "accept")}
        stream.write(b"x")
        there.send(b"y")
        with socket.create_connection(("127.0.0.1", acceptor.port)):
            faulty.until(lambda: made and stream.received == b"y" and not stream.buffered)
        assert there.recv(10) == b"x"


# HUP, ERR, EOF


def test_trap_12_14_16_hang_up_with_data(reactor: Watched) -> None:
    """However a selector folds HUP and ERR: the data is read first, then the end is told, and nothing spins."""
    for pair in (tcp_pair, unix_pair):
        here, there = pair()
        stream = reactor.attach(Recorder(), here)
        there.send(b"last bytes")
        there.close()
        reactor.until_closed(stream)
        assert stream.received == b"last bytes"
        assert stream.events == ["connect", "data", "end", "close"]


@pytest.mark.parametrize("pair", [tcp_pair, unix_pair])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_trap_14_a_paused_stream_does_not_spin_on_hang_up(reactor: Watched, pair: Callable[[], Any], end: str) -> None:
    """Interest 0 is no registration: a peer that hangs up costs no pass until the stream resumes, and then is told."""
    here, there = pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()
    stream.pause()
    there.send(b"x")
    if end == "close" or pair is unix_pair:
        there.close()
    else:
        reset(there)
    assert reactor.run_once(0.01) == 0
    stream.resume()
    reactor.until(lambda: stream.events[-1] == "close")
    assert stream.received == b"x" or end == "reset"


def test_trap_15_an_end_behind_unread_data_waits(reactor: Watched) -> None:
    """Paused in the middle of what the peer sent before it ended: every byte is heard, then the end."""
    here, there = tcp_pair()
    stream = reactor.attach(Recorder(act={"data": lambda stream: stream.pause()}), here)
    sent = fill(there)
    there.close()
    while stream.events[-1:] != ["close"]:
        reactor.turn(2)
        if stream.is_open:
            stream.resume()
    assert len(stream.received) == sent
    assert stream.events[-2:] == ["end", "close"]


def test_trap_17_the_second_write_after_the_peers_close_fails(reactor: Watched) -> None:
    """The first write to a peer that is gone succeeds: success says nothing, and the failure is told by on_close."""
    here, there = tcp_pair()
    stream = reactor.attach(Recorder(act={"end": lambda _: None}), here)
    reactor.turn()
    there.close()
    reactor.until(lambda: "end" in stream.events)
    assert stream.write(b"into the void")
    while stream.write(b"again"):
        reactor.turn()
    reactor.until(lambda: stream.events[-1] == "close")
    assert stream.kind is CloseKind.RESET


def test_trap_18_a_last_reply_survives_unread_input(reactor: Watched) -> None:
    """Close reads and drops what still comes, so that no RST destroys what was sent last."""
    here, there = tcp_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()
    there.sendall(b"x" * 50_000)
    stream.write(b"refused")
    stream.close()
    there.sendall(b"x" * 50_000)
    there.shutdown(socket.SHUT_WR)
    reactor.until(lambda: not stream.is_open)
    with there:
        assert read_all(there) == b"refused"


def test_trap_20_names_may_be_gone_right_after_accept(faulty: Watched) -> None:
    """ENOTCONN and EINVAL from getsockname and setsockopt on a fresh socket do not end its handler; accept knew the peer."""
    made = Made()
    system = system_of(faulty)

    @attrs.define(eq=False)
    class Bad(Acceptor):
        def on_accept(self, sock: socket.socket, peer: Address) -> None:
            sock = system.wrap(sock)
            system.faults = {"getsockname": [errno.EINVAL], "setsockopt": [errno.EINVAL]}
            Acceptor.on_accept(self, sock, peer)

    bad = Bad(made).listen(faulty, ":0")
    with socket.create_connection(("127.0.0.1", bad.port)) as client:
        client.send(b"x")
        faulty.until(lambda: made and made[0].received)
        assert str(made[0].peer) == f"127.0.0.1:{client.getsockname()[1]}"


# Accept


def test_trap_21_exhaustion_is_one_rest(selector: Callable[[], selectors.BaseSelector], logs: list[str]) -> None:
    """EMFILE with a hundred clients waiting: one accept, one log line, one timer; then everybody is served."""
    made, system = Made(), Virtual()
    with Watched(selector=Jumping(selector(), system), system=system, debug=True) as faulty, contextlib.ExitStack() as stack:
        acceptor = faulty.listen(made, "127.0.0.1:0")
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", acceptor.port)))
        system_of(faulty).faults = {"accept": [errno.EMFILE]}
        system_of(faulty).calls.clear()
        faulty.turn(5)
        assert system_of(faulty).calls["accept"] == 1
        assert len(faulty.timers) == 1
        faulty.until(lambda: len(made) == 100)
    assert len(logs) == 1
    logs.clear()


def test_trap_22_errors_of_one_connection_are_its_own() -> None:
    """Whatever accept(2) passes on of one connection's troubles, the next one is accepted."""
    for name in ("ECONNABORTED", "EPROTO", "EINTR", "ENETDOWN", "EPERM", "EHOSTUNREACH", "ETIMEDOUT", "ECONNRESET"):
        assert ACCEPT[getattr(errno, name)] is Accepting.SKIP


def test_trap_23_a_flood_of_clients_starves_nobody(reactor: Watched) -> None:
    """Beside a full accept queue, another handler is served in every pass."""
    acceptor = reactor.listen(Recorder, "127.0.0.1:0")
    here, there = unix_pair()
    stream = reactor.attach(Recorder(), here)
    with there, contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", acceptor.port)))
        acceptor._batch = acceptor.options.accepts_per_pass
        there.send(b"x")
        reactor.run_once(0)
        assert reactor.stats().accepted <= acceptor.options.accepts_per_pass
        assert stream.received == b"x"


def test_trap_24_a_factory_that_raises_costs_one_connection(reactor: Watched) -> None:
    """The listener lives, the descriptor is closed, the client sees a reset."""

    def factory() -> Stream:
        raise ValueError("no")

    acceptor = reactor.listen(factory, "127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", acceptor.port), timeout=20) as client:
        reactor.until(lambda: reactor.raised)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert acceptor.is_open
    reactor.raised.clear()


def test_trap_25_accepted_sockets_never_block(reactor: Watched) -> None:
    """Whether or not the platform hands the flag down, and whatever default timeout a program has set."""
    made = Made()
    socket.setdefaulttimeout(7)
    try:
        acceptor = reactor.listen(made, "127.0.0.1:0")
        with socket.create_connection(("127.0.0.1", acceptor.port)):
            reactor.until(lambda: made)
            assert made[0].sock.gettimeout() == 0
            assert acceptor.sock.gettimeout() == 0
    finally:
        socket.setdefaulttimeout(None)


# Identity, batches, re-entrancy


def test_trap_26_same_batch_fd_reuse(reactor: Watched) -> None:
    """In one batch A closes B, and C gets B's number: C hears nothing of B's event."""
    (a, a_peer), (b, b_peer) = unix_pair(), unix_pair()
    strangers: list[Watcher] = []
    extra: list[socket.socket] = []

    def replace(victim: Watcher) -> None:
        if not victim.is_open:
            return
        number = victim.fileno()
        victim.close()
        here, there = unix_pair()
        if here.fileno() != number:
            here.close()
            here = socket.socket(fileno=os.dup2(there.fileno(), number))
        extra.append(there)
        strangers.append(reactor.attach(Watcher(), here))
        assert strangers[0].fileno() == number

    first, second = Watcher(), Watcher()
    first.act = lambda _: replace(second)
    second.act = lambda _: replace(first)
    reactor.attach(first, a)
    reactor.attach(second, b)
    for peer in (a_peer, b_peer):
        peer.send(b"x")
    reactor.run_once(0)
    assert len(strangers) == 1
    assert strangers[0].heard == []
    assert sorted([first.heard, second.heard]) == [["close"], ["readable"]]
    for sock in (a_peer, b_peer, *extra):
        sock.close()


def test_trap_27_unregister_then_close(reactor: Watched) -> None:
    """A thousand sockets opened and closed on the same few numbers: no stale registration, no error."""
    for _ in range(1000):
        here, there = unix_pair()
        handler = reactor.attach(Watcher(), here)
        handler.close()
        there.close()
    reactor.turn()
    assert len(reactor.poller.selector.get_map()) == 1


@pytest.mark.kernel("duplicates a descriptor")
def test_trap_28_a_duplicate_does_not_keep_a_registration(reactor: Watched) -> None:
    """A descriptor with a living duplicate is deregistered before it is closed: nothing is reported afterwards."""
    here, there = unix_pair()
    with there, socket.socket(fileno=os.dup(here.fileno())):
        handler = reactor.attach(Watcher(), here)
        reactor.turn(2)
        handler.close()
        reactor.turn()
        there.send(b"x")
        assert reactor.run_once(0.01) == 0
        assert handler.heard == ["close"]


def test_trap_29_no_write_event_after_a_read_hook_closed(reactor: Watched) -> None:
    """Both bits in one event: what the first call closed does not get the second."""
    here, there = unix_pair()
    with there:
        handler = reactor.attach(Watcher(READ | WRITE, act=lambda handler: handler.close()), here)
        there.send(b"x")
        reactor.turn()
        assert handler.heard == ["readable", "close"]


def test_trap_30_secondary_hooks_are_never_nested(reactor: Watched) -> None:
    """write, close, abort, end, pause and resume from inside a hook call no hook before they return."""
    depth: list[int] = [0]
    deepest: list[int] = [0]

    def nest(stream: Recorder) -> None:
        depth[0] += 1
        deepest[0] = max(deepest[0], depth[0])
        if stream.is_open:
            stream.resume()
            if stream.is_writable:
                stream.write(b"x" * 300_000)
            if len(stream.events) > 20:
                stream.close(timeout=0)
        depth[0] -= 1

    here, there = tcp_pair()
    hooks: dict[str, Callable[[Recorder], object]] = dict.fromkeys(
        ("connect", "data", "end", "pause", "drain", "timeout", "close"), nest
    )
    stream = reactor.attach(Recorder(hooks), here)
    stream.limits = Limits(linger=0.01)
    there.setblocking(False)
    while stream.events[-1:] != ["close"]:
        with contextlib.suppress(OSError):
            there.send(b"x")
            there.recv(1 << 20)
        reactor.turn()
    there.close()
    assert deepest == [1]


def test_trap_31_hooks_may_change_everything_that_is_iterated(reactor: Watched) -> None:
    """Timers that set and cancel timers, calls that queue calls, handlers that attach and close others: all in one pass."""
    handlers: list[Watcher] = []
    socks: list[socket.socket] = []

    def churn(_: object = None) -> None:
        for handler in handlers[:2]:
            handler.close()
        del handlers[:2]
        here, there = unix_pair()
        there.send(b"x")
        socks.append(there)
        handlers.append(reactor.attach(Watcher(act=churn), here))
        timers.append(reactor.call_later(0, lambda: None))
        timers.pop(0).cancel()
        reactor.call_soon(lambda: None)

    timers = [reactor.call_later(0, lambda: None) for _ in range(10)]
    for _ in range(10):
        reactor.call_soon(churn)
        reactor.call_later(0, churn)
    reactor.turn(20)
    for sock in socks:
        sock.close()


def test_trap_32_on_close_is_once(reactor: Watched) -> None:
    """close from on_close, abort after close, close from a thread: one on_close."""
    here, there = unix_pair()

    def again(stream: Recorder) -> None:
        stream.close()
        stream.abort()

    stream = reactor.attach(Recorder(act={"close": again}), here)
    with there:
        thread = threading.Thread(target=lambda: reactor.call_threadsafe(stream.abort))
        thread.start()
        thread.join()
        reactor.until(lambda: stream.events[-1:] == ["close"])
        stream.close()
        reactor.turn(2)
    assert stream.events.count("close") == 1


def test_trap_34_handlers_are_keys_and_their_repr_is_not_trusted(reactor: Watched, logs: list[str]) -> None:
    """Equal fields do not make two handlers one; buffers are not shown; an error report survives a __repr__ that raises."""
    one, two = Recorder(), Recorder()
    assert len({one, two}) == 2
    assert "_outgoing" not in repr(one)

    class Rude(Watcher):
        def __repr__(self) -> str:
            raise ValueError("no")

        def on_readable(self) -> None:
            raise KeyError("the error itself")

    here, there = unix_pair()
    with there:
        reactor.attach(Rude(), here)
        there.send(b"x")
        assert "Rude fd=" in reactor.dump()
        reactor.turn()
    (context,) = reactor.raised
    reactor.raised.clear()
    Reactor.on_error(reactor, context)  # the default, which logs
    assert "Rude fd=" in logs.pop()


# The write side


def test_trap_35_short_writes(faulty: Watched) -> None:
    """A send that takes one byte, or none, is neither an end nor the whole."""
    here, there = unix_pair()
    stream = faulty.attach(Recorder(), here)
    sent: list[int] = []

    class OneByte:
        def __getattr__(self, name: str) -> Any:
            return getattr(here, name)

        def send(self, data: Any) -> int:
            sent.append(0 if len(sent) % 2 else here.send(bytes(data)[:1]))
            return sent[-1]

    stream.sock = OneByte()  # type: ignore[assignment]
    with there:
        stream.write(b"abcdef")
        faulty.until(lambda: not stream.buffered)
        assert there.recv(100) == b"abcdef"


def test_trap_36_write_interest_is_dropped_with_the_last_byte(reactor: Watched) -> None:
    """Registered for writing exactly while something is queued, and a new write never overtakes the queue."""
    here, there = tcp_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()
    assert stream.interest == READ
    written = bytearray()
    while not stream.buffered:
        written += b"a" * 65536
        stream.write(b"a" * 65536)
    assert reactor.poller.selector.get_key(here).events == READ | WRITE
    stream.write(b"b")
    written += b"b"
    there.setblocking(False)
    read = bytearray()
    while len(read) < len(written):
        with contextlib.suppress(BlockingIOError):
            read += there.recv(1 << 20)
        reactor.turn()
    there.close()
    assert read == written
    assert reactor.poller.selector.get_key(here).events == READ


# Wake-up, time, signals


def test_trap_40_a_call_made_while_the_pipe_is_drained_is_not_lost(reactor: Watched) -> None:
    """Whatever moment a thread picks, its call is made without waiting for another."""
    made: list[str] = []
    waker = reactor._waker
    reader = waker.sock

    class Interrupting:
        def __getattr__(self, name: str) -> Any:
            return getattr(reader, name)

        def recv(self, size: int) -> bytes:
            reactor.call_threadsafe(made.append, "before")
            drained = reader.recv(size)
            reactor.call_threadsafe(made.append, "after")
            return drained

    waker.sock = Interrupting()  # type: ignore[assignment]
    try:
        reactor.call_threadsafe(made.append, "first")
        reactor.run_once(0)
    finally:
        waker.sock = reader
    reactor.run_once(20)
    assert made == ["first", "before", "after"]
    reactor.call_threadsafe(made.append, "later")
    reactor.run_once(20)
    assert made[-1] == "later"


def test_trap_41_signals_are_not_counted_by_bytes(reactor: Watched) -> None:
    """With the pipe full to the brim, a signal is heard all the same; SIGPIPE stays ignored."""
    heard: list[int] = []
    reactor.on_signal(signal.SIGUSR1, heard.append, 1)
    fill(reactor._waker._writer)
    signal.raise_signal(signal.SIGUSR1)
    reactor.turn(2)
    assert heard == [1]
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN


@pytest.mark.kernel("an interval timer interrupts a system call")
def test_trap_42_a_wait_that_is_interrupted_goes_on(reactor: Watched) -> None:
    """Signals that strike during the wait make no timer fire early, and keep none from firing."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        fired: list[float] = []
        due = reactor.time() + 0.03
        reactor.call_at(due, lambda: fired.append(reactor.time()))
        reactor.run()
        assert fired[0] >= due
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_trap_43_timeouts_are_rounded_up_and_clamped(reactor: Watched) -> None:
    """A fraction of a millisecond is not a busy loop; a year, a negative delay and NaN do not break a selector."""
    passes = reactor.stats().passes
    reactor.call_later(0.0105, lambda: None)
    reactor.run()
    assert reactor.stats().passes - passes <= 4
    far = reactor.call_later(3e8, print)
    reactor.call_later(-5, reactor.stop)
    reactor.run()
    far.cancel()
    for bad in (math.nan, math.inf):
        with pytest.raises(DelayError):
            reactor.call_later(bad, print)


def test_trap_44_now_is_fresh_after_the_wait() -> None:
    """`now` is one moment for all that a pass calls, read again after the wait."""
    with Watched(system=Clock(), debug=True) as reactor:
        seen: list[float] = []
        reactor.call_later(5, lambda: seen.append(reactor.now))
        begin = reactor.time()
        reactor.run()
        assert seen == [begin + 5]


@pytest.mark.kernel("the highest number that select takes")
def test_trap_45_a_number_too_high_for_select_is_refused_alone() -> None:
    """select raises for the whole call; the number is refused when it comes, and everybody else is served."""
    here, there = unix_pair()
    with Watched(selector=selectors.SelectSelector()) as reactor, there:
        handler = reactor.attach(Watcher(act=lambda handler: handler.close()), here)
        with socket.socket(fileno=os.dup2(there.fileno(), 1500)) as high, pytest.raises(Unsupported):
            reactor.attach(Watcher(), high)
        there.send(b"x")
        reactor.until(lambda: handler.heard)


def test_trap_46_a_descriptor_that_is_closed_is_unregistered(reactor: Watched) -> None:
    """POLLNVAL, EBADF or silence, as the selector has it: the handler of a closed descriptor ends when it is used."""
    here, there = unix_pair()
    with there:
        stream = reactor.attach(Recorder(), here)
        reactor.turn()
        here.close()
        stream.write(b"x")
        reactor.until(lambda: stream.events[-1] == "close")
        assert stream.kind is CloseKind.ERROR


@pytest.mark.kernel("a process of its own")
def test_trap_50_the_interpreter_may_end_at_any_time() -> None:
    """A program that ends with its reactor open, in a daemon thread or not, says nothing but the warning it asked for."""
    program = """
import threading
from reactor import Reactor, Stream
reactor = Reactor()
reactor.listen(Stream, "127.0.0.1:0")
started = threading.Event()
reactor.call_soon(started.set)
threading.Thread(target=reactor.run, daemon=True).start()
started.wait(20)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Complaints about others


def test_elsewhere_an_idle_loop_makes_no_passes(reactor: Watched) -> None:
    """With a listener, idle connections and a far timer, the loop sleeps: the passes are those that had work."""
    reactor.listen(Recorder, "127.0.0.1:0")
    pairs = [unix_pair() for _ in range(20)]
    for here, _ in pairs:
        reactor.attach(Recorder(), here)
    reactor.turn()
    passes = reactor.stats().passes
    reactor.call_later(0.2, reactor.stop)
    reactor.run()
    assert reactor.stats().passes - passes <= 2
    for _, there in pairs:
        there.close()


def test_elsewhere_abort_and_errors_are_not_clean_ends(reactor: Watched) -> None:
    """The peer of a stream that aborts, or whose hook raised, reads an error and not an end."""
    acts: list[Callable[[Recorder], object]] = [Recorder.abort, lambda _: 1 / 0]
    for act in acts:
        here, there = tcp_pair()
        stream = reactor.attach(Recorder(act={"data": act}), here)
        there.send(b"x")
        reactor.until_closed(stream)
        with there, pytest.raises(ConnectionResetError):
            read_all(there)
    reactor.raised.clear()


def test_elsewhere_close_is_bounded() -> None:
    """Unsent data and a peer that does not read: gone after close_timeout, with nothing lost silently."""
    here, there = tcp_pair()
    with there, Watched(system=Clock(), debug=True) as reactor:
        stream = reactor.attach(Recorder(), here)
        reactor.turn()
        jam(stream)
        begin = reactor.time()
        stream.close()
        reactor.run()
        assert reactor.time() - begin == Limits().close_timeout
        assert stream.kind is CloseKind.TIMEOUT


@pytest.mark.kernel("processes of their own")
def test_elsewhere_every_starter_of_a_path_but_one_is_refused(tmp_path: Any) -> None:
    """Eight processes race for the path of a dead server: one listens, seven are told, and the one is alive."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    program = f"""
import sys
from reactor import AddressInUse, Reactor, Stream
with Reactor() as reactor:
    try:
        reactor.listen(Stream, "unix:{path}")
    except AddressInUse:
        print("refused", flush=True)
    else:
        print("listening", flush=True)
        sys.stdin.read()
"""
    starters = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    try:
        said = sorted(starter.stdout.readline().strip() for starter in starters if starter.stdout)
        assert said == ["listening", *["refused"] * 7]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    finally:
        for starter in starters:
            starter.communicate(timeout=60)
    assert not path.exists()


def test_elsewhere_a_handler_reads_its_own_end(reactor: Watched) -> None:
    """Every connection ends with a typed reason, whoever ended it."""

    @attrs.define(eq=False)
    class Ending(Handler):
        reasons: list[CloseReason] = attrs.field(factory=list)

        def on_close(self, reason: CloseReason) -> None:
            self.reasons.append(reason)

    here, there = unix_pair()
    handler = reactor.attach(Ending(), here)
    handler.abort()
    reactor.turn()
    there.close()
    assert [reason.kind for reason in handler.reasons] == [CloseKind.LOCAL_ABORT]


def test_elsewhere_port_0_is_one_port(reactor: Watched) -> None:
    """All interfaces, both families, one port."""
    acceptor = reactor.listen(Recorder, ":0")
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, acceptor.port)).close()
    assert len({address.port for address in acceptor.addresses}) == 1  # type: ignore[union-attr]
