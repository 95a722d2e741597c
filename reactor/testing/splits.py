"""Splits: the ways to cut bytes into pieces, as a network may, and how many of them a check tries. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeAlias

import attrs

from reactor.errors import UsageError
from reactor.testing.dice import Dice

#: Where bytes are cut: positions, each above the one before, from 1 to the size less 1.
Cuts: TypeAlias = tuple[int, ...]

BYTE_BY_BYTE = "byte by byte"


def _count(_instance: Any, field: attrs.Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"Effort.{field.name} is a whole number from 0 on, not {value!r}")


@attrs.frozen(kw_only=True)
class Effort:
    """How much a check tries. Where there are more ways than that, some are left out, always the same ones.

    Raises:
        UsageError: a number below 0.
    """

    #: Ways to cut the input in two.
    two_way: int = attrs.field(default=256, validator=_count)
    #: Ways to cut it into many pieces, by chance.
    by_chance: int = attrs.field(default=32, validator=_count)
    #: Bytes that come one by one, after which the rest comes whole; and about how many pieces there are at most by chance.
    one_by_one: int = attrs.field(default=2048, validator=_count)
    #: Points of the input at which the peer ends, closes or resets.
    points: int = attrs.field(default=32, validator=_count)
    #: Calls of hooks from which the handler is closed.
    hooks: int = attrs.field(default=16, validator=_count)
    #: Seeds of runs with faults that must not matter.
    seeds: int = attrs.field(default=8, validator=_count)
    #: From which follows what is left to chance.
    seed: int = 0
    #: The name of the one case that is tried; None: all. What a failure says.
    only: str | None = None


#: What a check tries unless it is told otherwise.
EFFORT = Effort()


def pieces(data: bytes, cuts: Cuts) -> tuple[bytes, ...]:
    """Return *data*, cut at *cuts*; nothing at all if there is no data."""
    edges = (0, *cuts, len(data))
    return tuple(data[start:end] for start, end in pairwise(edges)) if data else ()


def splits(size: int, effort: Effort) -> Iterator[Cuts]:
    """Iterate over ways to cut *size* bytes: byte by byte, in two, by chance; no way twice, and never not at all."""
    tried: set[Cuts] = {()}
    for cuts in _candidates(size, effort):
        if cuts not in tried:
            tried.add(cuts)
            yield cuts


def name_of(cuts: Cuts, size: int) -> str:
    """Return what failures call a way to cut *size* bytes."""
    if not cuts:
        return "whole"
    return BYTE_BY_BYTE if len(cuts) == size - 1 else f"cut at {','.join(map(str, cuts))}"


def named(name: str, size: int) -> Cuts:
    """Return the way to cut *size* bytes that has this *name*.

    Raises:
        UsageError: none has.
    """
    if name in ("whole", BYTE_BY_BYTE):
        return tuple(range(1, size)) if name == BYTE_BY_BYTE else ()
    word, _, places = name.partition("cut at ")
    cuts = tuple(int(place) for place in places.split(",") if place.isdecimal())
    if word or name_of(cuts, size) != name or sorted({0, *cuts, size}) != [0, *cuts, size]:
        raise UsageError(f"{name!r} is no way to cut {size} bytes")
    return cuts


def points(first: int, last: int, most: int) -> list[int]:
    """Return positions from *first* to *last*, evenly spread, both among them if there may be two; at *most* so many."""
    count = last - first + 1
    if count <= most:
        return list(range(first, last + 1))
    if most < 2:
        return [last][:most]
    return [first + number * (count - 1) // (most - 1) for number in range(most)]


def _candidates(size: int, effort: Effort) -> Iterator[Cuts]:
    if size < 2:
        return
    yield tuple(range(1, min(size, effort.one_by_one + 1)))
    for cut in points(1, size - 1, effort.two_way):
        yield (cut,)
    chance = Dice(effort.seed).stream(f"splits/{size}")
    for _ in range(effort.by_chance):
        # Few large pieces and many small ones, both; of a long input, no more than of a short one.
        rate = chance.between(0.0, 1.0) ** 2 * min(1.0, effort.one_by_one / size)
        yield tuple(cut for cut in range(1, size) if chance.chance(rate))
