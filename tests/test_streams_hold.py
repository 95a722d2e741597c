"""Streams in awkward moments: what is joined to them, told about them and reserved for them, when they end or change."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Any

import attrs
import pytest

from reactor import CloseKind, FileShrank, Limits, RateGroup, RateLimit, Stream
from reactor.extras import BUDGET
from reactor.testing import Network, Simulation
from tests.testing.kit import Quiet

MEGA = 1 << 20


@attrs.define(eq=False)
class Plain(Stream):
    """Keeps what comes, and calls `act` in every `on_data`."""

    act: Any = None
    received: bytearray = attrs.field(init=False, factory=bytearray)

    def on_data(self, data: bytes) -> None:
        self.received += data
        if self.act is not None:
            self.act(self)


@attrs.define(eq=False)
class Room:
    """A simulation, a reactor, and streams with their far ends."""

    sim: Simulation
    reactor: Quiet
    far: list[Any] = attrs.field(factory=list)
    told: list[Any] = attrs.field(factory=list)

    def stream(self, act: Any = None, limits: Limits | None = None) -> tuple[Plain, Any]:
        """A connected stream, and the socket at its other end."""
        here, there = self.sim.sockets.socketpair()
        there.setblocking(False)
        self.far.append(there)
        stream = Plain(act)
        if limits is not None:
            stream.limits = limits
        self.reactor.attach(stream, here)
        self.reactor.run_once(0)
        return stream, there

    def hear(self, error: BaseException | None) -> None:
        """Be told what became of some bytes."""
        self.told.append(error if error is None else type(error).__name__)


@pytest.fixture
def room() -> Iterator[Room]:
    with Simulation(network=Network(send_buffer=4096, receive_buffer=4096)) as sim, Quiet(system=sim) as reactor:
        made = Room(sim, reactor)
        yield made
        for sock in made.far:
            sock.close()


def test_what_was_sent_is_told_although_the_stream_is_detached(room: Room) -> None:
    """Every `on_sent` is called, also when the socket goes to somebody else first; so is that of a feed."""
    stream, _ = room.stream()
    stream.write(b"x", room.hear)
    stream.send_from([b"y"], room.hear)
    stream.detach().close()
    assert room.told == []
    room.reactor.run_once(0)
    assert room.told == [None, "NotSent"]


def test_what_was_sent_is_told_so_although_the_rest_is_not(room: Room) -> None:
    """An error after some bytes have gone is no error of theirs."""
    stream, _ = room.stream()
    with TemporaryFile() as file:
        file.write(b"f" * 100)
        file.flush()
        with stream.corked():
            stream.write(b"head", room.hear)
            stream.send_file(file, on_sent=room.hear)
            file.truncate(0)
        room.reactor.run_once(0)
    assert room.told == [None, "FileShrank"]
    assert stream.reason is not None
    assert isinstance(stream.reason.error, FileShrank)


@pytest.mark.parametrize("how", ["abort", "limit_rate", "detach"])
def test_reserved_shares_are_returned(room: Room, how: str) -> None:
    """Who waits for a share and goes leaves it to the others of its group."""
    group = RateGroup(RateLimit(1000, 100), share=100)
    crowd = []
    for _ in range(50):
        stream, far = room.stream()
        stream.limit_rate(read=group)
        crowd.append((stream, far))
    group.take(100, room.reactor.time())
    for _, far in crowd:
        far.send(b"z" * 10)
    room.reactor.run_once(0)
    assert group.allowance(room.reactor.time()) == 0
    for stream, _ in crowd:
        getattr(stream, how)() if how != "detach" else stream.detach().close()
    one, far = room.stream()
    one.limit_rate(read=group)
    far.send(b"y" * 50)
    room.sim.advance(0.2)
    assert len(one.received) == 50


def test_what_is_given_back_is_no_second_burst() -> None:
    """A group that has rested has a burst, whoever gives back what."""
    group = RateGroup(RateLimit(100, 100), share=50)
    for _ in range(10):
        group.reserve(0.0)
    group.allowance(100.0)
    for _ in range(10):
        group.give_back(50)
    assert group.allowance(100.0) == 100


def test_a_rate_that_is_set_anew_keeps_to_itself(room: Room) -> None:
    """Setting the same group again in every `on_data` changes nothing of the rate."""
    group = RateGroup(RateLimit(1000, 100), share=100)
    stream, far = room.stream(lambda stream: stream.limit_rate(read=group))
    stream.limit_rate(read=group)
    far.send(b"x" * 4000)
    room.sim.advance(2.0)
    assert 1900 <= len(stream.received) <= 2000 + 100 + 100


def test_a_pipe_to_a_full_stream_waits(room: Room) -> None:
    """A target that is over its high mark when the pipe is laid holds its source, from the first byte on."""
    limits = Limits(high=10_000, low=1000, hard=20_000)
    (source, far), (target, _) = room.stream(), room.stream(limits=limits)
    target.write(b"x" * 19_000)
    room.sim.advance(0.1)
    source.pipe_to(target)
    for _ in range(20):
        far.send(b"y" * 1000)
        room.sim.advance(0.1)
        if not source._told:
            break
    assert target.is_open
    assert target.buffered <= 20_000


def test_a_generator_may_end_the_stream_that_it_feeds(room: Room) -> None:
    """A feed's iterable may abort its stream, and is closed afterwards."""
    stream, _ = room.stream()
    ended: list[str] = []

    def chunks() -> Iterator[bytes]:
        try:
            stream.abort()
            yield b"never sent"
        finally:
            ended.append("closed")

    stream.send_from(chunks(), room.hear)
    room.sim.advance(1)
    assert (ended, room.told) == (["closed"], ["NotSent"])
    assert stream not in room.reactor.handlers
    assert room.reactor.raised == []


