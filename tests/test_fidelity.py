"""Facts about sockets hold in every world: call by call, on the kernel below and on a simulated one."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.facts")

# Each file adds its facts to the table, in this order.
from tests import facts_fresh, facts_connect, facts_names, facts_accept, facts_streams, facts_ends, facts_datagrams  # noqa: E402, F401, I001
from tests.facts import FACTS, Fact, RealWorld, World  # noqa: E402

PAGE = Path(__file__).parent.parent / "docs" / "testing" / "fidelity.md"

#: Every world in which the facts are to hold.
WORLDS: dict[str, Callable[[Path], World]] = {"real": RealWorld}


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
    transcript = fact.run(world)
    assert all(line.said == line.expected for line in transcript), "\n".join([fact.name, *map(str, transcript)])
