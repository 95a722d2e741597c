"""Spins are found, told of once and parked; whoever makes progress is never accused."""

from __future__ import annotations

import errno
import io
import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from reactor import READ, WRITE, Handler, Stream, System
from reactor import spin as module
from reactor.system import Socket
from reactor.testing import Simulation
from tests.kit import PATIENCE, Clock, Watched, Watcher, fill, listening, tcp_pair, unix_pair

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="who is accused elsewhere depends on what is told"
)

#: Enough for one look, and for everything that follows from it.
PASSES = module.LOOK_EVERY_PASSES + module.READY_PASSES + module.MEASURED_PASSES + 2

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[tcp_pair, unix_pair], ids=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    here, there = request.param()
    with here, there:
        yield here, there


@pytest.fixture
def unix() -> Iterator[Pair]:
    here, there = unix_pair()
    with here, there:
        yield here, there


@pytest.fixture
def reactor() -> Iterator[Watched]:
    """A reactor on the platform's best selector, not in debug mode, in which hooks are always looked at."""
    with Watched() as made:
        yield made
    assert not made.raised, made.raised


def innocent(reactor: Watched) -> bool:
    """Make passes enough for several looks; tell whether nobody was accused."""
    reactor.turn(3 * PASSES)
    return reactor.stats().spins == 0


def test_a_handler_that_never_reads_is_told_of_and_parked(reactor: Watched, pair: Pair, logs: list[str]) -> None:
    """One report, with its interest and error, and the loop calls it no more for a while."""
    handler = reactor.attach(Watcher(), pair[0])
    pair[1].send(b"x")
    reactor.turn(PASSES)
    (told,) = logs
    logs.clear()
    assert f"<Watcher fd={handler.fileno()}> spins" in told
    assert "interest read, SO_ERROR: no error" in told
    assert "made at" not in told
    assert reactor.stats().spins == 1
    assert handler.interest == READ
    heard = len(handler.heard)
    reactor.turn(5)
    assert len(handler.heard) == heard
    assert "parked: read" in reactor.dump()


def test_where_it_was_made_is_told_in_debug_mode(unix: Pair, logs: list[str]) -> None:
    """The report names the line that attached it."""
    with Watched(debug=True) as reactor:
        reactor.attach(Watcher(), unix[0])
        unix[1].send(b"x")
        reactor.turn(PASSES)
    assert f"made at {__file__}:" in logs.pop()


def test_it_is_parked_for_longer_each_time_and_told_of_once(pair: Pair, logs: list[str]) -> None:
    """The time off the selector is doubled, up to a bound: an hour of spinning costs passes by the thousand, not million."""
    with Watched(system=Clock()) as reactor:
        reactor.attach(Watcher(), pair[0])
        pair[1].send(b"x")
        reactor.run_until(lambda: False, timeout=3600)
        stats = reactor.stats()
    assert len(logs) == 1
    logs.clear()
    assert 3600 / module.PARK_SECONDS_MAX <= stats.spins < 3600 / module.PARK_SECONDS_MAX + 10
    assert stats.passes < PASSES + 20 * stats.spins


def test_it_is_back_when_its_interest_changes(reactor: Watched, pair: Pair, logs: list[str]) -> None:
    """Parking is for the interest that was found spinning; another one holds at once, and so does the old one after it."""
    handler = reactor.attach(Watcher(), pair[0])
    pair[1].send(b"x")
    reactor.turn(PASSES)
    logs.clear()
    handler.wants = READ | WRITE
    handler.refresh()
    handler.heard.clear()
    reactor.turn()
    assert handler.heard == ["readable", "writable"]
    handler.wants = READ
    handler.refresh()
    reactor.turn()
    assert handler.heard == ["readable", "writable", "readable"]


def test_one_direction_is_parked_and_the_other_is_served(reactor: Watched, pair: Pair, logs: list[str]) -> None:
    """A handler that always wants to write and never does still hears what comes."""
    handler = reactor.attach(
        Watcher(READ | WRITE, act=lambda each: each.heard[-1] == "readable" and each.sock.recv(9)), pair[0]
    )
    reactor.turn(PASSES)
    assert "its on_writable moves nothing" in logs.pop()
    handler.heard.clear()
    pair[1].send(b"x")
    reactor.until(lambda: handler.heard)
    assert handler.heard == ["readable"]


def test_one_that_moves_again_is_accused_anew(reactor: Watched, logs: list[str]) -> None:
    """After progress the next spin is an episode of its own: told of, and parked for a short time."""
    here, there = tcp_pair()
    with there:
        handler = reactor.attach(Watcher(), here)
        there.send(b"xy")
        reactor.turn(PASSES)
        handler.sock.recv(1)
        handler.wants = WRITE
        handler.refresh()
        handler.wants = READ
        handler.refresh()
        reactor.turn(PASSES)
    assert len(logs) == 2
    logs.clear()