def test_a_generator_that_raises_when_it_is_closed_stops_nothing(room: Room) -> None:
    """What it raises is reported; the stream is closed, and everybody is told."""
    stream, _ = room.stream()

    def chunks() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
        finally:
            raise ValueError("not now")

    stream.send_from(chunks(), room.hear)
    room.sim.advance(1)
    stream.abort()
    room.sim.advance(1)
    assert room.told == ["NotSent"]
    assert [type(context.exc) for context in room.reactor.raised] == [ValueError]
    assert not room.reactor.handlers


def test_relief_gives_a_feed_no_second_turn(room: Room) -> None:
    """A feed that is at it takes no more in a pass than before, however often its stream drains."""
    stream, _ = room.stream(limits=Limits(high=1, low=1))
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b""

    stream.send_from(chunks())
    for _ in range(5):
        with stream.corked():
            stream.write(b"abc")
        room.reactor.run_once(0)
    taken = 0
    room.reactor.run_once(0)
    assert taken == 64


def test_a_stream_that_is_held_reads_what_it_drops(room: Room) -> None:
    """Held by the budget and closed, a stream reads to its peer's end, so that no RST destroys its last bytes."""
    stream, far = room.stream()
    stream._hold_reading(BUDGET, on=True)
    stream.write(b"last words")
    stream.close()
    far.send(b"never read")
    far.shutdown(1)
    room.sim.advance(0.5)
    assert far.recv(100) == b"last words"
    assert far.recv(100) == b""
    assert stream.reason is not None
    assert stream.reason.kind is CloseKind.LOCAL_CLOSE


def test_a_hundred_thousand_tiny_writes(room: Room) -> None:
    """They cost linear time, arrive in order, and each is told of once."""
    stream, far = room.stream(lambda stream: [stream.write(b"%05d" % number, told.append) for number in range(100_000)])
    told: list[Any] = []
    far.send(b"go")
    got = bytearray()
    while len(got) < 500_000:
        room.sim.advance(0.01)
        with contextlib.suppress(BlockingIOError):
            got += far.recv(MEGA)
    room.sim.advance(0.1)
    assert bytes(got) == b"".join(b"%05d" % number for number in range(100_000))
    assert told == [None] * 100_000
    assert stream.buffered == room.reactor.queued == 0


def test_writelines_of_a_generator_that_raises(room: Room) -> None:
    """What it had given is sent, and no more is held back."""
    stream, far = room.stream()

    def lines() -> Iterator[bytes]:
        yield b"one"
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        stream.writelines(lines())
    stream.write(b"two")
    assert far.recv(10) == b"onetwo"


def test_a_ring_of_pipes_ends_together(room: Room) -> None:
    """Three streams piped to one another pass an abort on, once round."""
    streams = [room.stream()[0] for _ in range(3)]
    for number, stream in enumerate(streams):
        stream.pipe_to(streams[(number + 1) % 3])
    streams[0].abort()
    room.sim.advance(1)
    assert not room.reactor.handlers


def test_nothing_of_a_file_is_sent_at_once(room: Room) -> None:
    """A count of 0 sends nothing, and is told of; in a hook, too."""
    with TemporaryFile() as file:
        stream, far = room.stream(lambda stream: stream.send_file(file, count=0, on_sent=room.hear))
        assert stream.send_file(file, on_sent=room.hear)
        far.send(b"x")
        room.sim.advance(0.1)
    assert room.told == [None, None]
    assert (stream._outgoing, stream.buffered) == (None, 0)


