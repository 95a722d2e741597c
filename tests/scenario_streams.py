"""The second scenario of the soak: what streams and listeners have beside bytes, all of it at once, with every fault on.

Callers on one host ask workers on another for answers, straight or through a relay of two pipes. Workers speak by several
codecs, one after the other; they answer by messages, many chunks, feeds, files and from threads, under rates, deadlines, a
budget and an admission that are all too small. What must hold is checked after every pass, and once more at the end.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import IO

import attrs

from reactor import (
    Address,
    CloseKind,
    CloseReason,
    Codec,
    FramingError,
    LengthPrefixed,
    Limits,
    Lines,
    ListenOptions,
    MemoryBudget,
    MessageStream,
    Netstring,
    RateGroup,
    RateLimit,
    Stream,
    Varint,
)
from reactor.addresses import Inet
from reactor.testing import Faults, Network, Simulation, Violation
from reactor.testing import dice as dice_module
from reactor.testing.selector import KINDS, make_selector
from tests.scenario import Checked, Listener

CALLERS = 40
#: Callers begin within these virtual seconds; after that many the server shuts down, with so much grace.
BEGIN_SECONDS, SHUTDOWN_SECONDS, GRACE_SECONDS = 6.0, 12.0, 10.0
RUN_SECONDS = 600.0
JOURNAL_MAX = 2_000_000
PORT, RELAY_PORT = 7007, 7008
BUSY = b"BUSY"

NETWORK = Network(latency=0.004, jitter=0.006, bandwidth=100_000.0, loss=0.02, send_buffer=4096, receive_buffer=4096)
LIMITS = Limits(high=3000, low=500, hard=60_000, close_timeout=20.0, linger=5.0, idle_timeout=40.0, write_timeout=30.0)
OPTIONS = ListenOptions(max_connections=14, max_per_peer=12, on_limit="reject", backlog_connections=64)
WAIT = attrs.evolve(OPTIONS, on_limit="wait", max_per_peer=None, slack=2)
BUDGET = MemoryBudget(40_000)
FAULTS = Faults.all(
    0.01, shuffle=0.05, busy=0.03, hook=0.003, jump=0.0005, stall=0.003, reset=0.02, accept=0.02, wake=0.004, signal=0.0
)
CODECS: tuple[Callable[[], Codec[bytes, bytes]], ...] = (Lines, partial(LengthPrefixed, "!H"), Varint, Netstring)
_PATTERN = Random("streams").randbytes(1 << 15).replace(b"\n", b"\r").replace(b"\r", b".")
KINDS_OF_ANSWER = ("say", "say", "lines", "feed", "file", "thread", "switch", "rate", "deadline")


def answer(number: int, size: int) -> bytes:
    """Return the body of an answer: not the same for any two callers."""
    return _PATTERN[number * 97 : number * 97 + size]


@attrs.frozen
class Ask:
    """One request: what is wanted, how large, and by which codec from then on."""

    kind: str
    size: int
    codec: int


@attrs.frozen
class Plan:
    """What one caller is going to do."""

    number: int
    asks: tuple[Ask, ...]
    said: bytes
    expected: bytes
    relayed: bool
    rest: float
    rate: int  # 0: none; 1: its own; 2: that of the group
    abort_at: float | None

    @classmethod
    def draw(cls, number: int, chance: dice_module.Stream) -> Plan:
        """Return a plan that chance has made."""
        asks: list[Ask] = []
        said, expected, codec = bytearray(), bytearray(), 0
        for index in range(1 + chance.below(8)):
            kind = KINDS_OF_ANSWER[chance.below(len(KINDS_OF_ANSWER))]
            size = 1 + (chance.below(300) if chance.below(3) else chance.below(9000))
            before, codec = codec, chance.below(len(CODECS)) if kind == "switch" else codec
            asks.append(Ask(kind, size, codec))
            said += CODECS[before]().encode(b"%d %d" % (number, index))
            body = answer(number, size)
            expected += body if kind in ("lines", "feed", "file") else CODECS[before]().encode(body)
        return cls(
            number,
            tuple(asks),
            bytes(said),
            bytes(expected),
            relayed=not chance.below(3),
            rest=0.0 if chance.below(3) else chance.between(0.0, 0.2),
            rate=chance.below(3),
            abort_at=None if chance.below(6) else chance.between(0.0, 3.0),
        )


@attrs.define(eq=False)
class Meter:
    """What a rate leaves through: never more than the burst, what the time gives, and a share for each who may wait."""

    run: Run
    limit: RateLimit
    over: float
    level: float = 0.0
    at: float = 0.0

    def pass_(self, count: int) -> None:
        """*count* bytes moved now."""
        now = self.run.sim.now
        self.level = max(0.0, self.level - (now - self.at) * self.limit.rate) + count
        self.at = now
        self.run.hold(self.level <= self.limit.burst + self.over + 1, f"{self.level} bytes at once by {self.limit}")


@attrs.define(eq=False)
class Notice:
    """An `on_sent` that is to be called once, before its stream's last hook."""

    run: Run
    stream: Stream
    then: Callable[[], object] | None = None
    called: int = 0

    def __call__(self, error: BaseException | None) -> None:
        self.called += 1
        self.run.hold(self.called == 1, "on_sent was called twice")
        self.run.hold(self.stream not in self.run.closed, "on_sent was called after on_close")
        if error is None and self.then is not None:
            self.then()


