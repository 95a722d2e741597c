"""Moments that recur without drift: what `call_every` sets its timer by. Pure but for the callback that it hands on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import attrs

from reactor.errors import DelayError, UsageError
from reactor.timers import Timer

OnLate: TypeAlias = Literal["skip", "burst", "count"]


@attrs.define(eq=False)
class Every:
    """The n-th call is due at start + n times period: an integer times a constant, so no error adds up."""

    period: float = attrs.field()
    clock: Callable[[], float]
    callback: Callable[..., object]
    on_late: OnLate = attrs.field()
    keep_going: bool
    start: float = attrs.field(init=False)
    timer: Timer = attrs.field(init=False)
    _n: int = attrs.field(init=False, default=1)

    @period.validator
    def _check_period(self, _: object, period: float) -> None:
        if period <= 0:
            raise DelayError(f"a period is above 0 seconds, not {period!r}")

    @on_late.validator
    def _check_on_late(self, _: object, on_late: str) -> None:
        if on_late not in ("skip", "burst", "count"):
            raise UsageError(f'on_late is "skip", "burst" or "count", not {on_late!r}')

    def __attrs_post_init__(self) -> None:
        self.start = self.clock()

    @property
    def due(self) -> float:
        """The moment of the next call."""
        return self.start + self._n * self.period

    def fire(self, *args: Any) -> None:
        """Call, and set the timer to the next moment: before the call, so that the callback may cancel it."""
        passed = 1
        if self.on_late != "burst":
            late = self.clock() - self.due
            passed += max(0, int(late // self.period))
        self._n += passed
        self.timer.restart_at(self.due)
        try:
            if self.on_late == "count":
                self.callback(passed, *args)
            else:
                self.callback(*args)
        except BaseException:
            if not self.keep_going:
                self.timer.cancel()
            raise
