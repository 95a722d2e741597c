"""Who is off the selector still notices that the peer is gone, by one look a second for all of them."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from reactor import CloseKind, CloseReason, RateLimit, Reactor, Stream
from reactor import hangups as module
from reactor.extras import BUDGET
from reactor.system import Gone
from reactor.testing import Hang, Simulation
from tests.kit import PAIRS, Clock, Recorder, Watched, fill, reset, tcp_pair, unix_pair
from tests.testing.kit import Client, world

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere poll may not tell")


class Counting(Clock):
    """Counts the looks."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[list[int]] = []
        self.answer: dict[int, Gone] | None = None

    def hung_up(self, fds: Sequence[int]) -> dict[int, Gone]:
        self.looks.append(list(fds))
        return super().hung_up(fds) if self.answer is None else self.answer


def paused(reactor: Reactor, sock: socket.socket) -> Recorder:
    """A stream that has connected and paused."""
    stream = reactor.attach(Recorder(), sock)
    reactor.run_once(0)
    stream.pause()
    return stream


@linux
def test_trap_13_a_paused_stream_notices_a_reset(virtual: Watched) -> None:
    """Closed within two seconds, reason RESET, although nothing is read and nothing written."""
    here, there = tcp_pair()
    stream = paused(virtual, here)
    there.send(b"unread")
    reset(there)
    before = virtual.time()
    virtual.until_closed(stream)
    assert stream.kind is CloseKind.RESET
    assert virtual.time() - before <= 2 * module.LOOK_SECONDS
    assert stream.events == ["connect", "close"]


@linux
def test_a_unix_stream_notices_a_reset(virtual: Watched) -> None:
    """A Unix peer that closes with unread bytes has reset."""
    here, there = unix_pair()
    stream = paused(virtual, here)
    stream.write(b"unread")
    there.close()
    virtual.until_closed(stream)
    assert stream.kind is CloseKind.RESET


@pytest.mark.parametrize("pair", PAIRS)
def test_trap_15_an_end_changes_nothing_until_resume(virtual: Watched, pair: Callable[[], Any]) -> None:
    """A FIN is a hint: the data before it is heard first, the end after `resume`."""
    here, there = pair()
    stream = paused(virtual, here)
    there.send(b"last words")
    there.close()
    virtual.run_until(lambda: False, timeout=10)
    assert stream.events == ["connect"]
    assert "peer ended" in virtual.dump() or "peer hung up" in virtual.dump() or not sys.platform.startswith("linux")
    stream.resume()
    virtual.until_closed(stream)
    assert stream.received == b"last words"
    assert stream.events == ["connect", "data", "end", "close"]


@linux
@pytest.mark.parametrize("pair", PAIRS)
def test_a_stream_that_has_ended_reading_notices_a_reset(virtual: Watched, pair: Callable[[], Any]) -> None:
    """It stays open to write, has nothing to write, and hears that nobody will ever read."""
    here, there = pair()
    stream = virtual.attach(Recorder(act={"end": lambda _: None}), here)
    there.shutdown(socket.SHUT_WR)
    virtual.until(lambda: "end" in stream.events)
    virtual.run_until(lambda: False, timeout=5)
    assert stream.is_open
    if pair is tcp_pair:
        reset(there)
    else:
        there.close()
    virtual.until_closed(stream)
    assert stream.kind is CloseKind.RESET


def test_one_look_for_all_and_none_for_nobody() -> None:
    """Every second, one call for all who are away; when nobody is, the loop does not wake up."""
    system = Counting()
    with Watched(system=system, debug=True) as reactor:
        pairs = [unix_pair() for _ in range(3)]
        streams = [paused(reactor, here) for here, _ in pairs]
        reactor.run_until(lambda: False, timeout=10.5)
        assert len(system.looks) == 10
        assert all(len(look) == 3 for look in system.looks)
        for stream in streams:
            stream.resume()
        reactor.run_until(lambda: False, timeout=2)
        passes, looks = reactor.stats().passes, len(system.looks)
        reactor.run_until(lambda: False, timeout=1000)
        assert reactor.stats().passes - passes <= 1
        assert len(system.looks) == looks
        streams[0].pause()
        streams[1].pause()
        streams[1].close()
        reactor.run_until(lambda: False, timeout=1.5)
        assert system.looks[-1] == [streams[0].fileno()]
        for _, there in pairs:
            there.close()