def test_an_end_that_nobody_takes_is_a_spin(reactor: Watched, pair: Pair, logs: list[str]) -> None:
    """A hook that reads b"" for ever moves nothing, although it reads."""
    reactor.attach(Watcher(act=lambda handler: handler.sock.recv(10)), pair[0])
    pair[1].close()
    reactor.turn(PASSES)
    assert "its on_readable moves nothing" in logs.pop()


def test_a_call_that_fails_moves_nothing(reactor: Watched, unix: Pair, logs: list[str]) -> None:
    """Reading from the wrong socket, again and again, clears nobody."""
    wrong, peer = unix_pair()

    def act(handler: Watcher) -> None:
        with pytest.raises(BlockingIOError):
            wrong.recv(1)

    with wrong, peer:
        wrong.setblocking(False)
        reactor.attach(Watcher(act=act), unix[0])
        unix[1].send(b"x")
        reactor.turn(PASSES)
    assert len(logs) == 1
    logs.clear()


def test_the_error_is_told(reactor: Watched, logs: list[str]) -> None:
    """What SO_ERROR says stands in the report."""
    here, there = tcp_pair()
    there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    reactor.attach(Watcher(WRITE), here)
    reactor.turn()
    there.close()
    reactor.turn(PASSES)
    assert "SO_ERROR: ECONNRESET" in logs.pop()


def test_a_socket_that_cannot_tell_its_error_is_told_of_all_the_same(unix: Pair, logs: list[str]) -> None:
    """The report never fails."""

    class Mute(socket.socket):
        def getsockopt(self, *args: Any) -> Any:
            if args[1] == socket.SO_ERROR:
                raise OSError(errno.EBADF, "closed")
            return super().getsockopt(*args)

    with Watched() as reactor:
        reactor.attach(Watcher(), Mute(fileno=unix[0].detach()))
        unix[1].send(b"x")
        reactor.turn(PASSES)
    assert "SO_ERROR: [Errno 9] closed" in logs.pop()


def test_what_a_call_may_have_moved() -> None:
    """By its name, and by whose it is: a socket's or a file's own descriptor, or that of anybody."""
    here, there = unix_pair()
    with here, there:
        assert module.moved_by(here.recv) == (READ, here.fileno())
        assert module.moved_by(here.send) == (WRITE, here.fileno())
        assert module.moved_by(here.getpeername) == (0, None)
    assert module.moved_by(os.read) == (READ, None)
    assert module.moved_by(io.BytesIO().write) == (WRITE, None)  # it has no descriptor, and says so
    assert module.moved_by(len) == (0, None)


# The innocent


def test_many_tiny_reads_are_progress(reactor: Watched, pair: Pair) -> None:
    """A full buffer that is read byte by byte, and filled again as fast, is never taken for a spin."""
    fill(pair[1])

    def act(handler: Watcher) -> None:
        handler.sock.recv(1)
        try:
            pair[1].send(b"x")
        except BlockingIOError:
            pass

    reactor.attach(Watcher(act=act), pair[0])
    assert innocent(reactor)


@pytest.mark.parametrize("read", [lambda sock: sock.recv_into(bytearray(7)), lambda sock: os.read(sock.fileno(), 7)])
def test_every_way_to_read_is_progress(reactor: Watched, unix: Pair, read: Callable[[socket.socket], object]) -> None:
    """What is refilled as fast as it is read looks the same to the kernel, and is told by the calls that were made."""

    def act(handler: Watcher) -> None:
        read(handler.sock)
        unix[1].send(b"seven b")

    unix[1].send(b"seven bytes and more")
    reactor.attach(Watcher(act=act), unix[0])
    assert innocent(reactor)


def test_while_more_comes_the_benefit_is_the_suspects(reactor: Watched, unix: Pair) -> None:
    """If what waits becomes more, something may have been read as well: who cannot be convicted is not accused."""

    def act(handler: Watcher) -> None:
        if reactor.passes >= module.LOOK_EVERY_PASSES:  # before that, it would be full
            unix[1].send(b"x")

    reactor.attach(Watcher(act=act), unix[0])
    unix[1].send(b"x")
    reactor.turn(PASSES)
    assert reactor.stats().spins == 0


def test_to_read_later_is_progress(reactor: Watched, unix: Pair) -> None:
    """A hook that has another one read, in the next pass, is innocent."""

    def read(handler: Watcher) -> None:
        handler.sock.recv(1)
        unix[1].send(b"x")

    unix[1].send(b"xx")
    reactor.attach(Watcher(act=lambda handler: handler.call_soon(read, handler)), unix[0])
    assert innocent(reactor)


