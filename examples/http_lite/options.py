"""Every limit and deadline of the server, by name, with its default and its neighbours. Pure."""

from __future__ import annotations

from typing import Any

import attrs


def _positive(instance: Any, field: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"Options.{field.name} is above 0, not {value!r}")


@attrs.frozen(kw_only=True)
class Options:
    """What one client may ask for, and how long it may take. Bytes and seconds.

    Raises:
        ValueError: a limit is not above 0.
    """

    #: Longer targets are refused with 414.  # nginx 8 KiB, apache 8190
    target_bytes: int = attrs.field(default=8 * 1024, validator=_positive)
    #: More header bytes or fields, trailers included, are refused with 431.  # nginx 32 KiB, apache 100 fields
    header_bytes: int = attrs.field(default=32 * 1024, validator=_positive)
    headers: int = attrs.field(default=100, validator=_positive)
    #: Longer bodies are refused with 413.  # nginx 1 MiB
    body_bytes: int = attrs.field(default=1024 * 1024, validator=_positive)
    #: So many requests are answered on one connection, the last one with `Connection: close`.  # nginx 1000
    requests: int = attrs.field(default=10_000, validator=_positive)
    #: Connections at a time, in all and from one peer (an IPv4 address or an IPv6 /64); others get 503.  # nginx 512
    connections: int = attrs.field(default=1000, validator=_positive)
    connections_per_peer: int = attrs.field(default=200, validator=_positive)

    #: A head must be complete so long after its first byte, whatever trickles in; else 408.  # nginx, hyper: 60, 30
    head_seconds: float = attrs.field(default=10.0, validator=_positive)
    #: The same for a body and for a long answer, and beyond that one second more for each `rate_bytes` that have been, or
    #: are to be moved.  # apache, mod_reqtimeout: 20, 500
    body_seconds: float = attrs.field(default=20.0, validator=_positive)
    answer_seconds: float = attrs.field(default=30.0, validator=_positive)
    rate_bytes: int = attrs.field(default=1024, validator=_positive)
    #: A client that takes nothing at all for so long, although something is queued for it, is cut.  # nginx 60
    write_seconds: float = attrs.field(default=30.0, validator=_positive)
    #: A connection without a request is closed.  # apache 5, nginx 75
    idle_seconds: float = attrs.field(default=15.0, validator=_positive)
    #: What is under way gets so long to finish when the server is to end.
    grace_seconds: float = attrs.field(default=10.0, validator=_positive)


OPTIONS = Options()
