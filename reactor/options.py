"""What can be set, as frozen objects: each default with its neighbours, checked once, when it is made."""

from __future__ import annotations

import socket
from typing import Any, Literal, TypeAlias

import attrs

from reactor.addresses import AddressLike, Inet, numeric_family, parse
from reactor.errors import AddressError, Unsupported, UsageError
from reactor.timers import seconds

#: RFC 8305, section 8: never less than 10 ms, at most 2 s.
ATTEMPT_DELAY_MIN = 0.01
ATTEMPT_DELAY_MAX = 2.0
#: Linux' own limits; other kernels take more.
KEEPALIVE_SECONDS_MAX = 32767
KEEPALIVE_COUNT_MAX = 127
#: The kernel counts milliseconds in an int.
USER_TIMEOUT_SECONDS_MAX = 2**31 / 1000


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

    #: Each deadline that is set: its kind, and its seconds. Made once, since each stream asks.
    timeouts: tuple[tuple[str, float], ...] = attrs.field(init=False, repr=False, eq=False, default=())

    def __attrs_post_init__(self) -> None:
        if not self.low <= self.high <= self.hard:
            raise UsageError(f"Limits need low <= high <= hard, not {self.low}, {self.high}, {self.hard}")
        kinds = (
            ("idle", self.idle_timeout),
            ("read", self.read_timeout),
            ("write", self.write_timeout),
            ("lifetime", self.lifetime),
        )
        object.__setattr__(self, "timeouts", tuple((kind, value) for kind, value in kinds if value is not None))


@attrs.frozen(kw_only=True)
class Keepalive:
    """Have the kernel find out that a silent peer is gone: after *idle* seconds of silence it asks, *count* times.

    Where a platform cannot set one of the three, its own value holds.

    Raises:
        UsageError: one is not a whole number from 1 on, or more than Linux takes: 32767 seconds, 127 questions.
    """

    #: Seconds without a byte until the peer is asked for the first time.  # Linux 7200, Go 15
    idle: int = attrs.field(default=60, validator=_positive)
    #: Seconds between one question and the next.  # Linux 75, Go 15
    interval: int = attrs.field(default=15, validator=_positive)
    #: Questions without an answer until the connection ends, with `ETIMEDOUT`.  # Linux, Go 9
    count: int = attrs.field(default=4, validator=_positive)

    def __attrs_post_init__(self) -> None:
        if max(self.idle, self.interval) > KEEPALIVE_SECONDS_MAX or self.count > KEEPALIVE_COUNT_MAX:
            raise UsageError(f"{self!r}: more than {KEEPALIVE_SECONDS_MAX} seconds, or {KEEPALIVE_COUNT_MAX} questions")


@attrs.frozen(kw_only=True)
class SocketOptions:
    """What the kernel is to do for TCP connections, made or accepted.

    Raises:
        UsageError: an option has a value that it cannot have.
        Unsupported: an option that this platform does not have.
    """

    #: TCP_NODELAY: do not hold small writes back until the last one is acknowledged.  # asyncio, Go on
    nodelay: bool = True
    #: Ask silent peers whether they live.  # off, as the kernel has it
    keepalive: Keepalive | None = None
    #: TCP_USER_TIMEOUT: seconds that sent bytes may stay unacknowledged until the connection ends (RFC 5482; Linux).
    user_timeout: float | None = attrs.field(default=None)
    #: TCP_NOTSENT_LOWAT: about how many bytes the kernel queues beyond what it has sent; the rest waits in the stream, whose
    #: marks then tell how far behind the peer is (Linux, macOS).  # trio 16384
    notsent_lowat: int | None = attrs.field(default=None)
    #: SO_SNDBUF and SO_RCVBUF: bytes of the kernel's own buffers, which then do not grow with the path any more (tcp(7)).
    send_buffer: int | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))
    receive_buffer: int | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))

    @user_timeout.validator
    def _check_user_timeout(self, _: object, value: float | None) -> None:
        if value is None:
            return
        name = f"{type(self).__name__}.user_timeout"
        if not 0 < seconds(value, name) < USER_TIMEOUT_SECONDS_MAX:
            raise UsageError(f"{name} is above 0 seconds, and less than 24 days, not {value!r}")
        if not hasattr(socket, "TCP_USER_TIMEOUT"):
            raise Unsupported(f"{name}: this platform has no TCP_USER_TIMEOUT")

    @notsent_lowat.validator
    def _check_notsent_lowat(self, field: attrs.Attribute[int], value: int | None) -> None:
        if value is None:
            return
        _positive(self, field, value)
        if not hasattr(socket, "TCP_NOTSENT_LOWAT"):
            raise Unsupported(f"{type(self).__name__}.notsent_lowat: this platform has no TCP_NOTSENT_LOWAT")