def test_looks_do_not_keep_run_going(virtual: Watched) -> None:
    """Housekeeping: when nothing else is alive, `run` returns."""
    here, there = unix_pair()
    stream = paused(virtual, here)
    stream.unref()
    virtual.run()
    assert stream.is_open
    there.close()


@linux
@pytest.mark.parametrize("why", ["rate", "budget"])
def test_whoever_may_not_read_notices_a_reset(virtual: Watched, why: str) -> None:
    """A stream that its rate, or the reactor's budget, keeps from reading is off the selector as one that has paused."""
    here, there = tcp_pair()
    stream = virtual.attach(Recorder(), here)
    virtual.turn()
    if why == "rate":
        stream.limit_rate(read=RateLimit(0.001, burst=1))
        there.send(b"xyz")
        virtual.turn(3)
        assert stream.received == b"x"
    else:
        stream._hold_reading(BUDGET, on=True)
    assert not stream._told
    reset(there)
    virtual.run_until(lambda: stream.reason, timeout=2 * module.LOOK_SECONDS + 0.1)
    assert stream.kind is CloseKind.RESET


def test_an_error_that_is_none_closes_nobody() -> None:
    """POLLERR without SO_ERROR is somebody's error queue; a socket that cannot be asked says nothing either."""
    system = Counting()
    with Watched(system=system, debug=True) as reactor:
        here, there = unix_pair()
        stream = paused(reactor, here)
        system.answer = {stream.fileno(): Gone.BROKEN}
        reactor.run_until(lambda: False, timeout=3)
        assert stream.is_open
        there.close()


def test_what_a_hook_closes_meanwhile_is_not_told_again() -> None:
    """Two who are gone are told of by one look; each hears once."""
    system = Counting()
    with Watched(system=system, debug=True) as reactor:
        pairs = [tcp_pair() for _ in range(2)]
        streams = [paused(reactor, here) for here, _ in pairs]
        for _, there in pairs:
            reset(there)
        reactor.run_until(lambda: all(stream.reason for stream in streams), timeout=5)
        assert [stream.events.count("close") for stream in streams] == [1, 1]


def test_a_stream_that_still_sends_is_told_by_its_send(virtual: Watched) -> None:
    """With bytes queued it is on the selector, and nobody needs to look."""
    here, there = tcp_pair()
    stream = virtual.attach(Recorder(), here)
    virtual.turn()
    fill(here)
    stream.write(b"queued")
    stream.pause()
    reset(there)
    virtual.until_closed(stream)
    assert stream.kind is CloseKind.RESET


@linux
@pytest.mark.kernel("about poll(2) itself")
def test_the_system_tells_who_is_gone_and_how(virtual: Watched) -> None:
    """An end, both ends, an error; who is alive is not mentioned, nor is a number that names nothing."""
    system = virtual.system
    here, there = tcp_pair()
    with here, there:
        assert system.hung_up([here.fileno(), 10**6]) == {}
        there.shutdown(socket.SHUT_WR)
        assert system.hung_up([here.fileno()]) == {here.fileno(): Gone.ENDED}
        here.shutdown(socket.SHUT_WR)
        assert system.hung_up([here.fileno()]) == {here.fileno(): Gone.HUNG_UP}
    here, there = tcp_pair()
    with here:
        reset(there)
        assert system.hung_up([here.fileno()]) == {here.fileno(): Gone.BROKEN}


