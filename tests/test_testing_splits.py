"""Ways to cut bytes into pieces."""

from __future__ import annotations

from typing import Any

import pytest

from reactor import UsageError
from reactor.testing import Effort
from reactor.testing.splits import name_of, named, pieces, points, splits

EFFORT = Effort()


def test_pieces_are_the_data() -> None:
    """Pieces, joined, are the data, and none is empty; of no data there are none."""
    assert pieces(b"abcdef", (1, 4)) == (b"a", b"bcd", b"ef")
    assert pieces(b"abc", ()) == (b"abc",)
    assert pieces(b"", ()) == ()


def test_short_input_is_cut_in_every_way_in_two() -> None:
    """Byte by byte comes first, then each cut in two; no way comes twice."""
    found = list(splits(5, EFFORT))
    assert found[0] == (1, 2, 3, 4)
    assert {(cut,) for cut in range(1, 5)} <= set(found)
    assert len(found) == len(set(found))
    assert () not in found


@pytest.mark.parametrize("size", [0, 1])
def test_what_cannot_be_cut(size: int) -> None:
    """Less than two bytes are never cut."""
    assert list(splits(size, EFFORT)) == []


def test_long_input_is_cut_in_a_bounded_number_of_ways() -> None:
    """There are no more ways than the effort says, and the same each time."""
    effort = Effort(two_way=10, by_chance=5, one_by_one=7)
    found = list(splits(10_000, effort))
    assert found[0] == tuple(range(1, 8))
    assert len(found) <= 16
    assert found == list(splits(10_000, effort))
    assert all(0 < cut < 10_000 for cuts in found for cut in cuts)


def test_points_are_spread_evenly() -> None:
    """All points if they are few; else some of them, the first and the last among them."""
    assert points(0, 3, 4) == [0, 1, 2, 3]
    assert points(0, 100, 3) == [0, 50, 100]
    assert points(0, 100, 1) == [100]
    assert points(0, 100, 0) == []
    assert points(1, 0, 5) == []


def test_a_name_means_its_cuts() -> None:
    """What a failure calls a way to cut finds it again."""
    for cuts in [(), (1, 2, 3, 4), (2,), (1, 3)]:
        assert named(name_of(cuts, 5), 5) == cuts


@pytest.mark.parametrize("name", ["", "cut at ", "cut at 5", "cut at 3,2", "cut at x", "cut at 2,x", "slow", "not cut at 2"])
def test_other_names_are_refused(name: str) -> None:
    """A name that no way to cut five bytes has is an error."""
    with pytest.raises(UsageError, match="no way to cut 5 bytes"):
        named(name, 5)


@pytest.mark.parametrize("value", [-1, True, 1.5])
def test_an_effort_is_a_number(value: Any) -> None:
    """A bound is a whole number from 0 on."""
    with pytest.raises(UsageError, match=r"Effort\.two_way"):
        Effort(two_way=value)
