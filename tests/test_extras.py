"""What only some streams have: deadlines, rates, and the news that bytes have gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import attrs
import pytest

from reactor import CloseReason, Limits, NotConnected, RateGroup, RateLimit, Stream, StreamClosed
from reactor.testing import Faults, Network, Simulation
from tests.testing.kit import Quiet


@attrs.define(eq=False)
class Told(Stream):
    """Writes down what it hears, with the moment."""

    act: Any = None
    told: list[tuple[float, str]] = attrs.field(init=False, factory=list)
    received: bytearray = attrs.field(init=False, factory=bytearray)

    def tell(self, what: str) -> None:
        self.told.append((round(self.reactor.time() - 1000, 3), what))

    def on_connect(self) -> None:
        if self.act is not None:
            self.act(self)

    def on_data(self, data: bytes) -> None:
        self.received += data

    def on_timeout(self, kind: str) -> None:
        self.tell(kind)
        super().on_timeout(kind)

    def on_close(self, reason: CloseReason) -> None:
        self.tell(reason.kind.name)


def _two_deadlines(stream: Stream) -> None:
    stream.deadline("a", 1)
    stream.deadline("b", 2)


@attrs.define(eq=False)
class Room:
    """A simulation, a reactor, a stream, and the socket at its other end."""

    sim: Simulation
    reactor: Quiet
    stream: Told
    peer: Any


@pytest.fixture
def room() -> Iterator[Room]:
    """A stream on a Unix pair, connected."""
    with Simulation() as sim, Quiet(system=sim) as reactor:
        here, there = sim.sockets.socketpair()
        there.setblocking(False)
        stream = reactor.attach(Told(), here)
        reactor.run_once(0)
        yield Room(sim, reactor, stream, there)
        there.close()


# Deadlines


@pytest.mark.parametrize("kind", ["idle", "read", "lifetime", "login"])
def test_a_deadline_ends_a_stream(room: Room, kind: str) -> None:
    """When it has passed, `on_timeout` is called with its kind, and by default the stream ends with TIMEOUT."""
    room.stream.deadline(kind, 5)
    room.sim.advance(10)
    assert room.stream.told == [(5, kind), (5, "TIMEOUT")]
    assert room.stream.reason is not None
    assert str(room.stream.reason.error) == f"[Errno 110] {kind} deadline passed with 0 bytes unsent"


def test_bytes_push_silences_back_and_moments_not(room: Room) -> None:
    """A byte a second keeps "idle" and "read" away; a named deadline comes all the same."""
    room.stream.deadline("idle", 3)
    room.stream.deadline("read", 3)
    room.stream.deadline("head", 20)
    for second in range(30):
        room.sim.after(second, partial(_send, room.peer))
    room.sim.advance(40)
    assert room.stream.told == [(20, "head"), (20, "TIMEOUT")]


def _send(sock: Any) -> None:
    with contextlib.suppress(OSError):
        sock.send(b"x")


def test_what_is_sent_keeps_idle_away_but_not_read(room: Room) -> None:
    """A stream that only sends is not idle, and has read nothing."""
    room.stream.deadline("idle", 3)
    room.stream.call_every(1, lambda: room.stream.write(b"tick"))
    room.sim.advance(20)
    assert room.stream.told == []
    room.stream.deadline("read", 5)
    room.sim.advance(20)
    assert room.stream.told == [(25, "read"), (25, "TIMEOUT")]


def test_a_peer_that_takes_nothing_is_late(room: Room) -> None:
    """The deadline of writing runs while something is queued, and begins anew with every byte that is taken."""
    room.stream.deadline("write", 5)
    room.sim.advance(100)
    assert room.stream.told == []
    room.stream.write(b"x" * 1_000_000)
    room.sim.advance(4)
    room.peer.recv(100_000)
    room.sim.advance(4.5)
    assert room.stream.told == []
    room.sim.advance(1)
    assert [what for _, what in room.stream.told] == ["write", "TIMEOUT"]


def test_a_deadline_may_be_lifted_and_set_anew(room: Room) -> None:
    """None lifts it; setting it again begins anew, also to an earlier moment."""
    stream = room.stream
    stream.deadline("login", 5)
    stream.deadline("login", None)
    room.sim.advance(10)
    stream.deadline("login", 50)
    stream.deadline("login", 2)
    room.sim.advance(1)
    assert stream.told == []
    room.sim.advance(2)
    assert stream.told == [(12, "login"), (12, "TIMEOUT")]


def test_who_does_not_end_it_goes_on(room: Room) -> None:
    """An `on_timeout` that does not abort is called once; other deadlines stay."""

    @attrs.define(eq=False)
    class Patient(Told):
        def on_timeout(self, kind: str) -> None:
            self.tell(kind)

    here, there = room.sim.sockets.socketpair()
    stream = room.reactor.attach(Patient(_two_deadlines), here)
    room.sim.advance(10)
    assert stream.told == [(1, "a"), (2, "b")]
    there.close()
    room.sim.advance(1)


def test_limits_set_deadlines() -> None:
    """The timeouts of `Limits` hold from `on_connect` on, unless that has set others."""

    @attrs.define(eq=False)
    class Limited(Told):
        default_limits = Limits(idle_timeout=3, lifetime=100)

    with Simulation() as sim, Quiet(system=sim) as reactor:
        pairs = [sim.sockets.socketpair() for _ in range(2)]
        one = reactor.attach(Limited(), pairs[0][0])
        two = reactor.attach(Limited(lambda stream: stream.deadline("idle", 5)), pairs[1][0])
        sim.advance(10)
        assert (one.told, two.told) == ([(3, "idle"), (3, "TIMEOUT")], [(5, "idle"), (5, "TIMEOUT")])
        for _, there in pairs:
            there.close()


def test_deadlines_need_a_connection() -> None:
    """Before there is one, and after its end, nothing can be late."""
    methods: list[Any] = [lambda stream: stream.deadline("idle", 1), lambda stream: stream.limit_rate()]
    for method in methods:
        with pytest.raises(NotConnected):
            method(Told())


# Rates


def test_reading_keeps_to_its_rate() -> None:
    """A stream that may read 10,000 bytes a second takes ten seconds for 100,000, and the peer has to wait."""
    with Simulation() as sim, Quiet(system=sim) as reactor:
        here, there = sim.sockets.socketpair()
        stream = reactor.attach(Told(lambda stream: stream.limit_rate(read=RateLimit(10_000, 1000))), here)
        there.setblocking(False)
        assert there.send(b"x" * 100_000) == 100_000
        sim.advance(5)
        assert 50_000 <= len(stream.received) <= 53_000
        sim.run(lambda: len(stream.received) == 100_000)
        assert sim.now - 1000 == pytest.approx(9.9, abs=0.3)
        there.close()
        sim.advance(5)


def test_writing_keeps_to_its_rate(room: Room) -> None:
    """So does one that may write so many: what it may not send yet is queued, and meets the marks."""
    room.stream.limit_rate(write=RateLimit(10_000))
    room.stream.write(b"y" * 100_000)
    assert room.stream.buffered == 90_000
    received, start = bytearray(), room.sim.now
    while len(received) < 100_000:
        room.sim.advance(0.1)
        with contextlib.suppress(BlockingIOError):
            received += room.peer.recv(1_000_000)
    assert room.sim.now - start == pytest.approx(9, abs=0.5)


def test_what_on_data_writes_meets_extras(room: Room) -> None:
    """What a hook writes keeps to the rate, too, and its deadline begins."""
    stream = room.stream
    stream.limit_rate(write=RateLimit(1000))
    stream.deadline("write", 3)
    stream.act = None

    @attrs.define(eq=False)
    class Answers(Told):
        def on_data(self, data: bytes) -> None:
            self.write(b"a" * 100)
            self.write(b"b" * 4900)

    here, there = room.sim.sockets.socketpair()
    there.setblocking(False)
    answers = room.reactor.attach(Answers(lambda stream: stream.limit_rate(write=RateLimit(1000))), here)
    there.send(b"x")
    room.sim.advance(1)
    assert 3000 <= answers.buffered < 4000
    room.sim.advance(5)
    assert len(there.recv(10_000)) == 5000
    there.close()
    room.sim.advance(1)


def test_extras_begin_in_the_middle_of_a_hook(room: Room) -> None:
    """A hook that writes, then sets a deadline, loses neither."""

    @attrs.define(eq=False)
    class Late(Told):
        def on_data(self, data: bytes) -> None:
            self.write(b"answer")
            self.deadline("idle", 3)

    here, there = room.sim.sockets.socketpair()
    late = room.reactor.attach(Late(), here)
    there.send(b"x")
    room.sim.advance(1)
    assert there.recv(10) == b"answer"
    room.sim.advance(5)
    assert late.told == [(3, "idle"), (3, "TIMEOUT")]
    there.close()


def test_a_full_kernel_begins_the_deadline_of_writing(room: Room) -> None:
    """Bytes that a hook wrote and the kernel did not take are late when their time has passed."""

    @attrs.define(eq=False)
    class Much(Told):
        def on_data(self, data: bytes) -> None:
            self.write(b"m" * 1_000_000)

    here, there = room.sim.sockets.socketpair()
    much = room.reactor.attach(Much(lambda stream: stream.deadline("write", 3)), here)
    there.send(b"x")
    room.sim.advance(5)
    assert [what for _, what in much.told] == ["write", "TIMEOUT"]
    there.close()


def test_a_group_shares_a_rate() -> None:
    """Four streams of one group move together what one would, and none of them starves."""
    with Simulation() as sim, Quiet(system=sim) as reactor:
        group = RateGroup(RateLimit(10_000))
        streams, peers = [], []
        for _ in range(4):
            here, there = sim.sockets.socketpair()
            streams.append(reactor.attach(Told(lambda stream: stream.limit_rate(read=group)), here))
            there.setblocking(False)
            there.send(b"x" * 100_000)
            peers.append(there)
        sim.advance(20)
        counts = [len(stream.received) for stream in streams]
        assert sum(counts) == pytest.approx(210_000, abs=5000)
        assert min(counts) > 20_000
        for there in peers:
            there.close()


def test_a_limit_may_be_lifted(room: Room) -> None:
    """Without a rate everything moves at once again."""
    room.stream.limit_rate(read=RateLimit(1, 1))
    room.peer.send(b"x" * 5000)
    room.sim.advance(10)
    assert len(room.stream.received) < 100
    room.stream.limit_rate()
    room.sim.advance(1)
    assert len(room.stream.received) == 5000


# The news that bytes have gone


def test_on_sent_is_called_when_the_kernel_has_the_last_byte(room: Room) -> None:
    """In order, once, from the loop, with None; at once written bytes too."""
    told: list[tuple[str, BaseException | None]] = []
    room.stream.write(b"a", lambda error: told.append(("a", error)))
    room.stream.write(b"b" * 1_000_000, lambda error: told.append(("b", error)))
    room.stream.write(b"c", lambda error: told.append(("c", error)))
    assert told == []
    room.sim.advance(1)
    assert told == [("a", None)]
    while room.stream.buffered:
        room.peer.recv(1 << 20)
        room.sim.advance(1)
    assert told == [("a", None), ("b", None), ("c", None)]


def test_on_sent_hears_the_error_before_on_close(room: Room) -> None:
    """Bytes that will never go are told of with the error that ended the stream; then comes `on_close`."""
    stream = room.stream
    stream.write(b"x" * 1_000_000, lambda error: stream.tell(type(error).__name__))
    room.peer.close()
    room.sim.advance(1)
    assert [what for _, what in stream.told] == ["ConnectionResetError", "RESET"] or [what for _, what in stream.told] == [
        "BrokenPipeError",
        "RESET",
    ]


def test_on_sent_hears_of_an_abort(room: Room) -> None:
    """An end without an error is told as `NotSent`."""
    stream = room.stream
    stream.write(b"x" * 1_000_000, lambda error: stream.tell(type(error).__name__))
    stream.abort()
    room.sim.advance(1)
    assert [what for _, what in stream.told] == ["NotSent", "LOCAL_ABORT"]


def test_a_raising_on_sent_ends_its_stream(room: Room) -> None:
    """What it raises is charged to the stream; another one of the same stream is still called."""
    told: list[BaseException | None] = []

    def fail(error: BaseException | None) -> None:
        raise ZeroDivisionError

    room.stream.write(b"a", fail)
    room.stream.write(b"b", told.append)
    room.sim.advance(1)
    assert [what for _, what in room.stream.told] == ["HANDLER_ERROR"]
    assert told == [None]
    assert [type(each.exc) for each in room.reactor.raised] == [ZeroDivisionError]


def test_what_is_refused_has_no_news(room: Room) -> None:
    """A write that raises calls nothing."""
    told: list[Any] = []
    room.stream.close()
    with pytest.raises(StreamClosed):
        room.stream.write(b"x", told.append)
    room.sim.advance(10)
    assert told == []


def test_under_faults_every_callback_is_called_once() -> None:
    """Whatever strikes, each `on_sent` is called exactly once, with None or an error, and before `on_close`."""
    for seed in range(20):
        with Simulation(seed, network=Network(jitter=0.01, loss=0.1), faults=Faults.all(0.02)) as sim:
            with Quiet(system=sim.host("a")) as one, Quiet(system=sim.host("b")) as other:
                one.listen(Told, ":7")
                told: list[int] = []

                def start(stream: Told, told: list[int] = told) -> None:
                    for number in range(50):
                        stream.write(bytes(3000), lambda _, number=number: told.append(number))  # type: ignore[misc]
                    stream.close()

                stream = Told(start)
                other.connect(stream, (sim.host("a").addresses[0], 7), timeout=300)
                assert sim.run(lambda stream=stream: stream.reason is not None, timeout=3000)  # type: ignore[misc]
                sim.run(timeout=100)
                started = any("InjectedError" not in str(each.exc) for each in other.raised) or told
                assert sorted(told) == (list(range(50)) if started else [])


def attached(room: Room, act: Any, answer: Any) -> tuple[Told, Any]:
    """A stream that does *answer* with each chunk that comes, and its peer."""

    @attrs.define(eq=False)
    class Answers(Told):
        drained: int = attrs.field(init=False, default=0)

        def on_data(self, data: bytes) -> None:
            answer(self)

        def on_drain(self) -> None:
            self.tell("drain")

    here, there = room.sim.sockets.socketpair()
    there.setblocking(False)
    return room.reactor.attach(Answers(act), here), there


def test_a_pulse_reaches_streams_with_deadlines(room: Room) -> None:
    """A queue that was high inside a hook drains, deadlines or not; after `end` nobody is told."""
    stream, there = attached(room, lambda stream: stream.deadline("idle", 50), lambda stream: stream.write(b"p" * 100_000))
    there.send(b"x")
    room.sim.advance(1)
    assert [what for _, what in stream.told] == ["drain"]

    def end(stream: Told) -> None:
        stream.write(b"p" * 50_000)
        stream.write(b"p" * 50_000)
        stream.end()

    ending, other = attached(room, None, end)
    other.send(b"x")
    room.sim.advance(1)
    assert ending.told == []
    for sock in (there, other):
        sock.close()
    room.sim.advance(10)


def test_a_close_in_a_hook_may_find_too_much(room: Room) -> None:
    """What was held back is more than the hard limit: the stream ends by that, not by the close."""

    def answer(stream: Told) -> None:
        stream.limits = Limits(hard=200_000)
        stream.write(b"z" * 1_000_000)
        stream.close()

    stream, there = attached(room, None, answer)
    there.send(b"x")
    room.sim.advance(1)
    assert [what for _, what in stream.told] == ["ERROR"]
    there.close()
