"""SOCKS, version 5: how a proxy of that kind is asked to connect to a target (RFC 1928, RFC 1929). Pure; see `proxies`."""

from __future__ import annotations

import errno
import socket

import attrs

from reactor.addresses import Address, host_name, parse
from reactor.errors import UsageError
from reactor.proxies import refused, target_of
from reactor.states import SOCKS, Socks, SocksEvent, move

#: RFC 1928, 5: a name has one octet for its length; RFC 1929, 2: so have a user's name and password.
SOCKS_TEXT_MAX = 255


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
        target = target_of(target, str(self))
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
            raise refused(errno.EPROTO, f"it does not speak SOCKS5: {bytes(answer[:40])!r}", None)
        if state is not Socks.REPLY or len(answer) < 2:
            return
        if answer[1]:
            words, number = _SOCKS_REPLIES.get(answer[1], ("an unknown reply", errno.EPROTO))
            raise refused(number, f"{words} (reply {answer[1]})", answer[1])
        if len(answer) > 3 and answer[3] not in (1, 3, 4):
            raise refused(errno.EPROTO, f"it does not speak SOCKS5: address type {answer[3]}", None)

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
            raise refused(errno.EACCES, f"it {asks} (method {answer[1]})", answer[1])
        if self._state is Socks.ADMISSION:
            if answer[1]:
                raise refused(errno.EACCES, "it does not take this username and password", answer[1])
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
