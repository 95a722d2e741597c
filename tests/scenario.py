"""The scenario of the soak: two hundred connections between three simulated hosts, with every fault on.

Callers on one host reach echo servers on another: straight by TCP, through a forwarder on a third host, or over a Unix
socket within their own. Everything is drawn from the seed. What must hold is checked while it runs, and once more at the
end. `tests.soak` runs it for ranges of seeds.
"""

from __future__ import annotations

import contextlib
import io
import signal
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from random import Random

import attrs

from examples import echo, forward
from reactor import Acceptor, Address, CloseKind, ErrorContext, Limits, Reactor, Stream, Timer
from reactor.addresses import parse
from reactor.testing import Faults, Host, InjectedError, Network, Simulation, Violation
from reactor.testing import dice as dice_module
from reactor.testing.selector import KINDS, make_selector
from reactor.testing.tcp import Tcp

#: How many callers take each way. Through the forwarder, a caller is two connections.
CALLERS = {"forward": 60, "tcp": 40, "unix": 40}
#: Callers begin within these virtual seconds, and partitions come and go in them.
BEGIN_SECONDS = 10.0
#: A caller that has made no progress for so long, or is not done by then, was forgotten by somebody.
IDLE_SECONDS = 60.0
DEADLINE_SECONDS = 300.0
#: Some callers note when nothing has come for so long: a timer that is put off again and again.
QUIET_SECONDS = 0.1
#: Sums of jumps are not exact.
ROUNDING_SECONDS = 1e-9
#: Nobody needs longer than this for a run.
RUN_SECONDS = 1000.0
#: More entries in the journal than a run can have that gets anywhere.
JOURNAL_MAX = 3_000_000

SERVER_PORT, FORWARD_PORT, DEAD_PORT, SOCKET = 7007, 7008, 7009, "unix:/run/echo.sock"
SIGNAL = signal.SIGTERM

#: Buffers and marks so small that back-pressure is an everyday thing.
NETWORK = Network(
    latency=0.004, jitter=0.006, bandwidth=100_000.0, loss=0.02, send_buffer=4096, receive_buffer=4096, descriptors_max=500
)
LIMITS = Limits(high=3000, low=500, close_timeout=20.0, linger=30.0)

FAULTS = Faults.all(
    0.01,
    shuffle=0.05,
    busy=0.03,
    hook=0.004,
    jump=0.0005,
    stall=0.005,
    accept=0.03,
    signal=0.004,
    wake=0.004,
    signals=(SIGNAL,),
)

_PATTERN = Random("pattern").randbytes(1 << 15)  # the same on every Python: since 3.9 it is getrandbits


class Manner(Enum):
    """How a caller behaves once it has said what it has to say, or before."""

    END = auto()  # half-closes, and waits for the rest
    WAIT = auto()  # waits for the whole echo, then closes
    CLOSE = auto()  # closes at once
    ABORT = auto()  # aborts in the middle, or is aborted by another caller
    REFUSED = auto()  # is answered and turned away while it still speaks
    DEAD = auto()  # calls a port on which nobody listens


#: Of a hundred callers.
MANNERS = [*[Manner.END] * 43, *[Manner.WAIT] * 25, *[Manner.CLOSE] * 12, *[Manner.ABORT] * 10]
MANNERS += [*[Manner.REFUSED] * 5, *[Manner.DEAD] * 5]


#: Ends that somebody or something else has brought about.
NOT_OURS = (CloseKind.RESET, CloseKind.ERROR, CloseKind.TIMEOUT)


