"""Watchdog: a thread that says, while a hook blocks the loop, which one, and where in it.

It looks at one number that the loop keeps in any case, so the loop does nothing for it. It cannot speak while the hook is in
code that holds the interpreter's lock, and owns no descriptor.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Self

import attrs

from reactor.errors import UsageError
from reactor.loop import Loop
from reactor.poller import Poller
from reactor.timers import seconds

#: Looks in the time of one limit.
LOOKS_PER_LIMIT = 4


@attrs.frozen
class Stall:
    """What the watchdog has seen."""

    #: For at least so many seconds the loop has been in one pass.
    seconds: float
    #: The stack of the loop's thread, as a traceback has it; the innermost call is last.
    stack: str


@attrs.define(eq=False)
class Watchdog:
    """Reports a stall of *reactor*, once each, while it lasts; a context manager.

    Args:
        reactor: the loop to be watched, in whatever thread it runs.
        limit: seconds in one pass, waiting apart, that are too many.
        on_stall: called with a `Stall`, in the watchdog's own thread. The default logs it, logger "reactor.slow".
    """

    reactor: Loop
    limit: float = 0.5
    on_stall: Callable[[Stall], object] | None = None

    #: How many there were.
    stalls: int = attrs.field(default=0, init=False)
    _thread: threading.Thread | None = attrs.field(default=None, init=False, repr=False)
    _done: threading.Event = attrs.field(factory=threading.Event, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if seconds(self.limit, "a limit") == 0:
            raise UsageError("a watchdog's limit is above 0 seconds")

    def start(self) -> Self:
        """Begin to watch."""
        if self._thread is None:
            self._done.clear()
            self._thread = threading.Thread(target=self._watch, name="reactor watchdog", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """End, and wait for that, unless it is `on_stall` that asks."""
        self._done.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _watch(self) -> None:
        """Look again and again; the thread."""
        import traceback

        seen, since, told = -1, 0.0, False
        while not self._done.wait(self.limit / LOOKS_PER_LIMIT):
            thread, passes, now = self.reactor._thread, self.reactor.passes, time.monotonic()
            frame = None if thread is None else sys._current_frames().get(thread)
            if frame is None or passes != seen or _waits(frame):
                seen, since, told = passes, now, False
            elif now - since >= self.limit and not told:
                told = True
                self._report(Stall(now - since, "".join(traceback.format_stack(frame))))

    def _report(self, stall: Stall) -> None:
        self.stalls += 1
        if self.on_stall is None:
            self.reactor.log.getChild("slow").warning(
                "the loop has been blocked for %.2f s, and still is:\n%s", stall.seconds, stall.stack
            )
            return
        try:
            self.on_stall(stall)
        except Exception:
            self.reactor.log.exception("on_stall raised; what it was told of: %s", stall)


def _waits(frame: FrameType | None) -> bool:
    """Whether the loop is in its poll: it has been called from there."""
    while frame is not None:
        if frame.f_code is Poller.wait.__code__:
            return True
        frame = frame.f_back
    return False
