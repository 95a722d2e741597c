"""Simulation: hosts, their kernels and the network between them, in virtual time, from one seed.

A `Host` is a `System`: reactors that are given it run unchanged. Whoever waits makes time go on, so nothing sleeps; and
while one reactor waits, all others make their passes. One thread runs all of it.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Self

from reactor.errors import UsageError
from reactor.handler import Handler
from reactor.reactor import Reactor
from reactor.states import Life
from reactor.system import Gone, SignalAction, Socket, System
from reactor.testing.dice import Dice, Stream
from reactor.testing.faults import NO_FAULTS, FaultDice, Faults
from reactor.testing.journal import Journal
from reactor.testing.kernel import ERR, HUP, IN, INTERFACES, OUT, RDHUP, End, Kernel, failure
from reactor.testing.monitor import Monitor
from reactor.testing.network import Links, Network, Path
from reactor.testing.pool import SimulatedPool
from reactor.testing.selector import Kind, SimulatedSelector, make_selector
from reactor.testing.sockets import SimulatedSocket, make_end, make_pair
from reactor.testing.stand_in import SocketModule
from reactor.testing.verdicts import Hang, Leak, SimulationError, Violation

if TYPE_CHECKING:
    import selectors

#: Where the monotonic clock begins, and what the wall clock shows then: 2001-09-09 01:46:40 UTC.
MONOTONIC_START = 1000.0
WALL_START = 1_000_000_000.0
#: Passes in a row that are told of readiness and move nothing, at one moment, without a fault.
IDLE_PASSES_MAX = 3
#: More passes than these at one moment, or more events, and time is stuck: somebody always has something to do at once.
PASSES_AT_ONCE_MAX = 30_000
EVENTS_AT_ONCE_MAX = 1_000_000
#: Looks in a row at those who are off the selector, one in a second, while nothing else happens.
IDLE_LOOKS_MAX = 3600
#: So many are enough where nobody waits with a deadline that is not known here.
IDLE_LOOKS_ENOUGH = 3
#: Lines of the journal that go with an error.
NOTE_LINES = 20

_ACCEPT_ERRORS = tuple(
    getattr(errno, name)
    for name in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPROTO")
    if hasattr(errno, name)
)


class Host(System):
    """One machine of a simulation, as a system. Made by `Simulation.host`."""

    def __init__(self, sim: Simulation, name: str, number: int) -> None:
        self.sim, self.name = sim, name
        self.kernel = Kernel(
            sim,
            name,
            {int(socket.AF_INET): f"10.0.0.{number}", int(socket.AF_INET6): f"fd00::{number:x}"},
            sim.network.descriptors_max,
        )
        self.monotonic = lambda: sim.now
        self.time = lambda: sim.now - MONOTONIC_START + WALL_START
        #: What stands in for the module `socket` in code that makes its sockets by itself.
        self.sockets = SocketModule(self)
        #: How often each signal has arrived here.
        self.signals: Counter[int] = Counter()
        # As Python has them when it starts.
        self._actions: dict[int, SignalAction] = {
            signal.SIGINT: signal.default_int_handler,
            getattr(signal, "SIGPIPE", 13): signal.SIG_IGN,
        }
        self._wakeup_fd = -1
        #: How often in a row somebody looked after those who are off the selector while nothing else went on.
        self.idle_looks = 0
        self._world: list[int] = []

    @property
    def addresses(self) -> tuple[str, str]:
        """Its IPv4 address and its IPv6 address."""
        return self.kernel.addresses[socket.AF_INET], self.kernel.addresses[socket.AF_INET6]

    def reactor(self, *, kind: Kind = "epoll", debug: bool = True) -> Reactor:
        """Return a reactor on this host, whose selector folds events as that *kind* does."""
        return Reactor(system=self, selector=make_selector(self, kind), debug=debug)

    # What System promises

    def selector(self, kind: Kind = "epoll") -> selectors.BaseSelector:
        return make_selector(self, kind)

    def socket(self, family: int, kind: int = socket.SOCK_STREAM) -> SimulatedSocket:
        self.entered("socket")
        return SimulatedSocket(self, make_end(self, family, kind), 0.0)

    def socketpair(self) -> tuple[Socket, Socket]:
        return make_pair(self, socket.SOCK_STREAM, 0.0)

    def adopt(self, sock: Socket) -> Socket:
        if isinstance(sock, SimulatedSocket) and sock._host.kernel is self.kernel:
            return sock
        raise UsageError(
            f"a reactor on simulated host {self.name!r} takes sockets of that host, not {sock!r}; see Host.sockets"
        )

    def pool(self, name: str, *, threads: int, queue: int) -> SimulatedPool:
        return SimulatedPool(self, name, threads, queue)

    def random(self) -> float:
        return self.sim.chance.between(0.0, 1.0)

    def getaddrinfo(self, host: str | None, port: int, *, family: int = 0, flags: int = 0) -> list[tuple[int, Any]]:
        passive = bool(flags & socket.AI_PASSIVE)
        asks = host is not None and not flags & socket.AI_NUMERICHOST  # else no name server is involved
        if asks and self.sim.dice_of.lookup.roll():
            self.note("getaddrinfo", host, "EAI_AGAIN!")
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        found = []
        for each, any_address, loopback in ((socket.AF_INET6, "::", "::1"), (socket.AF_INET, "0.0.0.0", "127.0.0.1")):
            if family not in (0, each):
                continue
            if host is None:
                found.append((int(each), any_address if passive else loopback))
                continue
            with contextlib.suppress(socket.gaierror):
                if flags & socket.AI_NUMERICHOST and any(host == name for name in (*self.sim.names, *self.sim.hosts)):
                    continue
                found.append((int(each), self.kernel.lookup(host, each)))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(each, (address, port, 0, 0) if each == socket.AF_INET6 else (address, port)) for each, address in found]

    def has_dualstack_ipv6(self) -> bool:
        return True

    def if_index(self, zone: str) -> int:
        """Return the number of the interface *zone*."""
        if zone not in INTERFACES:
            raise failure(errno.ENODEV)
        return INTERFACES[zone]

    def is_open(self, fd: int) -> bool:
        return fd in self.kernel.files

    def hung_up(self, fds: Sequence[int]) -> dict[int, Gone]:
        self.note_idle_look()
        found = {}
        for fd in fds:
            events = self.kernel.files[fd].poll()
            if events & ERR:
                found[fd] = Gone.BROKEN
            elif events & (HUP | RDHUP):
                found[fd] = Gone.HUNG_UP if events & HUP else Gone.ENDED
        return found

    def progress(self, sock: Socket) -> tuple[int, int]:
        moved = self.kernel.progress - self.kernel.registrations
        return moved, moved

    def unread(self, sock: Socket) -> int | None:
        return None

    def idle_seconds(self, sock: Socket) -> float | None:
        return None

    def is_main_thread(self) -> bool:
        return True

    def get_signal(self, number: int) -> SignalAction:
        return self._actions.get(number, signal.SIG_DFL)

    def set_signal(self, number: int, action: SignalAction) -> SignalAction:
        signal.Signals(number)  # ValueError: there is no such signal
        if number in (getattr(signal, "SIGKILL", 9), getattr(signal, "SIGSTOP", 19)):
            raise failure(errno.EINVAL)
        before, self._actions[number] = self.get_signal(number), action
        return before

    def set_wakeup_fd(self, fd: int) -> int:
        before, self._wakeup_fd = self._wakeup_fd, fd
        return before

    def ring(self, fd: int, signals: bytes) -> None:
        end = self.kernel.files.get(fd)
        if isinstance(end, End):
            with contextlib.suppress(OSError):
                end.send(signals)

    def raise_signal(self, number: int) -> None:
        """Have signal *number* arrive on this host, now."""
        action = self.get_signal(number)
        self.note("signal", number)
        self.signals[number] += 1
        if callable(action):
            self.ring(self._wakeup_fd, bytes([number]))
            action(number, None)

    def send_file(self, sock: Socket, fd: int, offset: int, count: int) -> int:
        data = self.read_at(fd, offset, count)
        return sock.send(data) if data else 0

    @contextlib.contextmanager
    def directory_lock(self, path: str) -> Iterator[bool]:
        yield True

    def socket_file(self, path: str) -> tuple[int, int] | None:
        found = self.kernel.paths.get(os.path.abspath(path))
        return None if found is None else (1, found[0])

    def unlink(self, path: str) -> None:
        if self.kernel.paths.pop(os.path.abspath(path), None) is None:
            raise failure(errno.ENOENT)

    def set_permissions(self, path: str, mode: int, owner: int | str | None, group: int | str | None) -> None:
        if self.socket_file(path) is None:
            raise failure(errno.ENOENT)

    # What sockets and selectors of this host call

    def note_idle_look(self) -> None:
        """Somebody looks after those who are off the selector. If for hours nothing else happens, nothing ever will."""
        sim = self.sim
        world = [host.kernel.progress for host in sim.hosts.values()]
        self.idle_looks = 0 if sim.is_busy() or world != self._world else self.idle_looks + 1
        self._world = world

    def note(self, what: str, *details: Any) -> None:
        """Enter something into the journal."""
        self.sim.journal.note(self.sim.now, self.name, what, *details)

    def entered(self, what: str) -> None:
        """A system call begins: what is to interrupt it strikes now."""
        sim = self.sim
        if sim.interrupts and self._wakeup_fd >= 0:
            if sim.dice_of.wake.roll():
                self.note("wake!")
                self.ring(self._wakeup_fd, b"\0")
            if sim.dice_of.signal.roll():
                heard = [number for number in sim.faults.signals if callable(self._actions.get(number))]
                if heard:
                    self.raise_signal(heard[sim.dice_of.signal.details().below(len(heard))])

    def strikes_again(self, end: End, what: str, events: int) -> bool:
        """Whether a call that could do something says EAGAIN all the same, by fault."""
        if events & OUT and end.takes_for_sure:
            return False
        if end.storm:
            end.storm -= 1
            return True
        sim = self.sim
        if sim.faults.again and end.poll() & events and sim.dice_of.again.roll():
            end.storm = sim.dice_of.again.details().below(sim.faults.storm_calls_max)
            return True
        return False

    def strikes_short(self, end: End, size: int) -> bool:
        """Whether a call that could do more moves one byte, by fault."""
        return size > 1 and end.type == socket.SOCK_STREAM and bool(self.sim.faults.short) and self.sim.dice_of.short.roll()

    def strike_accept(self, end: End) -> None:
        """Raise what accept says by fault."""
        if self.sim.faults.accept and end.poll() and self.sim.dice_of.accept.roll():
            raise failure(_ACCEPT_ERRORS[self.sim.dice_of.accept.details().below(len(_ACCEPT_ERRORS))])


class Simulation(Host):
    """A world from a *seed*; the same seed gives the same run, on every Python. It is a host itself, and so a system.

    Args:
        seed: from which everything follows that is left to chance.
        network: what the links are like.
        faults: what goes wrong, and how often.
        checks: look at every handler after every pass: interest, descriptor, order of hooks.

    Use it as a context manager: at the end of the block it raises `Leak` if anything is still open.
    """

    def __init__(
        self, seed: int = 0, *, network: Network | None = None, faults: Faults = NO_FAULTS, checks: bool = True
    ) -> None:
        self.seed, self.network, self.faults, self.checks = seed, network or Network(), faults, checks
        self.now = MONOTONIC_START
        #: By how many seconds in all it has jumped, by fault.
        self.jumped = 0.0
        self.journal = Journal()
        self.dice = Dice(seed, faults.only)
        self.dice_of = FaultDice.of(faults, self.dice)
        self.ports: Stream = self.dice.stream("ports")
        self.chance: Stream = self.dice.stream("random")
        self.links = Links(self.network, self.dice.stream("links"), self.dice_of.stall, faults.stall_seconds_max)
        self.interrupts = bool(faults.wake or faults.signal)
        self.monitor = Monitor(self.dice_of.hook, self._note_hook)
        self.selectors: dict[SimulatedSelector, None] = {}
        self.hosts: dict[str, Host] = {}
        #: Names beside those of the hosts, and their addresses.
        self.names: dict[str, tuple[str, ...]] = {}
        #: Addresses at which everything disappears.
        self.swallowed: set[str] = set()
        self._events: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = 0
        self._settling = False
        #: What a call from outside of every reactor has raised, and nobody was told yet.
        self._raised: Exception | None = None
        # How many passes and events there have been at this moment.
        self._moment, self._passes, self._happened = self.now, 0, 0
        self._stopped: set[Reactor] = set()
        self._pass_of: dict[SimulatedSelector, tuple[int, int, float]] = {}
        self._idle: dict[SimulatedSelector, int] = {}
        self._closes: dict[SimulatedSelector, int] = {}
        self._by_address: dict[str, Kernel] = {}
        super().__init__(self, "sim", 1)
        self._enter(self)

    # The world

    def host(self, name: str) -> Host:
        """Return the host of that *name*, which is made if there is none yet."""
        if name not in self.hosts:
            self._enter(Host(self, name, len(self.hosts) + 1))
        return self.hosts[name]

    def add_name(self, name: str, *addresses: str) -> None:
        """Have *name* mean *addresses*, which are numeric, on every host."""
        self.names[name] = tuple(str(ipaddress.ip_address(address)) for address in addresses)

    def swallow(self, *addresses: str) -> None:
        """Let datagrams to *addresses* disappear, and all connects; connections that are there already go on."""
        self.swallowed.update(str(ipaddress.ip_address(address)) for address in addresses)

    def partition(self, one: Host | str, other: Host | str) -> None:
        """Let nothing through between two hosts, until `heal`."""
        self.links.cut(_name(one), _name(other))
        self.note("partition", _name(one), _name(other))

    def heal(self, one: Host | str | None = None, other: Host | str | None = None) -> None:
        """Let everything through again: between two hosts, or everywhere."""
        self.links.heal(*(None if each is None else _name(each) for each in (one, other)))
        self.note("heal", *(_name(each) for each in (one, other) if each))

    def link(self, one: Host | str, other: Host | str, network: Network) -> None:
        """Make the link between two hosts unlike the others."""
        self.links.change(_name(one), _name(other), network)

    # Time

    def run(self, until: Callable[[], object] | None = None, timeout: float | None = None) -> bool:
        """Run every reactor until *until* holds, *timeout* virtual seconds have passed, or nothing can happen any more.

        A reactor that is stopped makes no more passes in this run. With a *timeout*, time goes on to its end also if nothing
        happens.

        Returns:
            whether *until* holds.

        Raises:
            SimulationError: something is wrong with the run.
            Exception: what a callback given to `at` has raised.
        """
        self._stopped.clear()
        return self._pump((lambda: False) if until is None else until, None if timeout is None else self.now + timeout)

    def advance(self, seconds: float) -> None:
        """Let *seconds* of virtual time pass, in which every reactor runs."""
        self.run(timeout=seconds)

    def at(self, moment: float, callback: Callable[..., object], *args: Any) -> None:
        """Call *callback* at a *moment*, outside of every reactor, as the network does; `run` raises what it raises."""
        self._order += 1
        heappush(self._events, (max(moment, self.now), self._order, callback, args))

    def after(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Call *callback* in *delay* seconds, outside of every reactor."""
        self.at(self.now + delay, callback, *args)

    # The end

    @property
    def strikes(self) -> tuple[str, ...]:
        """The names of the faults that have struck."""
        return tuple(self.dice.struck)

    def close(self) -> None:
        """Raise `Leak` if any descriptor is still open, on any host, and `Violation` if a handler never heard of its end."""
        left = [
            f"{host.name}: descriptor {fd}, {file!r}"
            for host in self.hosts.values()
            for fd, file in host.kernel.files.items()
        ]
        if left:
            raise self.verdict(Leak, "still open: " + "; ".join(left))
        for handler in self.monitor.untold():
            raise self.verdict(Violation, f"{type(handler).__name__} has ended, {handler.reason}, and was not told")
        self.check()

    def check(self) -> None:
        """Raise what the monitor has found, or what a callback given to `at` has raised.

        Raises:
            Violation: an invariant does not hold.
        """
        self._raise_what_was_raised()
        if self.monitor.violations:
            raise self.verdict(Violation, self.monitor.violations.pop(0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        if kind is None:
            self.close()

    def verdict(self, kind: type[SimulationError], message: str) -> SimulationError:
        """Return an error of a *kind* that tells of the seed and of what happened last."""
        error = kind(f"seed {self.seed}, at {self.now - MONOTONIC_START:.6f} s: {message}")
        error.add_note("\n".join(["what happened last:", *self.journal.lines(NOTE_LINES)]))
        return error

    def __repr__(self) -> str:
        return f"<{type(self).__name__} seed={self.seed}, {len(self.hosts)} hosts, {self.now - MONOTONIC_START:.6f} s>"

    # What kernels ask

    def kernel_at(self, address: str) -> Kernel | None:
        """Return the kernel of the host that has *address*."""
        return self._by_address.get(address)

    def is_neighbour(self, address: str) -> bool:
        """Tell whether *address* is on the network of the hosts, although nobody has it, or is one that swallows."""
        return address.startswith(("10.0.0.", "fd00::")) or address in self.swallowed

    def names_of(self, name: str, kernel: Kernel) -> list[tuple[int, str]]:
        """Return family and address for each address of *name*."""
        if name == "localhost":
            return [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
        if name in self.hosts:
            own = self.hosts[name].kernel.addresses
            return [(socket.AF_INET6, own[socket.AF_INET6]), (socket.AF_INET, own[socket.AF_INET])]
        return [(socket.AF_INET6 if ":" in each else socket.AF_INET, each) for each in self.names.get(name, ())]

    def path(self, source: str, target: str) -> Path:
        """Return a way from one host to another."""
        return Path(self.links, source, target)

    def settle(self) -> None:
        """Let everything happen that is due now.

        It may be called in the middle of a hook, by a system call. So what is raised is kept until the hook is over.
        """
        events = self._events
        if self._settling or not events or events[0][0] > self.now:
            return
        self._settling = True
        try:
            while events and events[0][0] <= self.now and self._raised is None:
                _, _, callback, args = heappop(events)
                self._count_event()
                callback(*args)
        except Exception as error:
            self._raised = error
        finally:
            self._settling = False

    def is_busy(self) -> bool:
        """Whether anything is under way, or any timer waits but those that look after who is off the selector."""
        return bool(self._events) or any(
            selector.reactor is not None and selector.reactor not in self._stopped and _waits_for_more(selector.reactor)
            for selector in self.selectors
        )

    def jump(self, seconds: float) -> None:
        """Put the clock forward, as a suspend does."""
        self.note("jump!", f"{seconds:.6f}")
        self.now += seconds
        self.jumped += seconds

    # What selectors and blocking sockets call

    def registered(self, host: Host, key: selectors.SelectorKey) -> None:
        """A descriptor is watched, for the first time or for somebody else: for a handler, maybe."""
        handler = key.data
        if (
            self.checks
            and isinstance(handler, Handler)
            and handler.reactor is not None
            and handler in handler.reactor.handlers
        ):
            self.monitor.watch(handler)

    def wait_in(self, selector: SimulatedSelector, timeout: float | None) -> None:
        """A reactor waits: let time go on until somebody of its is ready, or the wait is over."""
        if not self._pump(selector.is_ready, None if timeout is None else self.now + timeout, selector) and timeout is None:
            raise self._hang("nothing can happen any more")
        if selector.host.idle_looks > IDLE_LOOKS_MAX and timeout != 0:
            raise self._hang("nothing happens any more but looks at who is paused")

    def wait_for(self, host: Host, predicate: Callable[[], object], timeout: float | None) -> bool:
        """A call on a blocking socket waits: only what is outside of its host goes on. False if *timeout* was too short."""
        if self._pump(predicate, None if timeout is None else self.now + timeout, host.kernel):
            return True
        if timeout is None:
            raise self._hang(f"a call on a blocking socket of {host.name}, whose own reactors stand still, can never return")
        return False

    def forget(self, selector: SimulatedSelector) -> None:
        """A selector is closed."""
        for kept in (self.selectors, self._pass_of, self._idle, self._closes):
            kept.pop(selector, None)

    def pass_begins(self, selector: SimulatedSelector, ready: int) -> None:
        """A selector has told of readiness."""
        if ready:
            self._pass_of[selector] = (len(self.dice.struck), selector.host.kernel.progress, self.now)

    def pass_over(self, selector: SimulatedSelector) -> None:
        """A selector is asked again: the pass before is over, and everything has to be as it should."""
        told = self._pass_of.pop(selector, None)
        self._raise_what_was_raised()
        self._count_pass()
        if not self.checks:
            return
        self.check()
        if told == (len(self.dice.struck), selector.host.kernel.progress, self.now):
            self._idle[selector] = self._idle.get(selector, 0) + 1
            if self._idle[selector] > IDLE_PASSES_MAX:
                raise self.verdict(Violation, f"{selector.host.name} spins: readiness is told, and nothing moves")
        else:
            self._idle[selector] = 0
        reactor = selector.reactor
        if reactor is None:
            return
        for handler in reactor.handlers:
            if handler._life is Life.LIVE and handler._told != handler.interest and handler._told != _wanted(handler):
                raise self._wrong(handler)
        kernel = selector.host.kernel
        if kernel.closes != self._closes.get(selector):  # else no descriptor can have got lost
            self._closes[selector] = kernel.closes
            for handler in reactor.handlers:
                if handler._life is Life.LIVE and kernel.files.get(handler._fd) is not getattr(handler.sock, "_end", self):
                    raise self._wrong(handler)

    # How

    def _enter(self, host: Host) -> None:
        self.hosts[host.name] = host
        for address in host.addresses:
            self._by_address[address] = host.kernel

    def _pump(
        self, done: Callable[[], object], deadline: float | None, waiting: SimulatedSelector | Kernel | None = None
    ) -> bool:
        """Let events happen, reactors run and time go on until *done*.

        False if the *deadline* came first, or there is none and nothing can happen any more.
        """
        while True:
            self.settle()
            self._raise_what_was_raised()
            if done():
                return True
            moment = self._events[0][0] if self._events else None
            for selector in self.selectors:
                reactor = selector.reactor
                if reactor is None or self._stands_still(selector, reactor, waiting):
                    continue
                if reactor._inbox and not selector.host.kernel.files[reactor._waker._fd].poll() & IN:
                    raise self.verdict(Violation, f"{selector.host.name} sleeps on a call from elsewhere: it was not woken")
                due = reactor.timers.next_due()
                has_calls = reactor._soon or reactor._opening or reactor._closed or reactor._stopping
                if has_calls or (due is not None and due <= self.now) or selector.is_ready():
                    self._make_pass(selector, reactor)
                    break
                if due is not None and (moment is None or due < moment):
                    moment = due
            else:
                if moment is None or (moment > deadline if deadline is not None else self._only_looks(waiting)):
                    self.now = self.now if deadline is None else max(self.now, deadline)
                    return False
                self.now = max(self.now, moment)

    def _stands_still(
        self, selector: SimulatedSelector, reactor: Reactor, waiting: SimulatedSelector | Kernel | None
    ) -> bool:
        """Whether a reactor makes no passes while *waiting* waits."""
        return waiting is selector or waiting is selector.host.kernel or reactor.is_running or reactor in self._stopped

    def _only_looks(self, waiting: SimulatedSelector | Kernel | None) -> bool:
        """Whether nothing is to come but looks at those who are off the selector, and the last ones have found nothing."""
        if self._events:
            return False
        reactors = [
            reactor
            for selector in self.selectors
            if (reactor := selector.reactor) is not None and not self._stands_still(selector, reactor, waiting)
        ]
        return not any(map(_waits_for_more, reactors)) and all(
            reactor.system.idle_looks > IDLE_LOOKS_ENOUGH  # type: ignore[attr-defined]
            for reactor in reactors
            if reactor.timers.next_due() is not None
        )

    def _raise_what_was_raised(self) -> None:
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def _count_pass(self) -> None:
        self._begin_moment()
        self._passes += 1
        if self._passes > PASSES_AT_ONCE_MAX:
            raise self.verdict(SimulationError, f"time is stuck: {self._passes} passes at one moment")

    def _count_event(self) -> None:
        self._begin_moment()
        self._happened += 1
        if self._happened > EVENTS_AT_ONCE_MAX:
            raise self.verdict(SimulationError, f"time is stuck: {self._happened} events at one moment")

    def _begin_moment(self) -> None:
        if self._moment != self.now:
            self._moment, self._passes, self._happened = self.now, 0, 0

    def _make_pass(self, selector: SimulatedSelector, reactor: Reactor) -> None:
        self.selectors[selector] = self.selectors.pop(selector)  # its next turn comes after everybody else's
        with reactor._running():
            reactor._pass(0.0, lambda: False)
            if reactor._stopping:
                self._stopped.add(reactor)

    def _wrong(self, handler: Handler) -> SimulationError:
        name = type(handler).__name__
        if handler._told != _wanted(handler):
            message = f"{name} wants {handler.interest}, the poller was told {handler._told}: refresh() was forgotten"
        else:
            message = f"{name} lives, and its descriptor {handler._fd} is closed or somebody else's"
        return self.verdict(Violation, message)

    def _note_hook(self, handler: Handler, hook: str, args: tuple[Any, ...]) -> None:
        host = handler.reactor.system
        assert isinstance(host, Host)
        host.note(f"{type(handler).__name__}.{hook}", handler._fd, *args[:1])

    def _hang(self, message: str) -> SimulationError:
        lines = [message]
        lines += [f"nothing gets through between {one} and {other}" for one, other in self.links.cuts]
        lines += [selector.reactor.dump() for selector in self.selectors if selector.reactor is not None]
        return self.verdict(Hang, "\n".join(lines))


def _waits_for_more(reactor: Reactor) -> bool:
    """Whether any timer waits but the one that looks after who is off the selector."""
    return any(timer.callback != reactor._hangups._look for timer in reactor.timers)


def _wanted(handler: Handler) -> int:
    return handler.reactor.poller.wanted(handler)


def _name(host: Host | str) -> str:
    return host if isinstance(host, str) else host.name
