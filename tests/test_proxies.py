"""What is said to a proxy and what it answers: bytes in, bytes and the outcome out."""

from __future__ import annotations

import base64
import errno
from collections.abc import Callable
from typing import Any

import pytest

from reactor import AddressError, HttpConnect, Inet, ProxyError, Socks5, Unix, UsageError
from reactor.proxies import HEAD_BYTES_MAX, HttpNegotiation, Negotiation
from reactor.socks5 import SocksNegotiation

NAME = Inet("example.org", 443)
OK = b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n"
GRANTED = b"\5\0\0\1\x7f\0\0\1\x10\x00"


def http(target: Any = NAME, **options: Any) -> HttpNegotiation:
    return HttpConnect("proxy:3128", **options).negotiate(target)


def socks(target: Any = NAME, **options: Any) -> SocksNegotiation:
    return Socks5("proxy:1080", **options).negotiate(target)


def refused(negotiation: Negotiation, *parts: bytes) -> ProxyError:
    *before, last = parts
    for part in before:
        negotiation.feed(part)
    with pytest.raises(ProxyError) as raised:
        negotiation.feed(last)
    assert not negotiation.is_open
    return raised.value


# Both


@pytest.mark.parametrize("make", [HttpConnect, Socks5])
@pytest.mark.parametrize(
    "target", [Unix("/x"), Inet("example.org", 0), Inet("", 80), Inet("fe80::1", 80, scope=3), Inet("fe80::1%eth0", 80)]
)
def test_what_means_something_only_here_is_not_asked_of_a_proxy(make: Any, target: Any) -> None:
    """Paths and scopes are this machine's; a port and a host there have to be."""
    with pytest.raises(AddressError, match="takes a host and a port"):
        make("proxy:1").negotiate(target)


@pytest.mark.parametrize("make", [HttpConnect, Socks5])
def test_secrets_are_not_shown(make: Any) -> None:
    """A password is in no repr, and comes with a username or not at all."""
    assert "hunter2" not in repr(make("proxy:1", username="me", password="hunter2"))
    assert str(make("proxy:1")).endswith("proxy proxy:1")
    with pytest.raises(UsageError, match="username and password"):
        make("proxy:1", username="me")
    with pytest.raises(AddressError):
        make("proxy")


