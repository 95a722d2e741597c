"""Load that others have broken under, on real sockets: each prints numbers and a verdict, and stops by itself. Linux only.

    python -m benchmarks.hold slow     # 1,000 peers that read a byte a second do not slow 50 fast ones behind `forward`
    python -m benchmarks.hold drip     # 5,000 that never finish a line are cut at their deadline; others are served
    python -m benchmarks.hold term     # kill -TERM: requests in flight finish, nobody new comes in, the status tells

The exit status is 1 if what must hold does not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs

from reactor import CloseKind, CloseReason, Codec, Lines, MessageStream, Reactor

TICKS = os.sysconf("SC_CLK_TCK")
CHUNK = b"x" * 16384
FILL_SECONDS_MAX, FULL_SECONDS, MEASURE_SECONDS = 120.0, 5.0, 4.0
DEADLINE_SECONDS, DRIP_SECONDS = 5.0, 1.0


def raise_limit() -> int:
    """Allow as many descriptors as may be had; return how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> int:
    """Return the KiB that a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@contextlib.contextmanager
def server(*command: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start an example or one of ours; give the process and its port."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline().rpartition(":")[2])
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def fast(socks: list[socket.socket], trickle: list[socket.socket], seconds: float) -> int:
    """Exchange chunks with an echo on all *socks* for so long, reading a byte a second of *trickle*; return the chunks."""
    selector = selectors.DefaultSelector()
    missing = dict.fromkeys(socks, len(CHUNK))
    for sock in socks:
        selector.register(sock, selectors.EVENT_READ)
        sock.sendall(CHUNK)
    end, next_byte, done = time.monotonic() + seconds, time.monotonic(), 0
    while (now := time.monotonic()) < end:
        if now >= next_byte:
            next_byte = now + 1.0
            for sock in trickle:
                with contextlib.suppress(BlockingIOError):
                    sock.recv(1)
        for key, _ in selector.select(0.05):
            assert isinstance(key.fileobj, socket.socket)
            sock = key.fileobj
            missing[sock] -= len(sock.recv(65536))
            if not missing[sock]:
                done += 1
                missing[sock] = len(CHUNK)
                sock.sendall(CHUNK)
    for sock in socks:
        while missing[sock]:
            missing[sock] -= len(sock.recv(65536))
    selector.close()
    return done


def slow(count: int, rounds: int) -> bool:
    """Measure 50 fast peers behind `forward` without and with *count* that read a byte a second, over and over."""
    with (
        server("-m", "examples.echo", "--bind", "127.0.0.1:0") as (echo, echo_port),
        server("-m", "examples.forward", "--bind", "127.0.0.1:0", f"127.0.0.1:{echo_port}") as (forward, port),
    ):
        both = (forward, echo)
        socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]

        def measure(trickle: list[socket.socket]) -> tuple[float, float]:
            before, begun = sum(cpu_seconds(each.pid) for each in both), time.monotonic()
            done = fast(socks, trickle, MEASURE_SECONDS)
            used = sum(cpu_seconds(each.pid) for each in both) - before
            return done / (time.monotonic() - begun), 1e6 * used / done

        fast(socks, [], 1.0)
        alone = max((measure([]) for _ in range(rounds)), key=lambda each: each[0])
        readers = []
        for _ in range(count):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", port))
            sock.setblocking(False)
            readers.append(sock)
        stuffed = fill(readers)
        first = [memory(each.pid) for each in both]
        beside = max((measure(readers) for _ in range(rounds)), key=lambda each: each[0])
        for sock in readers:
            with contextlib.suppress(BlockingIOError):
                stuffed += sock.send(CHUNK)
        last = [memory(each.pid) for each in both]
        for sock in (*socks, *readers):
            sock.close()
    slower, dearer = 1 - beside[0] / alone[0], beside[1] / alone[1] - 1
    print(f"{stuffed >> 20} MiB were taken of {count} peers that read a byte a second")
    print(f"forward, echo: {first} KiB when all is full, {last} KiB at the end")
    print(f"50 fast: {alone[0]:.0f} chunks/s, {alone[1]:.0f} us CPU each; beside slow ones {beside[0]:.0f}, {beside[1]:.0f}")
    print(f"slower by {100 * slower:.1f} %, dearer by {100 * dearer:.1f} %")
    # The wall clock of a shared machine is no witness by itself.
    return min(slower, dearer) <= 0.1 and all(after <= 1.1 * before for before, after in zip(first, last, strict=True))


def fill(socks: list[socket.socket]) -> int:
    """Say on each as much as anybody takes, until nobody has taken anything for some seconds; return the bytes."""
    begun = moved = time.monotonic()
    total = 0
    while (now := time.monotonic()) - begun < FILL_SECONDS_MAX and now - moved < FULL_SECONDS:
        for sock in socks:
            with contextlib.suppress(BlockingIOError):
                total += sock.send(CHUNK)
                moved = time.monotonic()
        time.sleep(0.01)
    return total


@attrs.define(eq=False)
class Patient(MessageStream[bytes, bytes]):
    """Gives everybody a few seconds for a line."""

    codec: Codec[bytes, bytes] = attrs.field(init=False, factory=Lines)

    def on_connect(self) -> None:
        self.deadline("line", DEADLINE_SECONDS)

    def on_message(self, message: bytes) -> None:
        self.deadline("line", DEADLINE_SECONDS)
        self.send(message)

    def on_close(self, reason: CloseReason) -> None:
        ENDS[reason.kind] += 1


ENDS: Counter[CloseKind] = Counter()


def serve_patiently() -> None:
    """Serve `Patient`, and say at the end how its streams have ended."""
    raise_limit()
    with Reactor() as reactor:
        acceptor = reactor.listen(Patient, "127.0.0.1:0")
        reactor.on_signal(signal.SIGTERM, reactor.shutdown)
        print(f"listening on {acceptor.addresses[0]}", flush=True)
        reactor.run()
        print(ENDS[CloseKind.TIMEOUT], sum(ENDS.values()), flush=True)


def drip(count: int) -> bool:
    """Have *count* peers send a byte each second, while one more asks all the time."""
    with server("-m", "benchmarks.hold", "serve") as (process, port):
        begun = time.monotonic()
        socks = {}
        selector = selectors.DefaultSelector()
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setblocking(False)
            socks[sock] = time.monotonic()
            selector.register(sock, selectors.EVENT_READ)
        opened = time.monotonic() - begun
        good = socket.create_connection(("127.0.0.1", port))
        answers, worst, lives, next_byte = 0, 0.0, [], 0.0
        while socks and time.monotonic() - begun < opened + 5 * DEADLINE_SECONDS:
            if (now := time.monotonic()) >= next_byte:
                next_byte = now + DRIP_SECONDS
                for sock in socks:
                    with contextlib.suppress(OSError):
                        sock.send(b"a")
            asked = time.monotonic()
            good.sendall(b"hello\n")
            assert good.recv(100)
            worst = max(worst, time.monotonic() - asked)
            answers += 1
            for key, _ in selector.select(0.005):
                assert isinstance(key.fileobj, socket.socket)
                sock = key.fileobj
                selector.unregister(sock)
                lives.append(time.monotonic() - socks.pop(sock))
                sock.close()
        used = cpu_seconds(process.pid)
        good.close()
        process.terminate()
        assert process.stdout is not None
        timeouts, ends = map(int, process.stdout.readline().split())
        selector.close()
    print(f"{count} connected in {opened:.1f} s; {timeouts} of {ends} ended by TIMEOUT; {used:.1f} s CPU in all")
    if lives:
        print(f"they lived from {min(lives):.2f} to {max(lives):.2f} s; the deadline is {DEADLINE_SECONDS:g} s")
    print(f"{answers} answers for somebody else meanwhile, the slowest in {1000 * worst:.0f} ms")
    return timeouts == count and not socks and min(lives) >= DEADLINE_SECONDS - 0.05


def term(stuck: bool) -> bool:  # noqa: PLR0912  # one story, from its beginning to its end
    """Ask `echo` to end while 50 peers say what they can; if *stuck*, one of them never reads."""
    with server("-m", "examples.echo", "--bind", "127.0.0.1:0", "--grace", "3") as (process, port):
        socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        for sock in socks:
            sock.setblocking(False)
        sent, got, resets = 0, 0, 0
        dead = socks[0] if stuck else None
        if dead is not None:
            fill([dead])
        killed, refused, open_ = 0.0, False, set(socks)
        begun = time.monotonic()
        while open_ - {dead} and time.monotonic() - begun < 20:
            for sock in list(open_):
                if not killed:
                    with contextlib.suppress(BlockingIOError):
                        sent += sock.send(CHUNK)
                if sock is dead:
                    continue
                try:
                    data = sock.recv(16384)
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    data = b""
                    resets += 1
                got += len(data)
                if not data:
                    open_.discard(sock)
                    sock.close()
            if not killed and time.monotonic() - begun > 0.3:
                process.terminate()
                killed = time.monotonic()
            if killed and not refused:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                except OSError:
                    refused = True
        status = process.wait(10)
        took = time.monotonic() - killed
        for sock in socks:
            sock.close()
    print(f"{sent >> 20} MiB sent, {got >> 20} MiB answered, {resets} ends by RST; newcomers refused: {refused}")
    print(f"ended {took:.2f} s after SIGTERM; status {status}")
    return refused and not resets and status == int(stuck) and took < 4.0


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hold")
    parser.add_argument("what", choices=["slow", "drip", "term", "serve"])
    parser.add_argument("--count", type=int)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    raise_limit()
    if options.what == "serve":
        serve_patiently()
        return 0
    if options.what == "slow":
        holds = slow(options.count or 1000, options.rounds)
    elif options.what == "drip":
        holds = drip(options.count or 5000)
    else:
        holds = term(stuck=False) and term(stuck=True)
    print("holds" if holds else "DOES NOT HOLD")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
