"""A server of one contestant, in a process of its own: `python -m benchmarks.serve KIND CONTESTANT DESCRIPTOR`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

from benchmarks import load, machine, ours, peers

#: What each may serve, and how.
SERVERS: dict[str, dict[str, Callable[[socket.socket], None]]] = {
    "echo": {
        "ours": ours.echo,
        "ours, idle deadline": ours.echo_within,
        "by hand": ours.by_hand,
        "C": load.serve,
        "asyncio": peers.asyncio_echo,
        "asyncio streams": peers.asyncio_streams_echo,
        "uvloop": peers.uvloop_echo,
        "Twisted": peers.twisted_echo,
        "Tornado": peers.tornado_echo,
        "gevent": peers.gevent_echo,
        "trio": peers.trio_echo,
        "pyasyncore": peers.pyasyncore_echo,
    },
    "lines": {
        "ours": ours.lines,
        "asyncio": peers.asyncio_lines,
        "asyncio streams": peers.asyncio_streams_lines,
        "uvloop": peers.uvloop_lines,
        "uvloop streams": peers.uvloop_streams_lines,
        "Twisted": peers.twisted_lines,
    },
}


def main() -> None:
    """Serve until killed."""
    kind, name, descriptor = sys.argv[1:]
    machine.connections_max(1)
    SERVERS[kind][name](socket.socket(fileno=int(descriptor)))


if __name__ == "__main__":
    main()
