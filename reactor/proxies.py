"""What is said to a proxy so that it connects to a target: HTTP CONNECT (RFC 9110, 9.3.6) and SOCKS5 (RFC 1928). Pure.

Bytes come in, bytes and the outcome go out; no sockets, no clock: see `tunnel` for who carries them. Names go to the proxy
as they are, and are looked up there.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Mapping
from typing import Protocol

import attrs

from reactor.addresses import Address, Inet, host_name, parse
from reactor.errors import AddressError, ProxyError, UsageError
from reactor.states import SOCKS, Socks, SocksEvent, move

#: A proxy's answer that is longer than this is none.  # asyncio, h11 64 KiB, aiohttp 8 KiB a line
HEAD_BYTES_MAX = 16 * 1024
#: RFC 1928, 5: a name has one octet for its length; RFC 1929, 2: so have a user's name and password.
SOCKS_TEXT_MAX = 255


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


def _target(target: Address, proxy: str) -> Inet:
    """Return *target* if it can be asked of a proxy: a scope and a path mean something on this machine only."""
    if not isinstance(target, Inet) or not target.port or not target.host or target.scope or "%" in target.host:
        raise AddressError(f"{proxy} cannot connect to '{target}': it takes a host and a port")
    return target


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
        target = _target(target, str(self))
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
                raise _refused(_HTTP_ERRNOS.get(status, errno.EPROTO), f"{status} {reason}".strip(), status)
            del head[: end.end()]  # 1xx: the answer proper follows
            start = 0
        if len(head) > HEAD_BYTES_MAX:
            raise _refused(errno.EPROTO, f"an answer of more than {HEAD_BYTES_MAX} bytes", None)
        if not b"HTTP/1.".startswith(head[:7]) and head[:7] != b"HTTP/1.":
            raise _refused(errno.EPROTO, f"it does not speak HTTP/1: {bytes(head[:40])!r}", None)
        return b""

    def _status(self, head: bytes) -> tuple[int, str]:
        line = head.partition(b"\n")[0].rstrip(b"\r")
        match = re.fullmatch(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: (.*))?", line)
        if match is None:
            raise _refused(errno.EPROTO, f"it does not speak HTTP/1: {line[:40]!r}", None)
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


@attrs.frozen
class Socks5:
    """A SOCKS proxy, version 5: `via=Socks5("proxy:1080")`.

    Args:
        address: where it is, in any form that an address may have.
        username: for authentication by name and password (RFC 1929), together with *password*, if the proxy asks for it.
        password: sent as it is: no secret from whoever sees the connection to the proxy.

    Raises:
        UsageError: one without the other, or not 1 to 255 octets.
    """

    address: Address = attrs.field(converter=parse)
    username: str | None = attrs.field(default=None, kw_only=True)
    password: str | None = attrs.field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        if (self.username is None) is not (self.password is None):
            raise UsageError("Socks5 takes username and password, both or none")
        for text in (self.username, self.password):
            if text is not None and not 0 < len(text.encode()) <= SOCKS_TEXT_MAX:
                raise UsageError(f"Socks5: a username and a password have 1 to {SOCKS_TEXT_MAX} octets (RFC 1929)")

    def __str__(self) -> str:
        return f"SOCKS5 proxy {self.address}"

    def negotiate(self, target: Address) -> SocksNegotiation:
        """See `Proxy.negotiate`."""
        target = _target(target, str(self))
        if target.family:
            kind = 1 if target.family == socket.AF_INET else 4
            host = socket.inet_pton(target.family, target.host)
        else:
            name = host_name(target.host).encode("ascii")
            kind, host = 3, bytes([len(name)]) + name
        secret = b""
        if self.username is not None and self.password is not None:
            secret = b"\1" + b"".join(bytes([len(text)]) + text for text in (self.username.encode(), self.password.encode()))
        return SocksNegotiation(bytes([5, 1, 0, kind]) + host + target.port.to_bytes(2, "big"), secret)


@attrs.define(eq=False)
class SocksNegotiation:
    """Method, admission if it is asked for, reply: each answer has a length that its first bytes tell."""

    _request: bytes = attrs.field(repr=False)
    _secret: bytes = attrs.field(repr=False)
    leftover: bytes = attrs.field(init=False, default=b"")
    _state: Socks = attrs.field(init=False, default=Socks.METHOD)
    _answer: bytearray = attrs.field(init=False, factory=bytearray)

    @property
    def is_open(self) -> bool:
        """Whether the proxy is connected to the target."""
        return self._state is Socks.OPEN

    @property
    def wanted(self) -> int:
        """How many bytes the answer still has, as far as that is known."""
        return 0 if self.is_open else self._length() - len(self._answer)

    def begin(self) -> bytes:
        """Return the methods of authentication that we have (RFC 1928, 3): none, and the password if there is one."""
        return b"\5\2\0\2" if self._secret else b"\5\1\0"

    def feed(self, data: bytes) -> bytes:
        """Take a part of an answer; return what the next one is an answer to."""
        answer, sent = self._answer, b""
        answer += data
        while not self.is_open:
            self._check()
            length = self._length()
            if len(answer) < length:
                return sent
            taken = bytes(answer[:length])
            del answer[:length]
            sent += self._take(taken)
        self.leftover, self._answer = bytes(answer), bytearray()
        return sent

    def _length(self) -> int:
        """Return the length of the answer that is waited for, or of its part that tells it."""
        if self._state is not Socks.REPLY:
            return 2
        if len(self._answer) < 5:  # up to the first octet of the address
            return 5
        kind, first = self._answer[3:5]
        return 6 + {1: 4, 3: 1 + first, 4: 16}[kind]

    def _check(self) -> None:
        """Refuse what no longer can become an answer that we want."""
        answer, state = self._answer, self._state
        version = 1 if state is Socks.ADMISSION else 5
        if answer and answer[0] != version:
            raise _refused(errno.EPROTO, f"it does not speak SOCKS5: {bytes(answer[:40])!r}", None)
        if state is not Socks.REPLY or len(answer) < 2:
            return
        if answer[1]:
            words, number = _SOCKS_REPLIES.get(answer[1], ("an unknown reply", errno.EPROTO))
            raise _refused(number, f"{words} (reply {answer[1]})", answer[1])
        if len(answer) > 3 and answer[3] not in (1, 3, 4):
            raise _refused(errno.EPROTO, f"it does not speak SOCKS5: address type {answer[3]}", None)

    def _take(self, answer: bytes) -> bytes:
        """Move on, after a whole *answer*."""
        if self._state is Socks.METHOD:
            if answer[1] == 0:
                self._state = move(SOCKS, self._state, SocksEvent.ASK_NOTHING)
                return self._request
            if answer[1] == 2 and self._secret:
                self._state = move(SOCKS, self._state, SocksEvent.ASK_PASSWORD)
                return self._secret
            asks = "does not let us in without authentication" if not self._secret else "takes no username and password"
            raise _refused(errno.EACCES, f"it {asks} (method {answer[1]})", answer[1])
        if self._state is Socks.ADMISSION:
            if answer[1]:
                raise _refused(errno.EACCES, "it does not take this username and password", answer[1])
            self._state = move(SOCKS, self._state, SocksEvent.ADMIT)
            return self._request
        self._state = move(SOCKS, self._state, SocksEvent.CONNECT)
        return b""


#: RFC 1928, 6.
_SOCKS_REPLIES = {
    1: ("general failure", errno.EIO),
    2: ("not allowed by its rules", errno.EACCES),
    3: ("network unreachable", errno.ENETUNREACH),
    4: ("host unreachable", errno.EHOSTUNREACH),
    5: ("refused", errno.ECONNREFUSED),
    6: ("the TTL expired on the way", errno.ETIMEDOUT),
    7: ("it cannot connect", errno.EOPNOTSUPP),
    8: ("it has no such address type", errno.EAFNOSUPPORT),
}


def _refused(number: int, text: str, reply: int | None) -> ProxyError:
    """Return the error for a proxy that does not do what it is asked for."""
    error = ProxyError(number, text)
    error.reply = reply
    return error
