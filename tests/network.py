"""A network of its own for a test: two namespaces joined by a cable, with dead addresses of every kind.

The cable is a veth pair, or one that is slow and loses frames: two TAP devices, and a thread that carries from one to the
other, since not every kernel has netem.

It needs root, Linux, and iproute2; where one is missing, `network` says why, and tests that ask for it are skipped.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

#: The server's addresses, and those that swallow whatever is sent to them: their hardware address is nobody's.
SERVER4, SERVER6 = "10.77.0.2", "fd77::2"
SILENT4, SILENT6 = "10.77.0.66", "fd77::66"
#: There is no route to it; there is one that says "unreachable"; a router says so.
NO_ROUTE4, UNREACHABLE4, ROUTED_NOWHERE4 = "203.0.113.1", "10.99.0.1", "10.98.0.1"

_CLONE_NEWNET = 0x40000000
_HOSTS = Path("/etc/netns")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")


class Unavailable(Exception):
    """This machine has no such network to offer; the text says why."""


#: if_tun.h: make the open file a device for Ethernet frames, without a header of its own.
_TUNSETIFF, _IFF_TAP_NO_PI = 0x400454CA, 0x1002
_FRAME_BYTES_MAX = 65536


@attrs.define(eq=False)
class Cable:
    """Carries frames both ways, *delay* seconds late, and loses one in so many, by a seed."""

    delay: float
    loss: float
    lost: int = attrs.field(init=False, default=0)
    _ends: list[int] = attrs.field(init=False, factory=list)
    _chance: random.Random = attrs.field(init=False, factory=lambda: random.Random(8305))

    def plug(self, device: str) -> None:
        """Make an end of it, as *device* of the namespace that this thread is in."""
        try:
            end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable(f"/dev/net/tun: {error}") from error
        self._ends.append(end)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TAP_NO_PI))

    @contextlib.contextmanager
    def carrying(self) -> Iterator[None]:
        """Carry while this lasts; then the devices are gone."""
        stop, stopper = os.pipe()
        carrier = threading.Thread(target=self._carry, args=(stop,))
        carrier.start()
        try:
            yield
        finally:
            os.close(stopper)
            carrier.join()
            os.close(stop)
            for end in self._ends:
                os.close(end)

    def _carry(self, stop: int) -> None:
        here, there = self._ends
        under_way: list[tuple[float, int, int, bytes]] = []
        number = 0
        while True:
            timeout = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
            ready = select.select([here, there, stop], [], [], timeout)[0]
            if stop in ready:
                return
            for end in ready:
                frame, number = os.read(end, _FRAME_BYTES_MAX), number + 1
                if self._chance.random() < self.loss:
                    self.lost += 1
                else:
                    heapq.heappush(under_way, (time.monotonic() + self.delay, number, there if end == here else here, frame))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, end, frame = heapq.heappop(under_way)
                with contextlib.suppress(OSError):  # its queue is full: one more is lost
                    os.write(end, frame)


@attrs.define(eq=False)
class Network:
    """Two namespaces, a client's and a server's."""

    client: str
    server: str

    @contextlib.contextmanager
    def inside(self, namespace: str) -> Iterator[None]:
        """Make sockets in *namespace*, in this thread, and in threads that it starts."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{namespace}", "rb") as there:
            if libc.setns(there.fileno(), _CLONE_NEWNET):
                raise Unavailable(f"setns: {os.strerror(ctypes.get_errno())}")
            try:
                yield
            finally:
                libc.setns(home.fileno(), _CLONE_NEWNET)

    def listen(self, host: str = SERVER4, port: int = 0, backlog: int = 128) -> socket.socket:
        """Return a listener on the server; the caller closes it."""
        with self.inside(self.server):
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            sock.bind((host, port))
            sock.listen(backlog)
            return sock

    def hosts(self, text: str) -> None:
        """Give the client a hosts file, for processes that are started by `command`."""
        directory = _HOSTS / self.client
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts").write_text(text)

    def command(self, *command: str) -> list[str]:
        """Return what runs *command* on the client."""
        return ["ip", "netns", "exec", self.client, *command]


@contextlib.contextmanager
def network(cable: Cable | None = None) -> Iterator[Network]:
    """Make a network, with a *cable* that is not as good as veth if there is one, and remove it in the end.

    Raises:
        Unavailable: it cannot be made here.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise Unavailable("network namespaces need root")
    if shutil.which("ip") is None:
        raise Unavailable("network namespaces need iproute2")
    tag = "" if cable is None else "bad-"
    made = Network(f"reactor-{os.getpid()}-{tag}c", f"reactor-{os.getpid()}-{tag}s")
    with contextlib.ExitStack() as undo:
        for name in (made.client, made.server):
            _run("ip", "netns", "add", name)
            undo.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
        if cable is None:
            _run("ip", "link", "add", "c0", "netns", made.client, "type", "veth", "peer", "name", "s0", "netns", made.server)
        else:
            for name, end in ((made.client, "c0"), (made.server, "s0")):
                with made.inside(name):
                    cable.plug(end)
            undo.enter_context(cable.carrying())
        for name, end, last in ((made.client, "c0", "1"), (made.server, "s0", "2")):
            for device in ("lo", end):
                _run("ip", "-n", name, "link", "set", device, "up")
            _run("ip", "-n", name, "addr", "add", f"10.77.0.{last}/24", "dev", end)
            _run("ip", "-n", name, "addr", "add", f"fd77::{last}/64", "dev", end, "nodad")
        for address in (SILENT4, SILENT6):
            _run("ip", "-n", made.client, "neigh", "add", address, "lladdr", "02:00:00:00:00:66", "dev", "c0")
        _run("ip", "-n", made.client, "route", "add", "unreachable", f"{UNREACHABLE4}/32")
        _run("ip", "-n", made.client, "route", "add", f"{ROUTED_NOWHERE4}/32", "via", SERVER4)
        _run("ip", "-n", made.server, "route", "add", "unreachable", f"{ROUTED_NOWHERE4}/32")
        _run("ip", "netns", "exec", made.server, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        undo.callback(_forget_hosts, made)
        yield made


def _forget_hosts(made: Network) -> None:
    shutil.rmtree(_HOSTS / made.client, ignore_errors=True)
    with contextlib.suppress(OSError):
        _HOSTS.rmdir()
