"""Pipes and feeds: what writes by itself, no faster than its target can send."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from reactor import CloseKind, NotConnected, NotSent, Reactor, Stream, StreamClosed, UsageError
from reactor.testing import Faults, Network, Simulation
from tests.testing.kit import Client, Echo, Quiet


@attrs.define(eq=False)
class Plain(Stream):
    """Keeps what comes."""

    received: bytearray = attrs.field(init=False, factory=bytearray)
    ended: int = attrs.field(init=False, default=0)

    def on_data(self, data: bytes) -> None:
        self.received += data

    def on_end(self) -> None:
        self.ended += 1
        self.close()

    @property
    def kind(self) -> CloseKind | None:
        return None if self.reason is None else self.reason.kind


@attrs.define(eq=False)
class Room:
    """A simulation, a reactor, and streams with their far ends."""

    sim: Simulation
    reactor: Quiet

    def stream(self) -> tuple[Plain, Any]:
        """A connected stream, and the socket at its other end."""
        here, there = self.sim.sockets.socketpair()
        there.setblocking(False)
        stream = self.reactor.attach(Plain(), here)
        self.reactor.run_once(0)
        return stream, there


@pytest.fixture
def room() -> Iterator[Room]:
    with Simulation() as sim, Quiet(system=sim) as reactor:
        yield Room(sim, reactor)


def test_a_pipe_passes_bytes_and_the_end_on(room: Room) -> None:
    """What comes on one stream goes out on the other, the end last; the hooks of the source are not called."""
    (one, far_one), (two, far_two) = room.stream(), room.stream()
    one.pipe_to(two)
    with far_one, far_two:
        far_one.send(b"hello")
        far_one.shutdown(1)
        room.sim.advance(1)
        assert (far_two.recv(100), far_two.recv(100)) == (b"hello", b"")
        assert (bytes(one.received), one.ended) == (b"", 0)
        assert (one.is_open, two.is_open) == (True, True)
    room.sim.advance(10)


def test_two_pipes_are_a_proxy(room: Room) -> None:
    """Piped to each other, both streams close when both sides have ended, in order."""
    (one, far_one), (two, far_two) = room.stream(), room.stream()
    one.pipe_to(two)
    two.pipe_to(one)
    with far_one, far_two:
        far_one.send(b"ping")
        far_one.shutdown(1)
        room.sim.advance(1)
        assert far_two.recv(10) == b"ping"
        far_two.send(b"pong")
        far_two.shutdown(1)
        room.sim.advance(1)
        assert (far_one.recv(10), far_one.recv(10)) == (b"pong", b"")
        assert (one.kind, two.kind) == (CloseKind.PEER_END, CloseKind.PEER_END)


def test_a_slow_target_slows_the_source(room: Room) -> None:
    """A far end that does not read costs no more memory than the marks allow, and loses nothing."""
    (one, far_one), (two, far_two) = room.stream(), room.stream()
    one.pipe_to(two)
    sent = received = 0
    with far_one, far_two:
        for _ in range(100):
            try:
                sent += far_one.send(b"z" * 50_000)
            except BlockingIOError:
                pass
            room.sim.advance(1)
            assert two.buffered <= two.limits.high + 2 * 65536
        assert sent < 1_000_000
        while received < sent:
            received += len(far_two.recv(1 << 20))
            room.sim.advance(1)
    room.sim.advance(5)


@pytest.mark.parametrize(
    ("end", "kinds"),
    [
        (lambda one, two: one.abort(), ("LOCAL_ABORT", "LOCAL_ABORT")),
        (lambda one, two: two.abort(), ("LOCAL_ABORT", "LOCAL_ABORT")),
        (lambda one, two: one.close(), ("LOCAL_CLOSE", None)),
        (lambda one, two: two.close(), ("LOCAL_CLOSE", "LOCAL_CLOSE")),
    ],
)
def test_ends_are_passed_on(room: Room, end: Callable[[Any, Any], None], kinds: tuple[str, str | None]) -> None:
    """A stream that breaks breaks the other one; one that closes in order lets the other finish, or closes it."""
    (one, far_one), (two, far_two) = room.stream(), room.stream()
    one.pipe_to(two)
    end(one, two)
    room.sim.advance(10)
    with far_one, far_two:
        assert tuple(each.kind and each.kind.name for each in (one, two)) == kinds
    room.sim.advance(10)


def test_a_pipe_may_be_taken_away(room: Room) -> None:
    """After `cancel` the hooks are called again, and a new pipe may be laid."""
    (one, far_one), (two, far_two) = room.stream(), room.stream()
    pipe = one.pipe_to(two)
    with pytest.raises(UsageError, match="piped already"):
        one.pipe_to(two)
    assert (pipe.cancel(), pipe.cancel()) == (True, False)
    with far_one, far_two:
        far_one.send(b"mine")
        room.sim.advance(1)
        assert one.received == b"mine"
        one.pipe_to(two)
        two.abort()
        room.sim.advance(1)
        assert pipe.cancel() is False
    room.sim.advance(1)


def test_a_pipe_needs_two_connections_of_one_reactor(room: Room) -> None:
    """A stream to itself, without a connection, closed, or of another reactor is refused."""
    one, far_one = room.stream()
    with far_one:
        with pytest.raises(UsageError, match="two streams of one reactor"):
            one.pipe_to(one)
        with pytest.raises(NotConnected):
            one.pipe_to(Plain())
        two, far_two = room.stream()
        with far_two:
            two.close()
            with pytest.raises(StreamClosed):
                one.pipe_to(two)
        with Reactor(system=room.sim) as other:
            here, there = room.sim.sockets.socketpair()
            with there:
                stranger = other.attach(Plain(), here)
                with pytest.raises(UsageError, match="two streams of one reactor"):
                    one.pipe_to(stranger)
    room.sim.advance(10)


# Feeds


def test_a_feed_takes_only_what_there_is_room_for(room: Room) -> None:
    """A generator without end is asked for no more than the marks allow, and goes on as the peer reads."""
    stream, far = room.stream()
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"f" * 10_000

    feed = stream.send_from(endless())
    with far:
        room.sim.advance(10)
        assert taken < 40
        before = taken
        for _ in range(50):
            far.recv(1 << 20)
            room.sim.advance(1)
        assert taken > before + 100
        assert stream.buffered <= stream.limits.high + 10_000
        assert (feed.cancel(), feed.cancel()) == (True, False)
    room.sim.advance(10)


def test_a_feed_ends(room: Room) -> None:
    """When the iterable is exhausted and all is sent, `on_sent` is called; the stream goes on."""
    stream, far = room.stream()
    told: list[Any] = []
    stream.send_from([b"a" * 100] * 200, told.append)
    stream.write(b"first")
    with far:
        room.sim.advance(1)
        assert far.recv(1 << 20) == b"first" + b"a" * 20_000
        assert told == [None]
        stream.close()
        room.sim.advance(5)


def test_a_feed_that_is_lost_closes_its_generator(room: Room) -> None:
    """When the stream breaks, or the feed is cancelled, the generator is closed and `on_sent` hears why."""
    closed: list[int] = []
    told: list[Any] = []

    def chunks(number: int) -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
        finally:
            closed.append(number)

    one, far_one = room.stream()
    one.send_from(chunks(1), told.append)
    two, far_two = room.stream()
    feed = two.send_from(chunks(2), told.append)
    room.sim.advance(1)
    far_one.close()
    room.sim.advance(1)
    feed.cancel()
    room.sim.advance(1)
    assert closed == [1, 2]
    assert [type(error) for error in told][1] is NotSent
    assert isinstance(told[0], OSError)
    three, far_three = room.stream()
    three.send_from(chunks(3), told.append)
    room.sim.advance(1)
    three.end()
    far_three.recv(1 << 20)
    room.sim.advance(1)
    assert (closed, type(told[2])) == ([1, 2, 3], NotSent)
    four, far_four = room.stream()
    four.send_from(iter([b"x"]), told.append)
    four.end()
    room.sim.advance(1)
    assert type(told[3]) is NotSent
    five, far_five = room.stream()
    five.send_from(iter([]), told.append)
    five.end()
    room.sim.advance(1)
    assert type(told[4]) is NotSent
    for far in (far_two, far_three, far_four, far_five):
        far.close()
    room.sim.advance(10)


def test_a_feed_that_raises_ends_its_stream(room: Room) -> None:
    """What the iterable raises closes the stream, by RST."""
    stream, far = room.stream()

    def chunks() -> Iterator[bytes]:
        yield b"x"
        raise ZeroDivisionError

    stream.send_from(chunks())
    with far:
        room.sim.advance(1)
        assert stream.kind is CloseKind.HANDLER_ERROR
        assert [type(each.exc) for each in room.reactor.raised] == [ZeroDivisionError]


@attrs.define(eq=False)
class Proxy(Stream):
    """Joins whoever comes to the echo server."""

    target: tuple[str, int]

    def on_connect(self) -> None:
        self.pause()
        self.reactor.connect(Upstream(self), self.target)


@attrs.define(eq=False)
class Upstream(Stream):
    """The other half of a `Proxy`."""

    client: Proxy

    def on_connect(self) -> None:
        if not self.client.is_writable:
            self.abort()
            return
        self.pipe_to(self.client)
        self.client.pipe_to(self)
        self.client.resume()

    def on_close(self, reason: Any) -> None:
        if self.client.is_open and self.client.reason is None:
            self.client.abort()


def test_under_faults_a_proxy_of_pipes_loses_and_doubles_nothing() -> None:
    """Echoes through a proxy are prefixes of what was sent, and whole where nothing broke."""
    whole = 0
    for seed in range(30):
        faults = Faults.all(0.01, reset=0.05)
        with Simulation(seed, network=Network(jitter=0.005, loss=0.02), faults=faults) as sim:
            a, b, c = (sim.host(name) for name in "abc")
            with Quiet(system=a) as serving, Quiet(system=b) as proxying, Quiet(system=c) as asking:
                serving.listen(Echo, ":7")
                proxying.listen(lambda a=a: Proxy((a.addresses[0], 7)), ":8")  # type: ignore[misc]
                clients = [Client(bytes([number]) * 20_000) for number in range(5)]
                for client in clients:
                    asking.connect(client, (b.addresses[0], 8), timeout=600)
                assert sim.run(lambda clients=clients: all(each.reason for each in clients), timeout=5000)  # type: ignore[misc]
                for client in clients:
                    assert client.message.startswith(client.received)
                whole += sum(client.received == client.message for client in clients)
                sim.run(timeout=2000)
    assert whole > 50


def test_what_comes_for_a_target_that_has_ended_is_dropped(room: Room) -> None:
    """A target that takes nothing more, and is still open, is left alone."""
    (one, far_one), (two, far_two) = room.stream(), room.stream()
    one.pipe_to(two)
    two.end()
    with far_one, far_two:
        far_one.send(b"late")
        room.sim.advance(1)
        assert far_two.recv(10) == b""
    room.sim.advance(10)


def test_a_feed_may_be_cancelled_before_it_begins(room: Room) -> None:
    """Nothing is taken from its iterable then."""
    stream, far = room.stream()
    taken: list[int] = []

    def chunks() -> Iterator[bytes]:
        taken.append(1)
        yield b"x"

    stream.send_from(chunks()).cancel()
    with far:
        room.sim.advance(1)
        assert not taken


def test_a_pipe_respects_its_source_s_own_pause(room: Room) -> None:
    """Room in the target does not undo what the user has asked for, nor does `resume` what the target needs."""
    (one, far_one), (two, far_two) = room.stream(), room.stream()
    pipe = one.pipe_to(two)
    one.pause()
    pipe.hold()
    pipe.go()
    far_one.send(b"hello")
    room.sim.advance(1)
    with pytest.raises(BlockingIOError):
        far_two.recv(10)
    pipe.hold()
    one.resume()
    room.sim.advance(1)
    with pytest.raises(BlockingIOError):
        far_two.recv(10)
    pipe.go()
    room.sim.advance(1)
    assert far_two.recv(10) == b"hello"
    pipe.hold()
    pipe.cancel()
    far_one.send(b"again")
    room.sim.advance(1)
    assert bytes(one.received) == b"again"
    far_one.close()
    far_two.close()
    room.sim.advance(10)


def test_a_source_whose_full_target_ends_is_read_again(room: Room) -> None:
    """It has ended its own half, and is to hear of its peer's end, though its pipe was holding it."""
    (one, far_one), (two, far_two) = room.stream(), room.stream()
    pipe = one.pipe_to(two)
    pipe.hold()
    two.close(0)
    room.sim.advance(10)
    far_one.close()
    room.sim.advance(10)
    assert not one.is_open
    far_two.close()


def test_a_target_drains_though_its_source_has_closed(room: Room) -> None:
    """What is left of the pipe tells nobody who is not there any more."""
    (one, far_one), (two, far_two) = room.stream(), room.stream()
    one.pipe_to(two)
    two.write(bytes(1_000_000))
    room.sim.advance(1)
    one.close(0)
    far_one.close()
    room.sim.advance(5)
    assert not one.is_open
    got = 0
    while got < 1_000_000:
        got += len(far_two.recv(1_000_000))
        room.sim.advance(0.1)
    far_two.close()
    room.sim.advance(5)
    assert room.reactor.raised == []
