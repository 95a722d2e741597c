"""The load: connections to a server, and what is sent on them. `load.c` does the work; this starts it and counts.

It is C, and pinned to a core of its own, so that it is not the bottleneck: how busy it was is measured each time.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

SOURCE = Path(__file__).with_name("load.c")
#: Connections that `churn` has open at a time.
CHURN_WIDTH = 32


@functools.cache
def library() -> ctypes.CDLL:
    """Return the compiled load; compiled when it is first needed, by `cc` or what CC names."""
    name = f"reactor-benchmarks-{os.getuid()}-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    target = Path(tempfile.gettempdir()) / name
    if not target.exists():
        made = target.with_suffix(f".{os.getpid()}")
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-o", str(made), str(SOURCE)], check=True)
        made.replace(target)
    found = ctypes.CDLL(str(target))
    found.exchange.restype = found.churn.restype = ctypes.c_long
    return found


@attrs.frozen
class Exchanged:
    """What a load has done."""

    count: int
    seconds: float
    #: Of the load's own processor.
    busy: float
    #: Microseconds, half of them are faster.
    median: float
    #: Microseconds, 99 in 100 of them are faster.
    late: float


def _counted(call: Callable[[object], int], count: int) -> Exchanged:
    latencies = (ctypes.c_float * count)()
    began, used = time.monotonic(), time.thread_time()
    done = call(latencies)
    used, took = time.thread_time() - used, time.monotonic() - began
    if done <= 0:
        raise ConnectionError({-1: "the server has closed a connection", -2: "the server is silent"}.get(done, str(done)))
    found = sorted(latencies[:done])
    return Exchanged(done, took, used / took, statistics.median(found) * 1e6, found[int(0.99 * (done - 1))] * 1e6)


def exchange(
    clients: list[socket.socket], message: bytes, count: int, seconds: float, reply_bytes: int | None = None
) -> Exchanged:
    """Keep one *message* in flight on each connection until *count* replies have come, or about *seconds* have passed.

    A reply is as long as the message, or *reply_bytes*.
    """
    count = max(count, len(clients))
    fds = (ctypes.c_int * len(clients))(*(client.fileno() for client in clients))
    return _counted(
        lambda latencies: library().exchange(
            len(clients),
            fds,
            message,
            ctypes.c_long(len(message)),
            ctypes.c_long(len(message) if reply_bytes is None else reply_bytes),
            ctypes.c_long(count),
            ctypes.c_double(seconds),
            latencies,
        ),
        count,
    )


def churn(address: tuple[str, int], message: bytes, count: int, seconds: float) -> Exchanged:
    """Make *count* connections, some at a time, and exchange one *message* on each."""
    # struct sockaddr_in, ip(7)
    raw = (
        int(socket.AF_INET).to_bytes(2, sys.byteorder)
        + address[1].to_bytes(2, "big")
        + socket.inet_aton(address[0])
        + bytes(8)
    )
    count -= count % CHURN_WIDTH
    size, most, within = ctypes.c_long(len(message)), ctypes.c_long(count), ctypes.c_double(seconds)
    return _counted(
        lambda latencies: library().churn(raw, message, size, CHURN_WIDTH, most, within, latencies),
        count,
    )


def serve(listener: socket.socket) -> None:
    """Be the echo server in C."""
    listener.setblocking(False)
    library().serve(listener.fileno())


@contextmanager
def connected(address: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    """Open *count* connections; close them in the end."""
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            client = socket.create_connection(address, timeout=20)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setblocking(False)
            clients.append(client)
        yield clients
    finally:
        for client in clients:
            client.close()
