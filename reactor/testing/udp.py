"""UDP as its users see it: whole datagrams or none, and refusals that arrive with the next call. udp(7)."""

from __future__ import annotations

import errno
from collections import deque
from typing import Any

import attrs

from reactor.testing.inet import InetEnd
from reactor.testing.kernel import ERR, HUP, IN, OUT, RDHUP, Kernel, failure, unmapped
from reactor.testing.network import Path

#: RFC 768: the length has 16 bits; less the headers of UDP and IPv4.
DATAGRAM_BYTES_MAX = 65507
#: What the kernel counts for each datagram beside its bytes.  # Linux: about this, sk_buff and rounding
DATAGRAM_OVERHEAD_BYTES = 768


@attrs.define(eq=False)
class Udp(InetEnd):
    """One socket."""

    queue: deque[tuple[bytes, tuple[str, int]]] = attrs.field(factory=deque, init=False, repr=False)
    _queued: int = attrs.field(default=0, init=False)
    _paths: dict[str, Path] = attrs.field(factory=dict, init=False, repr=False)

    def connect(self, address: Any) -> int:
        self.peer = self.aim(address)
        return 0

    def send(self, data: bytes, address: Any = None) -> int:
        if address is None and self.peer is None:
            raise failure(errno.EDESTADDRREQ)
        if self.error:
            raise failure(self.take_error())
        if self.write_shut:
            raise failure(errno.EPIPE)
        if len(data) > DATAGRAM_BYTES_MAX:
            raise failure(errno.EMSGSIZE)
        if address is not None and not address[1]:
            raise failure(errno.EINVAL)
        was_wild = self.host in ("", self.wildcard)
        target = self.peer if address is None else self.aim(address)
        assert target is not None
        source = (self.host, self.port)
        if was_wild and self.peer is None:
            self.host = self.wildcard  # who sends is not tied to the address that he sent from
        self.kernel.progress += 1
        sim, host = self.kernel.sim, unmapped(target[0])
        kernel = self.kernel if self.kernel.is_own(host) else sim.kernel_at(host)
        if kernel is not None and host not in sim.swallowed:
            path = self._paths.setdefault(kernel.host, sim.path(self.kernel.host, kernel.host))
            for at in path.arrivals(sim.now, len(data)):
                sim.at(at, self._arrive, kernel, data, source, (host, target[1]))
        return len(data)

    def receive(self, size: int, *, peek: bool = False) -> tuple[bytes, Any]:
        if self.error:
            self.kernel.progress += 1
            raise failure(self.take_error())
        if not self.queue:
            raise failure(errno.EAGAIN)
        data, sender = self.queue[0]
        self.kernel.progress += 1
        if not peek:
            self.queue.popleft()
            self._queued -= len(data) + DATAGRAM_OVERHEAD_BYTES
        return data[:size], self.shown(sender)

    def shutdown(self, *, read: bool, write: bool) -> None:
        self.read_shut |= read
        self.write_shut |= write
        self.touch()
        if self.peer is None:
            raise failure(errno.ENOTCONN)

    def peer_name(self) -> Any:
        if self.peer is None:
            raise failure(errno.ENOTCONN)
        return self.shown(self.peer)

    def poll(self) -> int:
        """datagram_poll."""
        events = OUT | (ERR if self.error else 0)
        if self.read_shut:
            events |= IN | RDHUP
        if self.read_shut and self.write_shut:
            events |= HUP
        return events | (IN if self.queue else 0)

    def release(self) -> None:
        self.is_closed = True
        self.kernel.leave_port(self)

    def _arrive(self, kernel: Kernel, data: bytes, source: tuple[str, int], target: tuple[str, int]) -> None:
        """Whoever is bound there gets it, if there is room; nobody bound means ICMP port unreachable: RFC 1122, 4.1.3.1."""
        bound = [
            end
            for end in kernel.bound_to(self.type, *target)
            if end.peer is None or (unmapped(end.peer[0]), end.peer[1]) == (unmapped(source[0]), source[1])
        ]
        if not bound:
            kernel.sim.after(self._paths[kernel.host].latency, self._unreachable, target)
            return
        receiver = bound[0]
        if receiver._queued + len(data) <= receiver.receive_buffer:
            receiver._queued += len(data) + DATAGRAM_OVERHEAD_BYTES
            receiver.queue.append((data, (unmapped(source[0]), source[1])))
            receiver.touch()

    def _unreachable(self, target: tuple[str, int]) -> None:
        """Only who is connected is told: udp(7), "Error handling"."""
        if self.peer is not None and (unmapped(self.peer[0]), self.peer[1]) == target and not self.is_closed:
            self.error = errno.ECONNREFUSED
            self.touch()
