"""Rates, by themselves: what may move when."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import RateGroup, RateLimit, UsageError


def test_a_burst_then_the_rate() -> None:
    """After a rest a burst may move at once, then what the rate gives."""
    group = RateGroup(RateLimit(100, 500), share=10)
    assert group.allowance(0.0) == 500
    group.take(500, 0.0)
    assert group.allowance(0.0) == 0
    assert group.allowance(1.0) == 100
    assert group.allowance(1000.0) == 500


def test_debts_are_paid() -> None:
    """Who has taken more than there was waits for longer."""
    group = RateGroup(RateLimit(100), share=50)
    group.take(300, 0.0)
    assert group.allowance(1.0) == 0
    assert group.allowance(3.0) == 100


def test_shares_are_reserved_in_turn() -> None:
    """Each who waits gets a share later than the one before; what is given back is there at once."""
    group = RateGroup(RateLimit(100), share=50)
    group.take(100, 0.0)
    assert [group.reserve(0.0), group.reserve(0.0), group.reserve(0.5)] == pytest.approx([0.5, 1.0, 1.0])
    group.give_back(150)
    assert group.allowance(0.5) == 50


def test_a_share_is_no_more_than_the_burst() -> None:
    """By default it is what moves in 20 ms, or 1024 bytes, if the burst allows that."""
    assert [RateGroup(RateLimit(rate)).share for rate in (1, 5000, 1_000_000)] == [1, 1024, 20_000]


def test_a_share_is_given_whole() -> None:
    """As long as anything is there, whoever comes may move a share."""
    group = RateGroup(RateLimit(100, 100), share=60)
    group.take(90, 0.0)
    assert group.allowance(0.0) == 60


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 2000)), max_size=50))
def test_no_more_than_burst_rate_and_a_share_ever_moves(steps: list[tuple[float, int]]) -> None:
    """Whatever comes when, no more moves than the burst, what the rate gives, and one share."""
    group = RateGroup(RateLimit(1000, 500), share=100)
    now, moved = 0.0, 0
    for pause, wanted in steps:
        now += pause
        count = min(wanted, group.allowance(now))
        group.take(count, now)
        moved += count
        assert moved <= 500 + 1000 * now + 100


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, True, "1"])
def test_a_rate_is_a_number_above_0(value: Any) -> None:
    """What is none is refused."""
    with pytest.raises(UsageError, match=r"RateLimit\.rate is a finite number above 0, not "):
        RateLimit(value)
