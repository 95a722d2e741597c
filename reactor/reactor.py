"""Reactor: the front door. It listens, connects, handles signals and shuts down, by wiring what the other modules do."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from reactor.acceptor import Acceptor
from reactor.addresses import AddressLike
from reactor.dialer import Dial, dial
from reactor.errors import SHUTDOWN
from reactor.handler import Handler
from reactor.loop import Loop
from reactor.options import LISTEN_OPTIONS, ListenOptions
from reactor.signals import SignalHandle, Signals, interruptible
from reactor.timers import Timer, seconds


@attrs.define(eq=False, kw_only=True, repr=False, on_setattr=attrs.setters.NO_OP)
class Reactor(Loop):
    """An event loop on one selector, in one thread, for handlers.

    Args:
        selector: any `selectors.BaseSelector`; it belongs to the reactor from now on. Default: the platform's best.
        system: what stands for the operating system; see `System`.
        debug: check the calling thread on every write, too, time every hook, and remember where the reactor and its handlers
            were made.
        slow_phase: warn, on the logger "reactor.slow", when the hooks of a pass take more seconds than this; None: never.
    """

    _signals: Signals = attrs.field(init=False)
    _grace: Timer | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._signals = Signals(self)

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

    def connect(self, handler: Handler, address: AddressLike, *, timeout: float = 30.0) -> Dial:
        """Connect *handler* to *address*. It hears `on_connect` and lives, or hears `on_close` alone.

        No hook is called from in here. In `CloseReason.error` stands a `ConnectError`, which holds every address that was
        tried, if no connection came about.

        Args:
            handler: made for this connection.
            address: `"192.0.2.1:80"`, `"[2001:db8::1]:80"`, `"localhost:80"`, `"unix:/path"`, `(host, port)`, a path.
            timeout: seconds for everything, until it is connected.

        Returns:
            something with `cancel()`.

        Raises:
            AddressError: the address does not parse, or names a host that is not `localhost`.
            HandlerReused: the handler has had a connection before.
            DelayError: *timeout* is not a finite number.
        """
        self.check_welcome()
        return dial(self, handler, address, seconds(timeout, "a timeout"))

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
        """Listen no more, have every stream send what it has queued and close, and have `run` return when all are gone.

        What is left after *grace* seconds is aborted. Timers and calls do not keep `run` going any more. Every handler
        hears `on_close`, with reason SHUTDOWN. A second call sets the grace anew.

        Raises:
            DelayError: *grace* is not a finite number.
        """
        self.check()
        grace = seconds(grace, "a grace")
        if self._grace is not None:
            self._grace.cancel()
        self._grace = self.call_later(grace, self._cut)
        self._draining = True
        for handler in sorted(self.handlers, key=lambda handler: not isinstance(handler, Acceptor)):
            handler._shut_down(grace)

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

        Closing twice is allowed.

        Raises:
            AlreadyRunning: called while it runs; `stop()` it first.
        """
        try:
            super().close()
        finally:
            if self.is_closed:
                self._signals.close()

    def _cut(self) -> None:
        for handler in list(self.handlers):
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
