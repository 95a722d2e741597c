"""What is said to a proxy so that it connects to a target, and the kind that speaks HTTP: CONNECT (RFC 9110, 9.3.6). Pure.

Bytes come in, bytes and the outcome go out; no sockets, no clock: see `tunnel` for who carries them, and `socks5` for the
other kind. Names go to the proxy as they are, and are looked up there.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from typing import Protocol

import attrs

from reactor.addresses import Address, Inet, host_name, parse
from reactor.errors import AddressError, ProxyError, UsageError

#: A proxy's answer that is longer than this is none.  # asyncio, h11 64 KiB, aiohttp 8 KiB a line
HEAD_BYTES_MAX = 16 * 1024


class Negotiation(Protocol):
    """One conversation with a proxy. `begin` is called once; `feed` with what comes, until it `is_open`."""

    @property
    def is_open(self) -> bool:
        """Whether the proxy is connected to the target: what comes from now on is the target's."""
        ...

    @property
    def wanted(self) -> int:
        """How many bytes may be fed without any of the target's among them; 0 once it is open."""
        ...

    @property
    def leftover(self) -> bytes:
        """What was fed beyond the proxy's own last byte."""
        ...

    def begin(self) -> bytes:
        """Return what to send first."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take *data*, and return what to send in return.

        Raises:
            ProxyError: the proxy does not connect, or does not speak this protocol.
        """
        ...


class Proxy(Protocol):
    """How to reach targets by way of a proxy."""

    @property
    def address(self) -> Address:
        """Where the proxy is."""
        ...

    def negotiate(self, target: Address) -> Negotiation:
        """Return a new conversation, for a connection to *target*.

        Raises:
            AddressError: this kind of proxy cannot connect there.
        """
        ...


def target_of(target: Address, proxy: str) -> Inet:
    """Return *target* if it can be asked of a proxy: a scope and a path mean something on this machine only."""
    if not isinstance(target, Inet) or not target.port or not target.host or target.scope or "%" in target.host:
        raise AddressError(f"{proxy} cannot connect to '{target}': it takes a host and a port")
    return target


def refused(number: int, text: str, reply: int | None) -> ProxyError:
    """Return the error for a proxy that does not do what it is asked for."""
    error = ProxyError(number, text)
    error.reply = reply
    return error


@attrs.frozen
class HttpConnect:
    """An HTTP proxy that connects to anything it is told to: `via=HttpConnect("proxy:3128")`.

    Args:
        address: where it is, in any form that an address may have.
        username: for "Basic" authentication, together with *password*; sent without being asked for.
        password: sent as it is: no secret from whoever sees the connection to the proxy.
        headers: more header fields, by name.

    Raises:
        UsageError: a user's name with a colon, or a header that would be two.
    """

    address: Address = attrs.field(converter=parse)
    username: str | None = attrs.field(default=None, kw_only=True)
    password: str | None = attrs.field(default=None, kw_only=True, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        if (self.username is None) is not (self.password is None) or ":" in (self.username or ""):
            raise UsageError("HttpConnect takes username and password, both, and no colon in the first (RFC 7617)")
        for name, value in self.headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
                raise UsageError(f"HttpConnect.headers: {name!r} is no header field (RFC 9110, 5)")

    def __str__(self) -> str:
        return f"HTTP proxy {self.address}"

    def negotiate(self, target: Address) -> HttpNegotiation:
        """See `Proxy.negotiate`."""
        target = target_of(target, str(self))
        authority = str(target if target.family else attrs.evolve(target, host=host_name(target.host)))
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if self.username is not None:
            import base64

            secret = base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")
            lines.append(f"Proxy-Authorization: Basic {secret}")
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return HttpNegotiation(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


@attrs.define(eq=False)
class HttpNegotiation:
    """The request, and the head of the answer. A body would be the target's first bytes (RFC 9110, 9.3.6)."""

    _request: bytes = attrs.field(repr=False)
    is_open: bool = attrs.field(init=False, default=False)
    leftover: bytes = attrs.field(init=False, default=b"")
    _head: bytearray = attrs.field(init=False, factory=bytearray)

    @property
    def wanted(self) -> int:
        """The end of the head is two line ends, each LF with or without CR (RFC 9112, 2.2): so 2 bytes, or the last one."""
        if self.is_open:
            return 0
        return 1 if self._head.endswith((b"\n", b"\n\r")) else 2

    def begin(self) -> bytes:
        """Return the request."""
        return self._request

    def feed(self, data: bytes) -> bytes:
        """Take a part of the answer; there is nothing to be sent in return."""
        head, start = self._head, max(0, len(self._head) - 3)
        head += data
        while (end := re.compile(rb"\n\r?\n").search(head, start)) is not None:
            status, reason = self._status(bytes(head[: end.start()]))
            self.leftover = bytes(head[end.end() :])
            if 200 <= status < 300:
                self.is_open = True
                return b""
            if status >= 200 or status == 101:
                raise refused(_HTTP_ERRNOS.get(status, errno.EPROTO), f"{status} {reason}".strip(), status)
            del head[: end.end()]  # 1xx: the answer proper follows
            start = 0
        if len(head) > HEAD_BYTES_MAX:
            raise refused(errno.EPROTO, f"an answer of more than {HEAD_BYTES_MAX} bytes", None)
        if not b"HTTP/1.".startswith(head[:7]) and head[:7] != b"HTTP/1.":
            raise refused(errno.EPROTO, f"it does not speak HTTP/1: {bytes(head[:40])!r}", None)
        return b""

    def _status(self, head: bytes) -> tuple[int, str]:
        line = head.partition(b"\n")[0].rstrip(b"\r")
        match = re.fullmatch(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: (.*))?", line)
        if match is None:
            raise refused(errno.EPROTO, f"it does not speak HTTP/1: {line[:40]!r}", None)
        reason = (match[2] or b"").decode("latin-1")
        return int(match[1]), "".join(each if each.isprintable() else "?" for each in reason[:100])


#: What comes nearest to what the status says (RFC 9110, 15).
_HTTP_ERRNOS = {
    401: errno.EACCES,
    403: errno.EACCES,
    407: errno.EACCES,
    502: errno.EHOSTUNREACH,
    503: errno.EHOSTUNREACH,
    504: errno.ETIMEDOUT,
}
