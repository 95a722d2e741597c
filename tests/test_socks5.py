"""A conversation with a SOCKS5 proxy: what is asked, in which order, and every way to say no."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from reactor import Inet, Socks5, UsageError
from reactor.socks5 import SocksNegotiation
from tests.test_proxies import GRANTED, NAME, refused


def socks(target: Any = NAME, **options: Any) -> SocksNegotiation:
    return Socks5("proxy:1080", **options).negotiate(target)


def test_a_socks_request() -> None:
    """Names go as names, addresses as addresses."""
    assert socks().begin() == b"\5\1\0"
    assert socks().feed(b"\5\0") == b"\5\1\0\3\x0bexample.org\x01\xbb"
    assert socks(Inet("192.0.2.1", 80)).feed(b"\5\0") == b"\5\1\0\1\xc0\0\2\1\0\x50"
    assert socks(Inet("2001:db8::1", 80)).feed(b"\5\0")[:4] == b"\5\1\0\4"
    assert socks(Inet("bücher.example", 80)).feed(b"\5\0")[5:26] == b"xn--bcher-kva.example"


def test_a_socks_password_is_sent_when_it_is_asked_for() -> None:
    """With and without a password the proxy may let us in."""
    negotiation = socks(username="me", password="secret")
    assert negotiation.begin() == b"\5\2\0\2"
    assert negotiation.feed(b"\5\2") == b"\1\2me\6secret"
    assert negotiation.feed(b"\1\0")[:4] == b"\5\1\0\3"
    assert socks(username="me", password="secret").feed(b"\5\0")[:4] == b"\5\1\0\3"


def test_a_proxy_that_answers_before_it_is_asked() -> None:
    """Answers that come in one piece are taken one by one."""
    negotiation = socks(username="me", password="secret")
    said = negotiation.feed(b"\5\2\1\0" + GRANTED + b"hello")
    assert said.startswith(b"\1\2me")
    assert negotiation.is_open
    assert negotiation.leftover == b"hello"


@pytest.mark.parametrize("text", ["", "x" * 256, "\u20ac" * 86])
def test_socks_texts_have_a_length_of_one_octet(text: str) -> None:
    """1 to 255 octets, counted in UTF-8."""
    with pytest.raises(UsageError, match="1 to 255 octets"):
        Socks5("proxy:1", username="me", password=text)


@pytest.mark.parametrize(
    ("options", "answers", "reply", "number", "text"),
    [
        ({}, [b"\5\xff"], 255, errno.EACCES, "without authentication"),
        ({}, [b"\5\2"], 2, errno.EACCES, "without authentication"),
        ({"username": "a", "password": "b"}, [b"\5\xff"], 255, errno.EACCES, "no username and password"),
        ({"username": "a", "password": "b"}, [b"\5\2", b"\1\1"], 1, errno.EACCES, "does not take this username"),
        ({"username": "a", "password": "b"}, [b"\5\2", b"\5"], None, errno.EPROTO, "does not speak SOCKS5"),
        ({}, [b"\4"], None, errno.EPROTO, "does not speak SOCKS5"),
        ({}, [b"HTTP/1.1 400"], None, errno.EPROTO, "does not speak SOCKS5"),
        ({}, [b"\5\0", b"\5\1"], 1, errno.EIO, "general failure (reply 1)"),
        ({}, [b"\5\0", b"\5\2"], 2, errno.EACCES, "not allowed"),
        ({}, [b"\5\0", b"\5\5\0\1"], 5, errno.ECONNREFUSED, "refused (reply 5)"),
        ({}, [b"\5\0", b"\5\x99"], 0x99, errno.EPROTO, "unknown reply (reply 153)"),
        ({}, [b"\5\0", b"\5\0\0\2\0"], None, errno.EPROTO, "address type 2"),
    ],
)
def test_a_socks_proxy_that_does_not_connect(
    options: dict[str, str], answers: list[bytes], reply: int | None, number: int, text: str
) -> None:
    """Its reply is in the error, in words; it is not waited for the rest of an answer that says no."""
    error = refused(socks(**options), *answers)
    assert (error.reply, error.errno) == (reply, number)
    assert text in str(error)


def test_what_it_is_called() -> None:
    """It says what kind of proxy it is; a username comes with a password or not at all."""
    assert str(Socks5("proxy:1080")) == "SOCKS5 proxy proxy:1080"
    with pytest.raises(UsageError, match="both or none"):
        Socks5("proxy:1080", password="alone")


@pytest.mark.parametrize("size", [1, 3, 100])
def test_it_does_not_matter_where_the_answers_are_cut(size: int) -> None:
    """By name and password, then an IPv6 address in the reply: the same words in the same order."""
    negotiation, said = socks(username="u", password="p"), b""
    for answer in (b"\5\2", b"\1\0", b"\5\0\0\4" + bytes(18)):
        for start in range(0, len(answer), size):
            assert negotiation.wanted > 0
            said += negotiation.feed(answer[start : start + size])
    assert negotiation.is_open
    assert (negotiation.wanted, negotiation.leftover) == (0, b"")
    assert said == b"\1\1u\1p" + b"\5\1\0\3\x0bexample.org\x01\xbb"
