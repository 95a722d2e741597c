"""What a forked child inherits of a reactor: descriptors that it shares with its parent, and nothing that it may act upon.

The selector's descriptor is one object in both processes: what the child took off it would be gone for the parent, too:
epoll(7), question 6; fork(2). So in the child the selector and the doorbell are closed at once, and the rest is made inert.
What lives on in the parent is not to notice. Nothing is owned here.
"""

from __future__ import annotations

import contextlib
import selectors
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, cast

import attrs

from reactor.errors import SHUTDOWN, ForkedReactor
from reactor.handler import Handler
from reactor.states import Life
from reactor.timers import TimerQueue
from reactor.waker import Waker

if TYPE_CHECKING:
    from reactor.loop import Loop
    from reactor.reactor import Reactor


def forked(name: str) -> ForkedReactor:
    """Return the error for whoever uses an inherited reactor."""
    return ForkedReactor(f"this {name} belongs to the parent process; close() it here, or begin anew by reinit_after_fork()")


class Severed(selectors.BaseSelector):
    """In the place of a selector that is the parent's."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> NoReturn:
        raise forked("reactor")

    def unregister(self, fileobj: Any) -> NoReturn:
        raise forked("reactor")

    def select(self, timeout: float | None = None) -> NoReturn:
        raise forked("reactor")

    def fileno(self) -> NoReturn:
        """Refuse, as all else here does."""
        raise forked("reactor")

    def get_map(self) -> dict[Any, selectors.SelectorKey]:
        return {}


def _nothing() -> None:
    """In the place of a call that is the parent's."""


@attrs.define(eq=False)
class Inheritance:
    """What is kept of a loop in a child process, for the case that it begins anew. In the meantime the loop is inert."""

    _loop: Loop
    _debug: bool = attrs.field(init=False)
    _timers: TimerQueue = attrs.field(init=False)
    _soon: list[Any] = attrs.field(init=False)
    _opening: list[Handler] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the loop inert: also one that forked in the middle of a pass, and whose child comes back into it."""
        loop = self._loop
        loop._waker.forked(was_running=loop._thread is not None)
        old, loop.poller.selector = loop.poller.selector, Severed()
        with contextlib.suppress(OSError):  # a kqueue is not inherited: kqueue(2)
            old.close()
        self._debug, loop.debug = loop.debug, True  # so that `write` asks, too
        self._timers, loop.timers = loop.timers, TimerQueue(loop._clock)
        self._soon, self._opening = list(loop._soon), list(loop._opening)
        # In place: they may be in the middle of being worked off.
        for place in range(len(loop._soon)):
            loop._soon[place] = (_nothing, (), None)
        loop._opening.clear()
        loop._closed.clear()
        loop._inbox = loop.system.inbox()
        loop.awaiting_descriptor.clear()
        loop._thread, loop._open = None, False
        for handler in loop.handlers:
            handler._told, handler._sponsor = 0, None
            handler._forked()

    def close_all(self) -> None:
        """Close the descriptors of all handlers, and no more."""
        for handler in list(self._loop.handlers):
            handler._close(SHUTDOWN)

    def begin_anew(self, keep: Callable[[Handler], object]) -> None:
        """Give the loop a selector and a doorbell of its own, and those handlers that *keep* holds for."""
        loop = self._loop
        chosen = [
            handler for handler in loop.handlers if handler._life is Life.LIVE and handler._heritable and keep(handler)
        ]
        chosen += [part for handler in chosen for part in handler._parts()]
        selector, waker = loop.system.selector(), Waker(loop.system)
        try:
            waker._bind(cast("Reactor", loop), waker.open())
        except BaseException:
            selector.close()
            raise
        for handler in list(loop.handlers):
            if handler not in chosen:
                handler._close(SHUTDOWN)
        loop.poller.selector, loop._waker = selector, waker
        loop.poller.refresh(waker)
        loop.timers, loop.debug = self._timers, self._debug
        for timer in list(loop.timers):
            if timer.owner is None:
                timer.cancel()
        loop._soon = deque(call for call in self._soon if call[2] in chosen)
        loop._opening = deque(handler for handler in self._opening if handler in chosen)
        loop.queued, loop._stopping, loop._draining, loop._leaving = 0, False, False, None
        loop.now, loop._open = loop._clock(), True
        for handler in chosen:
            loop.poller.refresh(handler)
