"""The budget of all write queues: refuse, hold, cut, and relax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from reactor import BufferOverflow, CloseKind, Limits, MemoryBudget, Stream, UsageError
from reactor.testing import Network, Simulation
from tests.testing.kit import Quiet

KILO = 1000


@attrs.define(eq=False)
class Talker(Stream):
    """Answers every byte with ten thousand."""

    default_limits = Limits(hard=1 << 30)
    heard: int = attrs.field(init=False, default=0)

    def on_data(self, data: bytes) -> None:
        self.heard += len(data)
        self.write(b"t" * 10 * KILO * len(data))


@attrs.define(eq=False)
class House:
    """A server with a budget of a megabyte, and clients that do not read."""

    sim: Simulation
    reactor: Quiet
    served: list[Talker] = attrs.field(factory=list)
    clients: list[Any] = attrs.field(factory=list)

    def client(self) -> Any:
        """Connect one more."""
        sock = self.sim.host("client").sockets.create_connection((self.sim.host("server").addresses[0], 7), 5)
        sock.setblocking(False)
        self.clients.append(sock)
        self.sim.advance(1)
        return sock

    def make(self) -> Talker:
        self.served.append(Talker())
        return self.served[-1]


@pytest.fixture
def house(logs: list[str]) -> Iterator[House]:
    """As `House` says; the send buffers of its kernel are small."""
    with Simulation(network=Network(send_buffer=10 * KILO, receive_buffer=10 * KILO)) as sim:
        with Quiet(system=sim.host("server"), budget=MemoryBudget(1000 * KILO)) as reactor:
            made = House(sim, reactor)
            reactor.listen(made.make, ":7")
            yield made
            for sock in made.clients:
                sock.close()
            sim.advance(100)
        logs.clear()


def test_a_full_budget_refuses_and_relaxes(house: House, logs: list[str]) -> None:
    """Above the first mark nobody is accepted; when the queues are short again, those who waited are."""
    one = house.client()
    one.send(b"x" * 85)
    house.sim.advance(1)
    assert logs == ["840000 of 1000000 bytes are queued: nobody is accepted"]
    house.client()
    assert len(house.served) == 1
    while len(house.served) == 1:
        one.recv(100 * KILO)
        house.sim.advance(0.1)
    assert logs[1:] == [f"{house.reactor.queued} of 1000000 bytes are queued: nothing"]
    assert 600 * KILO < house.reactor.queued < 700 * KILO


def test_the_longest_queues_are_read_no_more(house: House) -> None:
    """Above the second mark those who have most to send are not read; others are."""
    greedy, modest = house.client(), house.client()
    modest.send(b"y" * 10)
    greedy.send(b"x" * 85)
    house.sim.advance(1)
    assert house.reactor.queued > 900 * KILO
    for each in (greedy, modest):
        each.send(b"z")
    house.sim.advance(1)
    assert [served.heard for served in house.served] == [85, 11]
    while house.reactor.queued > 650 * KILO:
        greedy.recv(100 * KILO)
        house.sim.advance(0.1)
    house.sim.advance(1)
    assert house.served[0].heard == 86


def test_the_slowest_reader_is_given_up(house: House) -> None:
    """Above the budget the longest queue goes, with the reason; the others live, and the sum is right."""
    worst, other = house.client(), house.client()
    other.send(b"y" * 30)
    worst.send(b"x" * 75)
    house.sim.advance(1)
    served = house.served[0]
    assert served.reason is not None
    assert served.reason.kind is CloseKind.ERROR
    assert isinstance(served.reason.error, BufferOverflow)
    assert "the budget is 1000000" in str(served.reason.error)
    assert house.served[1].is_open
    assert house.reactor.queued == house.served[1].buffered
    assert house.reactor.counts["budget_cuts"] == 1


def test_a_new_acceptor_is_paused_with_the_next_mark(house: House, logs: list[str]) -> None:
    """A stream that ends lets its part of the budget go."""
    one, two = house.client(), house.client()
    one.send(b"x" * 45)
    two.send(b"x" * 45)
    house.sim.advance(1)
    assert "nobody is accepted" in logs[0]
    house.served[0].abort()
    house.sim.advance(1)
    assert "nothing" in logs[-1]


@pytest.mark.parametrize("arguments", [{"refuse": 0}, {"hold": 1.1}, {"relax": 0.95}, {"refuse": 0.99}])
def test_a_budget_has_its_marks_in_order(arguments: dict[str, float]) -> None:
    """Shares are above 0, up to 1, and in order."""
    with pytest.raises(UsageError, match=r"MemoryBudget"):
        MemoryBudget(1000, **arguments)


@pytest.mark.parametrize("size", [0, 1.5, None])
def test_a_budget_is_a_number_of_bytes(size: Any) -> None:
    """What is none is refused."""
    with pytest.raises(UsageError, match=r"MemoryBudget\.bytes is a whole number from 1 on"):
        MemoryBudget(size)


def test_one_alone_is_held_and_then_given_up(house: House) -> None:
    """A single stream is read no more, once, and aborted above the budget; looking again changes nothing."""
    only = house.client()
    only.send(b"x" * 75)
    house.sim.advance(1)
    treasurer = house.reactor._treasurer
    assert treasurer is not None
    treasurer.look()
    assert treasurer.level.name == "CALM"
    only.send(b"x" * 20)
    house.sim.advance(1)
    treasurer.look()
    assert treasurer.level.name == "HOLDING"
    house.served[0].write(b"y" * 100 * KILO)
    house.sim.advance(1)
    assert house.served[0].reason is not None
    assert house.reactor.queued == 0
    assert treasurer.level.name == "CALM"


def test_who_is_held_may_end(house: House) -> None:
    """A stream that ends while it is read no more is no trouble when all is over."""
    only = house.client()
    only.send(b"x" * 95)
    house.sim.advance(1)
    house.served[0].abort()
    house.sim.advance(1)
    assert house.reactor.queued == 0
