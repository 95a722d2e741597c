"""Hangups: handlers that are off the selector still notice that the peer is gone.

A selector cannot watch a descriptor for nothing but the peer's end, so whoever pauses leaves it. While there are any of
those, and not otherwise, all of them are looked at together, once a second, by one system call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from reactor.states import Life

if TYPE_CHECKING:
    from reactor.handler import Handler
    from reactor.loop import Loop
    from reactor.timers import Timer

#: Seconds between two looks, while anybody is off the selector.
LOOK_SECONDS = 1.0


@attrs.define(eq=False)
class Hangups:
    """Of one loop."""

    _loop: Loop = attrs.field(repr=False)
    #: Who has left the selector since the last look, or was off it then; who is back by now is among them, too.
    _away: dict[Handler, None] = attrs.field(factory=dict, init=False, repr=False)
    _timer: Timer | None = attrs.field(default=None, init=False, repr=False)

    def left(self, handler: Handler) -> None:
        """*handler* has just left the selector."""
        if not handler._minds_hangups:
            return
        self._away[handler] = None
        if self._timer is None or self._timer.callback is None:  # cancelled, in a forked child
            self._timer = self._loop.timers.add(self._loop.time() + LOOK_SECONDS, self._look).unref()
        elif self._timer.due is None:
            self._timer.restart(LOOK_SECONDS)

    def gone(self, handler: Handler) -> None:
        """*handler* lives no more: without anybody to look after, no timer is left."""
        if handler in self._away:
            del self._away[handler]
            if not self._away and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _look(self) -> None:
        """Look at those who are still away, and tell those whose peer is gone."""
        self._away = {each: None for each in self._away if each._life is Life.LIVE and not each._told}
        if not self._away:
            return
        by_number = {handler._fd: handler for handler in self._away}
        for fd, gone in self._loop.system.hung_up(list(by_number)).items():
            by_number[fd]._hung_up(gone)  # which calls no user code
        if self._timer is not None:
            self._timer.restart(LOOK_SECONDS)
