"""Options check themselves when they are made."""

from __future__ import annotations

import math
from typing import Any

import pytest

from reactor import DelayError, Limits, ListenOptions, UsageError


def test_the_defaults_hold() -> None:
    """What is given nothing has the documented defaults."""
    limits = Limits()

    assert (limits.high, limits.low, limits.hard) == (65536, 16384, 16 * 1024 * 1024)
    assert ListenOptions().on_exhaustion == "backoff"


@pytest.mark.parametrize("options", [{"high": 0}, {"low": -1}, {"hard": 1.5}, {"high": True}, {"high": "1"}])
def test_a_limit_is_a_whole_number_from_one_on(options: dict[str, Any]) -> None:
    """Other values are refused by name."""
    with pytest.raises(UsageError, match=f"Limits.{next(iter(options))} is a whole number"):
        Limits(**options)


@pytest.mark.parametrize("options", [{"low": 100_000}, {"high": 2**40}])
def test_marks_are_in_order(options: dict[str, int]) -> None:
    """low, high and hard come in that order."""
    with pytest.raises(UsageError, match="low <= high <= hard"):
        Limits(**options)


@pytest.mark.parametrize("options", [{"linger": math.nan}, {"close_timeout": math.inf}])
def test_times_are_finite(options: dict[str, Any]) -> None:
    """A limit in seconds is a finite number."""
    with pytest.raises(DelayError, match=f"Limits.{next(iter(options))}"):
        Limits(**options)


def test_policies_are_named() -> None:
    """An unknown policy is refused, with those that there are."""
    with pytest.raises(UsageError, match='"backoff" or "shed"'):
        ListenOptions(on_exhaustion="panic")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match='"wait" or "reject"'):
        ListenOptions(on_limit="panic")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="max_connections"):
        ListenOptions(max_connections=0)
    with pytest.raises(UsageError, match="backlog_connections"):
        ListenOptions(backlog_connections=0)
