"""Watch: what a loop that looks closely does beside its work: it times hooks, tells instruments, and looks for spins.

A loop looks closely for good with `debug=True` or with instruments, for a while after a slow phase, and now and then for the
sake of `spin`. Else it compares two numbers in a pass, and nothing here is called.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

import attrs

from reactor.instruments import Instruments
from reactor.poller import describe
from reactor.spin import Spins

if TYPE_CHECKING:
    import selectors
    from logging import Logger

    from reactor.handler import Handler
    from reactor.loop import Loop

#: A phase (all hooks of one pass, or all timers and calls) that takes longer is told of.  # asyncio 0.1, in debug mode
SLOW_PHASE_SECONDS = 0.1
#: Between two warnings of slow phases; those between are counted.
SLOW_WARNING_SECONDS = 10.0
#: For so many passes after a slow phase hooks are timed one by one.
CLOSE_PASSES = 1000
#: Hooks, or handlers, that one warning names.
NAMED_MAX = 5


@attrs.define(eq=False)
class Watch:
    """Of one loop."""

    _loop: Loop = attrs.field(repr=False)
    #: Seconds; infinity for none.
    slow_phase: float
    spins: Spins
    #: What the loop compares the length of each phase with.
    limit: float = attrs.field(default=0.0, init=False)
    longest: float = attrs.field(default=0.0, init=False)
    slow_phases: int = attrs.field(default=0, init=False)
    #: Up to this pass hooks are timed.
    _timed_until: int = attrs.field(default=0, init=False)
    _timings: list[tuple[float, str]] = attrs.field(factory=list, init=False, repr=False)
    _log: Logger | None = attrs.field(default=None, init=False, repr=False)
    _told_at: float = attrs.field(default=-inf, init=False)
    _untold: int = attrs.field(default=0, init=False)
    _pass_began: float | None = attrs.field(default=None, init=False)

    # Of every loop

    def phase_was_long(self, seconds: float, what: str, called: list[tuple[selectors.SelectorKey, int]] | None) -> None:
        """A phase took longer than `limit`: it is the longest so far, or slow, or both."""
        self.longest = max(self.longest, seconds)
        self.limit = min(self.longest, self.slow_phase)
        if seconds <= self.slow_phase:
            return
        self.slow_phases += 1
        self._timed_until = self._loop.passes + CLOSE_PASSES
        self._loop.look_closely()
        now = self._loop.time()
        if now - self._told_at < SLOW_WARNING_SECONDS:
            self._untold += 1
            return
        self._told_at = now
        self._warn(seconds, what, called or [])
        self._untold = 0

    def plain_until(self) -> int:
        """Return the first pass in which the loop has to look closely again."""
        if self._loop.debug or self._loop.instruments is not None or self._loop.passes < self._timed_until:
            return 0
        return self.spins.look_at

    # Of a loop that looks closely

    def begin(self, now: float) -> None:
        """A pass begins, and the one before is over."""
        began, self._pass_began = self._pass_began, now
        self._timings.clear()
        if began is not None:
            self.tell("on_pass", self._loop, began, now)

    def rest(self) -> None:
        """The loop runs no more, for now."""
        if self._pass_began is not None:
            self.begin(self._loop.time())
            self._pass_began = None
        self.spins.run_ends()

    def polled(self, began: float, ended: float, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        """The poll is over."""
        self.tell("on_poll", self._loop, began, ended, len(ready))
        if self._loop.passes >= self.spins.look_at:
            self.spins.look(ready)

    def hook(self, handler: Handler, name: str, hook: Callable[[], object]) -> None:
        """Call a *hook* of *handler*, and time it."""
        began = self._loop.time()
        try:
            hook()
        finally:
            ended = self._loop.time()
            self._timings.append((ended - began, f"{name} of {describe(handler)}"))
            self.tell("on_dispatch", handler, name, began, ended)

    def call(self, callback: Callable[..., object], args: tuple[Any, ...], owner: Handler | None) -> None:
        """Make a call that was queued or is due, and time it."""
        began = self._loop.time()
        try:
            callback(*args)
        finally:
            ended = self._loop.time()
            whose = "" if owner is None else f" of {describe(owner)}"
            self._timings.append((ended - began, f"{name_of(callback)}{whose}"))
            self.tell("on_timer", owner, callback, began, ended)

    def tell(self, name: str, *details: Any) -> None:
        """Tell the instruments that want to hear."""
        instruments = self._loop.instruments
        if instruments is None:
            return
        for hook in instruments.hooks[name]:
            try:
                hook(*details)
            except Exception:
                self._loop.log.exception("an instrument raised, and hears nothing more: %r", hook)
                left = tuple(each for each in instruments.members if each is not getattr(hook, "__self__", hook))
                self._loop.instruments = Instruments.of(left)

    # How

    def _warn(self, seconds: float, what: str, called: list[tuple[selectors.SelectorKey, int]]) -> None:
        import logging

        if self._log is None:
            self._log = logging.getLogger("reactor.slow")
        if self._timings:
            longest = sorted(self._timings, key=lambda timing: -timing[0])
            names = [f"{name} took {took:.3f} s" for took, name in longest]
        else:
            names = [f"called: {describe(key.data)}" for key, _ in called]
        more = f", and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
        self._log.warning(
            "%s took %.3f s, in which nothing else was served; %s%s%s",
            what,
            seconds,
            ", ".join(names[:NAMED_MAX]) or "hooks will be timed from now on",
            more,
            f"; {self._untold} more slow phases since the last warning" if self._untold else "",
        )


def name_of(callback: Callable[..., object]) -> str:
    """Return what to call *callback*; a `__repr__` of the user's is not trusted."""
    return getattr(callback, "__qualname__", type(callback).__name__)
