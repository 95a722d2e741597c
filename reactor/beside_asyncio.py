"""The whole of asyncio beside handlers, in one thread: a selector for asyncio, which serves a reactor in its waits.

::

    reactor = Reactor()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(BesideAsyncio(reactor))) as runner:
        runner.run(main())

Hooks run in asyncio's thread, while it waits, and may use all that a callback of asyncio's may. The reactor's descriptor is
watched as one more of asyncio's, so that nothing polls. The selector's descriptor is owned by asyncio, the reactor's by the
reactor; each is closed by its owner. Not imported by `import reactor`.
"""

from __future__ import annotations

import contextlib
import selectors
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selectors import EpollSelector as Default

    from reactor.reactor import Reactor
else:
    Default = selectors.DefaultSelector


class BesideAsyncio(Default):
    """The platform's best selector, which makes the reactor's passes, too. For one event loop and one reactor.

    Raises:
        Unsupported: the reactor's selector has no descriptor; see `Reactor.fileno`.
    """

    def __init__(self, reactor: Reactor) -> None:
        super().__init__()
        self._reactor, self._watched = reactor, -1
        try:
            self._watch(reactor.fileno())
        except BaseException:
            self.close()
            raise

    def get_map(self) -> Any:
        """Return who is watched: asyncio asks before it registers anybody, whose number may have been the reactor's."""
        self._follow()
        return super().get_map()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait, no longer than the reactor's timers allow; have it make its pass; return who of asyncio's is ready."""
        self._follow()
        due = None if self._watched < 0 else self._reactor.next_timeout()
        if due is not None:
            timeout = due if timeout is None else min(timeout, due)
        ready = super().select(timeout)
        others = [pair for pair in ready if pair[0].data is not self]
        if self._watched >= 0 and (len(others) < len(ready) or self._reactor.next_timeout() == 0.0):
            self._reactor.run_once(0)
        return others

    def _follow(self) -> None:
        """Watch the descriptor that the reactor has by now: another one, or, once it is closed, none."""
        current = -1 if self._reactor.is_closed else self._reactor.fileno()
        if current != self._watched:
            with contextlib.suppress(KeyError):
                self.unregister(self._watched)
            self._watch(current)

    def _watch(self, fd: int) -> None:
        self._watched = fd
        if fd >= 0:
            super().register(fd, selectors.EVENT_READ, self)
