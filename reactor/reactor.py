"""Reactor: the front door. It listens, connects, handles signals and shuts down, by wiring what the other modules do."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from reactor.acceptor import Acceptor
from reactor.addresses import Address, AddressLike
from reactor.dialer import Dial, dial
from reactor.errors import SHUTDOWN
from reactor.handler import Handler
from reactor.line import Line
from reactor.loop import Loop
from reactor.options import (
    CONNECT_OPTIONS,
    LISTEN_OPTIONS,
    THREAD_OPTIONS,
    ConnectOptions,
    ListenOptions,
    ThreadOptions,
)
from reactor.poller import describe
from reactor.race import Winners
from reactor.report import Stats
from reactor.resolver import Resolver, SystemResolver
from reactor.signals import SignalHandle, Signals, interruptible
from reactor.states import Life
from reactor.threads import ThreadCall, Threads
from reactor.timers import Timer, seconds

if TYPE_CHECKING:
    from reactor.budget import MemoryBudget, Treasurer
    from reactor.proxies import Proxy

T = TypeVar("T")


@attrs.define(eq=False, kw_only=True, repr=False, on_setattr=attrs.setters.NO_OP)
class Reactor(Loop):
    """An event loop on one selector, in one thread, for handlers.

    Args:
        selector: any `selectors.BaseSelector`; it belongs to the reactor from now on. Default: the platform's best.
        system: what stands for the operating system; see `System`.
        budget: a limit for all write queues together; see `MemoryBudget`.
        resolver: looks names up for `connect`; it belongs to the reactor from now on. Default: a `SystemResolver`.
        threads: how much of `run_in_thread` goes on at a time; see `ThreadOptions`.
        debug: check the calling thread on every write, too, time every hook, and remember where the reactor and its handlers
            were made.
        slow_phase: warn, on the logger "reactor.slow", when the hooks of a pass take more seconds than this; None: never.
    """

    #: What the write queues of all streams may hold together; None: no limit but those of each stream.
    budget: MemoryBudget | None = None
    #: The handlers that the latest `shutdown` had to abort, because they were not done when its grace was over.
    cut: tuple[Handler, ...] = attrs.field(init=False, default=())

    _treasurer: Treasurer | None = attrs.field(init=False, default=None)
    resolver: Resolver = attrs.field(factory=SystemResolver)
    threads: ThreadOptions = THREAD_OPTIONS
    # Who has won, of names that were connected to with `ConnectOptions.remember`.
    winners: Winners = attrs.field(init=False, factory=Winners)
    # Who waits for room in the backlog of which Unix socket.
    lines: dict[Address, Line] = attrs.field(init=False, factory=dict)
    _signals: Signals = attrs.field(init=False)
    _threads: Threads = attrs.field(init=False)
    _grace: Timer | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.resolver.open(self)
        super().__attrs_post_init__()
        self._signals = Signals(self)
        self._threads = Threads(self, self.threads)
        if self.budget is not None:
            from reactor.budget import Treasurer  # loaded already

            self._treasurer = Treasurer(self, self.budget)
            self._treasurer.start()

    def listen(
        self,
        factory: Callable[[], Handler],
        address: AddressLike | socket.socket,
        *,
        options: ListenOptions = LISTEN_OPTIONS,
    ) -> Acceptor:
        """Listen on *address*, and serve each connection by a new handler from *factory*.

        Args:
            factory: a handler class, a partial, any callable without arguments that returns a handler.
            address: `"host:port"`, `":port"` (every interface, IPv4 and IPv6), `"unix:/path"`, `"unix:@abstract"`,
                `(host, port)`, a path, or a bound socket. Port 0 lets the kernel choose; see `Acceptor.port`. A host name is
                looked up here, and may block.
            options: how to listen.

        Raises:
            AddressError: the address does not parse.
            AddressInUse: somebody is alive there.
            ListenError: the kernel refused otherwise; `errno` says why.
            UsageError: *factory* cannot be called.
        """
        return Acceptor(factory, options).listen(self, address)

    def connect(  # noqa: PLR0913  # each says something of its own
        self,
        handler: Handler,
        address: AddressLike | list[AddressLike],
        *,
        timeout: float = 30.0,
        options: ConnectOptions = CONNECT_OPTIONS,
        via: Proxy | None = None,
        sock: socket.socket | None = None,
    ) -> Dial:
        """Connect *handler* to *address*. It hears `on_connect` and lives, or hears `on_close` alone.

        No hook is called from in here. In `CloseReason.error` stands a `ConnectError`, which holds every address that was
        tried, if no connection came about.

        Args:
            handler: made for this connection.
            address: `"example.org:80"`, `"[2001:db8::1]:80"`, `"unix:/path"`, `(host, port)`, a path; or a list of such:
                the handler is connected to the first one that works.
            timeout: seconds for everything, until it is connected.
            options: how to connect.
            via: a proxy that connects to *address* for us, `HttpConnect(...)` or `Socks5(...)`.
            sock: an unconnected stream socket to be used. It belongs to the attempt from now on; if this raises, it still is
                the caller's. It can be tried once: with the first address of its family.

        Returns:
            something with `cancel()`.

        Raises:
            AddressError: the address does not parse, or cannot be connected to.
            HandlerReused: the handler has had a connection before.
            DelayError: *timeout* is not a finite number.
            UsageError: *handler* is no handler, or the arguments do not go together.
        """
        self.check_welcome()
        timeout = seconds(timeout, "a timeout")
        return dial(self, handler, address, timeout=timeout, options=options, via=via, sock=sock)

    def run_in_thread(
        self,
        function: Callable[..., T],
        *args: Any,
        then: Callable[[T], object] | None = None,
        on_error: Callable[[Exception], object] | None = None,
        owner: Handler | None = None,
    ) -> ThreadCall:
        """Call *function* in another thread, and *then* in the loop with what it has returned.

        The thread is one of a pool that serves nothing else; what stands in context variables now is seen there. `run` goes
        on for the result's sake. *function* uses nothing of the reactor's but `call_threadsafe`.

        Args:
            function: called with *args*; it may block, and cannot be interrupted.
            then: called with the result.
            on_error: called with the exception, if it has raised one; without it, that is as if *then* had raised it.
            owner: the handler for whose sake it is. After its end nothing is called any more; what is raised, by *function*,
                *then* or *on_error*, closes it.

        Returns:
            something with `cancel()` and `unref()`.

        Raises:
            PoolFull: too many calls wait already; see `ThreadOptions`.
            NotConnected: *owner* is not there yet, or not any more.
            UsageError: *owner* belongs to another reactor.
        """
        return self._threads.call(function, args, then, on_error, owner)

    def on_signal(self, number: int, callback: Callable[..., object], *args: Any) -> SignalHandle:
        """Call *callback* in the loop whenever signal *number* arrives. Many may be set for one signal.

        Returns:
            something with `cancel()`; when the last one for a signal is cancelled, or the reactor is closed, what
            happened before is restored.

        Raises:
            WrongThread: not called in the main thread.
            UsageError: no such signal, or one that cannot be handled.
        """
        self.check()
        return self._signals.add(number, callback, args)

    def shutdown(self, grace: float = 30.0) -> None:
        """Listen no more, have every handler finish, and have `run` return when all are gone.

        Those who wait to be accepted are accepted first. Then every handler's `on_shutdown` is called: by default streams
        send what is queued and close, others close at once. What is left after *grace* seconds is aborted, and stands in
        `cut`. Timers and calls do not keep `run` going any more. A second call tells everybody again, and sets the grace
        anew.

        Raises:
            DelayError: *grace* is not a finite number.
        """
        self.check()
        grace = seconds(grace, "a grace")
        if self._grace is not None:
            self._grace.cancel()
        self._grace = self.call_later(grace, self._cut_off)
        if not self._draining:
            self.cut = ()
        for acceptor in [handler for handler in self.handlers if isinstance(handler, Acceptor)]:
            self._tell_shutdown(acceptor, grace)
        self._draining = True
        for handler in list(self.handlers):
            self._tell_shutdown(handler, grace)

    def run(self, *, forever: bool = False) -> None:
        with interruptible(self):
            super().run(forever=forever)

    def run_until(self, predicate: Callable[[], object], timeout: float | None = None) -> bool:
        with interruptible(self):
            return super().run_until(predicate, timeout)

    run.__doc__ = Loop.run.__doc__
    run_until.__doc__ = Loop.run_until.__doc__

    def close(self) -> None:
        """Close every handler with reason SHUTDOWN, tell each, drop timers and calls, restore signals.

        Closing twice is allowed. In a forked child of the process that made it, descriptors are closed, and nobody is told.

        Raises:
            AlreadyRunning: called while it runs; `stop()` it first.
        """
        try:
            super().close()
        finally:
            if self.is_closed and not self.is_inherited:
                self._signals.close()
                self._threads.close()
                self.resolver.close()

    def reinit_after_fork(
        self, keep: Callable[[Handler], object] = lambda _: False, *, resolver: Resolver | None = None
    ) -> None:
        super().reinit_after_fork(keep)
        self.resolver = SystemResolver() if resolver is None else resolver
        self.resolver.open(self)
        self._grace, self.cut = None, ()
        if self.budget is not None and self._treasurer is not None:
            self._treasurer.begin_anew()

    reinit_after_fork.__doc__ = f"""{Loop.reinit_after_fork.__doc__}
        A *resolver* of the child's own may be given, too; by default it is a new `SystemResolver`.
    """

    def stats(self) -> Stats:
        return attrs.evolve(super().stats(), lookups_queued=self.resolver.queued, thread_calls=len(self._threads.pending))

    stats.__doc__ = Loop.stats.__doc__

    def dump(self) -> str:
        lines = [super().dump()]
        for call in self._threads.pending:
            function = call.work[1] if call.work else None
            owner = "" if call.owner is None else f" of {describe(call.owner)}"
            lines.append(f"  call in a thread{owner}: {getattr(function, '__qualname__', function)}")
        return "\n".join(lines)

    dump.__doc__ = Loop.dump.__doc__

    def _forked(self) -> None:
        if not self.is_closed:
            self._signals.forked()
            self._threads.begin_anew()
            self.lines.clear()
        super()._forked()

    def _tell_shutdown(self, handler: Handler, grace: float) -> None:
        if handler._life is Life.LIVE:
            self.guard(handler, "on_shutdown", handler.on_shutdown, grace)
        else:
            handler._close(SHUTDOWN)

    def _cut_off(self) -> None:
        """The grace is over."""
        self.cut = (*self.cut, *self.handlers)
        for handler in self.cut:
            handler._close(SHUTDOWN, reset=True)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        try:
            with super()._running():
                yield
        finally:
            if self._grace is not None and not self._draining:
                self._grace.cancel()
                self._grace = None
