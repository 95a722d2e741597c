"""Addresses, parsed and shown."""

from __future__ import annotations

import pathlib
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import AddressError, Inet, Unix
from reactor.addresses import from_kernel, host_name, numeric_family, parse, to_kernel


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ("127.0.0.1:80", Inet("127.0.0.1", 80)),
        ("example.org:443", Inet("example.org", 443)),
        (":7007", Inet("", 7007)),
        ("[::1]:80", Inet("::1", 80)),
        ("[fe80::1%eth0]:80", Inet("fe80::1%eth0", 80)),
        ("unix:/run/x.sock", Unix("/run/x.sock")),
        ("unix:@abstract", Unix("abstract", abstract=True)),
        ("unix:\0abstract", Unix("abstract", abstract=True)),
        (("127.0.0.1", 80), Inet("127.0.0.1", 80)),
        ((None, 80), Inet("", 80)),
        (("::1", 80, 1, 2), Inet("::1", 80, 1, 2)),
        (pathlib.Path("/run/x.sock"), Unix("/run/x.sock")),
        (Inet("::1", 80), Inet("::1", 80)),
        (Unix("/x"), Unix("/x")),
        (Unix("x", abstract=True), Unix("x", abstract=True)),
    ],
)
def test_every_shape_parses(written: Any, parsed: Inet | Unix) -> None:
    """Each of the documented shapes means what it says."""
    assert parse(written) == parsed


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("localhost", "has no port"),
        ("[::1]", "has no port"),
        ("::1:80", "ambiguous; put an IPv6 address in brackets"),
        ("[nonsense]:80", "is none"),
        ("host:http", "a port is a number from 0 to 65535, not 'http'"),
        ("host:", "a port is a number"),
        ("host:65536", "a port is a number from 0 to 65535, not 65536"),
        ("host:²", "a port is a number"),
        (("host", "80"), "a port is a number"),
        (("host", True), "a port is a number"),
        (("host", -1), "a port is a number"),
        ((80, 80), "a host is a name"),
        (("a b", 80), "a host is a name"),
        (("a\0b", 80), "a host is a name"),
        (("host",), "a tuple address is"),
        (("host", 1, 2, 3, 4), "a tuple address is"),
        (("::1", 80, -1), "a flow label is a number from 0 to 1048575"),
        (("::1", 80, "0"), "a flow label is a number"),
        (("::1", 80, 0, 2**32), "a scope is a number"),
        ("host:" + "9" * 5000, "a port is a number"),
        ("unix:", "needs a path or an @name"),
        ("unix:@", "needs a path or an @name"),
        ("unix:/a\0b", "needs a path"),
        (80, "an address is 'host:port'"),
        (b"host:80", "an address is"),
    ],
)
def test_what_does_not_parse_says_what_would(written: Any, complaint: str) -> None:
    """Bad addresses raise, with what was written and what would be right."""
    with pytest.raises(AddressError, match=complaint):
        parse(written)


@pytest.mark.parametrize(
    "text", ["127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "unix:/run/x.sock", "unix:@abstract", ":80"]
)
def test_text_round_trips(text: str) -> None:
    """What is shown can be given back."""
    assert str(parse(text)) == text


def test_a_scope_is_shown() -> None:
    """A link-local address says on which interface."""
    assert str(Inet("fe80::1", 80, scope=2)) == "[fe80::1%2]:80"


@given(st.text())
def test_any_text_parses_or_raises_an_address_error(text: str) -> None:
    """No text brings out another error."""
    try:
        parse(text)
    except AddressError:
        pass


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("127.0.0.1", socket.AF_INET),
        ("::1", socket.AF_INET6),
        ("fe80::1%eth0", socket.AF_INET6),
        ("example.org", socket.AF_UNSPEC),
        ("1.2.3", socket.AF_UNSPEC),
        ("", socket.AF_UNSPEC),
        ("::1\0", socket.AF_UNSPEC),
    ],
)
def test_numeric_hosts_are_told_from_names(host: str, family: int) -> None:
    """A numeric host has a family; a name has none yet."""
    assert numeric_family(host) == family == Inet(host, 1).family


@pytest.mark.parametrize(
    ("family", "raw", "address"),
    [
        (socket.AF_INET, ("127.0.0.1", 80), Inet("127.0.0.1", 80)),
        (socket.AF_INET6, ("::1", 80, 1, 2), Inet("::1", 80, 1, 2)),
        (socket.AF_INET6, ("fe80::1%eth0", 80, 0, 2), Inet("fe80::1", 80, 0, 2)),
        (socket.AF_INET6, ("::ffff:192.0.2.1", 80, 0, 0), Inet("192.0.2.1", 80)),
        (socket.AF_INET6, ("::ffff:1", 80, 0, 0), Inet("::ffff:1", 80)),
        (socket.AF_UNIX, "/x", Unix("/x")),
        (socket.AF_UNIX, b"\0x", Unix("x", abstract=True)),
        (socket.AF_UNIX, "", Unix("")),
        (socket.AF_UNIX, None, Unix("")),
        (999, ("bogus",), Unix("")),
    ],
)
def test_the_kernels_addresses_are_read(family: int, raw: Any, address: Inet | Unix) -> None:
    """What accept and getsockname give becomes an address, a mapped IPv4 peer an IPv4 one; nonsense does not raise."""
    assert from_kernel(family, raw) == address


@pytest.mark.parametrize(
    ("address", "raw"),
    [
        (Inet("127.0.0.1", 80), ("127.0.0.1", 80)),
        (Inet("::1", 80, 1, 2), ("::1", 80, 1, 2)),
        (Unix("/x"), "/x"),
        (Unix("x", abstract=True), b"\0x"),
    ],
)
def test_addresses_are_written_for_the_kernel(address: Inet | Unix, raw: Any) -> None:
    """bind and connect take what comes out."""
    assert to_kernel(address) == raw


def test_a_platform_without_unix_sockets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no AF_UNIX, a Unix address has no family."""
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(AddressError, match="no Unix sockets"):
        _ = Unix("/x").family


@pytest.mark.parametrize(
    ("name", "ascii_name"),
    [
        ("example.org", "example.org"),
        ("EXAMPLE.org.", "EXAMPLE.org."),
        ("_srv.example", "_srv.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("x" * 63, "x" * 63),
    ],
)
def test_names_as_resolvers_take_them(name: str, ascii_name: str) -> None:
    """ASCII stays as it is; the rest goes by IDNA."""
    assert host_name(name) == ascii_name


@pytest.mark.parametrize("name", ["", ".", "a..b", ".a", "x" * 64, "ü" * 64, "x." * 128, "\u2028x"])
def test_what_is_no_name(name: str) -> None:
    """An empty part, a long one, a long name, a character that no name has."""
    with pytest.raises(AddressError, match="is no host name"):
        host_name(name)
