"""A reactor in a thread of its own: for programs, and tests, whose main thread has something else to do.

Not for speed: two threads of one Python process take turns. The thread is a daemon; it is stopped and joined at the latest
when the interpreter begins to end, before anything that hooks use is gone. The reactor owns its descriptors, as always.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs

from reactor.errors import ForkedReactor, ReactorClosed
from reactor.reactor import Reactor

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

#: How long the interpreter's end waits for a hook that does not return.
EXIT_SECONDS = 5.0


@attrs.define(eq=False)
class Hosted:
    """A reactor and the thread that runs it, from `start` to `stop`; a context manager. Made by `hosted`."""

    reactor: Reactor
    _name: str = "reactor"
    _thread: threading.Thread | None = attrs.field(init=False, repr=False, default=None)
    _lock: threading.Lock = attrs.field(init=False, repr=False, factory=threading.Lock)
    #: Calls whose results are waited for; None once nothing is called any more.
    _waiting: set[Future[Any]] | None = attrs.field(init=False, repr=False, factory=set)
    _raised: BaseException | None = attrs.field(init=False, repr=False, default=None)

    def start(self) -> Self:
        """Start the thread, and return when the reactor runs.

        Raises:
            ReactorClosed: it is closed already.
            WrongThread: it runs elsewhere.
            BaseException: what has left `run` at once, if anything has.
        """
        self.reactor.check()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        atexit.register(self._end)
        try:
            self.call(int)
        except ReactorClosed:  # `run` was left at once
            self.stop()
        return self

    def call(self, function: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
        """Call *function* in the reactor's thread, wait, and return what it returns or raise what it raises.

        Called in that thread itself, it simply calls. Not for hooks of another reactor, which would stand still meanwhile.

        Raises:
            ReactorClosed: the reactor does not run (any more).
            TimeoutError: nothing has come of it in *timeout* seconds; unless it had begun, it is not called any more.
        """
        if threading.current_thread() is self._thread:
            return function(*args)
        from concurrent.futures import CancelledError, Future

        future: Future[T] = Future()
        with self._lock:
            if self._thread is None or self._waiting is None:
                raise ReactorClosed("the reactor does not run in its thread (any more)")
            self._waiting.add(future)
        try:
            self.reactor.call_threadsafe(_fulfil, future, function, args)
            return future.result(timeout)
        except CancelledError:
            if not future.cancelled():
                raise  # the function's own
            raise ReactorClosed("the reactor was stopped before it came to this call") from None
        finally:
            future.cancel()
            with self._lock:
                if self._waiting is not None:
                    self._waiting.discard(future)

    def stop(self, grace: float | None = None) -> None:
        """Stop the reactor, close it in its thread, and wait for that. Stopping twice is allowed.

        Args:
            grace: shut down first, and give handlers so many seconds to finish what they are about; None: close all at once.

        Raises:
            BaseException: what has left `run`, if anything has, such as a hook's `SystemExit`.
        """
        thread = self._thread
        if thread is None:
            self.reactor.close()
            return
        with contextlib.suppress(ReactorClosed, ForkedReactor):
            if grace is None:
                self.reactor.stop()
            else:
                self.reactor.call_threadsafe(self.reactor.shutdown, grace)
        if threading.current_thread() is thread:
            return
        thread.join()
        atexit.unregister(self._end)
        self.reactor.close()  # it is, but in a forked child, where there is no such thread
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def __enter__(self) -> Self:
        return self.start() if self._thread is None else self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            with self.reactor:
                self.reactor.run(forever=True)
        except BaseException as exc:
            self._raised = exc
        finally:
            with self._lock:
                waiting, self._waiting = self._waiting or set(), None
            for future in waiting:
                future.cancel()

    def _end(self) -> None:
        """The interpreter begins to end."""
        with contextlib.suppress(ForkedReactor):
            self.reactor.stop()
        assert self._thread is not None
        self._thread.join(EXIT_SECONDS)


def hosted(reactor: Reactor | None = None, *, name: str = "reactor") -> Hosted:
    """Return a context manager that runs *reactor*, by default a new one, in a daemon thread called *name*.

    ::

        with hosted() as host:
            acceptor = host.call(host.reactor.listen, Echo, "127.0.0.1:0")

    Within the block the reactor runs; after it the reactor is closed and the thread has ended.
    """
    return Hosted(Reactor() if reactor is None else reactor, name)


def _fulfil(future: Future[Any], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(*args)
    except BaseException as exc:
        future.set_exception(exc)
    else:
        future.set_result(result)
