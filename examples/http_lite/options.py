"""Every limit and deadline of the server, by name, with its default and its neighbours. Pure."""

from __future__ import annotations

from typing import Any

import attrs


def _positive(instance: Any, field: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"Options.{field.name} is above 0, not {value!r}")


def _limit(default: Any, what: str) -> Any:
    return attrs.field(default=default, validator=_positive, metadata={"what": what})


@attrs.frozen(kw_only=True)
class Options:
    """What one client may ask for, and how long it may take: bytes and seconds, above 0."""

    # A request
    target_bytes: int = _limit(8 * 1024, "longer targets are refused: 414")  # nginx 8 KiB, apache 8190
    header_bytes: int = _limit(32 * 1024, "more of header and trailer fields are refused: 431")  # nginx 32 KiB
    headers: int = _limit(100, "more header and trailer fields are refused: 431")  # apache 100
    body_bytes: int = _limit(1024 * 1024, "longer bodies are refused: 413")  # nginx 1 MiB
    # Memory
    memory_bytes: int = _limit(128 * 1024, "longer bodies, in and out, are in a temporary file")  # nginx 16 KiB in
    queued_bytes: int = _limit(256 * 1024 * 1024, "what waits to be sent, in all; beyond that the slowest are cut")
    unsent_bytes: int = _limit(512 * 1024, "the kernel may hold of one connection, beyond what it has sent")
    # Connections
    requests: int = _limit(10_000, "answered on one connection, which then ends")  # nginx 1000
    connections: int = _limit(1000, "at a time; others get 503")  # nginx 512
    connections_per_peer: int = _limit(200, "at a time from one IPv4 address or IPv6 /64; others get 503")
    # Deadlines
    head_seconds: float = _limit(10.0, "from a head's first byte to its last, else 408")  # nginx, hyper: 60, 30
    body_seconds: float = _limit(20.0, "the same for a body, and one more for each rate_bytes of it")  # apache 20, 500
    rate_bytes: int = _limit(1024, "a second are the least that a body, or an answer, may move at")
    answer_seconds: float = _limit(30.0, "that an answer may lag behind rate_bytes, until it is cut")
    write_seconds: float = _limit(30.0, "in which a client takes nothing of an answer, until it is cut")  # nginx 60
    idle_seconds: float = _limit(15.0, "without a request, until the connection ends")  # apache 5, nginx 75
    grace_seconds: float = _limit(10.0, "for what is under way when the server ends")


OPTIONS = Options()
