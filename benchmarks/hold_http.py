"""Slow clients of HTTP-lite, and an ordinary one beside them: `python -m benchmarks.hold http --count 400`. Linux only.

A third of them sends a head, a byte a second; a third a body; a third asks for 4 MB and reads none of it, half of that made
bit by bit, half at once. Each has a deadline of the server's, with the server's defaults, and must be cut at it.

The ordinary client asks all the time, on one connection, before they come, while they are there, and after they were cut.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from benchmarks import hold, machine
from examples.http_lite.app import App
from examples.http_lite.options import OPTIONS
from examples.http_lite.request import Request
from examples.http_lite.response import Answer

app = App()
PIECE, PIECES = b"x" * 65536, 64

#: What the server may grow by: once, for each slow client, and for each stream, which has a queue and a piece.
ONCE_KIB, CLIENT_KIB, STREAM_KIB = 16 * 1024, 12, 80
#: What the kernel may queue for each reader.
READER_KIB = 160
WHOSE = ("server", "kernel, for it")
#: An ordinary client's p99 beside the slow ones, over that on the same server alone.
SLOWER_MAX = 2.0
#: Seconds by which a cut may come late, from when all are there: the server looks once a second, and the machine is shared.
LATE_SECONDS = 2.5
DRIP_SECONDS, IDLE_SECONDS, PATIENCE_SECONDS = 1.0, 4.0, 20.0
DEADLINES = {
    "head": OPTIONS.head_seconds,
    "body": OPTIONS.body_seconds,
    "stream": OPTIONS.write_seconds,
    "whole": OPTIONS.write_seconds,
}
STARTS = {
    "head": b"GET /hello HTTP/1.1\r\nHost: x\r\nA: ",
    "body": b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
    "stream": b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
    "whole": b"GET /whole HTTP/1.1\r\nHost: x\r\n\r\n",
}
#: Readers are one in three, too.
KINDS = ("head", "body", "stream", "head", "body", "whole")
HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


@app.route("GET", "/hello")
def hello(request: Request) -> str:
    """Answer at once."""
    return "Hello, world!\n"


@app.route("POST", "/take")
def take(request: Request) -> str:
    """Take a body."""
    return "Thank you.\n"


@app.route("GET", "/stream")
def stream(request: Request) -> Answer:
    """Make 4 MB, no faster than they are taken."""
    return Answer(200, (PIECE for _ in range(PIECES)))


@app.route("GET", "/whole")
def whole(request: Request) -> Answer:
    """Make 4 MB at once."""
    return Answer(200, PIECE * PIECES)


@attrs.define(eq=False)
class Slow:
    """One of the slow clients."""

    kind: str
    sock: socket.socket
    born: float
    heard: bytes = b""


def be_slow(port: int, count: int) -> None:
    """Be *count* slow clients, in a process of their own; say when all are there, and at the end how long each lived."""
    hold.raise_limit()
    poll, clients = select.epoll(), {}
    # Readers first, since it takes the server a while to make what they ask for.
    for kind in sorted((KINDS[number % len(KINDS)] for number in range(count)), reverse=True):
        sock = socket.socket()
        if kind in ("stream", "whole"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", port))
        sock.sendall(STARTS[kind])
        if kind in ("stream", "whole"):
            sock.settimeout(PATIENCE_SECONDS)
            sock.recv(1)  # its answer has begun
        sock.setblocking(False)
        clients[sock.fileno()] = Slow(kind, sock, time.monotonic())
        # Readers look for nothing but the end; ERR and HUP come by themselves.
        poll.register(sock, select.EPOLLIN if kind in ("head", "body") else select.EPOLLRDHUP)
    print("there", flush=True)
    there = time.monotonic()
    ends: dict[str, list[tuple[float, float]]] = {kind: [] for kind in DEADLINES}
    answers: dict[str, int] = {}
    drippers = [each for each in clients.values() if each.kind in ("head", "body")]
    give_up, sent = there + max(DEADLINES.values()) + 10, 0
    while clients and time.monotonic() < give_up:
        for fd, _ in poll.poll(0.001):
            each = clients[fd]
            with contextlib.suppress(ConnectionResetError):
                if each.kind in ("head", "body") and (piece := each.sock.recv(65536)):
                    each.heard += piece
                    continue
            del clients[fd]
            ends[each.kind].append((time.monotonic() - each.born, time.monotonic() - there))
            status = each.heard[:12].decode() or "nothing"
            answers[status] = answers.get(status, 0) + 1
            each.sock.close()
        # Evenly over each second: they do not know each other.
        upto = int((time.monotonic() - there) / DRIP_SECONDS * len(drippers))
        for number in range(sent, upto):
            with contextlib.suppress(OSError):  # it was cut
                drippers[number % len(drippers)].sock.send(b"a")
        sent = upto
    print(json.dumps({"ends": ends, "answers": answers, "left": len(clients)}), flush=True)


def ask(sock: socket.socket) -> float:
    """Ask once; return how long that took."""
    began = time.perf_counter()
    sock.sendall(HELLO)
    answer = sock.recv(65536)
    assert answer.endswith(b"Hello, world!\n"), answer
    return time.perf_counter() - began


def ask_for(sock: socket.socket, seconds: float) -> list[float]:
    """Ask for so long; return how long each answer took."""
    end, took = time.monotonic() + seconds, []
    while time.monotonic() < end:
        took.append(ask(sock))
    return took


@contextlib.contextmanager
def slow_clients(port: int, count: int) -> Iterator[subprocess.Popen[str]]:
    """Start *count* slow clients; they say when all are there, and at the end what became of them."""
    command = [sys.executable, "-m", "benchmarks.hold", "peers", "--count", str(count), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def http(count: int, rounds: int) -> bool:
    """Measure an ordinary client without and with *count* slow ones, over and over; judge what became of them."""
    bound = ONCE_KIB + CLIENT_KIB * count + STREAM_KIB * count // len(KINDS)
    most = {"connections": count + 100, "connections_per_peer": count + 100, "requests": 10**9, "queued_bytes": 1024 * bound}
    limits = [word for name, value in most.items() for word in ("--limit", f"{name}={value}")]
    holds, said = True, ""
    alone: list[float] = []
    coming: list[float] = []
    beside: list[float] = []
    command = ("-m", "examples.http_lite", "--bind", "127.0.0.1:0", "--quiet", *limits, "--app", "benchmarks.hold_http:app")
    machine.pin_load()
    with hold.server(*command) as (process, port):
        machine.pin_server(process.pid)
        with socket.create_connection(("127.0.0.1", port)) as sock:
            ask_for(sock, 0.5)
            for _ in range(rounds):
                alone += ask_for(sock, IDLE_SECONDS)
                first = memories(process.pid, port)
                with slow_clients(port, count) as peers:
                    assert peers.stdout is not None
                    peak = first
                    for took in (coming, beside):
                        while not select.select([peers.stdout], [], [], 0)[0]:
                            took.extend(ask_for(sock, 0.25))
                            peak = [max(pair) for pair in zip(peak, memories(process.pid, port), strict=True)]
                        said = peers.stdout.readline()
                    found = json.loads(said)
                holds = judge(found, count) and holds
                for whose, before, after, most_kib in zip(WHOSE, first, peak, (bound, READER_KIB * count // 3), strict=True):
                    print(f"  memory of the {whose}: {after - before} KiB more than {before}; the bound is {most_kib}")
                    holds = holds and after - before <= most_kib
            alone += ask_for(sock, IDLE_SECONDS)
    print(f"ordinary client alone:   {quantiles(alone)}")
    print(f"while {count} slow ones come: {quantiles(coming)}")
    print(f"while they are there:    {quantiles(beside)}")
    ratio = quantile(beside, 0.99) / quantile(alone, 0.99)
    print(f"p99 is {ratio:.2f} times that of the idle server; at most {SLOWER_MAX:g}")
    return holds and ratio <= SLOWER_MAX


def memories(pid: int, port: int) -> list[int]:
    """Return the KiB that the server has, and those that the kernel has to send for it: proc(5), /proc/net/tcp, tx_queue."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:])
    queued = sum(int(row[4].partition(":")[0], 16) for row in rows if row[1].endswith(f":{port:04X}") and row[3] != "0A")
    return [hold.memory(pid), queued // 1024]


def judge(found: dict[str, Any], count: int) -> bool:
    """Say what became of the slow clients; return whether each was cut, at its deadline."""
    holds = not found["left"]
    print(f"{count} slow clients: {found['answers']}, {found['left']} left; deadlines {DEADLINES}")
    for kind, lives in found["ends"].items():
        if lives:
            first, last = min(own for own, _ in lives), max(since for _, since in lives)
            print(f"  {kind}: {len(lives)} cut, the first after {first:.1f} s, the last {last:.1f} s after all were there")
            holds = holds and DEADLINES[kind] - 0.5 <= first and last <= DEADLINES[kind] + LATE_SECONDS
    return holds


def quantile(values: list[float], share: float) -> float:
    """Return the value below which that *share* of *values* is."""
    return sorted(values)[int(share * (len(values) - 1))]


def quantiles(values: list[float]) -> str:
    """Return what is worth knowing of latencies."""
    p50, p99 = (1e6 * quantile(values, share) for share in (0.5, 0.99))
    return f"{len(values)} answers, p50 {p50:.0f} us, p99 {p99:.0f} us, worst {1e3 * max(values):.1f} ms"
