"""From a name to addresses, without blocking the loop: the system's own resolver, asked in threads of its own.

The system has no call that looks a name up and does not block, and no way to take one back. So a lookup that has not been
answered in time is given up by whoever waits for it, while its thread stays where it is. Only other lookups can be held up
by that; numeric addresses and `localhost` need no thread.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import attrs

from reactor.addresses import Inet, from_kernel, host_name, numeric_family
from reactor.errors import LookupFailed, NameNotFound, PoolFull, ReactorClosed, UsageError, as_os_error
from reactor.handler import Cancellable
from reactor.pool import Pool
from reactor.timers import Timer, seconds

if TYPE_CHECKING:
    from reactor.loop import Loop

#: What a lookup comes to: addresses, in the order in which they are to be tried, or why there are none.
Found: TypeAlias = "list[Inet] | LookupFailed"
Done: TypeAlias = Callable[[Found], object]

#: getaddrinfo(3): these say that the question was answered, and that the answer is no.
_NO_SUCH_NAME = {getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)}
_LOOPBACK = (Inet("::1", 0), Inet("127.0.0.1", 0))


class Resolver(Protocol):
    """Looks names up for one reactor."""

    @property
    def queued(self) -> int:
        """How many lookups wait for their turn."""
        ...

    def open(self, loop: Loop) -> None:
        """Serve *loop*: it is about to be made, and nothing can be asked of it from in here. Called once."""
        ...

    def resolve(self, name: str, port: int, family: int, done: Done) -> Cancellable:
        """Look *name* up, for addresses of *family*, or of any if it is 0, with *port* in them.

        *done* is called once, in the loop, never from in here; and never after `cancel()` on what this returns.

        Raises:
            AddressError: *name* cannot be a host's name.
        """
        ...

    def close(self) -> None:
        """The loop is closed. No *done* is called any more; a thread may be left behind, if it is stuck."""
        ...


def known(name: str, port: int, family: int) -> Found | None:
    """Return the addresses of *name* if nobody need be asked: it is numeric, or `localhost` (RFC 6761, 6.3); else None."""
    own = numeric_family(name)
    folded = name.lower().removesuffix(".")
    if own:
        all_of_it: Iterable[Inet] = [Inet(name, port)]
    elif folded == "localhost" or folded.endswith(".localhost"):
        all_of_it = [Inet(each.host, port) for each in _LOOPBACK]
    else:
        return None
    return [each for each in all_of_it if family in (0, each.family)] or not_found(name)


def not_found(name: str) -> NameNotFound:
    """Return the error for a *name* that has no address."""
    return NameNotFound(socket.EAI_NONAME, f"no such name: {name!r}")


@attrs.define(eq=False)
class Lookup:
    """One who waits for an answer."""

    port: int
    _done: Done | None
    _flight: Flight | None = None

    def cancel(self) -> bool:
        """Wait no longer. True if there was no answer yet."""
        waited, self._done = self._done is not None, None
        if self._flight is not None:
            self._flight.leave(self)
        return waited

    def answer(self, found: Found) -> None:
        """Hand over what was found."""
        done, self._done = self._done, None
        if done is not None:
            done(found if isinstance(found, LookupFailed) else [attrs.evolve(each, port=self.port) for each in found])


@attrs.define(eq=False)
class Flight:
    """One question on its way, and all who wait for its answer."""

    resolver: SystemResolver
    loop: Loop
    name: str
    family: int
    deadline: Timer = attrs.field(init=False)
    waiting: dict[Lookup, None] = attrs.field(init=False, factory=dict)

    def fly(self) -> None:
        """Ask. In a thread, which this may block for as long as it takes."""
        if not self.waiting:
            return  # nobody wants to know any more, and others wait for the thread
        answer: list[tuple[int, Any]] | OSError
        try:
            answer = self.loop.system.getaddrinfo(self.name, 0, family=self.family)
        except Exception as error:
            answer = as_os_error(error)
        with contextlib.suppress(ReactorClosed):
            self.loop.call_threadsafe(self.resolver._landed, self, answer)

    def leave(self, lookup: Lookup) -> None:
        """*lookup* waits no longer; a flight without anybody is forgotten."""
        self.waiting.pop(lookup, None)
        if not self.waiting:
            self.resolver._forget(self)

    def answer(self, found: Found) -> None:
        """Tell all who wait."""
        waiting, self.waiting = self.waiting, {}
        self.resolver._forget(self)
        for lookup in waiting:
            self.loop.call_soon(lookup.answer, found)


@attrs.define(eq=False, kw_only=True)
class SystemResolver:
    """Asks the system, as `getaddrinfo` does: the hosts file, DNS, and whatever else the machine is set up for.

    Args:
        threads: how many names can be asked for at the same time.
        queue: how many may wait for a thread; one more fails at once.
        timeout: seconds until a lookup fails, though its thread may be stuck.
        cache_seconds: for how long an answer is used again; the system tells nobody how long it is good for. 0: not at all.
        cache_names: how many answers are kept at most.

    Raises:
        UsageError: an option has a value that it cannot have.
    """

    threads: int = 4  # c-ares, gevent 10; libuv 4, shared with files
    queue: int = 1024
    timeout: float = 20.0  # resolv.conf(5): 5 s, twice, for each server
    cache_seconds: float = 0.0
    cache_names: int = 1024

    _loop: Loop | None = attrs.field(init=False, repr=False, default=None)
    _pool: Pool | None = attrs.field(init=False, repr=False, default=None)
    _flights: dict[tuple[str, int], Flight] = attrs.field(init=False, repr=False, factory=dict)
    _cache: OrderedDict[tuple[str, int], tuple[float, Found]] = attrs.field(init=False, repr=False, factory=OrderedDict)

    def __attrs_post_init__(self) -> None:
        if min(self.threads, self.queue, self.cache_names) < 1:
            raise UsageError(f"{self!r}: threads, queue and cache_names are from 1 on")
        seconds(self.timeout, "SystemResolver.timeout")
        seconds(self.cache_seconds, "SystemResolver.cache_seconds")

    @property
    def queued(self) -> int:
        """How many lookups wait for a thread."""
        return 0 if self._pool is None else self._pool.queued

    def open(self, loop: Loop) -> None:
        """Serve *loop*.

        Raises:
            UsageError: it serves another one.
        """
        if self._loop is not None:
            raise UsageError("a resolver serves one reactor; make another one")
        self._loop = loop

    def close(self) -> None:
        """Forget what is asked. Idle threads end; a stuck one is left behind, and does not keep the process from ending."""
        for flight in list(self._flights.values()):
            flight.waiting.clear()
        self._flights.clear()
        if self._pool is not None:
            self._pool.close()

    def resolve(self, name: str, port: int, family: int, done: Done) -> Cancellable:
        """See `Resolver.resolve`. Equal lookups under way at the same time are one."""
        loop, lookup = self._loop, Lookup(port, done)
        assert loop is not None
        key = (host_name(name).lower(), family) if not numeric_family(name) else (name, family)
        found = known(name, port, family) or self._cached(key, loop.time())
        if found is None:
            try:
                self._board(loop, key, lookup)
            except PoolFull as error:
                found = LookupFailed(errno.EAGAIN, f"too many lookups at once: {error}")
        if found is not None:
            loop.call_soon(lookup.answer, found)
        return lookup

    def _board(self, loop: Loop, key: tuple[str, int], lookup: Lookup) -> None:
        """Have *lookup* wait for the flight that asks for *key*, a new one if there is none."""
        flight = self._flights.get(key)
        if flight is not None:
            flight.waiting[lookup] = None
        else:
            if self._pool is None:
                self._pool = loop.system.pool("resolver", threads=self.threads, queue=self.queue)
            flight = Flight(self, loop, *key)
            flight.waiting[lookup] = None  # before it departs: without anybody it would not ask
            self._pool.submit(flight.fly)
            self._flights[key] = flight
            flight.deadline = loop.call_later(self.timeout, self._overdue, flight)
        lookup._flight = flight

    def _forget(self, flight: Flight) -> None:
        flight.deadline.cancel()
        if self._flights.get((flight.name, flight.family)) is flight:
            del self._flights[flight.name, flight.family]

    def _overdue(self, flight: Flight) -> None:
        flight.answer(LookupFailed(errno.ETIMEDOUT, f"no answer from the resolver within {self.timeout:g} s"))

    def _landed(self, flight: Flight, answer: list[tuple[int, Any]] | OSError) -> None:
        found = _found(flight.name, answer)
        if self.cache_seconds > 0 and not isinstance(found, LookupFailed):
            key = (flight.name, flight.family)
            self._cache[key] = flight.loop.time() + self.cache_seconds, found
            self._cache.move_to_end(key)
            if len(self._cache) > self.cache_names:
                self._cache.popitem(last=False)
        flight.answer(found)

    def _cached(self, key: tuple[str, int], now: float) -> Found | None:
        until, found = self._cache.get(key, (0.0, None))
        if found is not None and until <= now:
            del self._cache[key]
            return None
        return found


def _found(name: str, answer: list[tuple[int, Any]] | OSError) -> Found:
    """Return what the system's *answer* means."""
    if isinstance(answer, OSError):
        if answer.errno in _NO_SUCH_NAME:
            found: LookupFailed = not_found(name)
        else:
            found = LookupFailed(answer.errno, f"{name!r} cannot be looked up: {answer.strerror or answer}")
        found.__cause__ = answer
        return found
    families = (socket.AF_INET, socket.AF_INET6)
    addresses = [from_kernel(family, raw) for family, raw in answer if family in families]
    return [each for each in addresses if isinstance(each, Inet)] or not_found(name)
