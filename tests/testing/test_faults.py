"""Faults: rates that are checked."""

from __future__ import annotations

from typing import Any

import pytest

from reactor import UsageError
from reactor.testing import NO_FAULTS, Faults
from reactor.testing.faults import KINDS


@pytest.mark.parametrize("rate", [-0.1, 1.1, True, "1", None])
def test_a_rate_is_from_0_to_1(rate: Any) -> None:
    """What is no rate is refused, and the message says what would be one."""
    with pytest.raises(UsageError, match=r"Faults\.again is a rate from 0 to 1, not "):
        Faults(again=rate)


def test_all_and_none() -> None:
    """`Faults.all` has every kind, and takes changes; by default there is none."""
    assert all(getattr(NO_FAULTS, kind) == 0 for kind in KINDS)
    faults = Faults.all(0.02, hook=0, signals=(10,))
    assert {kind for kind in KINDS if not getattr(faults, kind)} == {"hook"}
    assert (faults.again, faults.reset, faults.signals) == (0.02, 0.1, (10,))


def test_only_takes_any_iterable_of_names() -> None:
    """The names of strikes to be kept may come as a list; they are kept as a set."""
    assert Faults(only=["again#1"]).only == frozenset({"again#1"})
