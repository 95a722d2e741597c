"""The two worlds that the tests of the core run in, from the same bodies: the operating system's, and a simulation.

In the simulation the names `socket`, `selectors` and `signal` of a test's module, and of the kit, mean stand-ins, and
reactors that are given no system are on a simulated host. A system of a test's own derives from `System`.
"""

from __future__ import annotations

import contextlib
import importlib
import selectors
import signal
import socket
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Self

import pytest

from reactor import system as operating
from reactor.system import SignalAction
from reactor.testing import Host, Simulation
from reactor.testing.selector import Kind, SimulatedEpoll, SimulatedSelector

#: Modules of which every test runs in both worlds, but those that are marked `kernel`, with the reason.
CORE = (
    "acceptor",
    "connector",
    "dialer",
    "line",
    "reconnector",
    "resolver",
    "sockets",
    "tunnel",
    "handler",
    "listening",
    "loop",
    "messages",
    "periodic",
    "poller",
    "reactor",
    "signals",
    "stream",
    "system",
    "traps",
    "waker",
    "hangups",
    "instruments",
    "report",
    "watch",
)

#: Modules of which the tests are about real threads, processes and clocks, or look at what the machine says of itself.
REAL = ("fork", "spin", "threads", "tracing", "watchdog")

#: What the simulated selectors are called, and their kinds.
SELECTOR_NAMES: dict[str, Kind] = {"EpollSelector": "epoll", "PollSelector": "poll", "SelectSelector": "select"}


class World:
    """A simulated host and the stand-ins for what the stdlib asks a kernel."""

    #: The one in which a test runs at present; None: the operating system's.
    current: World | None = None

    def __init__(self, *, checks: bool = True) -> None:
        self.sim = Simulation(checks=checks)
        self.host = self.sim.host("test")
        self.selectors = {name: _selector(self.host, name, kind) for name, kind in SELECTOR_NAMES.items()}
        self.stand_ins: dict[ModuleType, Any] = {
            socket: self.host.sockets,
            selectors: Selectors(self.selectors),
            signal: Signals(self.host),
        }

    @contextlib.contextmanager
    def around(self, module: ModuleType) -> Iterator[Self]:
        """Have a test of *module* run in here; what it leaves open is an error."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(World, "current", self)
            patch.setattr(operating.System, "default", lambda: self.host)
            for name in ("socket", "socketpair", "selector", "getaddrinfo", "set_signal"):
                patch.setattr(operating.System, name, _refuse)
            for each in (module, importlib.import_module("tests.kit")):
                for real, stand_in in self.stand_ins.items():
                    if vars(each).get(real.__name__) is real:
                        patch.setattr(each, real.__name__, stand_in)
            yield self
        self.sim.close()


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("a test in the simulation has asked the operating system; see tests.worlds.System")


class View(Host):
    """One more system on the host of the test's world."""

    def __init__(self) -> None:
        # Not the base's: `System` has given it what the host has.
        pass

    @property
    def _wakeup_fd(self) -> int:
        return self.sim.hosts[self.name]._wakeup_fd

    @_wakeup_fd.setter
    def _wakeup_fd(self, fd: int) -> None:
        self.sim.hosts[self.name]._wakeup_fd = fd


class System(operating.System):
    """A system of whichever world the test runs in: in the simulation an instance is a `View`, too."""

    def __new__(cls, *_: Any, **__: Any) -> Self:
        world = World.current
        if world is None:
            return super().__new__(cls)
        made: Self = object.__new__(type(cls.__name__, (cls, View), {}))
        vars(made).update((name, value) for name, value in vars(world.host).items() if name != "_wakeup_fd")
        return made


def _selector(host: Host, name: str, kind: Kind) -> type[SimulatedSelector]:
    """Return a class for a kind of selector on *host*, as the stdlib has one for each kind."""

    def make_epoll(self: SimulatedEpoll) -> None:
        SimulatedEpoll.__init__(self, host)

    def make(self: SimulatedSelector) -> None:
        SimulatedSelector.__init__(self, host, kind)

    if kind == "epoll":
        return type(name, (SimulatedEpoll,), {"__init__": make_epoll})
    return type(name, (SimulatedSelector,), {"__init__": make})


class Selectors:
    """In place of the module `selectors`."""

    def __init__(self, classes: Mapping[str, type[SimulatedSelector]]) -> None:
        self._classes = {**classes, "DefaultSelector": classes["EpollSelector"]}

    def __getattr__(self, name: str) -> Any:
        return self._classes.get(name) or getattr(selectors, name)


class Signals:
    """In place of the module `signal`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.getsignal, self.raise_signal, self.set_wakeup_fd = host.get_signal, host.raise_signal, host.set_wakeup_fd

    def __getattr__(self, name: str) -> Any:
        found = getattr(signal, name)
        if isinstance(found, (int, type)) or found is signal.default_int_handler:
            return found
        raise AttributeError(f"signal.{name} asks the operating system: mark the test as kernel")

    def signal(self, number: int, action: SignalAction) -> SignalAction:
        return self._host.set_signal(number, action)
