"""Loop: poll, dispatch, timers, calls, and one seam for what user code raises.

One pass is, in this order: due timers; calls queued before this pass; poll; dispatch, asking each handler once more
whether it still wants the event; `on_close` of whatever was closed. Batches are taken before they are run.

The loop knows no sockets but through `Handler`, and makes no connections: see `reactor`.
"""

from __future__ import annotations

import contextlib
import selectors
import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

import attrs

from reactor.errors import (
    SHUTDOWN,
    AlreadyRunning,
    CloseKind,
    CloseReason,
    ReactorClosed,
    UsageError,
    WrongThread,
)
from reactor.fork import Inheritance, forked
from reactor.handler import Handler
from reactor.hangups import Hangups
from reactor.instruments import Instruments
from reactor.periodic import Every, OnLate
from reactor.poller import READ, WRITE, Poller, describe
from reactor.report import Stats, dump_of, snapshot_of, stats_of
from reactor.spin import Spins
from reactor.states import LIFE, Life, LifeEvent, move
from reactor.system import Inbox, System, close
from reactor.timers import Timer, TimerQueue, seconds
from reactor.waker import Waker
from reactor.watch import SLOW_PHASE_SECONDS, Watch

if TYPE_CHECKING:
    from logging import Logger
    from socket import socket

    from reactor.addresses import Address
    from reactor.reactor import Reactor

H = TypeVar("H", bound=Handler)
I = TypeVar("I")  # noqa: E741  # an instrument


def _system_or_default(system: System | None) -> System:
    return System.default() if system is None else system


#: The longest single wait: epoll_wait(2) takes milliseconds in an int, and select() may refuse more than 31 days.
WAIT_SECONDS_MAX = 24 * 3600.0


_CONSTRUCTION = ("__init__", "__attrs_post_init__")
_PACKAGE = __name__.partition(".")[0]


