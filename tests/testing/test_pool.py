"""Pools without threads, and the names that are looked up with them."""

from __future__ import annotations

import pytest

from reactor import CloseKind, ConnectError, PoolFull
from reactor.testing import Faults, Network, Simulation
from tests.testing.kit import Client, Echo, Quiet


def test_jobs_run_later_in_order_and_no_more_at_once_than_there_are_threads() -> None:
    """A job takes a moment; with two threads, four jobs take two moments, and a fifth is refused."""
    with Simulation() as sim:
        pool = sim.pool("work", threads=2, queue=2)
        done: list[tuple[int, float]] = []

        def job(number: int) -> None:
            done.append((number, round(sim.now - 1000, 6)))

        for number in range(4):
            pool.submit(lambda number=number: job(number))  # type: ignore[misc]
        assert pool.queued == 2
        with pytest.raises(PoolFull, match="2 jobs wait for the 2 threads of 'work' already"):
            pool.submit(lambda: None)
        sim.run()
        assert done == [(0, 0.001), (1, 0.001), (2, 0.002), (3, 0.002)]


def test_a_closed_pool_runs_nothing() -> None:
    """What waits and what runs is dropped; what is submitted then, too."""
    with Simulation() as sim:
        pool = sim.pool("work", threads=1, queue=2)
        done: list[int] = []
        pool.submit(lambda: done.append(1))
        pool.submit(lambda: done.append(2))
        pool.close()
        pool.submit(lambda: done.append(3))
        sim.run()
        assert (done, pool.queued) == ([], 0)


def connect(sim: Simulation, target: str, timeout: float = 5.0) -> tuple[Client, float]:
    """Connect to *target* on a host that echoes; return the client at its end, and how long that took."""
    server, host = sim.host("server"), sim.host("client")
    with Quiet(system=server) as serving, Quiet(system=host) as reactor:
        serving.listen(Echo, ":7")
        client, begin = Client(), sim.now
        reactor.connect(client, target, timeout=timeout)
        sim.run(lambda: client.received or client.reason)
        took = sim.now - begin
        sim.run(timeout=100)
        return client, took


def test_an_address_that_swallows_costs_one_attempt_delay() -> None:
    """IPv6 that disappears and IPv4 that answers: connected after 250 ms, the lookup and one round trip more."""
    with Simulation(network=Network(latency=0.01)) as sim:
        sim.add_name("example.org", "2001:db8::9", sim.host("server").addresses[0])
        sim.swallow("2001:db8::9")
        client, took = connect(sim, "example.org:7")
        assert client.received == b"hello"
        assert took == pytest.approx(0.25 + 0.001 + 2 * 0.02, abs=0.001)


def test_a_deadline_names_everybody() -> None:
    """All addresses dead: the error comes at the deadline, to the moment, and names them all."""
    with Simulation() as sim:
        sim.add_name("example.org", "2001:db8::9", "192.0.2.9")
        sim.swallow("2001:db8::9", "192.0.2.9")
        client, took = connect(sim, "example.org:7")
        assert client.reason is not None
        assert isinstance(client.reason.error, ConnectError)
        assert took == 5.0
        assert str(client.reason.error).endswith(
            "cannot connect to example.org:7 within 5 s: [2001:db8::9]:7 no answer (5.0 s), 192.0.2.9:7 no answer (4.7 s)"
        )


def test_lookups_fail_and_are_late_by_fault() -> None:
    """The fault `lookup` is a name server that fails; `slow_lookup` one that takes its time."""
    with Simulation(faults=Faults(lookup=1)) as sim:
        client, _ = connect(sim, "server:7")
        assert client.kind is CloseKind.ERROR
        assert "name resolution" in str(client.reason)
    with Simulation(faults=Faults(slow_lookup=1)) as sim:
        client, took = connect(sim, "server:7", timeout=60)
        assert client.received == b"hello"
        assert took > 0.1


def test_chance_belongs_to_the_seed() -> None:
    """A host's random numbers are those of the seed, from 0 to 1."""
    numbers = [[Simulation(seed).random() for _ in range(3)] for seed in (1, 1, 2)]
    assert numbers[0] == numbers[1] != numbers[2]
    assert all(0 <= number < 1 for number in numbers[0])