SCRIPTS: dict[str, tuple[Callable[[], Any], list[bytes], list[bytes]]] = {
    "http": (http, [b"HTTP/1.1 100 Continue\r\n\r\n" + OK], [b""]),
    "socks": (lambda: socks(username="u", password="p"), [b"\5\2", b"\1\0", GRANTED], [b"\1\1u\1p", b"\5\1\0\3"]),
    "socks by name": (socks, [b"\5\0", b"\5\0\0\3\4host\x10\x00"], [b"\5\1\0\3"]),
    "socks by IPv6": (socks, [b"\5\0", b"\5\0\0\4" + bytes(18)], [b"\5\1\0\3"]),
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_wherever_the_answers_are_cut(name: str, size: int) -> None:
    """Any split gives the same conversation, and what follows it is left over, to the byte."""
    make, answers, sent = SCRIPTS[name]
    negotiation = make()
    assert negotiation.begin()
    said = b""
    for place, answer in enumerate(answers):
        last = place == len(answers) - 1
        data = answer + (b"banner" if last else b"")
        for start in range(0, len(data), size):
            if negotiation.is_open:
                break
            said += negotiation.feed(data[start : start + size])
        if last:
            left = len(data) - start if size == 1000 else 0
            assert negotiation.is_open
            assert b"banner".startswith(negotiation.leftover)
            assert len(negotiation.leftover) <= max(size, left)
    for part in sent:
        assert part in said


@pytest.mark.parametrize("name", SCRIPTS)
def test_who_reads_no_more_than_is_wanted_takes_nothing_from_the_target(name: str) -> None:
    """`wanted` never reaches beyond the proxy's last byte, and is never 0 before it."""
    make, answers, _ = SCRIPTS[name]
    negotiation = make()
    negotiation.begin()
    for answer in answers:
        data = answer + b"banner"
        while data and not negotiation.is_open and len(data) > len(b"banner"):
            assert negotiation.wanted > 0
            taken, data = data[: negotiation.wanted], data[negotiation.wanted :]
            negotiation.feed(taken)
            assert len(data) >= len(b"banner")
    assert negotiation.is_open
    assert negotiation.leftover == b""
    assert negotiation.wanted == 0


# HTTP


def test_an_http_request() -> None:
    """The target's name goes as it is; an IPv6 address stands in brackets; other alphabets go by IDNA."""
    assert http().begin() == b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"
    assert http(Inet("2001:db8::1", 80)).begin().startswith(b"CONNECT [2001:db8::1]:80 HTTP/1.1\r\n")
    assert http(Inet("bücher.example", 80)).begin().startswith(b"CONNECT xn--bcher-kva.example:80 ")
    with pytest.raises(AddressError):
        http(Inet("a..b", 80))


def test_an_http_request_with_a_password_and_headers() -> None:
    """Basic authentication in UTF-8 (RFC 7617), and what else is to be said."""
    request = http(username="mé", password="p:w", headers={"User-Agent": "x/1"}).begin()
    secret = base64.b64encode("mé:p:w".encode())
    assert b"\r\nProxy-Authorization: Basic " + secret + b"\r\nUser-Agent: x/1\r\n\r\n" in request


@pytest.mark.parametrize("headers", [{"A\r\nB": "x"}, {"A": "x\r\nB: y"}, {"": "x"}, {"A": "\u20ac"}, {"A b": "x"}])
def test_a_header_is_one_header(headers: dict[str, str]) -> None:
    """What would be two, or none, is refused."""
    with pytest.raises(UsageError, match="no header field"):
        HttpConnect("proxy:1", headers=headers)
    with pytest.raises(UsageError, match="no colon"):
        HttpConnect("proxy:1", username="a:b", password="c")


@pytest.mark.parametrize("head", [b"HTTP/1.0 200\n\n", b"HTTP/1.1 299 Fine\r\nContent-Length: 3\r\n\r\n", OK])
def test_any_2xx_opens_and_has_no_body(head: bytes) -> None:
    """Whatever its headers say, what comes after the head is the target's (RFC 9110, 9.3.6)."""
    negotiation = http()
    assert negotiation.feed(head + b"abc") == b""
    assert negotiation.is_open
    assert negotiation.leftover == b"abc"


@pytest.mark.parametrize(
    ("head", "reply", "number", "text"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
            407,
            errno.EACCES,
            "407 Proxy Authentication Required",
        ),
        (b"HTTP/1.1 502 Bad\x1b[2J Gateway\r\n\r\n", 502, errno.EHOSTUNREACH, "502 Bad?[2J Gateway"),
        (b"HTTP/1.1 504\r\n\r\n", 504, errno.ETIMEDOUT, "504"),
        (b"HTTP/1.1 302 Found\r\n\r\n", 302, errno.EPROTO, "302 Found"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", 101, errno.EPROTO, "101 Switching"),
        (b"SSH-2.0-x\r\n", None, errno.EPROTO, "does not speak HTTP/1"),
        (b"HTTP/2 200 OK\r\n\r\n", None, errno.EPROTO, "does not speak HTTP/1"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", None, errno.EPROTO, "does not speak HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * HEAD_BYTES_MAX, None, errno.EPROTO, "more than 16384 bytes"),
    ],
)
def test_an_http_proxy_that_does_not_connect(head: bytes, reply: int | None, number: int, text: str) -> None:
    """Its status and words are in the error; what is no HTTP is said to be none; a head has an end."""
    error = refused(http(), head)
    assert (error.reply, error.errno) == (reply, number)
    assert text in str(error)