@attrs.define(eq=False, repr=False)
class Caller(Stream):
    """A client, which knows what it will be told."""

    plan: Plan
    run: Run
    got: bytearray = attrs.field(init=False, factory=bytearray)
    meters: list[Meter] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.limits = attrs.evolve(LIMITS, lifetime=120.0)

    def begin(self) -> None:
        """Call."""
        port = RELAY_PORT if self.plan.relayed else PORT
        self.run.reactors["callers"].connect(self, Inet(self.run.server, port), timeout=20.0)

    def on_connect(self) -> None:
        limit, share = RateLimit(30_000, 3000), max(1024, 600)
        if self.plan.rate == 1:
            self.limit_rate(read=limit, write=RateLimit(5000, 200))
            self.meters.append(Meter(self.run, limit, 2 * share))
        elif self.plan.rate == 2:
            self.limit_rate(read=self.run.group, write=self.run.group)
            self.meters.append(self.run.meter)
        if self.plan.abort_at is not None:
            self.call_later(self.plan.abort_at, self.abort)
        half = len(self.plan.said) // 2
        for part in (self.plan.said[:half], self.plan.said[half:]):
            self.write(part, self.run.notice(self))
        if self.is_writable:
            self.end()

    def on_data(self, data: bytes) -> None:
        for meter in self.meters:
            meter.pass_(len(data))
        self.got += data
        if not BUSY.startswith(self.got[: len(BUSY)]):
            whole = self.plan.expected
            self.run.hold(whole.startswith(self.got), f"caller {self.plan.number} got what was not said to it")
        if self.plan.rest:
            self.pause()
            self.call_later(self.plan.rest, self.resume)

    def on_end(self) -> None:
        whole = self.got in (self.plan.expected, BUSY) or self.run.is_late
        self.run.hold(whole, f"caller {self.plan.number} took {len(self.got)} of {len(self.plan.expected)} for the whole")
        self.close()

    def on_close(self, reason: CloseReason) -> None:
        self.run.closed[self] = None


@attrs.define(eq=False, repr=False)
class Worker(MessageStream[bytes, bytes]):
    """Answers one request after the other."""

    run: Run
    codec: Codec[bytes, bytes] = attrs.field(init=False, factory=Lines)
    busy: bool = attrs.field(init=False, default=False)
    full: bool = attrs.field(init=False, default=False)
    going: bool = attrs.field(init=False, default=False)
    next: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.limits = LIMITS

    def on_message(self, message: bytes) -> None:
        number, index = map(int, message.split())
        self.run.hold(index == self.next, f"request {index} of caller {number}, and not {self.next}")
        self.run.hold(not self.busy and not self.full, "a message came while its stream was paused")
        self.next += 1
        ask = self.run.plans[number].asks[index]
        body = answer(number, ask.size)
        if ask.kind in ("lines", "feed", "file", "thread"):
            self.busy = True
            self.pause()
        if ask.kind == "thread":
            self.run_in_thread(bytes, body, then=self.tell)
            return
        notice = self.run.notice(self, self.done if self.busy else None)
        if ask.kind == "lines":
            self.writelines([body[place : place + 100] for place in range(0, len(body), 100)], notice)
        elif ask.kind == "feed":
            self.send_from(self.run.chunks(body), notice)
        elif ask.kind == "file":
            self.send_file(self.run.file, number * 97, len(body), notice)
        else:
            self.write(self.codec.encode(body), notice)
            if ask.kind == "switch":
                self.switch(CODECS[ask.codec]())
            elif ask.kind == "rate":
                self.limit_rate(write=RateLimit(20_000, 2000), read=self.run.group if index % 2 else None)
            elif ask.kind == "deadline":
                self.deadline("own", 0.05)

    def tell(self, body: bytes) -> None:
        """A thread has made the answer."""
        self.send(body)
        self.done()

    def done(self) -> None:
        """An answer has gone."""
        self.busy = False
        self.go_on()

    def go_on(self) -> None:
        if self.going and not self.busy:
            self.close()
        elif not self.busy and not self.full:
            self.resume()

    def on_pause(self) -> None:
        self.full = True
        self.pause()

    def on_drain(self) -> None:
        self.full = False
        self.go_on()

    def on_timeout(self, kind: str) -> None:
        if kind == "own":
            self.deadline("other", 0.05)
        elif kind != "other":
            super().on_timeout(kind)

    def on_framing_error(self, exc: FramingError) -> None:
        self.run.hold(False, f"a worker was told {exc!r}")

    def on_shutdown(self, grace: float) -> None:
        self.going = True
        if not self.busy:
            super().on_shutdown(grace)

    def on_close(self, reason: CloseReason) -> None:
        self.run.closed[self] = None


