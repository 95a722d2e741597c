"""What recording costs: HTTP-lite's CPU time per request, plain, recorded to a file, and recorded into a ring.

    python -m benchmarks.record [--connections 64] [--requests 60000] [--rounds 5] [--wrk]

The server runs on one core, the load on another, alternating between the three ways. What is compared is the CPU time that
the server process used, which bounds throughput under load, and which a busy machine disturbs less. With --wrk, the load is
wrk's. Linux only.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.echo import PATIENCE_SECONDS, RECEIVE_BYTES, cpu_seconds, pin

FILE_BYTES = 1000
REQUEST = b"GET /small.txt HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmark\r\n\r\n"
WRK_SECONDS = 5

WAYS: dict[str, list[str]] = {
    "plain": [],
    "recorded": ["-m", "reactor", "record", "{journal}"],
    "in a ring": ["-m", "reactor", "record", "--ring", "16", "{journal}"],
}


def measure(way: str, place: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Return the server's CPU microseconds per request, and requests a second."""
    journal = place / "run.journal"
    before = [argument.format(journal=journal) for argument in WAYS[way]]
    command = [sys.executable, *before, "-m", "examples.http_lite", "--quiet", "--bind", "127.0.0.1:0", str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=lambda: pin(0)) as server:  # noqa: PLW1509
        assert server.stdout is not None
        greeting = server.stdout.readline().decode()
        port = int(greeting.rpartition(":")[2].strip("/\n"))
        try:
            return (wrk if options.wrk else load)(server.pid, port, options)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(PATIENCE_SECONDS)


def load(pid: int, port: int, options: argparse.Namespace) -> tuple[float, float]:
    """Keep one request in flight on each connection until all have been answered."""
    clients = {}
    with select.epoll() as epoll:
        for _ in range(options.connections):
            sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
            sock.sendall(REQUEST)
            sock.recv(RECEIVE_BYTES)
            clients[sock.fileno()] = sock
            epoll.register(sock.fileno(), select.EPOLLIN)
        before, began, done = cpu_seconds(pid), time.monotonic(), 0
        for sock in clients.values():
            sock.send(REQUEST)
        while done < options.requests and time.monotonic() - began < 10 * PATIENCE_SECONDS:
            for fd, _ in epoll.poll(PATIENCE_SECONDS):
                clients[fd].recv(RECEIVE_BYTES)  # a response is short, and leaves in one write
                clients[fd].send(REQUEST)
                done += 1
        used, took = cpu_seconds(pid) - before, time.monotonic() - began
    for sock in clients.values():
        sock.close()
    return used / done * 1e6, done / took


def wrk(pid: int, port: int, options: argparse.Namespace) -> tuple[float, float]:
    """Let wrk make the requests."""
    before = cpu_seconds(pid)
    command = ["wrk", "-t1", f"-c{options.connections}", f"-d{WRK_SECONDS}s", f"http://127.0.0.1:{port}/small.txt"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(pid) - before
    found = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec: +([\d.]+)", said)
    assert found is not None
    assert rate is not None
    return used / int(found[1]) * 1e6, float(rate[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--requests", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--wrk", action="store_true")
    options = parser.parse_args()
    pin(1)
    measured: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "small.txt").write_bytes(os.urandom(FILE_BYTES // 2).hex().encode())
        for _ in range(options.rounds):
            for way, results in measured.items():
                results.append(measure(way, place, options))
        size = (place / "run.journal").stat().st_size if (place / "run.journal").exists() else 0
    print(f"{options.connections} connections, {options.rounds} rounds; the last journal has {size / 1e6:.1f} MB")
    for way, results in measured.items():
        ratios = [mine[0] / plain[0] for mine, plain in zip(results, measured["plain"], strict=True)]
        print(
            f"{way:10} {statistics.median(cost for cost, _ in results):6.2f} us a request,"
            f" {statistics.median(rate for _, rate in results):8.0f} requests/s,"
            f" {statistics.median(ratios):5.2f} of plain ({min(ratios):.2f} to {max(ratios):.2f}),"
            f" throughput {100 / statistics.median(ratios) - 100:+.0f} %"
        )


if __name__ == "__main__":
    main()
