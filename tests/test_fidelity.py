"""Facts about sockets hold in every world: call by call, on the kernel below and on a simulated one."""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reactor.testing import Simulation
from tests.facts import FACTS, Fact, Kind, RealWorld, Script, World, said
from tests.facts_page import PAGE, filled


class SimulatedWorld(World):
    """A host of a simulation, and its loopback, on which nothing takes time."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        # The checks are for programs on a reactor: they forbid to look at what is ready without acting on it.
        self.sim = Simulation(seed=0, checks=False)

    def __exit__(self, kind: object = None, *_: object) -> None:
        super().__exit__()
        if kind is None:
            self.sim.close()

    def make_socket(self, family: int, type: int) -> socket.socket:  # noqa: A002  # as the stdlib has it
        return self.sim.sockets.socket(family, type)

    def make_socketpair(self, family: int, type: int) -> tuple[socket.socket, socket.socket]:  # noqa: A002  # as above
        return self.sim.sockets.socketpair(family, type)

    def make_selector(self, kind: Kind) -> selectors.BaseSelector:
        return self.sim.selector(kind)

    def reopen(self, number: int) -> socket.socket:
        return self.keep(self.sim.sockets.socket(fileno=number))

    def settle(self) -> None:
        self.sim.settle()

    def unlink(self, path: str) -> None:
        self.sim.unlink(path)


#: Every world in which the facts are to hold.
WORLDS: dict[str, Callable[[Path], World]] = {"real": RealWorld, "simulated": SimulatedWorld}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Each world in turn."""
    if request.param == "real" and sys.platform != "linux":
        pytest.skip("the facts are those of Linux; the page says where others differ")
    with WORLDS[request.param](tmp_path) as made:
        yield made


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
def test_fact(fact: Fact, world: World) -> None:
    """In each world, every call of the fact is answered as the kernel answers it."""
    if fact.simulated and isinstance(world, SimulatedWorld):
        pytest.skip(fact.simulated)
    transcript = fact.run(world)
    assert all(line.said == line.expected for line in transcript), "\n".join([fact.name, *map(str, transcript)])


def test_facts_are_written_down() -> None:
    """Each fact has a name of its own, a sentence, and a line on the page, which says what the facts say."""
    assert len({fact.name for fact in FACTS}) == len(FACTS)
    assert all(fact.sentence.endswith(".") for fact in FACTS)
    assert PAGE.read_text("utf-8") == filled(PAGE.read_text("utf-8")), "run python -m tests.facts_page"


def test_a_fact_that_does_not_hold_is_reported_call_by_call(tmp_path: Path) -> None:
    """A transcript has each call as it is written, what was said to it, and what the kernel says."""

    def wrong(world: World) -> Script:
        yield said(world.open().recv, 1), "EAGAIN"

    with RealWorld(tmp_path) as world:
        (line,) = Fact(wrong, None).run(world)
    assert str(line) == """said(world.open().recv, 1), "EAGAIN"  ->  'ENOTCONN'  (the kernel: 'EAGAIN')"""
