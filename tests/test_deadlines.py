"""Deadlines, by themselves: which moment comes next, and what is late then."""

from __future__ import annotations

from math import inf

from reactor.deadlines import Deadlines


def test_the_earliest_counts() -> None:
    """Of several deadlines the earliest is next; without any there is none."""
    deadlines = Deadlines(10.0, 10.0)
    assert deadlines.next(is_sending=False) == (inf, "")
    deadlines.set("lifetime", 100, 10.0)
    deadlines.set("head", 5, 12.0)
    assert deadlines.next(is_sending=False) == (17.0, "head")
    deadlines.drop("head")
    assert deadlines.next(is_sending=False) == (110.0, "lifetime")
    assert (deadlines.has("lifetime"), deadlines.has("head")) == (True, False)


def test_silences_are_measured_from_what_moved() -> None:
    """Reading is late after the last byte in, writing after the last one out, and idle is what neither moves."""
    deadlines = Deadlines(10.0, 20.0)
    deadlines.set("read", 5, 0.0)
    assert deadlines.next(is_sending=False) == (15.0, "read")
    deadlines.drop("read")
    deadlines.set("idle", 5, 0.0)
    assert deadlines.next(is_sending=False) == (25.0, "idle")
    deadlines.heard = 30.0
    assert deadlines.next(is_sending=False) == (35.0, "idle")


def test_writing_is_late_only_while_something_is_queued() -> None:
    """Who has nothing to send cannot be slow at it."""
    deadlines = Deadlines(0.0, 0.0)
    deadlines.set("write", 5, 0.0)
    assert deadlines.next(is_sending=False) == (inf, "")
    assert deadlines.next(is_sending=True) == (5.0, "write")


def test_a_silence_that_is_set_anew_begins_anew() -> None:
    """What was late, and is given more time, is not late at once."""
    deadlines = Deadlines(0.0, 0.0)
    deadlines.set("idle", 5, 0.0)
    assert deadlines.next(is_sending=False) == (5.0, "idle")
    deadlines.set("idle", 5, 5.0)
    assert deadlines.next(is_sending=False) == (10.0, "idle")
    deadlines.moved = 7.0
    assert deadlines.next(is_sending=False) == (12.0, "idle")
