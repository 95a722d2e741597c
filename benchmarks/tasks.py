"""What needs no server, measured in a process of its own: `python -m benchmarks.tasks TASK CONTESTANT NUMBER…`.

Prints its cost, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import select
import socket
import sys
import threading
import time
from collections.abc import Callable

import attrs

from benchmarks import machine
from benchmarks.peers import BATCH, connect_all, loop_runner, set_timers
from reactor import CloseReason, Handler, Reactor, Stream
from reactor.system import close

THREADS = 4


def timers(name: str, count: int, waiting: int, again: int) -> dict[str, float]:
    """Set timers, push them back if *again*, cancel them, while others wait: nanoseconds for each."""
    if name == "ours":
        with Reactor() as reactor:
            kept = [reactor.call_later(1000 + number, print) for number in range(waiting)]
            reactor.run_once(0)  # they are put in order in the first pass, and that is not what is asked here
            ran = time.process_time_ns()

            def batch(left: int) -> None:
                timers = [reactor.call_later(60, print) for _ in range(min(BATCH, count))]
                if again:
                    for timer in timers:
                        timer.restart(61)
                for timer in timers:
                    timer.cancel()
                if left > BATCH:
                    reactor.call_soon(batch, left - BATCH)
                else:
                    reactor.stop()

            reactor.call_soon(batch, count)
            reactor.run()
            took = time.process_time_ns() - ran
            for timer in kept:
                timer.cancel()
    else:
        took = loop_runner(name)(set_timers(count, waiting, again=bool(again)))
    return {"cost": took / count}


def threadsafe(name: str, count: int) -> dict[str, float]:
    """Have threads call into the loop: nanoseconds of processor time for each call, and calls a second."""
    each, heard = count // THREADS, [0]
    more: dict[str, float] = {}

    def hear(stop: Callable[[], object]) -> None:
        heard[0] += 1
        if heard[0] == each * THREADS:
            stop()

    def call(schedule: Callable[..., object], stop: Callable[[], object]) -> None:
        for _ in range(each):
            schedule(hear, stop)

    def start(schedule: Callable[..., object], stop: Callable[[], object]) -> list[threading.Thread]:
        threads = [threading.Thread(target=call, args=(schedule, stop)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        return threads

    run = None if name == "ours" else loop_runner(name)
    began, used = time.perf_counter(), time.process_time_ns()
    if run is None:
        with Reactor() as reactor:
            threads = start(reactor.call_threadsafe, reactor.stop)
            reactor.run(forever=True)
            more["calls per wake-up"] = count / max(1, reactor.stats().wakeups)
    else:

        async def call_all() -> list[threading.Thread]:
            loop, over = asyncio.get_running_loop(), asyncio.Event()
            threads = start(loop.call_soon_threadsafe, over.set)
            await over.wait()
            return threads

        threads = run(call_all())
    took, used = time.perf_counter() - began, time.process_time_ns() - used
    for thread in threads:
        thread.join()
    return {"cost": took / count * 1e9, "cpu": used / count, "rate": count / took, **more}


@attrs.define(eq=False)
class Client(Stream):
    """Ends the run when all are connected."""

    made: list[Handler]
    count: int

    def on_connect(self) -> None:
        self.made.append(self)
        if len(self.made) == self.count:
            self.reactor.stop()

    def on_close(self, reason: CloseReason) -> None:
        if not self.made:
            raise ConnectionError(str(reason))


def connect_by_hand(address: tuple[str, int], count: int) -> None:
    """Make the system calls of `connects`, and do nothing else: no deadline, no errors, no handlers."""
    socks: dict[int, socket.socket] = {}
    with select.epoll() as epoll:
        for _ in range(count):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect_ex(address)
            epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
            socks[sock.fileno()] = sock
        left = count
        while left:
            for fd, _ in epoll.poll(maxevents=count):
                socks[fd].getpeername()
                socks[fd].getsockname()
                epoll.modify(fd, select.EPOLLIN)
                left -= 1
        for fd, sock in socks.items():
            epoll.unregister(fd)
            close(sock, reset=True)


def connects(name: str, count: int, port: int) -> dict[str, float]:
    """Make connections at once, and abort them: microseconds of processor time for each; and how many a second."""
    machine.connections_max(1)
    run = loop_runner(name) if name in ("asyncio", "uvloop") else None
    began, used = time.perf_counter(), time.process_time_ns()
    if name == "by hand":
        connect_by_hand(("127.0.0.1", port), count)
    elif run is None:
        made: list[Handler] = []
        with Reactor() as reactor:
            for _ in range(count):
                reactor.connect(Client(made, count), ("127.0.0.1", port))
            reactor.run()
            assert len(made) == count
            for client in made:
                client.abort()
    else:
        run(connect_all(("127.0.0.1", port), count))
    took, used = time.perf_counter() - began, time.process_time_ns() - used
    return {"cost": used / count / 1000, "rate": count / took}


TASKS: dict[str, Callable[..., dict[str, float]]] = {"timers": timers, "threadsafe": threadsafe, "connects": connects}


def main() -> None:
    """Measure, and print."""
    task, name, *numbers = sys.argv[1:]
    machine.pin_server()
    print(json.dumps(TASKS[task](name, *map(int, numbers))))


if __name__ == "__main__":
    main()
