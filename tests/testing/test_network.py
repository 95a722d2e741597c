"""Links: how long things take, and what never arrives."""

from __future__ import annotations

import pytest

from reactor import UsageError
from reactor.testing import Network
from reactor.testing.dice import Dice
from reactor.testing.network import RETRANSMIT_SECONDS_MIN, Links, Path


def links(network: Network, stall: float = 0.0) -> Links:
    """The links of a simulation that has *network*."""
    dice = Dice(0)
    return Links(network, dice.stream("links"), dice.die("stall", stall), 5.0)


def test_latency_and_bandwidth_add_up() -> None:
    """A packet waits until the one before is out, then takes the latency."""
    path = Path(links(Network(latency=0.01, bandwidth=1000)), "a", "b")
    assert [path.arrival(0.0, 100), path.arrival(0.0, 100), path.arrival(5.0, 0)] == pytest.approx([0.11, 0.21, 5.01])
    assert path.latency == 0.01


def test_loopback_takes_no_time() -> None:
    """Within a host everything is there at once, whatever the network is like."""
    path = Path(links(Network(latency=1, loss=1.0)), "a", "a")
    assert (path.arrival(3.0, 1000), path.arrivals(3.0, 10), path.latency) == (3.0, [3.0], 0.0)


def test_nothing_overtakes_in_a_connection() -> None:
    """Jitter, loss and stalls delay what comes after, too."""
    path = Path(links(Network(latency=0.01, jitter=0.05, loss=0.2), stall=0.1), "a", "b")
    arrivals = [path.arrival(number / 1000) for number in range(500)]
    assert arrivals == sorted(arrivals)
    assert max(at - number / 1000 for number, at in enumerate(arrivals)) > RETRANSMIT_SECONDS_MIN


def test_datagrams_are_lost_doubled_and_overtake() -> None:
    """Of a thousand datagrams some never come, some come twice, some come before earlier ones."""
    path = Path(links(Network(latency=0.01, jitter=0.05, loss=0.1, duplication=0.1)), "a", "b")
    arrivals = [path.arrivals(number / 1000, 10) for number in range(1000)]
    assert {len(each) for each in arrivals} == {0, 1, 2}
    flat = [at for each in arrivals for at in each]
    assert flat != sorted(flat)


def test_links_are_cut_and_changed_by_pairs() -> None:
    """A cut concerns two hosts, both ways, until it is healed; a link may be unlike the others."""
    between = links(Network(latency=0.01))
    there, back, other = Path(between, "a", "b"), Path(between, "b", "a"), Path(between, "a", "c")
    between.cut("a", "b")
    assert (there.is_cut, back.is_cut, other.is_cut) == (True, True, False)
    assert there.arrivals(0.0, 10) == []
    between.cut("a", "c")
    between.heal("b", "a")
    assert (there.is_cut, other.is_cut) == (False, True)
    between.heal()
    assert not other.is_cut
    between.change("b", "a", Network(latency=3))
    assert (there.latency, other.latency) == (3, 0.01)


def test_what_is_below_0_is_refused() -> None:
    """A negative latency is an error, and so is NaN."""
    for value in (-1.0, float("nan")):
        with pytest.raises(UsageError, match=r"Network\.latency is not below 0"):
            Network(latency=value)
