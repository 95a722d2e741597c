"""The monitor: it hears every hook, says what was out of order, and holds nobody back from being forgotten."""

from __future__ import annotations

import gc
import weakref
from enum import Enum
from typing import Any

import attrs
import pytest

from reactor import CloseReason, Handler, Stream
from reactor.testing import InjectedError, Simulation
from reactor.testing.dice import Dice
from reactor.testing.monitor import HOOKS, STREAM_ORDER, Heard, Monitor


def monitor(rate: float = 0.0) -> tuple[Monitor, list[str]]:
    """Return a monitor, and a list into which it writes the hooks that it hears."""
    heard: list[str] = []

    def note(handler: Handler, hook: str, args: tuple[Any, ...]) -> None:
        heard.append(hook)

    return Monitor(Dice(0).die("hook", rate), note), heard


@attrs.define(eq=False)
class Tame(Stream):
    """Does nothing in its hooks."""

    def on_connect(self) -> None:
        pass

    def on_data(self, data: bytes) -> None:
        pass

    def on_end(self) -> None:
        pass

    def on_close(self, reason: CloseReason) -> None:
        pass


def test_the_order_is_a_table() -> None:
    """Every state has its row, every row leads to states, and after CLOSE nothing comes."""
    assert issubclass(Heard, Enum)
    assert set(STREAM_ORDER) == set(Heard)
    assert all(hook in HOOKS and after in STREAM_ORDER for row in STREAM_ORDER.values() for hook, after in row.items())
    assert not STREAM_ORDER[Heard.CLOSE]


@pytest.mark.parametrize(
    ("hooks", "wrong"),
    [
        (("on_connect", "on_data", "on_end", "on_close"), ""),
        (("on_close",), ""),
        (("on_data",), "Tame.on_data was called after NOTHING"),
        (("on_connect", "on_connect"), "Tame.on_connect was called after CONNECT"),
        (("on_connect", "on_end", "on_data"), "Tame.on_data was called after END"),
        (("on_close", "on_close"), "Tame.on_close was called after CLOSE"),
    ],
)
def test_a_stream_is_heard_in_order(hooks: tuple[str, ...], wrong: str) -> None:
    """Each order that a program may see is silent; each other one is a violation that names both ends."""
    watching, heard = monitor()
    handler = Tame()
    watching.watch(handler)
    watching.watch(handler)
    for hook in hooks:
        watching.before(handler, hook, ())
    assert heard == list(hooks)
    assert watching.violations == ([wrong] if wrong else [])


def test_a_bare_handler_hears_nothing_after_its_end() -> None:
    """Of another handler than a stream only the end is checked; `is_closed` tells who has heard it."""
    watching, heard = monitor()
    handler = Handler()
    assert not watching.is_closed(handler)
    watching.watch(handler)
    watching.before(handler, "on_readable", ())
    watching.before(handler, "on_close", ())
    assert (watching.violations, watching.is_closed(handler), heard) == ([], True, ["on_close"])
    watching.before(handler, "on_timeout", ())
    assert watching.violations == ["Handler.on_timeout was called after on_close"]


def test_a_hook_raises_by_fault() -> None:
    """The injected error has the strike's name and the hook's; what a program does not see as a hook is spared."""
    watching, _ = monitor(1.0)
    handler = Handler()
    watching.watch(handler)
    watching.before(handler, "on_readable", ())
    raised = []
    for _ in range(10):
        try:
            watching.before(handler, "on_timeout", ())
        except InjectedError as error:
            raised.append(str(error))
    assert raised[:2] == ["hook#1 in Handler.on_timeout", "hook#2 in Handler.on_timeout"]


def test_somebody_may_listen_after_each_hook() -> None:
    """`after` is called with the handler and the hook's name, when the hook has returned."""
    with Simulation() as sim, sim.reactor() as reactor:
        heard: list[str] = []
        sim.monitor.after = lambda _, hook: heard.append(hook)
        here, there = sim.sockets.socketpair()
        reactor.attach(Tame(), here).close()
        sim.run()
        there.close()
        assert heard == ["on_connect", "on_close"]


def test_handlers_are_forgotten() -> None:
    """A handler that nobody has any more is not kept by the simulation that watched it."""
    with Simulation() as sim, sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        handler = reactor.attach(Tame(), here)
        sim.run()
        there.close()
        handler.close()
        sim.run()
        assert sim.monitor.is_closed(handler)
        gone = weakref.ref(handler)
        del handler
        gc.collect()
        assert gone() is None