@attrs.frozen
class Plan:
    """What one caller is going to do."""

    number: int
    address: str
    manner: Manner
    #: All that it says, in chunks.
    chunks: tuple[bytes, ...]
    #: Seconds between two chunks.
    gap: float
    #: Seconds of rest after bytes came; 0: none.
    rest: float
    #: After how many seconds it gives up, at the latest.
    deadline: float

    @classmethod
    def draw(cls, number: int, address: str, chance: dice_module.Stream) -> Plan:
        """Return a plan that chance has made."""
        die = chance.below(10)
        size = 2 + (chance.below(200) if die < 6 else chance.below(2000) if die < 9 else chance.below(9000))
        said = number.to_bytes(2, "big") + _PATTERN[number * 53 : number * 53 + size - 2]
        longest = max(1, size // (1 + chance.below(5)))
        chunks = []
        while said:
            cut = 1 + chance.below(longest)
            chunks.append(said[:cut])
            said = said[cut:]
        manner = MANNERS[chance.below(len(MANNERS))]
        if manner is Manner.DEAD:
            address = address.replace(f":{SERVER_PORT}", f":{DEAD_PORT}").replace(f":{FORWARD_PORT}", f":{DEAD_PORT}")
            address = address.replace(".sock", ".dead")
        return cls(
            number,
            address,
            manner,
            tuple(chunks),
            gap=0.0 if chance.below(2) else chance.between(0.0, 0.3),
            rest=0.0 if chance.below(4) else chance.between(0.0, 0.2),
            deadline=DEADLINE_SECONDS if chance.below(10) else chance.between(0.0, 3.0),
        )


@attrs.define(eq=False, repr=False)
class Moment:
    """A call that is to be made at a moment, and neither before nor after it, but by what the clock has jumped meanwhile."""

    run: Run
    callback: Callable[[], object]
    due: float
    timer: Timer | None = attrs.field(init=False, default=None)
    jumped: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.jumped = self.run.sim.jumped

    def restart(self, delay: float) -> None:
        """Put it off."""
        assert self.timer is not None
        self.due = self.run.sim.now + delay
        self.timer.restart(delay)

    def __call__(self) -> None:
        sim = self.run.sim
        late = sim.now - self.due
        self.run.hold(late >= 0, f"called {-late} s early")
        self.run.hold(late <= sim.jumped - self.jumped + ROUNDING_SECONDS, f"called {late} s late")
        self.callback()


@attrs.define(eq=False, repr=False)
class Caller(Stream):
    """A client. It knows the echo before it comes."""

    plan: Plan
    run: Run
    expected: bytes = attrs.field(init=False, default=b"")
    #: How many chunks it has said, how many bytes of them went out, and came back.
    said: int = attrs.field(init=False, default=0)
    sent: int = attrs.field(init=False, default=0)
    got: int = attrs.field(init=False, default=0)
    #: Whether it has finished its own half.
    ended: bool = attrs.field(init=False, default=False)
    #: Whether it was forgotten by everybody.
    stuck: bool = attrs.field(init=False, default=False)
    full: bool = attrs.field(init=False, default=False)
    idle: Moment | None = attrs.field(init=False, default=None)
    quiet: Moment | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.expected = b"".join(self.plan.chunks)
        self.limits = LIMITS

    def begin(self) -> None:
        """Call."""
        self.run.reactors["callers"].connect(self, self.plan.address, timeout=IDLE_SECONDS)
        self.run.sim.monitor.watch(self)

    def on_connect(self) -> None:
        self.run.hold(self.plan.manner is not Manner.DEAD, "a connection to a port on which nobody listens")
        plan = self.plan
        self.idle = self.later(IDLE_SECONDS, self.forgotten)
        if plan.number % 3 == 0:
            self.quiet = self.later(QUIET_SECONDS, lambda: None)
        self.later(plan.deadline, self.abort if plan.deadline < DEADLINE_SECONDS else self.forgotten)
        if plan.manner is Manner.ABORT:
            self.later(plan.gap or 1.0, self.abort)
        self.say()

    def on_data(self, data: bytes) -> None:
        expected = self.expected[self.got : self.got + len(data)]
        self.run.hold(data == expected, f"caller {self.plan.number} was told {data!r} and not {expected!r}")
        self.got += len(data)
        self.run.hold(self.got <= self.sent, f"caller {self.plan.number} got more than it sent")
        assert self.idle is not None
        self.idle.restart(IDLE_SECONDS)
        if self.quiet is not None:
            self.quiet.restart(QUIET_SECONDS)
        neighbour = self.run.callers[self.plan.number - 1]
        if neighbour.plan.manner is Manner.ABORT and neighbour.is_open:
            neighbour.abort()  # maybe in the pass in which it was to be told something
        if self.plan.manner is Manner.WAIT and self.got == len(self.expected):
            self.ended = True
            self.close()
        elif self.plan.rest:
            self.pause()
            self.later(self.plan.rest, self.resume)

    def on_end(self) -> None:
        if self.run.is_torn(self):
            self.abort()
            return
        whole = len(self.expected)
        if self.plan.manner is Manner.REFUSED:
            whole = self.run.served[self.plan.number].got
            self.ended = True
            self.close()
        self.run.hold(self.ended, f"caller {self.plan.number} heard an end that nobody made")
        self.run.hold(self.got == whole, f"caller {self.plan.number} took {self.got} of {whole} bytes for the whole")

    def on_pause(self) -> None:
        self.full = True

    def on_drain(self) -> None:
        self.full = False
        self.say()

    def say(self) -> None:
        """Say the next chunk, and have the one after that said later."""
        plan = self.plan
        while self.said < len(plan.chunks) and not self.full and self.is_writable:
            chunk = plan.chunks[self.said]
            self.said += 1
            self.sent += len(chunk)
            if not self.write(chunk):
                return
            if plan.gap:
                self.later(plan.gap, self.say)
                return
        if self.said == len(plan.chunks) and not self.ended and self.is_writable:
            if plan.manner is Manner.END:
                self.ended = True
                self.end()
            elif plan.manner is Manner.CLOSE:
                self.ended = True
                self.close()

    def forgotten(self) -> None:
        """Nothing has happened for too long."""
        self.stuck = True
        self.abort()

    def later(self, delay: float, callback: Callable[[], object]) -> Moment:
        """Have *callback* called after *delay*, at the very moment."""
        made = Moment(self.run, callback, self.reactor.time() + delay)
        made.timer = self.call_later(delay, made)
        return made


@attrs.define(eq=False, repr=False)
class Echo(echo.Echo):
    """The example's server, which looks at what it gets."""

    run: Run
    head: bytes = attrs.field(init=False, default=b"")
    caller: Caller | None = attrs.field(init=False, default=None)
    got: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.limits = LIMITS

    def on_data(self, data: bytes) -> None:
        self.look_at(data)
        super().on_data(data)
        if self.caller is not None and self.caller.plan.manner is Manner.REFUSED:
            self.close()

    def look_at(self, data: bytes) -> None:
        """Check that it goes on where it stopped, with what its caller has sent."""
        if self.caller is None:
            data, self.head = self.head + data, self.head + data
            if len(data) < 2:
                return
            number = int.from_bytes(data[:2], "big")
            self.run.hold(number < len(self.run.callers), f"a server was told {data!r}")
            self.run.hold(number not in self.run.served, f"caller {number} reached two servers")
            self.run.served[number] = self
            self.caller = self.run.callers[number]
        caller = self.caller
        expected = caller.expected[self.got : self.got + len(data)]
        self.run.hold(data == expected, f"the server of {caller.plan.number} was told {data!r} and not {expected!r}")
        self.got += len(data)
        self.run.hold(self.got <= caller.sent, f"the server of {caller.plan.number} got more than was sent")

    def on_end(self) -> None:
        caller = self.caller
        # A Unix socket has no RST: there, and there alone, a part looks like the whole.
        if caller is not None and caller.plan.address != SOCKET:
            self.run.hold(caller.ended and self.got == caller.sent, f"the server took {self.got} bytes for {caller.sent}")
        super().on_end()


def is_doomed(stream: Stream) -> bool:
    """Tell whether a reset by fault was to strike a connection."""
    end = getattr(stream.sock, "end", None)
    return isinstance(end, Tcp) and end.is_doomed


@attrs.define(eq=False)
class Listener(Acceptor):
    """An acceptor that keeps it to itself when descriptors have run out."""

    def on_exhausted(self, exc: OSError) -> None:
        pass


@attrs.define(eq=False, kw_only=True, repr=False, on_setattr=attrs.setters.NO_OP)
class Checked(Reactor):
    """A reactor that notes what went wrong: whatever was raised, but for what was to be."""

    wrong: list[BaseException]

    def on_error(self, context: ErrorContext) -> None:
        if not isinstance(context.exc, InjectedError):
            self.wrong.append(context.exc)


@attrs.define(eq=False, repr=False)
class Run:
    """The scenario with one seed."""

    seed: int
    faults: Faults = FAULTS
    sim: Simulation = attrs.field(init=False)
    reactors: dict[str, Checked] = attrs.field(init=False, factory=dict)
    callers: list[Caller] = attrs.field(init=False, factory=list)
    #: Those of the callers that may not have heard their last hook yet.
    waiting: list[Caller] = attrs.field(init=False, factory=list)
    #: Who served which caller.
    served: dict[int, Echo] = attrs.field(init=False, factory=dict)
    sides: list[forward.Client] = attrs.field(init=False, factory=list)
    wrong: list[BaseException] = attrs.field(init=False, factory=list)
    #: Signals heard, by reactor, and calls from elsewhere that are still to come.
    heard: dict[str, int] = attrs.field(init=False, factory=dict)
    calls: int = attrs.field(init=False, default=0)

    def __call__(self) -> Simulation:
        """Run it; return the simulation, which is over.

        Raises:
            SimulationError: what must hold does not.
        """
        with (
            contextlib.redirect_stderr(io.StringIO()),  # where the forwarder reports
            Simulation(self.seed, network=NETWORK, faults=self.faults) as self.sim,
        ):
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
        self.until(self.is_over, "callers are not done")
        self.sim.heal()
        self.until(lambda: not self.calls, "calls from elsewhere are not made")
        self.until(self.is_signalled, "not every reactor of a host has heard each of its signals once")
        self.look_at_callers()
        for reactor in self.reactors.values():
            reactor.shutdown(grace=5.0)
        self.until(lambda: not any(reactor.handlers for reactor in self.reactors.values()), "handlers are left")
        for name, reactor in self.reactors.items():
            reactor.run()
            self.hold(not reactor.timers.waiting and not len(reactor.timers), f"timers are left: {reactor.dump()}")
            reactor.close()
            self.hold(reactor.is_closed, f"{name} is not closed")

    # Setting up

    def set_up(self) -> None:
        """Make hosts, reactors, callers, and what happens to them."""
        chance = self.sim.dice.stream("scenario")
        here, between, there = (self.sim.host(name) for name in ("here", "between", "there"))
        for name, host in (("callers", here), ("local", here), ("forwarder", between), ("server", there)):
            selector = make_selector(host, KINDS[chance.below(len(KINDS))])
            # With `debug`, a loop dispatches by another method than without: two reactors of each kind.
            debug = bool((self.seed + len(self.reactors)) % 2)
            reactor = self.reactors[name] = Checked(selector=selector, system=host, debug=debug, wrong=self.wrong)
            self.heard[name] = 0
            reactor.on_signal(SIGNAL, self.hear, name)
        server = f"{there.addresses[chance.below(2)]}"
        server = f"[{server}]:{SERVER_PORT}" if ":" in server else f"{server}:{SERVER_PORT}"
        forwarder = f"{between.addresses[0]}:{FORWARD_PORT}"
        Listener(partial(Echo, self)).listen(self.reactors["server"], f":{SERVER_PORT}")
        Listener(partial(self.side, parse(server))).listen(self.reactors["forwarder"], forwarder)
        Listener(partial(Echo, self)).listen(self.reactors["local"], SOCKET)
        there.kernel.descriptors_max = 10 + chance.below(30)
        ways = {"tcp": server, "unix": SOCKET, "forward": forwarder}
        addresses = [ways[way] for way, count in CALLERS.items() for _ in range(count)]
        for number, address in enumerate(addresses):
            caller = Caller(Plan.draw(number, address, chance), self)
            self.callers.append(caller)
            self.reactors["callers"].call_later(chance.between(0.0, BEGIN_SECONDS), caller.begin)
        self.waiting = list(self.callers)
        for _ in range(4):
            one, other = ((here, between), (between, there), (here, there))[chance.below(3)]
            begin = chance.between(0.0, BEGIN_SECONDS)
            self.sim.after(begin, self.sim.partition, one, other)
            self.sim.after(begin + chance.between(0.0, 4.0), self.sim.heal, one, other)
        for _ in range(20):
            self.calls += 1
            name = list(self.reactors)[chance.below(len(self.reactors))]
            self.sim.after(chance.between(0.0, BEGIN_SECONDS), self.call, self.reactors[name])

    def side(self, target: Address) -> forward.Client:
        """Return the forwarder's handler for the next caller."""
        side = forward.Client(target)
        side.limits = side.other.limits = LIMITS
        self.sides.append(side)
        return side

    # What must hold

    def hold(self, condition: object, message: str) -> None:
        """Fail unless *condition* holds."""
        if not condition:
            raise self.sim.verdict(Violation, message)

    def until(self, predicate: Callable[[], object], message: str) -> None:
        """Run until *predicate* holds, or anything is wrong."""
        sim = self.sim

        def done() -> object:
            if self.wrong:
                raise self.wrong[0]
            if sim.journal.count > JOURNAL_MAX:
                raise sim.verdict(Violation, "much is done, and nothing comes of it")
            return predicate()

        self.hold(sim.run(until=done, timeout=RUN_SECONDS), message)

    def is_over(self) -> bool:
        """Whether every caller has heard its last hook."""
        while self.waiting and self.sim.monitor.is_closed(self.waiting[-1]):
            self.waiting.pop()
        return not self.waiting

    def is_torn(self, caller: Caller) -> bool:
        """Whether the end of *caller*'s connection may be none: a Unix socket has no RST, and its server was struck."""
        server = self.served.get(caller.plan.number)
        return caller.plan.address == SOCKET and (server is None or server in self.sim.monitor.struck)

    def look_at_callers(self) -> None:
        """Check that nobody was forgotten, cut off, or told of an end, for nothing."""
        struck = self.sim.monitor.struck
        # Hooks that raised, and resets by fault, by the address of the callers whom they may concern: ports are used again.
        hooks = {handler._peer for handler in struck if isinstance(handler, Echo)}
        hooks |= {side._peer for side in self.sides if side in struck or side.other in struck or side.other._local in hooks}
        resets = {side._peer for side in self.sides if is_doomed(side) or is_doomed(side.other)}
        turned_away = sum(isinstance(handler, Acceptor) for handler in struck)
        for caller in self.callers:
            number, kind = caller.plan.number, caller.reason.kind if caller.reason else None
            self.hold(kind is not None, f"caller {number} ended without a reason")
            if caller.stuck:
                self.hold(caller._local in hooks, f"caller {number} was forgotten")
            if kind is CloseKind.PEER_END and caller.plan.manner is Manner.END and not self.is_torn(caller):
                self.hold(caller.got == len(caller.expected), f"caller {number} got {caller.got} bytes")
            if kind in NOT_OURS and caller.plan.manner is not Manner.DEAD and not self.is_torn(caller):
                if caller._local not in hooks | resets and not is_doomed(caller):
                    turned_away -= 1
                self.hold(turned_away >= 0, f"caller {number} was cut off for nothing: {caller.reason!r}")

    def is_signalled(self) -> bool:
        """Whether every signal was heard by each reactor of its host."""
        for name, reactor in self.reactors.items():
            assert isinstance(reactor.system, Host)
            if self.heard[name] != reactor.system.signals[SIGNAL]:
                return False
        return True

    def hear(self, name: str) -> None:
        """A signal has come to the reactor of that *name*."""
        self.heard[name] += 1

    def call(self, reactor: Checked) -> None:
        """Another thread has something to be done."""
        reactor.call_threadsafe(Moment(self, self.called, self.sim.now))

    def called(self) -> None:
        """It was done."""
        self.calls -= 1