@attrs.define(eq=False, repr=False)
class Front(Stream):
    """The side of the relay that was accepted."""

    run: Run
    other: Stream = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.limits = LIMITS
        self.other = Back(self)

    def on_connect(self) -> None:
        self.pause()
        self.run.reactors["relay"].connect(self.other, Inet(self.run.server, PORT), timeout=20.0)

    def on_close(self, reason: CloseReason) -> None:
        self.run.closed[self] = None
        self.other.abort()


@attrs.define(eq=False, repr=False)
class Back(Stream):
    """The side that was connected; piped to the other, both ways."""

    front: Front

    def on_connect(self) -> None:
        self.limits = LIMITS
        if self.front.is_open:
            self.front.pipe_to(self)
            self.pipe_to(self.front)
            self.front.resume()

    def on_close(self, reason: CloseReason) -> None:
        self.front.run.closed[self] = None
        if reason.kind not in (CloseKind.PEER_END, CloseKind.LOCAL_CLOSE, CloseKind.SHUTDOWN):
            self.front.abort()


@attrs.define(eq=False)
class Door(Listener):
    """An acceptor that turns away whom it has no room for."""

    def on_overload(self, sock: object, peer: Address) -> None:
        self.turn_away(sock, BUSY)  # type: ignore[arg-type]


