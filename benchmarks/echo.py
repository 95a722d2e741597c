"""Server CPU per 64-byte echo message: this library beside an epoll loop written by hand.

    python -m benchmarks.echo [--connections 50] [--messages 300000] [--rounds 5]

Servers run as processes on one core, the load on another, alternating; what is compared is the CPU time that the server
process used (user and system, from /proc), which a busy machine disturbs less than it does throughput. Linux only.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import statistics
import subprocess
import sys
import time

import attrs

from reactor import Reactor, Stream

MESSAGE = b"x" * 64
RECEIVE_BYTES = 65536
PATIENCE_SECONDS = 20.0


@attrs.define(eq=False)
class Echo(Stream):
    """What a user of the library writes."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


def serve_ours(listener: socket.socket) -> None:
    """Serve with this library, on its defaults."""
    with Reactor() as reactor:
        reactor.listen(Echo, listener)
        reactor.run()


def serve_by_hand(listener: socket.socket) -> None:
    """Serve with the least that an epoll loop in Python can be: no back-pressure, no errors, no timers, no end."""
    listener.setblocking(False)
    epoll = select.epoll()
    epoll.register(listener.fileno(), select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for fd, _ in epoll.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = sock
                epoll.register(sock.fileno(), select.EPOLLIN)
                continue
            sock = connections[fd]
            try:
                data = sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except ConnectionError:
                data = b""
            if data:
                sock.send(data)
            else:
                epoll.unregister(fd)
                connections.pop(fd).close()


SERVERS = {"by hand": serve_by_hand, "ours": serve_ours}


def pin(core: int) -> None:
    """Stay on one core, where there is more than one."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process has used; proc(5), fields 14 and 15."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, connections: int, messages: int) -> float:
    """Return the server's CPU microseconds per message."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        address = listener.getsockname()
        command = [sys.executable, "-m", "benchmarks.echo", "--serve", name, "--listener", str(listener.fileno())]
        server = subprocess.Popen(command, pass_fds=[listener.fileno()])
    try:
        return exchange(server.pid, address, connections, messages)
    finally:
        server.terminate()
        server.wait()


def exchange(pid: int, address: tuple[str, int], connections: int, messages: int) -> float:
    """Keep one message in flight on each connection until *messages* have come back."""
    clients = {}
    with select.epoll() as epoll:
        for _ in range(connections):
            sock = socket.create_connection(address, timeout=PATIENCE_SECONDS)
            sock.sendall(MESSAGE)
            sock.recv(RECEIVE_BYTES)  # the server is up, and has accepted
            sock.setblocking(False)
            clients[sock.fileno()] = sock
            epoll.register(sock.fileno(), select.EPOLLIN)
        before = cpu_seconds(pid)
        for sock in clients.values():
            sock.send(MESSAGE)
        done, deadline = 0, time.monotonic() + 10 * PATIENCE_SECONDS
        while done < messages and time.monotonic() < deadline:
            for fd, _ in epoll.poll(PATIENCE_SECONDS):
                clients[fd].recv(RECEIVE_BYTES)
                clients[fd].send(MESSAGE)
                done += 1
        used = cpu_seconds(pid) - before
    for sock in clients.values():
        sock.close()
    return used / done * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--listener", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        pin(0)
        SERVERS[options.serve](socket.socket(fileno=options.listener))
        return
    pin(1)
    costs: dict[str, list[float]] = {name: [] for name in SERVERS}
    for _ in range(options.rounds):
        for name, measured in costs.items():
            measured.append(measure(name, options.connections, options.messages))
    print(f"{options.connections} connections, {options.messages} messages of 64 bytes, {options.rounds} rounds")
    for name, measured in costs.items():
        ratios = [cost / hand for cost, hand in zip(measured, costs["by hand"], strict=True)]
        print(
            f"{name:8} {statistics.median(measured):6.2f} us ({min(measured):.2f} to {max(measured):.2f})"
            f"   {statistics.median(ratios):5.2f} of by hand ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
