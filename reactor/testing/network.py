"""The network of a simulation: how long what is sent from one host to another takes, and whether it arrives at all.

Pure: the moment is an argument, the answer is a moment. What is sent, and what its arrival means, is known to the ends.
"""

from __future__ import annotations

from typing import Any

import attrs

from reactor.errors import UsageError
from reactor.testing.dice import Die, Stream

#: Seconds until TCP sends again what was not acknowledged, doubled each time.  # RFC 6298, 2.4 asks for 1; Linux 0.2
RETRANSMIT_SECONDS_MIN = 0.2
RETRANSMIT_SECONDS_MAX = 120.0
#: Seconds of silence after which TCP gives a connection up: tcp(7), tcp_retries2.
GIVE_UP_SECONDS = 924.6
#: When a SYN is sent again, in seconds from the first: tcp(7), tcp_syn_retries.
SYN_SECONDS = (1.0, 3.0, 7.0, 15.0, 31.0, 63.0)
SYN_GIVE_UP_SECONDS = 127.0
#: A neighbour that answers no ARP request is unreachable after these seconds: arp(7), mcast_solicit times 1 s.
UNREACHABLE_SECONDS = 3.0


def _not_negative(instance: Any, field: attrs.Attribute[float], value: float) -> None:
    if not value >= 0:
        raise UsageError(f"{type(instance).__name__}.{field.name} is not below 0: {value!r}")


@attrs.frozen(kw_only=True)
class Network:
    """What every link of a simulation is like. Seconds, bytes per second, and shares from 0 to 1.

    Loopback, within a host, takes no time and loses nothing.

    Raises:
        UsageError: a value below 0.
    """

    #: From one host to another.
    latency: float = attrs.field(default=0.001, validator=_not_negative)
    #: Added to it, from 0 to this. Datagrams may overtake each other by that; a connection's bytes never do.
    jitter: float = attrs.field(default=0.0, validator=_not_negative)
    #: Bytes per second; infinite by default.
    bandwidth: float = attrs.field(default=float("inf"), validator=_not_negative)
    #: Share of the packets that are lost: late by a retransmission if they are TCP's, else gone.
    loss: float = attrs.field(default=0.0, validator=_not_negative)
    #: Share of the datagrams that arrive twice.
    duplication: float = attrs.field(default=0.0, validator=_not_negative)
    #: Bytes that a socket's buffers hold, each way.  # Linux: 128 KiB and 2.5 MiB on loopback
    send_buffer: int = 128 * 1024
    receive_buffer: int = 128 * 1024
    #: Descriptors that a host may have open: RLIMIT_NOFILE.
    descriptors_max: int = 65536
    #: The first and the last port that the kernel chooses: ip(7), ip_local_port_range.
    ephemeral_ports: tuple[int, int] = (32768, 60999)


@attrs.define(eq=False)
class Links:
    """The links of one simulation, and which of them are cut."""

    network: Network
    _chance: Stream
    _stall: Die
    _stall_seconds_max: float
    _cut: set[frozenset[str]] = attrs.field(factory=set, init=False)
    _changed: dict[frozenset[str], Network] = attrs.field(factory=dict, init=False)

    def cut(self, one: str, other: str) -> None:
        """Let nothing through between two hosts, by their names."""
        self._cut.add(frozenset((one, other)))

    def heal(self, one: str | None = None, other: str | None = None) -> None:
        """Let everything through again, between two hosts, or all."""
        if one is None or other is None:
            self._cut.clear()
        else:
            self._cut.discard(frozenset((one, other)))

    def change(self, one: str, other: str, network: Network) -> None:
        """Make the link between two hosts unlike the others."""
        self._changed[frozenset((one, other))] = network

    def is_cut(self, one: str, other: str) -> bool:
        """Tell whether nothing gets through between two hosts."""
        return bool(self._cut) and frozenset((one, other)) in self._cut

    @property
    def cuts(self) -> list[tuple[str, str]]:
        """The pairs of hosts between which nothing gets through, by name."""
        pairs = sorted(sorted(each) for each in self._cut)
        return [(pair[0], pair[-1]) for pair in pairs]

    def between(self, one: str, other: str) -> Network:
        """Return what the link between two hosts is like."""
        return self._changed.get(frozenset((one, other)), self.network) if self._changed else self.network


@attrs.define(eq=False)
class Path:
    """One direction of one connection, or of a socket's datagrams: nothing on it is faster than what was sent before."""

    _links: Links
    source: str
    target: str
    #: The moment at which the sender's card is free again, and the arrival of what was sent last.
    _clear: float = 0.0
    _last: float = 0.0

    @property
    def is_cut(self) -> bool:
        """Whether nothing gets through."""
        return self._links.is_cut(self.source, self.target)

    @property
    def latency(self) -> float:
        """Seconds for an empty packet, without what chance adds."""
        return 0.0 if self.source == self.target else self._links.between(self.source, self.target).latency

    def arrival(self, now: float, size: int = 0) -> float:
        """Return when *size* bytes that are sent at *now* arrive, behind all that was sent before."""
        if self.source == self.target:
            return now
        self._last = max(self._last, self._one(now, size, RETRANSMIT_SECONDS_MIN))
        return self._last

    def arrivals(self, now: float, size: int) -> list[float]:
        """Return when a datagram of *size* bytes arrives: once, twice or never, and not in order."""
        if self.source == self.target:
            return [now]
        network, chance = self._links.between(self.source, self.target), self._links._chance
        if self.is_cut or chance.chance(network.loss):
            return []
        copies = 2 if chance.chance(network.duplication) else 1
        return [self._one(now, size, 0.0) for _ in range(copies)]

    def _one(self, now: float, size: int, lost: float) -> float:
        links = self._links
        network, chance = links.between(self.source, self.target), links._chance
        self._clear = max(now, self._clear) + size / network.bandwidth
        at = self._clear + network.latency
        if network.jitter:
            at += chance.between(0.0, network.jitter)
        if lost and network.loss and chance.chance(network.loss):
            at += lost
        if links._stall.roll():
            at += links._stall.details().between(0.0, links._stall_seconds_max)
        return at
