"""Admission: how many may come in, in all and from one network. Pure: it counts, and is told who comes and who goes."""

from __future__ import annotations

from collections import Counter
from socket import AF_INET6, inet_ntop, inet_pton

import attrs

from reactor.addresses import Address, Inet

#: One peer is an IPv4 address, or the IPv6 network that a customer is usually given: RFC 6177.
IPV4_BITS, IPV6_BITS = 32, 64


def network_of(peer: Address) -> str:
    """Return whom a connection from *peer* is counted for: its /32 or /64; for Unix sockets, everybody."""
    if not isinstance(peer, Inet):
        return "unix"
    if ":" not in peer.host:
        return peer.host
    network = inet_pton(AF_INET6, peer.host.partition("%")[0])[: IPV6_BITS // 8]
    return f"{inet_ntop(AF_INET6, network.ljust(16, bytes(1)))}/{IPV6_BITS}"


@attrs.define(eq=False)
class Admission:
    """Of one acceptor."""

    #: At most so many at a time; None: any.
    most: int | None
    most_per_peer: int | None
    #: So many have to leave before a full house is open again.
    slack: int
    live: int = attrs.field(default=0, init=False)
    _by_peer: Counter[str] = attrs.field(factory=Counter, init=False)

    @property
    def is_full(self) -> bool:
        """Whether nobody may come in."""
        return self.most is not None and self.live >= self.most

    @property
    def is_open_again(self) -> bool:
        """Whether enough have left."""
        return self.most is None or self.live <= max(0, self.most - self.slack)

    def has_room(self, network: str) -> bool:
        """Tell whether one more may come in from *network*."""
        return not self.is_full and (self.most_per_peer is None or self._by_peer[network] < self.most_per_peer)

    def enter(self, network: str) -> None:
        """Somebody came."""
        self.live += 1
        self._by_peer[network] += 1

    def leave(self, network: str) -> None:
        """He went."""
        self.live -= 1
        self._by_peer[network] -= 1
        if not self._by_peer[network]:
            del self._by_peer[network]
