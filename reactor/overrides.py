"""A resolver that knows some names by itself: for tests, for a fixed set of services, for a name that is to mean another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from reactor.addresses import Inet, host_name, numeric_family
from reactor.errors import AddressError, LookupFailed
from reactor.handler import Cancellable
from reactor.resolver import Done, Lookup, Resolver, SystemResolver, known, not_found

if TYPE_CHECKING:
    from reactor.loop import Loop


@attrs.define(eq=False)
class OverrideResolver:
    """Knows some names by itself, and asks another resolver for the rest.

    Args:
        mapping: names, and for each a numeric address, a list of them, or another name in its place.
        fallback: whom to ask for names that are not in it; None: they do not exist.

    Raises:
        AddressError: a name cannot be one, or a list holds something else than numeric addresses.
    """

    mapping: Mapping[str, str | list[str]]
    fallback: Resolver | None = attrs.field(factory=SystemResolver)

    _known: dict[str, list[str]] = attrs.field(init=False, repr=False)
    _loop: Loop | None = attrs.field(init=False, repr=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._known = {_fold(name): [to] if isinstance(to, str) else list(to) for name, to in self.mapping.items()}
        for name, to in self._known.items():
            if not to or (len(to) > 1 and not all(map(numeric_family, to))):
                raise AddressError(f"OverrideResolver: {name!r} has to be numeric addresses, or one other name, not {to!r}")

    @property
    def queued(self) -> int:
        """How many lookups wait in the other resolver."""
        return 0 if self.fallback is None else self.fallback.queued

    def open(self, loop: Loop) -> None:
        """Serve *loop*."""
        self._loop = loop
        if self.fallback is not None:
            self.fallback.open(loop)

    def close(self) -> None:
        """Close the other resolver, too."""
        if self.fallback is not None:
            self.fallback.close()

    def resolve(self, name: str, port: int, family: int, done: Done) -> Cancellable:
        """See `Resolver.resolve`."""
        assert self._loop is not None
        to = self._known.get(_fold(name), [name])
        numeric = all(map(numeric_family, to))
        if not numeric and self.fallback is not None:
            return self.fallback.resolve(to[0], port, family, done)
        here = [Inet(each, port) for each in to] if numeric else known(to[0], port, family)
        if here is None or isinstance(here, LookupFailed):
            here = []
        lookup = Lookup(port, done)
        self._loop.call_soon(lookup.answer, [each for each in here if family in (0, each.family)] or not_found(name))
        return lookup


def _fold(name: str) -> str:
    return name if numeric_family(name) else host_name(name).lower().removesuffix(".")
