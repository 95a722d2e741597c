"""ReactorThread: a reactor in a thread of its own, for tests of code that blocks: clients, mostly.

What it listens on is bound before anything is returned, so no client has to try again. It owns the reactor and the thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self, TypeVar

import attrs

from reactor.acceptor import Acceptor
from reactor.addresses import AddressLike
from reactor.errors import UsageError
from reactor.handler import Handler
from reactor.testing.watched import WatchedReactor

T = TypeVar("T")

#: How long a call into the thread, and its end, may take before it counts as stuck.
PATIENCE_SECONDS = 30.0
LOOPBACK = "127.0.0.1:0"


@attrs.define(eq=False)
class ReactorThread:
    """A context manager: inside, a reactor runs in a thread; at the end it is stopped, joined and closed.

    What hooks and calls have raised is raised at the end, unless it was taken out of `reactor.errors`.

    Args:
        factory: makes a handler for each connection; None: nothing is listened to yet.
        address: where it listens, on loopback with a free port by default.
        patience: seconds after which a call into the thread, or its end, counts as stuck.
    """

    factory: Callable[[], Handler] | None = None
    address: AddressLike = LOOPBACK
    patience: float = attrs.field(default=PATIENCE_SECONDS, kw_only=True)
    #: The reactor, inside the block. From there, use `call` to touch it.
    reactor: WatchedReactor = attrs.field(init=False, repr=False)
    #: The listener for `factory`.
    acceptor: Acceptor | None = attrs.field(init=False, default=None, repr=False)
    _thread: threading.Thread = attrs.field(init=False, repr=False)
    _raised: list[BaseException] = attrs.field(init=False, factory=list, repr=False)

    def __enter__(self) -> Self:
        self.reactor = WatchedReactor(debug=True)
        try:
            if self.factory is not None:
                self.acceptor = self.reactor.listen(self.factory, self.address)
            self._thread = threading.Thread(target=self._run, name="reactor", daemon=True)
            self._thread.start()
        except BaseException:
            self.reactor.close()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.reactor.stop()
        self._thread.join(self.patience)
        if self._thread.is_alive():
            raise TimeoutError(f"a hook has not returned for {self.patience} s:\n{self.reactor.dump()}") from error
        self.reactor.close()
        if error is None:
            for raised in self._raised:
                raise raised
            self.reactor.check_errors()

    @property
    def port(self) -> int:
        """The port of the listener for `factory`.

        Raises:
            UsageError: there is none.
        """
        if self.acceptor is None:
            raise UsageError("nothing is listened to here: give a factory, or call listen")
        return self.acceptor.port

    def listen(self, factory: Callable[[], Handler], address: AddressLike = LOOPBACK) -> Acceptor:
        """Like `Reactor.listen`; the socket listens when this returns."""
        return self.call(self.reactor.listen, factory, address)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call *function* in the reactor's thread; return what it returns, or raise what it raises.

        Raises:
            TimeoutError: the thread is stuck, or at its end.
        """
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)

        self.reactor.call_threadsafe(run)
        return future.result(self.patience)

    def _run(self) -> None:
        try:
            self.reactor.run(forever=True)
        except BaseException as error:  # KeyboardInterrupt or SystemExit, out of a hook: handed over
            self._raised.append(error)
