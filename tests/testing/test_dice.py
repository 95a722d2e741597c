"""Chance: the same for a seed, everywhere; and each strike has a name and details of its own."""

from __future__ import annotations

from reactor.testing.dice import Dice, Die


def strikes(die: Die, rolls: int) -> list[int]:
    """At which rolls *die* strikes."""
    return [roll for roll in range(rolls) if die.roll()]


def test_the_numbers_of_a_seed_are_known() -> None:
    """A seed gives these numbers, on every Python: journals that were kept can be compared."""
    stream = Dice(7).stream("ports")
    assert [stream.below(1000) for _ in range(5)] == [312, 135, 227, 152, 473]
    assert f"{stream.between(1, 2):.9f}" == "1.797236958"


def test_a_rate_is_kept() -> None:
    """A die of rate 1/50 strikes about once in 50 rolls, and one of rate 0 never, of rate 1 always."""
    dice = Dice(1)
    assert 1800 < len(strikes(dice.die("again", 0.02), 100_000)) < 2200
    assert strikes(dice.die("never", 0), 10_000) == []
    assert strikes(dice.die("always", 1), 100) == list(range(100))


def test_kinds_do_not_disturb_each_other() -> None:
    """When one kind strikes does not depend on how often another one is rolled."""
    one, other = Dice(3), Dice(3)
    strikes(one.die("reset", 0.5), 17)
    assert strikes(one.die("again", 0.1), 1000) == strikes(other.die("again", 0.1), 1000)


def test_strikes_that_are_left_out_change_no_others() -> None:
    """With `kept`, the strikes that are named fall where they fell before, with the details that they had."""
    everything = Dice(5).die("again", 0.1)
    when, numbers = [], []
    for roll in range(200):
        if everything.roll():
            when.append(roll)
            numbers.append(everything.details().below(1 << 20))
    dice = Dice(5, frozenset({"again#2", "again#4"}))
    some = dice.die("again", 0.1)
    found = [(roll, some.details().below(1 << 20)) for roll in range(200) if some.roll()]
    assert found == [(when[1], numbers[1]), (when[3], numbers[3])]
    assert dice.struck == ["again#2", "again#4"]
    assert some.name == f"again#{len(when)}"


def test_chance_and_shuffle() -> None:
    """`chance` follows its rate; `shuffle` keeps what it moves."""
    stream = Dice(9).stream("links")
    assert 400 < sum(stream.chance(0.5) for _ in range(1000)) < 600
    assert not any(stream.chance(0) for _ in range(1000))
    items = list(range(50))
    stream.shuffle(items)
    assert items != sorted(items) == list(range(50))