@pytest.mark.parametrize("first", [0, 1])
def test_a_reactor_with_pipes_can_be_closed(room: Room, first: int) -> None:
    """Closing a reactor closes streams that are piped, whichever comes first, with reason SHUTDOWN."""
    streams = [room.stream()[0] for _ in range(2)]
    streams[first].pipe_to(streams[1 - first])
    room.reactor.close()
    assert [stream.reason.kind for stream in streams if stream.reason] == [CloseKind.SHUTDOWN] * 2


def test_a_feed_to_a_peer_that_is_gone_is_told(room: Room) -> None:
    """What the peer has broken is no error of who sends: the feed ends, and `on_sent` hears it, as with `write`."""
    stream, _ = room.stream()
    stream._break(BrokenPipeError(errno.EPIPE, "gone"))
    assert stream.is_open
    stream.send_from([b"x"], room.hear)
    room.reactor.run_once(0)
    room.sim.advance(1)
    assert room.told == ["NotSent"]
    assert room.reactor.raised == []


def test_a_stream_that_has_ended_its_own_half_can_be_piped(room: Room) -> None:
    """What it still reads goes to the other one."""
    (source, far), (target, other) = room.stream(), room.stream()
    source.end()
    source.pipe_to(target)
    far.send(b"hello")
    room.sim.advance(0.1)
    assert other.recv(10) == b"hello"


def test_a_notice_is_told_also_if_the_peer_takes_no_more(room: Room) -> None:
    """Whoever is answered False hears by `on_sent` that nothing was sent; not after `on_close`."""
    stream, _ = room.stream()
    stream._break(BrokenPipeError(errno.EPIPE, "gone"))
    assert stream.write(b"x", room.hear) is False
    assert stream.writelines([b"x", b"y"], room.hear) is False
    assert stream.writelines([b"x", b"y"]) is False
    with TemporaryFile() as file:
        assert stream.send_file(file, on_sent=room.hear) is False
    room.reactor.run_once(0)
    assert room.told == ["BrokenPipeError"] * 3
    room.far[0].close()
    room.sim.advance(1)
    assert stream.write(b"x", room.hear) is False
    room.sim.advance(1)
    assert room.told == ["BrokenPipeError"] * 3


def test_waiting_for_a_rate_of_our_own_is_not_the_peer_s_fault(room: Room) -> None:
    """The deadline "write" counts while the peer could take something, and not while we may not send."""
    stream, far = room.stream()
    stream.limit_rate(write=RateLimit(10, burst=10))
    stream.deadline("write", 0.5)
    stream.write(b"x" * 40)
    got = b""
    for _ in range(50):
        room.sim.advance(0.1)
        with contextlib.suppress(BlockingIOError):
            got += far.recv(100)
    assert (got, stream.is_open) == (b"x" * 40, True)


def test_a_deadline_that_on_timeout_sets_anew_has_its_whole_time(room: Room) -> None:
    """A silence that is allowed to last longer is not late again at once."""

    @attrs.define(eq=False)
    class Patient(Stream):
        late: list[float] = attrs.field(init=False, factory=list)

        def on_timeout(self, kind: str) -> None:
            self.late.append(self.reactor.time())
            if len(self.late) < 3:
                self.deadline(kind, 2)

    here, there = room.sim.sockets.socketpair()
    room.far.append(there)
    stream = room.reactor.attach(Patient(), here)
    room.reactor.run_once(0)
    stream.deadline("idle", 2)
    began = room.reactor.time()
    room.sim.advance(20)
    assert [round(moment - began) for moment in stream.late] == [2, 4, 6]


def test_a_full_queue_that_ends_in_an_error_is_no_error_of_the_hook(room: Room) -> None:
    """What was over the high mark has gone, and then the file was shorter: that closes the stream, and nothing is raised."""
    with TemporaryFile() as file:
        file.write(bytes(100))
        file.flush()

        def act(stream: Plain) -> None:
            stream.write(bytes(stream.limits.high + 1))
            stream.send_file(file)
            file.truncate(0)

        stream, far = room.stream(act, Limits(high=2000, low=500))
        far.send(b"x")
        room.sim.advance(1)
        assert stream.reason is not None
        assert isinstance(stream.reason.error, FileShrank)
        assert room.reactor.raised == []
