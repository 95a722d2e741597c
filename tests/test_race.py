"""The order of addresses and the moments of their turns, by RFC 8305."""

from __future__ import annotations

import pytest

from reactor import Inet
from reactor import race as module
from reactor.race import Race, Winners, interleave


def inets(*hosts: str) -> list[Inet]:
    return [Inet(host, 80) for host in hosts]


@pytest.mark.parametrize(
    ("given", "tried"),
    [
        ([], []),
        (["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"], ["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]),
        (["1.1.1.1", "2.2.2.2", "::1"], ["1.1.1.1", "::1", "2.2.2.2"]),
        (["::1", "::2"], ["::1", "::2"]),
        (["::1", "1.1.1.1", "2.2.2.2", "3.3.3.3"], ["::1", "1.1.1.1", "2.2.2.2", "3.3.3.3"]),
    ],
)
def test_families_take_turns(given: list[str], tried: list[str]) -> None:
    """The first family is that of the first address; within a family the order stays."""
    assert interleave(inets(*given)) == inets(*tried)


def test_one_after_the_other_with_a_delay() -> None:
    """The first starts at once, the next when the delay has passed, and then there is none."""
    race: Race[str] = Race(0.25)
    assert race.next_due() is None
    race.add(["a", "b"])
    assert race.start(10.0) == "a"
    assert race.next_due() == 10.25
    assert race.start(10.2) is None
    assert race.start(10.25) == "b"
    assert race.next_due() is None
    assert race.start(20.0) is None


def test_a_failure_calls_the_next_at_once() -> None:
    """It does not wait for the delay, and its own successor does."""
    race: Race[str] = Race(0.25)
    race.add(["a", "b", "c"])
    race.start(10.0)
    race.failed()
    assert race.start(10.1) == "b"
    assert race.next_due() == 10.35


def test_an_address_waits_once() -> None:
    """What is added twice is tried once; what was tried may be tried again."""
    race: Race[str] = Race(0.25)
    race.add(["a", "b", "a"])
    race.add(["b", "c"])
    assert list(race.waiting) == ["a", "b", "c"]


def test_the_winner_goes_first() -> None:
    """As long as it is not too long ago, and the name still has that address."""
    winners = Winners()
    addresses = inets("::1", "1.1.1.1")
    assert winners.first("n", addresses, since=0.0) == addresses
    winners.note("n", Inet("1.1.1.1", 80), now=100.0)
    assert winners.first("n", addresses, since=100.0) == inets("1.1.1.1", "::1")
    assert winners.first("n", addresses, since=100.1) == addresses
    assert winners.first("n", inets("::1"), since=0.0) == inets("::1")


def test_no_more_winners_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has won longest ago is forgotten."""
    monkeypatch.setattr(module, "WINNERS_MAX", 2)
    winners = Winners()
    for name in ("a", "b", "a", "c"):
        winners.note(name, Inet("1.1.1.1", 80), now=1.0)
    both = inets("::1", "1.1.1.1")
    assert [winners.first(name, both, since=0.0)[0].host for name in "abc"] == ["1.1.1.1", "::1", "1.1.1.1"]
    assert len(winners) == 2
