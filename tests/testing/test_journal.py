"""The journal: lines that are the same in every process."""

from __future__ import annotations

from reactor import CloseKind, CloseReason
from reactor.testing.journal import Journal, shown


def test_values_are_shown_without_their_places_in_memory() -> None:
    """Bytes are cut, errors and reasons say what they say, any other object shows its class only."""
    assert shown(b"abc") == "b'abc'"
    assert shown(bytearray(100)) == f"{bytes(24)!r}…[100]"
    assert shown("word") == "word"
    assert shown(("10.0.0.1", 80)) == "('10.0.0.1', 80)"
    assert shown(object()) == "<object>"
    assert shown(ValueError("wrong")) == "ValueError(wrong)"
    assert shown(CloseReason(CloseKind.RESET)) == "CloseReason(reset by the peer)"


def test_lines_come_in_order_and_the_last_ones_alone() -> None:
    """`lines` gives all or the last; `str` is all of them."""
    journal = Journal()
    for number in range(4):
        journal.note(1000 + number / 4, "host", "step", number)
    assert journal.lines(2) == ["1000.500000 host step 2", "1000.750000 host step 3"]
    assert journal.lines(9) == str(journal).split("\n")
    assert journal.count == 4
