"""A selector in front of simulated descriptors; it folds what the kernel reports as one of the stdlib's selectors does.

It never waits: virtual time goes on until somebody is ready, or until the wait is over.
"""

from __future__ import annotations

import errno
import selectors
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from reactor.errors import UsageError
from reactor.handler import Handler
from reactor.poller import READ, WRITE
from reactor.testing.kernel import ERR, HUP, IN, NVAL, OUT, failure

if TYPE_CHECKING:
    from reactor.reactor import Reactor
    from reactor.testing.simulation import Host

Kind: TypeAlias = Literal["epoll", "poll", "select"]
KINDS: tuple[Kind, ...] = ("epoll", "poll", "select")

# select(2): POLLIN_SET and POLLOUT_SET.
_SELECT_IN = IN | HUP | ERR
_SELECT_OUT = OUT | ERR


class SimulatedSelector(selectors.BaseSelector):
    """What `Host.selector` returns.

    As with epoll, a descriptor that is ready stays on a list of those to be looked at, so that a wait costs nothing for idle
    ones; and whoever was ready first comes first.
    """

    def __init__(self, host: Host, kind: Kind = "select") -> None:
        self.host, self.kind = host, kind
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._ends: dict[int, Any] = {}  # what each number named when it was registered
        self._watchers: dict[int, Any] = {}
        self._looked_at: dict[int, None] = {}
        self._closed = False
        self._reactor: Reactor | None = None
        self.watchers: dict[Any, None] = {}
        host.sim.selectors[self] = None

    # The interface of selectors

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if not events or events & ~(READ | WRITE):
            raise ValueError(f"Invalid events: {events!r}")
        fd = self._lookup(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        end = self.host.kernel.files.get(fd)
        if end is None and self.kind == "epoll":
            raise failure(errno.EBADF)
        key = selectors.SelectorKey(fileobj, fd, events, data)

        def watcher() -> None:
            self._look_at(fd)

        self._keys[fd], self._ends[fd], self._watchers[fd] = key, end, watcher
        if end is not None:
            end.watchers[watcher] = None
        self._look_at(fd)
        self.host.kernel.registered()
        self.host.sim.registered(self.host, key)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        fd = self._find(fileobj)
        key, end = self._keys.pop(fd), self._ends.pop(fd)
        if end is not None:
            end.watchers.pop(self._watchers[fd], None)
        del self._watchers[fd]
        self._looked_at.pop(fd, None)
        self.host.kernel.registered()
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.kind == "select":  # the stdlib's has no way of its own
            self.unregister(fileobj)
            return self.register(fileobj, events, data)
        fd = self._find(fileobj)
        if self.kind == "epoll" and self.host.kernel.files.get(fd) is not self._ends[fd]:
            self.unregister(fileobj)
            raise failure(errno.ENOENT)
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        self._look_at(fd)
        self.host.kernel.registered()
        self.host.sim.registered(self.host, key)  # it may be another handler's now
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        sim, faults = self.host.sim, self.host.sim.dice_of
        sim.pass_over(self)
        self.host.entered("select")
        if faults.early.roll():
            self.host.note("select", "EINTR!")
            return []
        if faults.jump.roll():
            sim.jump(faults.jump.details().between(0.0, sim.faults.stall_seconds_max))
        if faults.busy.roll():
            sim.jump(faults.busy.details().between(0.0, sim.faults.busy_seconds_max))
        sim.settle()
        if (timeout is None or timeout > 0) and not self.is_ready():
            sim.wait_in(self, timeout)
        ready = self._collect()
        if faults.spurious.roll():
            self._add_spurious(ready, faults.spurious.details().below(1 << 16))
        if len(ready) > 1 and faults.shuffle.roll():
            faults.shuffle.details().shuffle(ready)
        self.host.note("select", *[f"{key.fd}:{'-rw+'[events]}" for key, events in ready])
        sim.pass_begins(self, len(ready))
        return ready

    def get_map(self) -> Any:
        return None if self._closed else _Map(self)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        if self._closed:
            raise RuntimeError("Selector is closed")
        return self._keys[self._find(fileobj)]

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            for key in list(self._keys.values()):
                self.unregister(key.fileobj)
            self.host.sim.forget(self)

    # What the simulation asks

    @property
    def reactor(self) -> Reactor | None:
        """Whose it is; None while no handler is registered."""
        if self._reactor is None:
            for key in self._keys.values():
                if isinstance(key.data, Handler):
                    self._reactor = key.data.reactor
                    break
        return self._reactor if self._keys else None

    def is_ready(self) -> bool:
        """Tell whether a wait would end at once."""
        if self._looked_at:
            for fd in list(self._looked_at):
                if self._events(fd) is not None:
                    return True
                del self._looked_at[fd]
        return False

    def _collect(self) -> list[tuple[selectors.SelectorKey, int]]:
        ready = []
        for fd in list(self._looked_at):
            events = self._events(fd)
            if events is None:
                del self._looked_at[fd]
            else:
                ready.append((self._keys[fd], events))
        return ready

    def _events(self, fd: int) -> int | None:
        """What the stdlib's selector of this kind makes of what the kernel says; None if the kernel says nothing."""
        key, end = self._keys[fd], self._ends[fd]
        if self.kind != "epoll":
            end = self.host.kernel.files.get(fd)  # these go by the number
        elif self.host.kernel.files.get(fd) is not end:
            return None  # a closed one leaves the list by itself: epoll(7), question 6
        if end is None:
            if self.kind == "select":
                raise failure(errno.EBADF)
            found = NVAL
        else:
            found = end.poll()
        if self.kind == "select":
            return key.events & ((READ if found & _SELECT_IN else 0) | (WRITE if found & _SELECT_OUT else 0)) or None
        asked = (IN if key.events & READ else 0) | (OUT if key.events & WRITE else 0)
        found &= asked | ERR | HUP | NVAL
        if not found:
            return None
        return key.events & ((WRITE if found & ~IN else 0) | (READ if found & ~OUT else 0))

    def _add_spurious(self, ready: list[tuple[selectors.SelectorKey, int]], number: int) -> None:
        """Report somebody for all that is asked of him."""
        key = list(self._keys.values())[number % len(self._keys)]
        if all(key is not other for other, _ in ready):
            ready.append((key, key.events))

    def _look_at(self, fd: int) -> None:
        self._looked_at[fd] = None
        for watcher in self.watchers:
            watcher()

    def _find(self, fileobj: Any) -> int:
        fd = self._lookup(fileobj)
        if fd not in self._keys:
            raise KeyError(f"{fileobj!r} is not registered")
        return fd

    def _lookup(self, fileobj: Any) -> int:
        """The number of *fileobj*, also if it was closed since it was registered."""
        try:
            fd = fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {fileobj!r}") from None
        if fd >= 0:
            return fd
        for key in self._keys.values():
            if key.fileobj is fileobj:
                return key.fd
        raise ValueError(f"Invalid file descriptor: {fd}")


class _Map(Mapping[Any, selectors.SelectorKey]):
    """What is registered, found by number or by object."""

    def __init__(self, selector: SimulatedSelector) -> None:
        self._selector = selector

    def __len__(self) -> int:
        return len(self._selector._keys)

    def __iter__(self) -> Iterator[int]:
        return iter(self._selector._keys)

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.get_key(fileobj)


class SimulatedEpoll(SimulatedSelector):
    """One that is a descriptor itself, which another selector may watch."""

    def __init__(self, host: Host) -> None:
        self._fd = host.kernel.open(self)
        super().__init__(host, "epoll")

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if not self._closed:
            super().close()
            self.host.kernel.close(self._fd)

    def poll(self) -> int:
        """Tell which events are there, as the system call of that name does."""
        return IN if self.is_ready() else 0

    def release(self) -> None:
        """The descriptor is closed."""


def make_selector(host: Host, kind: Kind) -> SimulatedSelector:
    """Return a selector of a *kind*.

    Raises:
        UsageError: there is no such kind.
    """
    if kind not in KINDS:
        raise UsageError(f"a simulated selector is one of {', '.join(KINDS)}, not {kind!r}")
    return SimulatedEpoll(host) if kind == "epoll" else SimulatedSelector(host, kind)