@pytest.mark.kernel("about poll(2) itself")
def test_without_poll_nobody_is_gone(virtual: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that has no poll(2) notices nothing, as before."""
    monkeypatch.delattr("select.poll", raising=False)
    assert virtual.system.hung_up([0]) == {}


# In a simulation


class Pausing(Client):
    """Pauses at once."""

    def on_connect(self) -> None:
        super().on_connect()
        self.pause()


def test_a_simulated_reset_is_noticed() -> None:
    """A server that aborts is noticed by a paused client on another host."""
    with world() as here:
        client = here.connect(Pausing())
        here.sim.run(lambda: here.serving.stats().connections, timeout=5)
        here.sim.advance(5)
        assert client.is_open
        for handler in list(here.serving.handlers):
            if isinstance(handler, Stream):
                handler.abort()
        here.until_closed(client)
        assert client.kind is CloseKind.RESET


def test_a_simulated_end_is_a_hint() -> None:
    """A paused client whose server has closed is open until it resumes."""
    with world() as here:
        client = here.connect(Pausing(message=b"hello"))
        here.sim.advance(1)
        for handler in list(here.serving.handlers):
            if isinstance(handler, Stream):
                handler.close()
        here.sim.advance(5)
        assert client.is_open
        assert "peer" in here.reactor.dump()
        client.resume()
        here.until_closed(client)
        assert client.received == b"hello"


def test_a_hang_is_told_although_somebody_is_paused() -> None:
    """Looks after the paused are not taken for life: a program that waits for nothing hangs, and is told so."""
    with Simulation() as sim, sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        reactor.attach(stream := Client(), here)
        reactor.run_once(0)
        stream.pause()
        with there, pytest.raises(Hang, match="looks at who is paused"):
            reactor.run()


def test_a_simulation_ends_although_somebody_is_paused() -> None:
    """Nothing can happen any more but looks: a run without a deadline ends, one with a deadline goes on to it."""
    with Simulation() as sim, sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        reactor.attach(stream := Client(), here)
        sim.run(lambda: stream.is_writable)
        stream.pause()
        with there:
            assert not sim.run(lambda: False)
            assert sim.now < 1100
            assert not sim.run(lambda: False, timeout=5000)
            assert sim.now > 6000
            heard: list[int] = []
            reactor.call_later(10, heard.append, 1)
            assert sim.run(lambda: heard)


def test_a_parked_handler_is_as_the_poller_was_told() -> None:
    """In a simulation, too, whoever is parked has an interest that the selector does not know of."""
    with Simulation() as sim, sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        reactor.attach(stream := Client(), here)
        reactor.run_once(0)
        with there:
            reactor.poller.park(stream, stream.interest)
            there.send(b"x")
            sim.advance(1)
            assert stream.received == b""
            reactor.poller.unpark(stream)
            sim.run(lambda: stream.received)
        assert stream.received == b"x"


def test_a_reason_is_that_of_the_error() -> None:
    """What the kernel says is in the reason, once and for all."""
    reasons: list[CloseReason] = []

    class Telling(Recorder):
        def on_close(self, reason: CloseReason) -> None:
            reasons.append(reason)

    with Watched(system=Clock(), debug=True) as reactor:
        here, there = tcp_pair()
        stream = reactor.attach(Telling(), here)
        reactor.turn()
        stream.pause()
        reset(there)
        reactor.run_until(lambda: reasons, timeout=5)
    if reasons and isinstance(reasons[0].error, OSError) and sys.platform.startswith("linux"):
        assert reasons[0].error.errno == errno.ECONNRESET


def test_a_simulated_kernel_tells_what_it_keeps() -> None:
    """Progress of all its sockets together; not who has been idle, nor what waits."""
    with Simulation() as sim:
        here, there = sim.sockets.socketpair()
        with here, there:
            before = sim.progress(here)
            there.send(b"x")
            assert sim.progress(here) > before
            assert sim.idle_seconds(here) is None
            assert sim.unread(here) is None