def _site() -> str:
    """Return the place in the user's code from which this is called; that of `run` if the loop has called it by itself."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


@attrs.frozen
class ErrorContext:
    """What user code raised, and where."""

    #: What was being called: "event", "call", "timer", or the hook's name.
    where: str
    exc: BaseException
    #: Whose hook or timer it was; closed for it, unless it was over already.
    handler: Handler | None = None
    #: The monotonic moment.
    at: float = 0.0


# on_setattr: else one field with a converter would put a Python function before every assignment to any field.
@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class Loop:
    """The loop by itself. Programs use `Reactor`.

    Args:
        selector: any `selectors.BaseSelector`; it belongs to the loop from now on. Default: the platform's best.
        system: what stands for the operating system. Default: the real one.
        debug: check the calling thread on every write, too, time every hook, and remember where the reactor and its handlers
            were made.
        slow_phase: warn, on the logger "reactor.slow", when the hooks of a pass take more seconds than this; None: never.
    """

    #: Instruments that every reactor begins with. `python -m reactor trace` sets it, so that the program needs no change.
    default_instruments: ClassVar[tuple[object, ...]] = ()

    _selector: selectors.BaseSelector | None = None
    system: System = attrs.field(default=None, converter=_system_or_default)
    debug: bool = False
    slow_phase: float | None = SLOW_PHASE_SECONDS

    #: The moment at which this pass began to call out; `time()` asks the clock.
    now: float = attrs.field(init=False, default=0.0)
    #: Handlers that have a descriptor or are promised one, in the order of their coming; the waker is not among them.
    #: A dict, since sets of objects have another order in each process, and a run shall be repeatable.
    handlers: dict[Handler, None] = attrs.field(init=False, repr=False, factory=dict)
    #: How many of them `run` does not go on for.
    uncounted: int = attrs.field(init=False, repr=False, default=0)
    #: How many results are to come from other threads, for which `run` goes on.
    expected: int = attrs.field(init=False, repr=False, default=0)
    poller: Poller = attrs.field(init=False, repr=False)
    timers: TimerQueue = attrs.field(init=False, repr=False)
    #: Called once each, in order, when a descriptor has been closed.
    awaiting_descriptor: dict[Callable[[], object], None] = attrs.field(init=False, repr=False, factory=dict)
    log: Logger = attrs.field(init=False, repr=False)
    counts: Counter[str] = attrs.field(init=False, repr=False, factory=Counter)
    passes: int = attrs.field(init=False, repr=False, default=0)
    #: Bytes in the write queues of all streams, but for what a hook has just written and the kernel has not been offered.
    queued: int = attrs.field(init=False, repr=False, default=0)
    events: int = attrs.field(init=False, repr=False, default=0)
    _queued_marks: tuple[float, float] = attrs.field(init=False, repr=False, default=(-inf, inf))
    _on_queued: Callable[[], object] = attrs.field(init=False, repr=False)
    instruments: Instruments | None = attrs.field(init=False, repr=False, default=None)
    #: Where each handler was made, in the user's code; with `debug=True` only.
    sites: dict[Handler, str] = attrs.field(init=False, repr=False, factory=dict)

    _clock: Callable[[], float] = attrs.field(init=False, repr=False)
    _waker: Waker = attrs.field(init=False, repr=False)
    _soon: deque[tuple[Callable[..., object], tuple[Any, ...], Handler | None]] = attrs.field(
        init=False, repr=False, factory=deque
    )
    _inbox: Inbox = attrs.field(init=False, repr=False)  # the way into `_soon` from elsewhere; see `_take`
    _opening: deque[Handler] = attrs.field(init=False, repr=False, factory=deque)  # attached, and not told yet
    _closed: deque[Handler] = attrs.field(init=False, repr=False, factory=deque)
    _thread: int | None = attrs.field(init=False, repr=False, default=None)
    _draining: bool = attrs.field(init=False, repr=False, default=False)  # shutting down: only handlers count
    _leaving: BaseException | None = attrs.field(init=False, repr=False, default=None)  # on its way out of `run`
    _stopping: bool = attrs.field(init=False, repr=False, default=False)
    _open: bool = attrs.field(init=False, repr=False, default=False)
    _idle: float = attrs.field(init=False, repr=False, default=0.0)
    _inherited: Inheritance | None = attrs.field(init=False, repr=False, default=None)
    _made_at: str = attrs.field(init=False, repr=False, default="")
    _watch: Watch = attrs.field(init=False, repr=False)
    _hangups: Hangups = attrs.field(init=False, repr=False)
    # What is compared in each pass: the first pass that is to be looked at closely, and how long a phase may take.
    _plain_until: int = attrs.field(init=False, repr=False, default=0)
    _phase_limit: float = attrs.field(init=False, repr=False, default=0.0)
    _called: list[tuple[selectors.SelectorKey, int]] | None = attrs.field(init=False, repr=False, default=None)

    def __attrs_post_init__(self) -> None:
        # Now, while there are descriptors: an import in the middle of a report that they are used up would fail.
        import logging

        slow_phase = inf if self.slow_phase is None else seconds(self.slow_phase, "a slow phase")
        self.log = logging.getLogger("reactor")
        self._clock = self.system.monotonic
        self._inbox = self.system.inbox()
        self.timers = TimerQueue(self._clock)
        given, self._selector = self._selector, None  # the poller's from now on
        selector = self.system.selector() if given is None else self.system.adopt_selector(given)
        self._hangups = Hangups(self)
        self.poller = Poller(selector, self.system, self._lost, self.log, self._hangups.left)
        self._watch = Watch(self, slow_phase, Spins(self))
        for instrument in self.default_instruments:
            self.instrument(instrument)
        self._plain_until = self._watch.plain_until()
        self.now = self._clock()
        self._waker = Waker(self.system)
        try:
            self._waker._bind(cast("Reactor", self), self._waker.open())
            self.poller.refresh(self._waker)
        except BaseException:
            self.poller.close()
            raise
        self._open = True
        self.system.watch_forks(self)
        if self.debug:
            frame = sys._getframe(1)
            while frame.f_back and (frame.f_code.co_filename == __file__ or frame.f_code.co_name in _CONSTRUCTION):
                frame = frame.f_back
            self._made_at = f", made at {frame.f_code.co_filename}:{frame.f_lineno}"

    # Running

    def run(self, *, forever: bool = False) -> None:
        """Serve until nothing is left alive, or until `stop`; with *forever*, until `stop` only.

        Alive are handlers and timers that have not said `unref`, and queued calls. May be called again.

        Raises:
            AlreadyRunning: called from a hook.
            ReactorClosed: after `close`.
            KeyboardInterrupt: Ctrl-C, once the pass, or the shutdown that it began, was finished.
        """
        with self._running():
            self._serve((lambda: not self._draining or self._has_work()) if forever else self._has_work_yet, None)

    def run_until(self, predicate: Callable[[], object], timeout: float | None = None) -> bool:
        """Serve until *predicate* holds, *timeout* seconds have passed, nothing is alive or `stop`; tell whether it holds.

        The predicate is asked before each pass, and again before the pass waits if it has made any calls.
        """
        deadline = None if timeout is None else self.time() + seconds(timeout, "a timeout")
        with self._running():
            self._serve(lambda: not predicate() and self._has_work_yet(), deadline)
        return bool(predicate())

    def run_once(self, timeout: float | None = None) -> int:
        """Make one pass; return how many calls it made.

        If no timer is due and no call queued, it waits for an event, at most *timeout* seconds (None: as long as it takes).
        """
        if timeout is not None:
            timeout = seconds(timeout, "a timeout")
        with self._running():
            return self._pass(timeout, lambda: False)

    def stop(self) -> None:
        """Have `run` return at the end of this pass, or at once when it is called next. From any thread.

        From another thread, the pass in which the loop hears of it is meant: the one under way, or the next.
        """
        self._check_inherited()
        if self._thread == self.system.thread():
            self._stopping = True
        else:
            self._inbox.append(None)
        self._waker.wake()

    def close(self) -> None:
        """Close every handler with reason SHUTDOWN, tell each, drop timers and calls. Closing twice is allowed.

        In a forked child of the process that made it, descriptors are closed, and nobody is told.

        Raises:
            AlreadyRunning: called while it runs; `stop()` it first.
        """
        if self._inherited is not None:
            self._inherited.close_all()
        if not self._open:
            return
        if self._thread is not None:
            raise AlreadyRunning("close() was called while the reactor runs; call stop(), and close() after run()")
        self._open = False
        with contextlib.ExitStack() as then:  # done in any case, from the last to the first, if a hook leaves by an exit
            then.callback(self.poller.close)
            then.callback(self._waker.shut)
            then.callback(self._forget_all)
            for handler in list(self.handlers):
                handler._close(SHUTDOWN)
            self._tell_all_closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def reinit_after_fork(self, keep: Callable[[Handler], object] = lambda _: False) -> None:
        """Begin anew, in a forked child of the process that made it, with those handlers that *keep* holds for.

        They are registered with a selector of the child's own, and their timers go on. What is queued in streams, piped or
        fed is the parent's affair. The descriptors of all others are closed here; no hook is called, and the parent does not
        notice. Timers and calls that have no owner, signals and calls in threads stay behind.

        Args:
            keep: asked for each handler that has a descriptor, but for attempts to connect.

        Raises:
            UsageError: this is the process that made it.
        """
        if self._inherited is None:
            raise UsageError("this process made the reactor itself; reinit_after_fork() is for a forked child")
        self._inherited.begin_anew(keep)
        self._inherited = None

    def __del__(self) -> None:
        if getattr(self, "_inherited", None) is not None:
            self.close()
        if getattr(self, "_open", False):
            warnings.warn(f"a reactor was never closed{self._made_at}", ResourceWarning, source=self, stacklevel=1)
            self._waker.shut()
            self.poller.close()

    @property
    def is_alive(self) -> bool:
        """Whether `run` has anything to go on for."""
        return self._has_work() or (not self._draining and bool(self._inbox))

    @property
    def is_running(self) -> bool:
        """Whether a pass is under way, in whatever thread."""
        return self._thread is not None

    @property
    def is_shutting_down(self) -> bool:
        """Whether `shutdown` has been called, and handlers are still at their ends."""
        return self._draining

    @property
    def is_closed(self) -> bool:
        """Whether `close` has been called."""
        return not self._open

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a forked child of the one that made it, and it has not begun anew here."""
        return self._inherited is not None

    # Embedding

    def fileno(self) -> int:
        """Return a descriptor that is readable when `run_once(0)` has something to do, be it a thread's call; timers apart.

        Raises:
            Unsupported: the selector has none.
        """
        return self.poller.fileno()

    def next_timeout(self) -> float | None:
        """Return in how many seconds `run_once` has something to do even if no descriptor is ready; None: never."""
        if self._soon or self._opening or self._closed or self._stopping:
            return 0.0
        due = self.timers.next_due()
        return None if due is None else self._shorter(None, due, self.time())

    # Calls and timers

    def time(self) -> float:
        """Return the monotonic clock's time, in seconds."""
        return self._clock()

    def call_soon(self, callback: Callable[..., object], *args: Any, owner: Handler | None = None) -> None:
        """Call *callback* in the next pass, in the order of queueing; not if *owner* is closed by then."""
        self.check()
        self._soon.append((callback, args, owner))

    def call_threadsafe(
        self, callback: Callable[..., object], *args: Any, idempotent: bool = False, owner: Handler | None = None
    ) -> None:
        """Call *callback* in the loop's thread; not if *owner* is closed by then.

        To be called from any thread, and from a signal handler.

        Args:
            callback: called with *args*; what it raises goes to `on_error`, and closes the *owner*.
            idempotent: queue nothing if the same call waits already.
            owner: the handler for whose sake it is.

        Raises:
            ReactorClosed: after `close`.
        """
        if not self._open:
            self._check_inherited()
            raise ReactorClosed("the reactor is closed; nothing that is queued now would ever run")
        if idempotent:
            key, mark = (callback, args, owner), object()
            if self._inbox.once.setdefault(key, mark) is not mark:
                return
            self._inbox.append((self._call_queued_once, (key,), None))
        else:
            self._inbox.append((callback, args, owner))
        self._waker.wake()

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, owner: Handler | None = None) -> Timer:
        """Call *callback* once, *delay* seconds from now: never earlier, later by no more than a pass and 1 ms.

        Raises:
            DelayError: *delay* is not a finite number.
        """
        self.check()
        return self.timers.add(self._clock() + seconds(delay), callback, args, owner)

    def call_at(self, due: float, callback: Callable[..., object], *args: Any, owner: Handler | None = None) -> Timer:
        """Call *callback* once, when `time()` has reached *due*.

        Raises:
            DelayError: *due* is not a finite number.
        """
        self.check()
        return self.timers.add(seconds(due, "a moment"), callback, args, owner)

    def call_every(
        self,
        period: float,
        callback: Callable[..., object],
        *args: Any,
        on_late: OnLate = "skip",
        keep_going: bool = True,
        owner: Handler | None = None,
    ) -> Timer:
        """Call *callback* every *period* seconds from now on; the n-th moment is start + n times period, without drift.

        Args:
            period: seconds, above 0.
            callback: called with *args*.
            on_late: what to do about moments that were missed: "skip" them, "burst" (call once for each), or "count"
                (call once, with the number of moments that have passed as the first argument).
            keep_going: go on after the callback has raised; an *owner* is closed for it in any case.
            owner: the handler whose end ends it.

        Raises:
            DelayError: *period* is not a finite number above 0.
        """
        every = Every(seconds(period, "a period"), self._clock, callback, on_late, keep_going)
        every.timer = self.call_at(every.due, every.fire, *args, owner=owner)
        return every.timer

    # Handlers

    def attach(self, handler: H, sock: socket) -> H:
        """Give *handler* a socket that is already there, and return the handler. A stream hears `on_connect` first of all.

        The socket is made non-blocking and belongs to the handler from now on; if this raises, it still is the caller's.

        Raises:
            HandlerReused: the handler has had a socket before.
            Unsupported: the selector cannot watch it.
            UsageError: *handler* is no handler, or the descriptor is watched already, or closed.
        """
        self.check_welcome()
        self.adopt(handler, sock)
        self._opening.append(handler)
        return handler

    # What handlers and the modules above call

    def check(self) -> None:
        """Raise unless the reactor is open and this thread may use it."""
        if not self._open:
            self._check_inherited()
            raise ReactorClosed("the reactor is closed; make a new one")
        if self._thread is not None:
            self.check_thread()

    def check_welcome(self) -> None:
        """Raise unless new handlers are taken."""
        self.check()
        if self._draining:
            raise ReactorClosed("the reactor is shutting down, and takes no new handlers; see is_shutting_down")

    def check_thread(self) -> None:
        """Raise unless this thread may use the reactor: any while it does not run, its own while it does."""
        if self._thread is not None and self._thread != self.system.thread():
            raise WrongThread("the reactor runs in another thread; use call_threadsafe(callback, *args)")

    def _check_inherited(self) -> None:
        if self._inherited is not None:
            raise forked(type(self).__name__)

    def _forked(self) -> None:
        """This is a child process now."""
        if self._open:
            self._inherited = Inheritance(self)

    def enrol(self, handler: Handler) -> None:
        """Count *handler* among those that keep the loop going; it has, or is promised, a socket."""
        self.handlers[handler] = None
        handler._since = self.now
        if self.debug:
            self.sites[handler] = _site()
        if not handler._counts:
            self.uncounted += 1

    def adopt(self, handler: Handler, sock: socket, local: Address | None = None, peer: Address | None = None) -> None:
        """Bind *sock* to *handler* and register it. On an exception the socket is left alone, and the handler is spent."""
        if not isinstance(handler, Handler):
            raise UsageError(f"a handler is an instance of a Handler subclass, not {handler!r}")
        if sock.fileno() < 0:
            raise UsageError(f"{type(handler).__name__} was given a socket that is closed")
        handler._check_unused()
        sock = self.system.adopt(sock)
        sock.setblocking(False)
        handler._bind(self, sock, local, peer)  # type: ignore[arg-type]  # a Reactor
        self.enrol(handler)
        try:
            self.poller.refresh(handler)
        except BaseException:
            handler._life = move(LIFE, handler._life, LifeEvent.REFUSE)
            self.release(handler)
            raise

    def succeed(self, handler: Handler, successor: Handler, local: Address | None, peer: Address | None) -> None:
        """Give *successor*, which was claimed for it, the socket of *handler*, which is over then; no hook is called.

        Also on an exception: the successor, whom the selector does not know then, is to be closed.
        """
        handler._life = move(LIFE, handler._life, LifeEvent.DETACH)
        successor._bind(self, handler.sock, local, peer)  # type: ignore[arg-type]  # a Reactor
        try:
            self.poller.replace(handler, successor)
        finally:
            self.release(handler)

    def release(self, handler: Handler) -> None:
        """Take a handler that has just stopped being live out of everything; its descriptor stays open."""
        self.poller.forget(handler)
        del self.handlers[handler]
        if self.sites:
            self.sites.pop(handler, None)
        if not handler._counts:
            self.uncounted -= 1
        self._hangups.gone(handler)
        timers, handler._timers = handler._timers, None
        for timer in timers or ():
            timer.cancel()

    def retire(self, handler: Handler, *, reset: bool) -> None:
        """Release *handler*, close its descriptor, and remember to tell it."""
        self.release(handler)
        if handler.sock is not None:
            # SO_LINGER would be set for the parent, too: the two share the open socket, fork(2).
            close(handler.sock, reset=reset and self._inherited is None)
        if self._inherited is not None:
            return
        self._closed.append(handler)
        if self.awaiting_descriptor:
            waiting, self.awaiting_descriptor = self.awaiting_descriptor, {}
            for resume in waiting:
                self._soon.append((resume, (), None))

    def dispose(self, sock: socket) -> None:
        """Close, by RST, a socket whose hook raised, unless a handler has taken it over."""
        if sock.fileno() >= 0 and not any(handler.sock is sock for handler in self.handlers):
            close(sock, reset=True)

    def guard(self, handler: Handler | None, where: str, hook: Callable[..., object], *args: Any) -> None:
        """Call a hook of *handler*, or of nobody's; what it raises closes the handler and is reported."""
        try:
            hook(*args)
        except BaseException as exc:
            self._raised(exc, where, handler)

    def report(self, where: str, exc: BaseException, handler: Handler | None = None) -> None:
        """Tell `on_error`, once, and never let anything come back out of it."""
        self.counts["errors"] += 1
        self.system.note_error(where, exc)
        context = ErrorContext(where, exc, handler, self.now)
        self._watch.tell("on_error", context)
        try:
            self.on_error(context)
        except Exception:
            self.log.exception("on_error raised; what it was told of: %s: %r", where, exc)

    def on_error(self, context: ErrorContext) -> None:
        """User code raised. The default logs it with its traceback at level ERROR, logger "reactor"."""
        whose = "" if context.handler is None else f" of {describe(context.handler)}"
        self.log.error("error in %s%s", context.where, whose, exc_info=context.exc)

    def note_queued(self, count: int) -> None:
        """Note that the write queues hold *count* bytes more, in all."""
        self.queued += count
        if not self._queued_marks[0] <= self.queued <= self._queued_marks[1]:
            self._queued_marks = (-inf, inf)  # once
            self._soon.append((self._on_queued, (), None))

    def watch_queued(self, low: float, high: float, callback: Callable[[], object]) -> None:
        """Have *callback* called soon, once, when the write queues hold less than *low* bytes or more than *high*."""
        self._queued_marks, self._on_queued = (low, high), callback
        self.note_queued(0)

    # The pass

    def _has_work(self) -> bool:
        if self._draining:
            return bool(self._closed or self.handlers)
        return len(self.handlers) > self.uncounted or bool(
            self._soon or self._closed or self.timers.waiting or self.expected
        )

    def _has_work_yet(self) -> bool:
        """Whether anything is left to go on for, be it what a thread has sent this moment."""
        if self._has_work():
            return True
        self._take()
        return self._has_work()

    def _take(self) -> None:
        """Take what threads and signal handlers have sent.

        Each has rung after it had sent, so that a wait ends and the waker calls this; besides, it is called where a run
        begins and before it ends.
        """
        for call in self._inbox.take():
            if call is None:
                self._stopping = True
            else:
                self._soon.append(call)

    def _serve(self, goes_on: Callable[[], object], deadline: float | None) -> None:
        """Make passes while *goes_on*, until `stop` or the *deadline*."""
        left = None
        while not self._stopping and goes_on():
            if deadline is not None and (left := deadline - self.time()) <= 0:
                break
            self._pass(left, goes_on)

    def _pass(self, timeout: float | None, goes_on: Callable[[], object]) -> int:  # noqa: C901, PLR0912  # a call costs
        """Make one pass. In the steady state, events and nothing else, it costs little beside the poll: keep it so."""
        self.passes += 1
        before = self._clock()
        if before - self.now > self._phase_limit:  # `now` is that of the poll before
            self._phase_was_long(before, "a pass", self._called)
        self._called = None
        self.now = before
        watched = self.passes >= self._plain_until
        if watched:
            self._watch.begin(before)
        due = self.timers.next_due()
        made = 0
        if self._soon or self._opening or (due is not None and due <= before):
            made = self._tell_opened() + self._fire_timers()
            made += self._tell_opened() + self._make_calls()
            made += self._tell_opened()
            before = self._clock()
            if before - self.now > self._phase_limit:
                self._phase_was_long(before, "timers and calls", None)
            due = self.timers.next_due()
            if not goes_on():
                timeout = 0.0  # what was called has made waiting pointless
        if self._soon or self._closed or self._stopping:
            wait: float | None = 0.0
        elif due is None and timeout is None:
            wait = None
        else:
            wait = self._shorter(timeout, due, before)
        ready = self.poller.wait(wait)
        now = self.now = self._clock()
        self._idle += now - before
        if watched:
            self._watch.polled(before, now, ready)
            self._plain_until = self._watch.plain_until()
        if ready:
            self.poller.empty_waits = 0
            self.events += len(ready)
            self._called = ready
            if watched:
                self._dispatch_watched(ready)
            else:
                self._dispatch(ready)
        elif wait is None or now - before < wait:
            self.poller.waited_in_vain()
        return made + len(ready) + (self._tell_closed() if self._closed else 0)

    def _shorter(self, timeout: float | None, due: float | None, now: float) -> float:
        """Return how long to wait when there is a *timeout*, a timer that is *due*, or both."""
        wait = WAIT_SECONDS_MAX if due is None else min(due - now, WAIT_SECONDS_MAX)
        return max(0.0, wait if timeout is None else min(wait, timeout))

    def _fire_timers(self) -> int:
        self.timers.begin(self.now)
        made = 0
        while (timer := self.timers.pop()) is not None:
            made += 1
            callback, owner = timer.callback, cast("Handler | None", timer.owner)
            try:
                if callback is not None and (owner is None or owner._hears):
                    if self.passes < self._plain_until:
                        callback(*timer.args)
                    else:
                        self._watch.call(callback, timer.args, owner)
            except BaseException as exc:
                self._raised(exc, "timer", owner)
        return made

    def _make_calls(self) -> int:
        soon = self._soon
        made = len(soon)
        for _ in range(made):
            callback, args, owner = soon.popleft()
            if owner is None or owner._hears:
                try:
                    if self.passes < self._plain_until:
                        callback(*args)
                    else:
                        self._watch.call(callback, args, owner)
                except BaseException as exc:
                    self._raised(exc, "call", owner)
        return made

    def _tell_opened(self) -> int:
        """Tell those that were attached, all of them: no other hook of theirs may come before `on_connect`."""
        opening = self._opening
        made = 0
        while opening:
            made += 1
            handler = opening.popleft()
            if handler._life is Life.LIVE:
                self.guard(handler, "on_connect", handler._opened)
        return made

    def _dispatch(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        for key, events in ready:
            handler = key.data
            # Asked anew before each call: what was called before may have closed it, or changed what it wants.
            try:
                if events & handler._told & READ:
                    handler.on_readable()
                if events > READ and events & handler._told & WRITE:
                    handler.on_writable()
            except BaseException as exc:
                self._raised(exc, "event", handler)

    def _dispatch_watched(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        """The same, looking closely."""
        hook = self._watch.hook
        for key, events in ready:
            handler = key.data
            try:
                if events & handler._told & READ:
                    hook(handler, "on_readable", handler.on_readable)
                if events > READ and events & handler._told & WRITE:
                    hook(handler, "on_writable", handler.on_writable)
            except BaseException as exc:
                self._raised(exc, "event", handler)

    def look_closely(self) -> None:
        """Watch the next passes, as long as there is a reason to."""
        self._plain_until = 0

    def _phase_was_long(self, ended: float, what: str, called: list[tuple[selectors.SelectorKey, int]] | None) -> None:
        self._watch.phase_was_long(ended - self.now, what, called)
        self._phase_limit = self._watch.limit

    def _tell_closed(self) -> int:
        closed = self._closed
        made = len(closed)
        for _ in range(made):
            if not closed:
                break  # a hook has forked, and this is the child
            handler = closed.popleft()
            for call in handler._last_calls():
                self.guard(handler, "on_sent", call)
            handler._life = move(LIFE, handler._life, LifeEvent.TELL)
            try:
                assert handler.reason is not None
                handler.on_close(handler.reason)
            except BaseException as exc:
                self._raised(exc, "on_close", handler)
        return made

    def _raised(self, exc: BaseException, where: str, handler: Handler | None) -> None:
        """User code raised: close its handler, tell both hooks, and go on, or leave if that is what it asked for."""
        if exc is self._leaving or handler is self._waker:
            raise exc  # charged to its handler already; or a signal handler's, which struck in our own code
        if not isinstance(exc, Exception):
            self._leaving = exc
        if handler is not None and handler._life is not Life.OVER:
            handler._close(CloseReason(CloseKind.HANDLER_ERROR, exc), reset=True)
            if isinstance(exc, Exception):
                try:
                    handler.on_error(exc)
                except Exception as again:
                    self.report("on_error", again, handler)
        if not isinstance(exc, Exception):
            raise exc
        self.report(where, exc, handler)

    def _lost(self, handler: Handler, error: OSError) -> None:
        handler._close(CloseReason(CloseKind.ERROR, error))

    def _call_queued_once(self, key: tuple[Any, ...]) -> None:
        del self._inbox.once[key]
        callback, args, owner = key
        if owner is None or owner._hears:
            self.guard(owner, "call", callback, *args)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Hold the loop for this thread; on the way out, tell those that are closed."""
        if self._thread is not None:
            raise AlreadyRunning(f"{self!r} is running; run(), run_once() and run_until() do not nest")
        self.check()
        self._thread = self.system.enter()
        self.now = self._clock()  # what happened meanwhile was no phase of ours
        self._watch.spins.run_begins()
        try:
            with self._waker.rung_by_signals() if self.system.is_main_thread() else contextlib.nullcontext():
                self._take()
                yield
        finally:
            try:
                self._tell_closed()
            finally:
                ended = self._clock()
                if ended - self.now > self._phase_limit:
                    self._phase_was_long(ended, "a pass", self._called)
                self._called = None
                self._watch.rest()
                self._plain_until = self._watch.plain_until()
                self._thread, self._stopping, self._leaving = None, False, None
                self.system.leave()
                self._draining = self._draining and bool(self.handlers)

    def _tell_all_closed(self) -> None:
        """Tell those that are closed, also if one of them leaves by an exit, which is raised when all are told."""
        leaving = None
        while self._closed:
            try:
                self._tell_closed()
            except BaseException as exc:
                leaving = leaving or exc
        self._leaving = None
        if leaving is not None:
            raise leaving

    def _forget_all(self) -> None:
        """Drop what would never run."""
        for timer in list(self.timers):
            timer.cancel()
        self._soon.clear()
        self._inbox.clear()
        self._opening.clear()
        self.poller.forget(self._waker)

    # Looking in

    def stats(self) -> Stats:
        """Return a snapshot of the counters."""
        return stats_of(self)

    def dump(self) -> str:
        """Return, as text for people, every handler, timer and queued call: what keeps `run` going, and on what it waits."""
        return dump_of(self)

    def snapshot(self) -> dict[str, Any]:
        """Return the same, and the counters, as what `json.dumps` takes."""
        return snapshot_of(self)

    def instrument(self, instrument: I) -> I:
        """Have *instrument* be told from now on; see `Instrument`. Returns it."""
        self._instruments_are((*self._members, instrument))
        return instrument

    def uninstrument(self, instrument: object) -> None:
        """Have it be told nothing more."""
        self._instruments_are(tuple(each for each in self._members if each is not instrument))

    def tell(self, name: str, *details: Any) -> None:
        """Tell the instruments that want to hear of it; asked for only where there are any."""
        self._watch.tell(name, *details)

    def site_of(self, handler: Handler) -> str:
        """Return where *handler* was made, for a message; "" without `debug=True`."""
        return f", made at {self.sites[handler]}" if handler in self.sites else ""

    @property
    def _members(self) -> tuple[object, ...]:
        return () if self.instruments is None else self.instruments.members

    def _instruments_are(self, members: tuple[object, ...]) -> None:
        self.instruments = Instruments.of(members)
        for handler in self.handlers:
            handler._instrumented()
        self.look_closely()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.poller.name}, {len(self.handlers)} handlers>"
