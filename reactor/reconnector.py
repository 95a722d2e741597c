"""Reconnector: a client that stays connected. A new handler for each connection, and a growing pause after each failure.

It owns no descriptor: its handlers do. It makes connections by `Reactor.connect`'s own means, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import attrs

from reactor.addresses import AddressLike
from reactor.dialer import Dial, dial
from reactor.errors import LOCAL_CLOSE, CloseReason, UsageError
from reactor.handler import Handler
from reactor.options import CONNECT_OPTIONS, ConnectOptions
from reactor.proxies import Proxy
from reactor.states import RECONNECTING, Life, Reconnecting, ReconnectingEvent, move
from reactor.timers import Timer, seconds

if TYPE_CHECKING:
    from reactor.reactor import Reactor

H = TypeVar("H", bound=Handler)


@attrs.frozen(kw_only=True)
class Backoff:
    """How long to wait before the next try: anything from nothing to a bound that grows with each failure ("full jitter").

    Many clients that have lost their server at one moment do not come back at one moment.

    Raises:
        UsageError: `0 < first <= cap` and `factor >= 1` do not hold.
    """

    #: The bound after the first failure, in seconds.
    first: float = 0.5
    #: By what it grows.
    factor: float = 2.0
    #: What it does not grow beyond; and a connection that lived longer than this has been a success.  # Twisted 60
    cap: float = 60.0

    def __attrs_post_init__(self) -> None:
        for name in ("first", "factor", "cap"):
            seconds(getattr(self, name), f"Backoff.{name}")
        if not 0 < self.first <= self.cap or self.factor < 1:
            raise UsageError(f"{self!r}: it needs 0 < first <= cap, and a factor from 1 on")

    def bound(self, failures: int) -> float:
        """Return the longest pause after that many *failures* in a row."""
        try:
            return min(self.cap, self.first * float(self.factor) ** (failures - 1))
        except OverflowError:
            return self.cap


BACKOFF = Backoff()


def _never(_: CloseReason) -> bool:
    return False


@attrs.define(eq=False, kw_only=True)
class Reconnector(Generic[H]):
    """A client that stays connected until `stop`, or until an error that will not go away. Subclass it for its hooks.

    `start` begins. While it is at work, `Reactor.run` goes on. It stops by itself when the reactor is shut down or closed.

    Args:
        reactor: the reactor.
        factory: returns a new handler for each try. A failed try is heard by its handler's `on_close`, as always.
        address: where to; see `Reactor.connect`, as for *timeout*, *options* and *via*.
        backoff: how long to wait between one try and the next.
        prepare: called as `prepare(handler, ready)` when a handler is connected, after its `on_connect`. The connection
            counts as up when `ready()` is called, now or later: after a login, say. If *timeout* seconds pass before that,
            the handler is aborted, and the try has failed.
        is_permanent: called with the reason of each end; if it returns True, there is no next try.

    What *factory* or *is_permanent* raises stops it, and goes to `Reactor.on_error`.
    """

    reactor: Reactor
    factory: Callable[[], H]
    address: AddressLike | list[AddressLike]
    timeout: float = 30.0
    options: ConnectOptions = CONNECT_OPTIONS
    via: Proxy | None = None
    backoff: Backoff = BACKOFF
    prepare: Callable[[H, Callable[[], None]], object] | None = None
    is_permanent: Callable[[CloseReason], object] = _never

    #: How many tries in a row have failed, or lived no longer than the cap.
    failures: int = attrs.field(init=False, default=0)
    #: The handler of the present connection or try, if there is one.
    handler: H | None = attrs.field(init=False, repr=False, default=None)
    _state: Reconnecting = attrs.field(init=False, repr=False, default=Reconnecting.NEW)
    _dial: Dial | None = attrs.field(init=False, repr=False, default=None)
    _up_at: float | None = attrs.field(init=False, repr=False, default=None)
    _timer: Timer | None = attrs.field(init=False, repr=False, default=None)

    # Hooks

    def on_up(self) -> None:
        """`handler` is connected, prepared, and fit for use."""

    def on_down(self, reason: CloseReason, delay: float) -> None:
        """A connection has ended, or a try has failed, for *reason*; the next try comes in *delay* seconds."""

    def on_stop(self, reason: CloseReason) -> None:
        """It ended for *reason*, which `is_permanent`: there is no next try. Not called after `stop`."""

    # What users call

    def start(self) -> Self:
        """Begin with the first try. No hook is called from in here. Returns the reconnector; it can be started once.

        Raises:
            UsageError: it was started before.
            AddressError: see `Reactor.connect`; so for everything else that it raises.
        """
        self.reactor.check_welcome()
        if self._state is not Reconnecting.NEW:
            raise UsageError("this Reconnector was started before; make a new one")
        self._try()
        return self

    def stop(self) -> None:
        """Stop, in whatever state: a try is given up silently, a connection closed. No hook of this is called any more.

        The handler of a connection hears `on_close`, as always. Stopping twice is allowed.
        """
        self.reactor.check_thread()
        was, handler, attempt = self._state, self.handler, self._dial
        self._stop()
        if was is Reconnecting.CONNECTING and attempt is not None:
            attempt.cancel()
        elif handler is not None:
            handler.close()

    @property
    def is_up(self) -> bool:
        """Whether there is a connection that is fit for use: `handler`."""
        return self._state is Reconnecting.UP

    @property
    def is_stopped(self) -> bool:
        """Whether it has stopped, for whatever reason."""
        return self._state is Reconnecting.STOPPED or self.reactor.is_closed

    # The steps

    def _try(self) -> None:
        handler = self.factory()
        attempt = dial(
            self.reactor,
            handler,
            self.address,
            timeout=seconds(self.timeout, "Reconnector.timeout"),
            options=self.options,
            via=self.via,
            owner=self,
        )
        self._state = move(RECONNECTING, self._state, ReconnectingEvent.TRY)
        self.handler, self._dial, self._up_at = handler, attempt, None

    def _try_again(self) -> None:
        """The pause is over. If that goes wrong, in the factory say, it stops, and what was raised is told of."""
        if self.reactor.is_shutting_down:
            self._stop()
            return
        try:
            self._try()
        except BaseException:
            self._stop()
            raise

    def _connected(self, handler: Handler) -> None:
        self._dial = None
        self._state = move(RECONNECTING, self._state, ReconnectingEvent.CONNECT)
        if self.prepare is None:
            self._ready(handler)
            return
        self._timer = handler.call_later(self.timeout, handler.abort)
        assert self.handler is not None
        self.reactor.guard(handler, "prepare", self.prepare, self.handler, lambda: self._ready(handler))

    def _ready(self, handler: Handler) -> None:
        """What *handler* has is fit for use; if it was ready before, or is over, nothing happens."""
        if self._state is not Reconnecting.PREPARING or handler is not self.handler:
            return
        self._cancel_timer()
        self._state = move(RECONNECTING, self._state, ReconnectingEvent.READY)
        self._up_at = self.reactor.time()
        self.reactor.guard(handler, "on_up", self.on_up)

    def _is_over(self, handler: Handler) -> None:
        if handler is not self.handler or self._state is Reconnecting.STOPPED:
            return
        if self.reactor.is_closed or self.reactor.is_shutting_down:
            self._stop()
            return
        self._cancel_timer()
        self.handler = self._dial = None
        self._state = move(RECONNECTING, self._state, ReconnectingEvent.LOSE)
        self.reactor.call_soon(self._lost, handler)

    def _lost(self, handler: Handler) -> None:
        """Think about the next try, once *handler* itself has heard of its end."""
        if self._state is not Reconnecting.WAITING:
            return  # stopped meanwhile
        if handler._life is Life.CLOSED:
            self.reactor.call_soon(self._lost, handler)
            return
        reason = handler.reason or LOCAL_CLOSE  # none: it was detached
        try:
            permanent = self.is_permanent(reason)
        except BaseException:
            self._stop()
            raise
        if permanent:
            self._stop()
            self.on_stop(reason)
            return
        if self._up_at is not None and self.reactor.time() - self._up_at > self.backoff.cap:
            self.failures = 0
        self.failures += 1
        delay = self.reactor.system.random() * self.backoff.bound(self.failures)
        self._timer = self.reactor.call_later(delay, self._try_again)
        self.on_down(reason, delay)

    def _stop(self) -> None:
        self._cancel_timer()
        self.handler = self._dial = None
        self._state = move(RECONNECTING, self._state, ReconnectingEvent.STOP)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