@attrs.frozen(kw_only=True)
class ListenOptions(SocketOptions):
    """How a listening socket is made, and how much it accepts. What `SocketOptions` say, its connections inherit.

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


LocalLike: TypeAlias = "AddressLike | list[AddressLike] | tuple[Inet, ...] | None"


def _locals(given: LocalLike) -> tuple[Inet, ...]:
    """Return local addresses, at most one of each family: a bare host means any port."""
    if given is None:
        return ()
    several = isinstance(given, list) or (isinstance(given, tuple) and all(isinstance(each, Inet) for each in given))
    found: dict[int, Inet] = {}
    for each in given if several else [given]:  # type: ignore[union-attr]
        address = Inet(each, 0) if isinstance(each, str) and numeric_family(each) else parse(each)  # type: ignore[arg-type]
        if not isinstance(address, Inet) or not address.family:
            raise AddressError(f"ConnectOptions.local takes numeric addresses of this machine, not '{address}'")
        if found.setdefault(address.family, address) is not address:
            raise AddressError(f"ConnectOptions.local has two addresses of one family: '{address}' is the second")
    return tuple(found.values())


@attrs.frozen(kw_only=True)
class ConnectOptions(SocketOptions):
    """How a connection is made.

    Raises:
        UsageError: an option has a value that it cannot have.
        AddressError: *local* does not parse.
        Unsupported: an option that this platform does not have.
    """

    #: Only addresses of this family: `socket.AF_INET` or `socket.AF_INET6`; 0 for both.
    family: int = attrs.field(default=0)
    #: Where to connect from: `"192.0.2.7"`, `"192.0.2.7:4000"`, `("2001:db8::7", 0)`, or a list with one for each family.
    #: A target of a family that has none, if another has, fails.
    local: tuple[Inet, ...] = attrs.field(default=None, converter=_locals)
    #: Seconds until the next address is tried beside one that has not answered, from 0.01 to 2.  # RFC 8305: 0.25
    attempt_delay: float = attrs.field(default=0.25)
    #: Seconds that one address has; None: as long as there is time.  # curl 0.2 s for the first, then the rest
    attempt_timeout: float | None = attrs.field(default=None)
    #: Seconds for which the address that won is tried first, the next time that the same name is connected to; 0: not.
    remember: float = attrs.field(default=0.0, validator=_seconds)

    @family.validator
    def _check_family(self, _: object, value: int) -> None:
        if value not in (0, socket.AF_INET, socket.AF_INET6):
            raise UsageError(f"ConnectOptions.family is AF_INET, AF_INET6 or 0, not {value!r}")

    @attempt_delay.validator
    def _check_attempt_delay(self, _: object, value: float) -> None:
        if not ATTEMPT_DELAY_MIN <= seconds(value, "ConnectOptions.attempt_delay") <= ATTEMPT_DELAY_MAX:
            raise UsageError(
                f"ConnectOptions.attempt_delay is from {ATTEMPT_DELAY_MIN:g} to {ATTEMPT_DELAY_MAX:g} seconds, not {value!r}"
            )

    @attempt_timeout.validator
    def _check_attempt_timeout(self, _: object, value: float | None) -> None:
        if value is not None and seconds(value, "ConnectOptions.attempt_timeout") <= 0:
            raise UsageError(f"ConnectOptions.attempt_timeout is above 0 seconds, not {value!r}")


#: The defaults, shared by everything that is given nothing else.
LIMITS = Limits()
LISTEN_OPTIONS = ListenOptions()
CONNECT_OPTIONS = ConnectOptions()


@attrs.frozen(kw_only=True)
class ThreadOptions:
    """How much of `Reactor.run_in_thread` goes on at a time.

    Raises:
        UsageError: an option is no positive number.
    """

    #: Threads at most. They are started when they are needed, and end when they are idle.  # libuv 4, twisted 10, asyncio 32
    threads: int = attrs.field(default=8, validator=_positive)
    #: Calls that wait for one of them, at most; one more is refused, by `PoolFull`.  # libuv, twisted, asyncio: any number
    queue: int = attrs.field(default=1024, validator=_positive)


THREAD_OPTIONS = ThreadOptions()
