"""call_every: no drift, late moments, errors."""

from __future__ import annotations

import pytest

from reactor import DelayError, UsageError
from tests.kit import Clock, Watched


def test_moments_do_not_drift(virtual: Watched) -> None:
    """The thousandth call is at start + 1000 periods, exactly as one multiplication gives it."""
    begin, moments = virtual.time(), []
    timer = virtual.call_every(0.1, lambda: moments.append(virtual.now))
    virtual.run_until(lambda: len(moments) == 1000)
    timer.cancel()

    assert moments[-1] == begin + 1000 * 0.1


@pytest.mark.parametrize(("on_late", "calls"), [("skip", 1), ("burst", 3), ("count", 1)])
def test_missed_moments(virtual: Watched, on_late: str, calls: int) -> None:
    """After a stall of three and a half periods: one call, a call for each, or one call that is told how many."""
    clock = virtual.system
    assert isinstance(clock, Clock)
    made: list[tuple[object, ...]] = []
    begin = clock.moment
    timer = virtual.call_every(1, lambda *args: made.append(args), "x", on_late=on_late)  # type: ignore[arg-type]
    clock.moment += 3.5
    for _ in range(5):
        virtual.run_once(0)

    assert len(made) == calls
    assert made[0] == ((3, "x") if on_late == "count" else ("x",))
    assert timer.due == begin + 4
    timer.cancel()


@pytest.mark.parametrize("keep_going", [True, False])
def test_an_error_ends_it_or_not(virtual: Watched, keep_going: bool) -> None:
    """By default the next moment comes all the same."""

    def fail() -> None:
        raise ValueError("here")

    timer = virtual.call_every(1, fail, keep_going=keep_going)
    virtual.call_later(2.5, timer.cancel)
    virtual.run()

    assert len(virtual.raised) == (2 if keep_going else 1)
    virtual.raised.clear()


def test_it_may_cancel_itself(virtual: Watched) -> None:
    """A callback that cancels its own timer was the last call."""
    made: list[int] = []

    def once() -> None:
        made.append(1)
        timer.cancel()

    timer = virtual.call_every(1, once)
    virtual.run()

    assert made == [1]


def test_periods_are_checked(virtual: Watched) -> None:
    """A period is above 0, and what to do about late moments has three names."""
    with pytest.raises(DelayError, match="above 0"):
        virtual.call_every(0, print)
    with pytest.raises(UsageError, match='"skip", "burst" or "count"'):
        virtual.call_every(1, print, on_late="panic")  # type: ignore[arg-type]
