"""Operating system signals, delivered in the loop like any other call; and what Ctrl-C does to a running reactor.

Python runs signal handlers in the main thread, between two instructions of whatever is going on there. What is
registered here runs in a pass of the loop instead, where everything is consistent.
"""

from __future__ import annotations

import contextlib
import signal
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import attrs

from reactor.errors import ReactorClosed, UsageError, WrongThread
from reactor.system import SignalAction

if TYPE_CHECKING:
    from reactor.reactor import Reactor

#: Seconds that the first Ctrl-C gives to connections that have something to send.
INTERRUPT_GRACE_SECONDS = 30.0


@attrs.define(eq=False)
class SignalHandle:
    """One callback for one signal, as `Reactor.on_signal` returns it."""

    number: int
    _callback: Callable[..., object]
    _args: tuple[Any, ...]
    _signals: Signals

    def cancel(self) -> bool:
        """Call it no more; with the last one, what happened on this signal before is restored. True if it was still set."""
        return self._signals.remove(self)


@attrs.define(eq=False)
class Signals:
    """The signals of one reactor."""

    _reactor: Reactor
    _handles: dict[int, list[SignalHandle]] = attrs.field(factory=dict, init=False)
    _previous: dict[int, SignalAction] = attrs.field(factory=dict, init=False)
    _pending: deque[int] = attrs.field(factory=deque, init=False)

    def add(self, number: int, callback: Callable[..., object], args: tuple[Any, ...]) -> SignalHandle:
        """Have *callback* called in the loop on signal *number*, with others if there are any."""
        system = self._reactor.system
        if not system.is_main_thread():
            raise WrongThread("signals can be handled from the main thread only")
        if number not in self._handles:
            try:
                current = getattr(system.get_signal(number), "__self__", None)
                if not (isinstance(current, Signals) and self in current._chain(number)):
                    previous = system.set_signal(number, self._note)
                    # Called inside `run`: what run put there for the time being is not what was there before.
                    self._previous[number] = signal.default_int_handler if isinstance(previous, Interruption) else previous
            except (OSError, ValueError, TypeError) as error:
                raise UsageError(f"{number!r} is no signal that can be handled: {error}") from error
            self._handles[number] = []
        handle = SignalHandle(number, callback, args, self)
        self._handles[number].append(handle)
        return handle

    def remove(self, handle: SignalHandle) -> bool:
        """Forget *handle*."""
        handles = self._handles.get(handle.number, [])
        if handle not in handles:
            return False
        handles.remove(handle)
        if not handles:
            self._restore(handle.number)
        return True

    def close(self) -> None:
        """Restore everything. Signals that came but were not delivered go to what is restored."""
        for number in list(self._handles):
            self._restore(number)
        while self._pending:
            self._reactor.system.raise_signal(self._pending.popleft())

    def forked(self) -> None:
        """In a child process: what happened before on these signals happens again; what is pending is the parent's."""
        self._pending.clear()
        for number in list(self._handles):
            self._restore(number)
        system = self._reactor.system
        current = system.get_signal(signal.SIGINT)
        if isinstance(current, Interruption) and current._reactor is self._reactor:
            system.set_signal(signal.SIGINT, signal.default_int_handler)

    def _restore(self, number: int) -> None:
        """Put back what happened on *number* before, unless somebody else has replaced our action by now."""
        del self._handles[number]
        self._put_back(number)

    def _put_back(self, number: int) -> bool:
        """Put back what happened on *number* before; False if that cannot be done from here, or is not ours to do."""
        system, previous = self._reactor.system, self._previous[number]
        # From another thread nothing can be put back: `_note` does it when the next signal comes.
        if not system.is_main_thread() or system.get_signal(number) != self._note:
            return False
        for signals in self._chain(number):
            if number in signals._handles:
                previous = signals._note
                break
            previous = signals._previous[number]
        # None: it was not set from Python, and cannot be put back from there
        system.set_signal(number, signal.SIG_DFL if previous is None else previous)
        return True

    def _note(self, number: int, _: FrameType | None) -> None:
        """Run by Python, anywhere in the main thread's code: queue, wake up, and no more."""
        heard = False
        for signals in self._chain(number):
            if number in signals._handles:
                heard = True
                signals._pending.append(number)
                with contextlib.suppress(ReactorClosed):  # closing: it will hand on what is pending
                    signals._reactor.call_threadsafe(signals._deliver)
        if not heard and self._put_back(number):
            self._reactor.system.raise_signal(number)

    def _chain(self, number: int) -> list[Signals]:
        """Return this and the other reactors that set an action for *number* before; each wants to know."""
        chain: list[Signals] = []
        found: object = self
        while isinstance(found, Signals):
            chain.append(found)
            found = getattr(found._previous.get(number), "__self__", None)
        return chain

    def _deliver(self) -> None:
        """Deliver one. Those that come meanwhile have calls of their own, which wait for their turn."""
        number = self._pending.popleft()
        for handle in list(self._handles.get(number, ())):
            try:
                handle._callback(*handle._args)
            except Exception as exc:
                self._reactor.report("signal", exc)


@attrs.define(eq=False)
class Interruption:
    """What SIGINT does while a reactor runs."""

    _reactor: Reactor
    count: int = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1:
            self._reactor.call_threadsafe(self._reactor.shutdown, INTERRUPT_GRACE_SECONDS)
        elif self.count == 2:
            self._reactor.call_threadsafe(self._reactor.stop)
        else:
            signal.default_int_handler(number, frame)


@contextlib.contextmanager
def interruptible(reactor: Reactor) -> Iterator[None]:
    """While this lasts, Ctrl-C never strikes in the middle of a pass. The first one begins a shutdown, the second stops the
    reactor at the end of the pass, the third one is Python's own. On the way out `KeyboardInterrupt` is raised.

    Only where Python's own handler is in place, and in the main thread: whoever has set another one, keeps it.
    """
    system = reactor.system
    if not system.is_main_thread() or system.get_signal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    interruption = Interruption(reactor)
    system.set_signal(signal.SIGINT, interruption)
    try:
        yield
    finally:
        if system.get_signal(signal.SIGINT) is interruption:
            system.set_signal(signal.SIGINT, signal.default_int_handler)
    if interruption.count:
        raise KeyboardInterrupt
