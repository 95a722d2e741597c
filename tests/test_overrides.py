"""A resolver with names of its own: what it says itself, and what it leaves to another."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from reactor import AddressError, Inet, NameNotFound, OverrideResolver, SystemResolver
from reactor.resolver import Found, Resolver
from tests.test_resolver import Scene, scene

V4, V6 = socket.AF_INET, socket.AF_INET6


def overriding(mapping: dict[str, str | list[str]], fallback: Resolver | None) -> Iterator[Scene]:
    yield from scene(OverrideResolver(mapping, fallback))


@pytest.fixture
def overridden() -> Iterator[Scene]:
    yield from overriding(
        {
            "db.example": "192.0.2.9",
            "Both.Example.": ["2001:db8::9", "192.0.2.9"],
            "alias.example": "real.example",
            "localhost": "127.0.0.2",
        },
        SystemResolver(),
    )


@pytest.fixture
def alone() -> Iterator[Scene]:
    yield from overriding({"db.example": "192.0.2.9", "self.example": "localhost"}, None)


def answer(scene: Scene, name: str, family: int = 0) -> Found:
    scene.resolve(name, 80, family)
    if scene.system.pools:
        scene.work()
    scene.reactor.turn()
    found: Found = scene.found.pop()
    return found


def test_an_override_is_what_it_says(overridden: Scene) -> None:
    """Names are equal in any case, with or without the final dot; localhost may be another; nobody else is asked."""
    assert answer(overridden, "DB.example.") == [Inet("192.0.2.9", 80)]
    assert answer(overridden, "both.example") == [Inet("2001:db8::9", 80), Inet("192.0.2.9", 80)]
    assert answer(overridden, "both.example", V4) == [Inet("192.0.2.9", 80)]
    assert answer(overridden, "localhost") == [Inet("127.0.0.2", 80)]
    assert isinstance(answer(overridden, "db.example", V6), NameNotFound)
    assert not overridden.system.asked


def test_an_override_may_be_another_name(overridden: Scene) -> None:
    """The other resolver is asked for what stands in its place, and for what is not known."""
    overridden.system.names.update({"real.example": ["192.0.2.1"], "other.example": ["192.0.2.2"]})
    assert answer(overridden, "alias.example") == [Inet("192.0.2.1", 80)]
    assert answer(overridden, "other.example") == [Inet("192.0.2.2", 80)]
    assert answer(overridden, "192.0.2.3") == [Inet("192.0.2.3", 80)]
    assert overridden.reactor.stats().lookups_queued == 0


def test_without_another_resolver_nothing_else_exists(alone: Scene) -> None:
    """A closed world: what is listed, what is numeric, and localhost."""
    assert answer(alone, "db.example") == [Inet("192.0.2.9", 80)]
    assert answer(alone, "self.example") == [Inet("::1", 80), Inet("127.0.0.1", 80)]
    assert answer(alone, "192.0.2.3") == [Inet("192.0.2.3", 80)]
    assert isinstance(answer(alone, "other.example"), NameNotFound)
    assert isinstance(answer(alone, "self.example", 9), NameNotFound)
    assert alone.reactor.stats().lookups_queued == 0


def test_overrides_are_checked() -> None:
    """A list is one of numeric addresses; a key is a name."""
    with pytest.raises(AddressError, match="numeric addresses, or one other name"):
        OverrideResolver({"host.example": ["192.0.2.1", "other.example"]})
    with pytest.raises(AddressError, match="numeric addresses, or one other name"):
        OverrideResolver({"host.example": []})
    with pytest.raises(AddressError, match="no host name"):
        OverrideResolver({"a..b": "192.0.2.1"})
