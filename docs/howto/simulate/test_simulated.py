"""The same test on a network that comes from a seed."""

import pytest
from client import ask
from sums import Adder

from reactor.testing import Faults, Simulation


@pytest.mark.seeds(20, faults=Faults(short=0.3))
def test_adder(sim: Simulation) -> None:
    """Two numbers are added up."""
    server = sim.host("server")
    with server.reactor() as reactor:
        reactor.listen(Adder, (server.addresses[0], 7007))
        with sim.host("client").sockets.create_connection(("server", 7007)) as client:
            assert ask(client, b"12\n30\n") == b"12\n42\n"