def test_a_write_ready_stream_is_innocent(reactor: Watched, pair: Pair) -> None:
    """One that sends in every pass as much as its peer reads is ready all the time, and moves all the time."""

    def act(handler: Watcher) -> None:
        handler.sock.send(b"x")
        pair[1].recv(1)

    reactor.attach(Watcher(WRITE, act=act), pair[0])
    assert innocent(reactor)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def test_an_accept_storm_is_innocent(reactor: Watched, family: int) -> None:
    """A listener that is ready in every pass, and accepts in every pass."""
    with socket.socket(family) as listener:
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else "\0reactor-test-storm")
        listener.listen(16)
        address = listener.getsockname()

        def call() -> None:
            with socket.socket(family) as client:
                client.settimeout(PATIENCE)
                client.connect(address)

        def act(handler: Watcher) -> None:
            handler.sock.accept()[0].close()
            call()

        reactor.attach(Watcher(act=act), listener)
        call()
        call()
        assert innocent(reactor)


def test_a_listener_that_never_accepts_is_a_spin(reactor: Watched, logs: list[str]) -> None:
    """Whoever waits in its queue makes it ready for ever."""
    with listening() as listener, socket.create_connection(listener.getsockname()):
        reactor.attach(Watcher(), listener)
        reactor.turn(PASSES)
        reactor.close()
    assert len(logs) == 1
    logs.clear()


def test_what_the_kernel_cannot_tell_accuses_nobody(unix: Pair) -> None:
    """Where nothing is counted, a handler may spin: better than to park one that does not."""

    class Blind(System):
        def progress(self, sock: Socket) -> None:
            return None

        def unread(self, sock: Socket) -> None:
            return None

    with Watched(system=Blind()) as reactor:
        reactor.attach(Watcher(), unix[0])
        unix[1].send(b"x")
        assert innocent(reactor)


def test_a_profiler_of_the_users_is_left_alone(reactor: Watched, unix: Pair) -> None:
    """While somebody else profiles, nobody is accused by what was called."""
    calls: list[str] = []

    def profile(frame: object, event: str, arg: object) -> None:
        calls.append(event)

    reactor.attach(Watcher(), unix[0])
    unix[1].send(b"x")
    sys.setprofile(profile)
    try:
        assert innocent(reactor)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)


def test_to_leave_the_loop_ends_the_listening_in(unix: Pair) -> None:
    """`run` may return in the middle of a look: no profile function is left behind."""
    seen: list[object] = []

    def act(handler: Watcher) -> None:
        if (profile := sys.getprofile()) is not None:
            seen.append(profile)
            handler.reactor.stop()

    with Watched() as reactor:
        reactor.attach(Watcher(act=act), unix[0])
        unix[1].send(b"x")
        reactor.run()
        assert seen
        assert sys.getprofile() is None


def test_a_handler_that_ends_meanwhile_is_forgotten(reactor: Watched, unix: Pair) -> None:
    """A suspect that is closed, or is ready no more, is none."""
    handler = reactor.attach(Watcher(), unix[0])
    unix[1].send(b"x")
    reactor.turn(module.LOOK_EVERY_PASSES + 3)
    handler.close()
    assert innocent(reactor)


def test_a_pass_in_which_it_is_not_ready_ends_the_suspicion(reactor: Watched, unix: Pair) -> None:
    """Suspects are those of passes in a row."""
    reactor.attach(Watcher(act=lambda handler: handler.sock.recv(10)), unix[0])
    for _ in range(3 * PASSES // 2):
        unix[1].send(b"x")
        reactor.turn(2)
    assert reactor.stats().spins == 0


def test_in_a_simulation_too(logs: list[str]) -> None:
    """A spin on a simulated network is found; there, time stands still meanwhile."""
    with Simulation(checks=False) as sim, sim.reactor(debug=False) as reactor:
        here, there = sim.sockets.socketpair()
        handler = reactor.attach(Handler(), here)
        there.send(b"x")
        with there:
            assert not sim.run(lambda: False, timeout=100)
            assert reactor.stats().spins > 1
            assert handler.is_open
    assert len(logs) == 1
    logs.clear()


@attrs.define(eq=False)
class Sink(Stream):
    """Takes everything."""


def test_streams_of_the_library_are_innocent(reactor: Watched, pair: Pair) -> None:
    """A stream that is flooded reads in every pass, however full its buffer stays."""
    reactor.attach(Sink(), pair[0])
    pair[1].setblocking(False)
    for _ in range(2 * PASSES):
        try:
            pair[1].send(b"x" * 70000)
        except BlockingIOError:
            pass
        reactor.turn()
    assert reactor.stats().spins == 0
