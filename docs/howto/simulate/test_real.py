"""The test as it was: real sockets, a thread, and luck."""

import socket

from client import ask
from sums import Adder

from reactor.testing import ReactorThread


def test_adder(reactor_thread: ReactorThread) -> None:
    """Two numbers are added up."""
    port = reactor_thread.listen(Adder).port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        assert ask(client, b"12\n30\n") == b"12\n42\n"
