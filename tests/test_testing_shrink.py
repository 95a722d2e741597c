"""`shrink` finds the few faults that a failure needs."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from reactor import Stream, UsageError
from reactor.testing import NO_FAULTS, Faults, Network, Simulation, shrink

FAULTS = Faults(again=0.3, short=0.5, spurious=0.2, shuffle=0.3, wake=0.2)


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


def talk(sim: Simulation, faults_that_matter: Callable[[set[str]], object]) -> None:
    """Send some bytes there and back, and fail if certain faults have struck."""
    with sim.host("server").reactor() as reactor:
        reactor.listen(Echo, (sim.host("server").addresses[0], 7))
        with sim.host("client").sockets.create_connection(("server", 7)) as client:
            for _ in range(10):
                client.sendall(b"hello")
                got = b""
                while len(got) < 5:
                    got += client.recv(5)
        assert not faults_that_matter(set(sim.strikes)), "struck"


def needs_two(sim: Simulation) -> None:
    """Fail if two certain strikes, of two kinds, have come."""
    talk(sim, lambda strikes: {"short#4", "again#2"} <= strikes)


def needs_none(sim: Simulation) -> None:
    """Fail in any case."""
    talk(sim, lambda strikes: True)


def needs_any(sim: Simulation) -> None:
    """Fail if any of one kind has struck."""
    talk(sim, lambda strikes: any(strike.startswith("short") for strike in strikes))


def leaves(sim: Simulation) -> None:
    """Leave a socket open, if one strike comes; fail otherwise by another error, if another does."""
    talk(sim, lambda strikes: False)
    if "again#3" in sim.strikes:
        sim.host("client").sockets.socket()
    elif "short#1" in sim.strikes:
        raise LookupError("another error")


def test_what_does_not_matter_is_left_out() -> None:
    """The strikes that are left are just those that the failure needs, and other kinds have no rate any more."""
    shrunk = shrink(needs_two, 3, FAULTS)
    assert shrunk.faults == Faults(again=0.3, short=0.5, only={"short#4", "again#2"})
    assert shrunk.is_minimal
    assert isinstance(shrunk.error, AssertionError)
    assert str(shrunk) == (
        "with Simulation(3, faults=Faults(again=0.3, short=0.5, only={'again#2', 'short#4'})) as sim: needs_two(sim)"
    )


def test_the_line_reruns_it() -> None:
    """The text of the result is a statement that fails as the test did."""
    with pytest.raises(AssertionError, match="struck"):
        exec(str(shrink(needs_two, 3, FAULTS)))


def test_it_finds_the_same_each_time() -> None:
    """Two searches make the same runs and find the same."""
    one, other = shrink(needs_any, 1, FAULTS), shrink(needs_any, 1, FAULTS)
    assert (one.faults, one.runs) == (other.faults, other.runs)
    assert one.faults.only is not None
    assert len(one.faults.only) == 1


def test_a_failure_that_needs_no_faults() -> None:
    """Nothing is left if the test fails by itself, and it is seen at once."""
    shrunk = shrink(needs_none, 1, FAULTS)
    assert (shrunk.faults, shrunk.runs) == (attrs.evolve(NO_FAULTS, only=()), 2)
    assert str(shrunk) == "with Simulation(1, faults=Faults(only=frozenset())) as sim: needs_none(sim)"


def test_only_the_same_kind_of_failure_counts() -> None:
    """What is left open fails a run, and what fails by another class of error does not count."""
    shrunk = shrink(leaves, 3, FAULTS)
    assert shrunk.faults.only == frozenset({"again#3"})
    assert type(shrunk.error).__name__ == "Leak"


def test_runs_are_bounded() -> None:
    """When the bound comes first, what has been found so far is returned, and the result says so."""
    shrunk = shrink(needs_two, 3, FAULTS, runs_max=3, network=Network(latency=0.5))
    assert (shrunk.runs, shrunk.is_minimal) == (3, False)
    assert shrunk.faults.only is not None
    assert {"short#4", "again#2"} <= shrunk.faults.only
    assert "Simulation(3, network=Network(latency=0.5), faults=Faults(" in str(shrunk)


def test_a_test_that_passes_cannot_be_shrunk() -> None:
    """A seed that does not fail is a mistake of the caller's."""
    with pytest.raises(UsageError, match="needs_two passes with seed 3"):
        shrink(needs_two, 3, NO_FAULTS)
