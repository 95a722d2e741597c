"""What can be set, as frozen objects: each default with its neighbours, checked once, when it is made."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from reactor.errors import UsageError
from reactor.timers import seconds


def _positive(instance: Any, field: attrs.Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{type(instance).__name__}.{field.name} is a whole number from 1 on, not {value!r}")


def _seconds(instance: Any, field: attrs.Attribute[float], value: float) -> None:
    seconds(value, f"{type(instance).__name__}.{field.name}")


@attrs.frozen(kw_only=True)
class Limits:
    """The limits of a stream. Bytes and seconds.

    Raises:
        UsageError: a limit is no positive number, or `low <= high <= hard` does not hold.
    """

    #: `on_pause` is called when more than this is queued.  # asyncio, netty, libuv 64 KiB
    high: int = attrs.field(default=64 * 1024, validator=_positive)
    #: `on_drain` is called when no more than this is left.  # asyncio: high / 4; netty 32 KiB
    low: int = attrs.field(default=16 * 1024, validator=_positive)
    #: A write that makes the queue longer than this aborts the connection.  # tornado: none unless asked for
    hard: int = attrs.field(default=16 * 1024 * 1024, validator=_positive)
    #: How long `close` waits for queued bytes to leave.  # twisted, asyncio: for ever
    close_timeout: float = attrs.field(default=30.0, validator=_seconds)
    #: How long a closed stream then reads and drops, so that no RST destroys its last bytes.  # apache 2 s, nginx 5 s
    linger: float = attrs.field(default=2.0, validator=_seconds)

    #: Seconds without a byte in either direction, until `on_timeout("idle")`; None: any.  # asyncio, twisted: none
    idle_timeout: float | None = attrs.field(default=None, validator=attrs.validators.optional(_seconds))
    #: Seconds without a byte from the peer, until `on_timeout("read")`.
    read_timeout: float | None = attrs.field(default=None, validator=attrs.validators.optional(_seconds))
    #: Seconds in which the peer takes nothing although something is queued, until `on_timeout("write")`.  # nginx 60 s
    write_timeout: float | None = attrs.field(default=None, validator=attrs.validators.optional(_seconds))
    #: Seconds from the connection's beginning, until `on_timeout("lifetime")`.
    lifetime: float | None = attrs.field(default=None, validator=attrs.validators.optional(_seconds))

    @property
    def timeouts(self) -> tuple[tuple[str, float | None], ...]:
        """Each deadline's kind, and its seconds."""
        return (
            ("idle", self.idle_timeout),
            ("read", self.read_timeout),
            ("write", self.write_timeout),
            ("lifetime", self.lifetime),
        )

    def __attrs_post_init__(self) -> None:
        if not self.low <= self.high <= self.hard:
            raise UsageError(f"Limits need low <= high <= hard, not {self.low}, {self.high}, {self.hard}")


@attrs.frozen(kw_only=True)
class ListenOptions:
    """How a listening socket is made, and how much it accepts.

    Raises:
        UsageError: an option has a value that it cannot have.
    """

    #: Length of the accept queue; the kernel cuts it to its own maximum (`net.core.somaxconn`).  # trio 65535
    backlog_connections: int = attrs.field(default=65535, validator=_positive)
    #: SO_REUSEPORT: several sockets share the port, and on Linux the kernel balances between them.
    reuse_port: bool = False
    #: Connections accepted at most in one pass, so that a flood of them starves nobody.  # libuv: no limit
    accepts_per_pass: int = attrs.field(default=64, validator=_positive)
    #: Connections that live at a time, at most; None: any. See `on_limit`.  # nginx 512 a worker, gunicorn 1000
    max_connections: int | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))
    #: The same from one peer, an IPv4 address or an IPv6 /64. Whoever comes beyond it goes to `Acceptor.on_overload`.
    max_per_peer: int | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))
    #: With `max_connections` alive: leave others in the kernel's queue ("wait"), or hand them to `on_overload` ("reject").
    on_limit: Literal["wait", "reject"] = attrs.field(default="wait")
    #: While others wait, so many have to leave before they are accepted, so that not every end means a few calls.
    slack: int = attrs.field(default=1, validator=_positive)
    #: Out of descriptors: rest until one is free ("backoff"), or accept and close at once ("shed").
    on_exhaustion: Literal["backoff", "shed"] = attrs.field(default="backoff")
    #: Permissions of a Unix socket's file.  # tornado 0o600
    mode: int = 0o600
    #: Owner and group of a Unix socket's file: numbers or names; None leaves them.
    owner: int | str | None = None
    group: int | str | None = None

    @on_limit.validator
    def _check_on_limit(self, field: attrs.Attribute[str], value: str) -> None:
        if value not in ("wait", "reject"):
            raise UsageError(f'ListenOptions.on_limit is "wait" or "reject", not {value!r}')

    @on_exhaustion.validator
    def _check_on_exhaustion(self, field: attrs.Attribute[str], value: str) -> None:
        if value not in ("backoff", "shed"):
            raise UsageError(f'ListenOptions.on_exhaustion is "backoff" or "shed", not {value!r}')


#: The defaults, shared by every stream that is given nothing else.
LIMITS = Limits()
LISTEN_OPTIONS = ListenOptions()
