"""The only caller of a selector: it makes the kernel's interest equal to the handlers', and waits.

Registered data is the handler itself, never a number: an event is for the object that asked for it. The poller owns no
descriptor but the selector's.
"""

from __future__ import annotations

import errno
import selectors
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from reactor.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from logging import Logger

    from reactor.handler import Handler
    from reactor.system import System

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

#: After this many waits in a row that ended early with nothing to show, the selector is built anew.
EMPTY_WAITS_MAX = 100

_REBUILT = tuple(
    kind
    for name in ("SelectSelector", "PollSelector", "EpollSelector", "DevpollSelector", "KqueueSelector")
    if (kind := getattr(selectors, name, None))
)


def describe(handler: Handler) -> str:
    """Return a handler's class and descriptor; a `__repr__` of the user's is not trusted."""
    return f"<{type(handler).__qualname__} fd={handler._fd}>"


@attrs.define(eq=False)
class Poller:
    """Keeps a selector in step with handlers."""

    selector: selectors.BaseSelector
    _system: System
    #: Called with a handler whose descriptor turned out to be closed behind its back.
    _lost: Callable[[Handler, OSError], None]
    _log: Logger
    #: Called with a handler that has left the selector, and lives.
    _left: Callable[[Handler], None]
    #: Who is kept off the selector for a while although he is interested: his interest then, and the part that is kept off.
    parked: dict[Handler, tuple[int, int]] = attrs.field(factory=dict, init=False, repr=False)
    #: Waits in a row that ended early with nothing to show.
    empty_waits: int = attrs.field(default=0, init=False)

    def refresh(self, handler: Handler) -> None:
        """Make the kernel's interest in *handler* equal to `handler.interest`.

        Raises:
            Unsupported: the selector cannot watch this descriptor.
            UsageError: the descriptor belongs to another live handler.
        """
        told, wanted = handler._told, handler.interest
        if handler in self.parked:
            then, kept_off = self.parked[handler]
            if wanted == then:
                wanted &= ~kept_off
            else:  # something has changed: it is back
                del self.parked[handler]
        if wanted == told:
            return
        if not told:
            self._register(handler, wanted)
        elif wanted:
            try:
                self.selector.modify(handler._fd, wanted, handler)
            except (KeyError, OSError) as error:
                handler._told = 0  # the selector dropped it
                self._lost(handler, OSError(errno.EBADF, f"{describe(handler)} was closed behind its back: {error}"))
                return
        else:
            self.selector.unregister(handler._fd)
            handler._told = 0
            self._left(handler)
            return
        handler._told = wanted

    def replace(self, handler: Handler, successor: Handler) -> None:
        """Have *successor* stand in the place of *handler*, whose descriptor it has: one call, where two would do the same.

        Raises: as `refresh`, and what the successor's `interest` raises; *handler* is to be forgotten then.
        """
        wanted = successor.interest
        if handler._told and wanted:
            handler._told = 0  # if it goes wrong, the selector has dropped it
            self.selector.modify(handler._fd, wanted, successor)
            successor._told = wanted
        else:
            self.forget(handler)
            self.refresh(successor)

    def wanted(self, handler: Handler) -> int:
        """Return what the kernel is to know: the handler's interest, less what is parked."""
        interest = handler.interest
        then, kept_off = self.parked.get(handler, (0, 0))
        return interest & ~kept_off if interest == then else interest

    def park(self, handler: Handler, kept_off: int) -> None:
        """Keep a part of the handler's interest off the selector, until `unpark` or until the interest is another one."""
        self.parked[handler] = (handler.interest, kept_off)
        self.refresh(handler)

    def unpark(self, handler: Handler) -> None:
        """Take `park` back."""
        if self.parked.pop(handler, None) is not None:
            self.refresh(handler)

    def forget(self, handler: Handler) -> None:
        """Take *handler* off the selector; to be called before its descriptor is closed."""
        if self.parked:
            self.parked.pop(handler, None)
        if handler._told:
            handler._told = 0
            self.selector.unregister(handler._fd)  # copes with a descriptor that is closed already

    def wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until a handler is ready, at most *timeout* seconds (None: as long as it takes); return who, and for what.

        May return early, and empty.
        """
        try:
            return self.selector.select(timeout)
        except (OSError, ValueError) as error:  # select(2): EBADF for the whole call
            if not self._sweep(error):
                raise
            return []

    def waited_in_vain(self) -> None:
        """Note a wait that ended early and empty. Many in a row are the mark of a ghost: a closed descriptor of which
        a duplicate lives on. epoll(7), question 6: it goes on reporting and cannot be removed. A new selector is free of it.
        """
        self.empty_waits += 1
        if self.empty_waits > EMPTY_WAITS_MAX and type(self.selector) in _REBUILT:
            self.empty_waits = 0
            self._log.warning("%s reports a descriptor that is gone; building it anew", self.name)
            self._sweep(OSError(errno.EBADF, "closed"))
            old, self.selector = self.selector, type(self.selector)()
            for key in old.get_map().values():
                self.selector.register(key.fd, key.events, key.data)
            old.close()

    @property
    def name(self) -> str:
        """The selector's class."""
        return type(self.selector).__name__

    def fileno(self) -> int:
        """Return the selector's descriptor, readable when a handler is ready.

        Raises:
            Unsupported: this selector has none (select, poll).
        """
        fileno: Any = getattr(self.selector, "fileno", None)
        if fileno is None:
            raise Unsupported(f"{self.name} has no descriptor; EpollSelector, KqueueSelector and DevpollSelector do")
        return int(fileno())

    def close(self) -> None:
        """Close the selector."""
        self.selector.close()

    def _register(self, handler: Handler, wanted: int) -> None:
        fd = handler._fd
        try:
            if type(self.selector) is selectors.SelectSelector:
                self.selector._select([fd], [], [], 0)  # type: ignore[attr-defined]  # refuses numbers over FD_SETSIZE
            try:
                self.selector.register(fd, wanted, handler)
            except KeyError:
                self._evict(self.selector.get_key(fd).data, handler)
                self.selector.register(fd, wanted, handler)
        except ValueError as error:
            raise Unsupported(f"{self.name} cannot watch descriptor {fd}: {error}") from error
        except PermissionError as error:  # epoll_ctl(2): EPERM
            raise Unsupported(f"{self.name} cannot watch {describe(handler)}: a file is always ready") from error

    def _evict(self, leaker: Handler, successor: Handler) -> None:
        """Make room for *successor*: *leaker*, which holds the same number, was closed without the library's knowledge."""
        if leaker.sock.fileno() == leaker._fd:
            raise UsageError(f"descriptor {leaker._fd} already belongs to {describe(leaker)}")
        warnings.warn(
            f"{describe(leaker)} was closed without handler.close(); its number now belongs to {describe(successor)}",
            ResourceWarning,
            stacklevel=2,
        )
        self._lost(leaker, OSError(errno.EBADF, f"{describe(leaker)} was closed behind its back"))

    def _sweep(self, error: Exception) -> bool:
        """Report each handler whose descriptor is closed; True if there were any."""
        dead = [key.data for key in self.selector.get_map().values() if not self._system.is_open(key.fd)]
        for handler in dead:
            self._lost(handler, OSError(errno.EBADF, f"{describe(handler)} was closed behind its back: {error}"))
        return bool(dead)
