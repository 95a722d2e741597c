"""Calls that block, in threads of a pool of their own, and their results in the loop.

For what has no descriptor to wait for: a database without sockets of its own, a file on a slow disk, a computation that
lets others run. Not for sockets, which the loop waits for by itself. Nothing is owned here; what a call returns belongs to
whom it is handed to, and is dropped with whoever does not live to hear of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from reactor.errors import ReactorClosed, UsageError
from reactor.handler import Handler
from reactor.options import ThreadOptions
from reactor.pool import Pool

if TYPE_CHECKING:
    from reactor.loop import Loop

Then: TypeAlias = Callable[[Any], object]


@attrs.define(eq=False)
class ThreadCall:
    """A call in another thread, as `run_in_thread` returns it."""

    _threads: Threads = attrs.field(repr=False)
    #: What is called. None once that is nobody's business any more.
    work: tuple[Context, Callable[..., Any], tuple[Any, ...]] | None
    then: Then | None
    on_error: Then | None
    owner: Handler | None
    #: Whether waiting for it keeps `run` going.
    counts: bool = attrs.field(default=True, init=False)

    @property
    def is_pending(self) -> bool:
        """Whether its result is still to come."""
        return self in self._threads.pending

    def cancel(self) -> bool:
        """Give up: nothing is called any more. True if that was in time.

        A call that waits for a thread is not made; one that has begun is left to end, and its result is dropped.
        """
        return self._threads.leave(self)

    def unref(self) -> ThreadCall:
        """Let `run` return although the result is still to come; returns the call."""
        if self.counts and self.is_pending:
            self._threads.loop.expected -= 1
        self.counts = False
        return self

    def run(self) -> None:
        """Make the call. In a thread of the pool."""
        work = self.work  # read once: `cancel` may take it away at any moment
        if work is None:
            return
        context, function, args = work
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(function, *args)
        except BaseException as exc:
            error = exc
        with contextlib.suppress(ReactorClosed):
            self._threads.loop.call_threadsafe(self._threads.landed, self, result, error)
        del work, function, args, result, error  # the thread may wait long for its next call


@attrs.define(eq=False)
class Threads:
    """The calls in threads of one reactor."""

    loop: Loop
    options: ThreadOptions
    #: Whose results are still to come.
    pending: dict[ThreadCall, None] = attrs.field(factory=dict, init=False)
    _pool: Pool | None = attrs.field(default=None, init=False)

    @property
    def queued(self) -> int:
        """How many calls wait for a thread."""
        return 0 if self._pool is None else self._pool.queued

    def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        then: Then | None,
        on_error: Then | None,
        owner: Handler | None,
    ) -> ThreadCall:
        """See `Reactor.run_in_thread`."""
        self.loop.check()
        if owner is not None and owner._owner_of_calls() is not self.loop:
            raise UsageError(f"{type(owner).__name__} belongs to another reactor, and cannot own this call")
        if self._pool is None:
            self._pool = self.loop.system.pool("calls", threads=self.options.threads, queue=self.options.queue)
        call = ThreadCall(self, (copy_context(), function, args), then, on_error, owner)
        self._pool.submit(call.run)
        self.pending[call] = None
        self.loop.expected += 1
        if owner is not None:
            owner._own(call)
        return call

    def leave(self, call: ThreadCall) -> bool:
        """*call* is over, in whatever way; True if it was pending."""
        if call not in self.pending:
            return False
        del self.pending[call]
        if call.counts:
            self.loop.expected -= 1
        if call.owner is not None:
            call.owner._disown(call)
        call.work = call.then = call.on_error = call.owner = None
        return True

    def landed(self, call: ThreadCall, result: Any, error: BaseException | None) -> None:
        """A call has returned, or raised."""
        then, on_error, owner = call.then, call.on_error, call.owner
        if not self.leave(call):
            return
        if error is None:
            if then is not None:
                self.loop.guard(owner, "then", then, result)
        elif on_error is not None and isinstance(error, Exception):
            self.loop.guard(owner, "on_error", on_error, error)
        else:
            self.loop.guard(owner, "run_in_thread", _throw, error)

    def forget(self) -> None:
        """Give up whatever is pending."""
        for call in list(self.pending):
            self.leave(call)

    def close(self) -> None:
        """The loop is closed: nothing is delivered any more, and idle threads end."""
        self.forget()
        if self._pool is not None:
            self._pool.close()

    def begin_anew(self) -> None:
        """In a child process, where there are no such threads: leave pool and calls to the parent."""
        self._pool = None
        self.forget()


def _throw(error: BaseException) -> None:
    try:
        raise error
    finally:
        del error  # else its traceback would hold this frame, and this frame the error