@attrs.define(eq=False, repr=False)
class Run:
    """The scenario with one seed."""

    seed: int
    faults: Faults = FAULTS
    sim: Simulation = attrs.field(init=False)
    server: str = attrs.field(init=False, default="")
    reactors: dict[str, Checked] = attrs.field(init=False, factory=dict)
    plans: list[Plan] = attrs.field(init=False, factory=list)
    callers: list[Caller] = attrs.field(init=False, factory=list)
    listeners: list[Door] = attrs.field(init=False, factory=list)
    group: RateGroup = attrs.field(init=False, factory=lambda: RateGroup(RateLimit(60_000, 4000)))
    meter: Meter = attrs.field(init=False)
    file: IO[bytes] = attrs.field(init=False)
    notices: list[Notice] = attrs.field(init=False, factory=list)
    #: Those who have heard their last hook.
    closed: dict[Stream, None] = attrs.field(init=False, factory=dict)
    feeds: int = attrs.field(init=False, default=0)
    is_late: bool = attrs.field(init=False, default=False)
    wrong: list[BaseException] = attrs.field(init=False, factory=list)

    def __call__(self) -> Simulation:
        """Run it; return the simulation, which is over.

        Raises:
            SimulationError: what must hold does not.
        """
        with (
            tempfile.TemporaryFile() as self.file,
            Simulation(self.seed, network=NETWORK, faults=self.faults) as self.sim,
        ):
            self.file.write(_PATTERN)
            self.file.flush()
            try:
                self.play()
            except BaseException:
                for reactor in self.reactors.values():
                    with contextlib.suppress(Exception):  # one thing that is wrong is enough
                        reactor.close()
                raise
        return self.sim

    def play(self) -> None:
        """Let everything happen, and check what has to hold in the end."""
        self.set_up()
        self.until(lambda: all(map(self.sim.monitor.is_closed, self.callers)), "callers are not done")
        self.shut_down()
        self.until(lambda: not any(reactor.handlers for reactor in self.reactors.values()), "handlers are left")
        for reactor in self.reactors.values():
            reactor.run()
            self.hold(not len(reactor.timers), f"timers are left: {reactor.dump()}")
            self.hold(not reactor.queued, f"{reactor.queued} bytes are left")
            reactor.close()
        untold = sum(not notice.called for notice in self.notices)
        self.hold(not untold, f"{untold} of {len(self.notices)} were not told whether they were sent")
        self.hold(not self.feeds, f"{self.feeds} feeds were not closed")
        self.hold(all(not listener.connections for listener in self.listeners), "guests are left")

    def set_up(self) -> None:
        """Make hosts, reactors and callers."""
        chance = self.sim.dice.stream("scenario")
        self.meter = Meter(self, self.group.limit, 1200.0 * 2 * CALLERS)
        here, there = self.sim.host("here"), self.sim.host("there")
        self.server = next(address for address in there.addresses if ":" not in address)
        for name, host in (("callers", here), ("relay", there), ("server", there)):
            selector = make_selector(host, KINDS[chance.below(len(KINDS))])
            budget = BUDGET if name == "server" else None
            reactor = self.reactors[name] = Checked(
                selector=selector, system=host, budget=budget, debug=True, wrong=self.wrong
            )
            reactor.log = _Silent()  # type: ignore[assignment]
        options = OPTIONS if chance.below(2) else WAIT
        self.listeners.append(Door(partial(Worker, self), options).listen(self.reactors["server"], f":{PORT}"))
        self.listeners.append(Door(partial(Front, self), WAIT).listen(self.reactors["relay"], f":{RELAY_PORT}"))
        for number in range(CALLERS):
            self.plans.append(Plan.draw(number, chance))
            caller = Caller(self.plans[-1], self)
            self.callers.append(caller)
            self.reactors["callers"].call_later(chance.between(0.0, BEGIN_SECONDS), caller.begin)
            self.sim.monitor.watch(caller)
        begin = chance.between(0.0, BEGIN_SECONDS)
        self.sim.after(begin, self.sim.partition, here, there)
        self.sim.after(begin + chance.between(0.0, 4.0), self.sim.heal, here, there)
        if not chance.below(2):
            self.sim.after(chance.between(1.0, SHUTDOWN_SECONDS), self.shut_down_early)

    @property
    def left(self) -> int:
        """How many callers have not heard their last hook."""
        return sum(not self.sim.monitor.is_closed(caller) for caller in self.callers)

    def shut_down(self) -> None:
        """Shut down everybody, at the end."""
        for reactor in self.reactors.values():
            reactor.shutdown(GRACE_SECONDS)

    def shut_down_early(self) -> None:
        """A thread asks those who serve to shut down, in the middle, if callers are left."""
        if self.left:
            self.is_late = True
            for name in ("relay", "server"):
                self.reactors[name].call_threadsafe(self.reactors[name].shutdown, GRACE_SECONDS)

    def notice(self, stream: Stream, then: Callable[[], object] | None = None) -> Notice:
        """Return something that is to be told once."""
        self.notices.append(Notice(self, stream, then))
        return self.notices[-1]

    def chunks(self, body: bytes) -> Iterator[bytes]:
        """Give *body* piece by piece."""
        self.feeds += 1
        try:
            for place in range(0, len(body), 777):
                yield body[place : place + 777]
        finally:
            self.feeds -= 1

    # What must hold

    def hold(self, condition: object, message: str) -> None:
        """Fail unless *condition* holds."""
        if not condition:
            violation = self.sim.verdict(Violation, message)
            self.wrong.append(violation)
            raise violation

    def until(self, predicate: Callable[[], object], message: str) -> None:
        """Run until *predicate* holds, or anything is wrong."""
        self.hold(self.sim.run(until=lambda: self.look() and predicate(), timeout=RUN_SECONDS), message)

    def look(self) -> bool:
        """After every pass: sums are right. True, or it raises."""
        if self.wrong:
            raise self.wrong[0]
        for reactor in self.reactors.values():
            if not reactor.is_running:
                total = sum(handler.buffered for handler in reactor.handlers if isinstance(handler, Stream))
                self.hold(total == reactor.queued, f"{reactor.queued} bytes are said to be queued, and {total} are")
        for listener in self.listeners:
            if listener.is_open:
                live = sum(
                    each._sponsor is listener and isinstance(each, (Worker, Front)) for each in listener.reactor.handlers
                )
                self.hold(live == listener.connections, f"{listener.connections} are counted, and {live} live")
        self.hold(self.sim.journal.count <= JOURNAL_MAX, "much is done, and nothing comes of it")
        return True


class _Silent:
    """Nobody reads what a budget says."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **more: None
