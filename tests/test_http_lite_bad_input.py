"""HTTP-lite: requests that servers are known to read differently, and such as nobody has thought of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("httptools")

from examples.http_lite.request import Requests
from tests.fuzz_http import agree, compare, connect, fuzz, reading
from tests.http_grammar import Reading, read

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A request with *fields*, and what follows its head."""
    return b"\r\n".join((b"POST / HTTP/" + version, b"Host: x", *fields, b"", b"")) + body


#: By what is wrong: the bytes, and the paths that may be acted on; the rest is refused, with the status at the end.
CORPUS: dict[str, tuple[bytes, tuple[str, ...], int]] = {
    "both lengths, CL.TE": (post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG"), (), 400),
    "both lengths, TE.CL": (post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"5c\r\n" + SMUGGLED), (), 400),
    "two codings, TE.TE": (
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: x", body=b"0\r\n\r\n" + SMUGGLED),
        (),
        400,
    ),
    "a coding after chunked": (post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + SMUGGLED), (), 400),
    "chunked twice": (post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), (), 400),
    "a coding that only looks so": (post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), (), 400),
    "a coding behind a vertical tab": (post(b"Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n"), (), 400),
    "a coding before a NUL": (post(b"Transfer-Encoding: chunked\x00", body=b"0\r\n\r\n"), (), 400),
    "a quoted coding": (post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), (), 400),
    "a coding in HTTP/1.0": (post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", version=b"1.0"), (), 400),
    "a coding that is folded": (post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"), (), 400),
    "a space before the colon": (post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), (), 400),
    "a length before the colon's space": (post(b"Content-Length : 5", body=b"abcde"), (), 400),
    "two lengths": (post(b"Content-Length: 5", b"Content-Length: 0", body=b"abcde"), (), 400),
    "the same length twice": (post(b"Content-Length: 5", b"Content-Length: 5", body=b"abcde"), (), 400),
    "a list of lengths": (post(b"Content-Length: 5, 5", body=b"abcde"), (), 400),
    "a signed length": (post(b"Content-Length: +5", body=b"abcde"), (), 400),
    "a negative length": (post(b"Content-Length: -5", body=b"abcde"), (), 400),
    "a length in hex": (post(b"Content-Length: 0x5", body=b"abcde"), (), 400),
    "a length with an underscore": (post(b"Content-Length: 1_0", body=b"abcde"), (), 400),
    "a length with a space in it": (post(b"Content-Length: 1 0", body=b"abcde"), (), 400),
    "an empty length": (post(b"Content-Length: ", body=SMUGGLED), (), 400),
    "a length of 2**64 + 5": (post(b"Content-Length: 18446744073709551621", body=b"abcde"), (), 400),
    "a folded field": (post(b"A: b", b" Content-Length: 5"), (), 400),
    "a field that begins with a space": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", (), 400),
    "a bare LF after the request line": (b"GET / HTTP/1.1\nHost: x\r\n\r\n", (), 400),
    "a bare LF after a field": (b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", (), 400),
    "a bare CR in a field": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rContent-Length: 5\r\n\r\n", (), 400),
    "a head that ends by bare LFs": (b"GET / HTTP/1.1\r\nHost: x\n\n" + SMUGGLED, (), 400),
    "a NUL in a field": (post(b"A: \x00b"), (), 400),
    "a NUL in a name": (post(b"A\x00: b"), (), 400),
    "no name": (post(b": b"), (), 400),
    "no colon": (post(b"Content-Length"), (), 400),
    "a name that is not ASCII": (post(b"\xc4: b"), (), 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", (), 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", (), 400),
    "a host with a path": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", (), 400),
    "a host with a user": (b"GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", (), 400),
    "a list of hosts": (b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n", (), 400),
    "a fragment": (b"GET /#f HTTP/1.1\r\nHost: x\r\n\r\n", (), 400),
    "no slash": (b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", (), 400),
    "a tab in the request line": (b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", (), 400),
    "a space in the target": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", (), 400),
    "a target that is not ASCII": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", (), 400),
    "an asterisk for GET": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", (), 400),
    "a user in the target": (b"GET http://u@x/ HTTP/1.1\r\nHost: x\r\n\r\n", (), 400),
    "another scheme": (b"GET gopher://x/ HTTP/1.1\r\nHost: x\r\n\r\n", (), 400),
    "CONNECT without a port": (b"CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n", (), 400),
    "a method in small letters": (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", (), 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", (), 505),
    "HTTP/2 over clear text": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (), 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", (), 505),
    "a version without a dot": (b"GET / HTTP/11\r\nHost: x\r\n\r\n", (), 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (), 400),
    "an upgrade with a body": (post(b"Upgrade: h2c", b"Connection: Upgrade", b"Content-Length: 5", body=b"abcde"), (), 501),
    "an expectation": (post(b"Expect: 200-ok", b"Content-Length: 5"), (), 417),
    "a chunk's size in 0x": (post(b"Transfer-Encoding: chunked", body=b"0x5\r\nabcde\r\n0\r\n\r\n"), (), 400),
    "a chunk's size before a space": (post(b"Transfer-Encoding: chunked", body=b"5 \r\nabcde\r\n0\r\n\r\n"), (), 400),
    "a chunk without a size": (post(b"Transfer-Encoding: chunked", body=b"\r\nabcde\r\n0\r\n\r\n"), (), 400),
    "a chunk's size of 2**64 + 5": (
        post(b"Transfer-Encoding: chunked", body=b"10000000000000005\r\nabcde\r\n0\r\n\r\n"),
        (),
        400,
    ),
    "a chunk that is longer": (post(b"Transfer-Encoding: chunked", body=b"3\r\nabcde\r\n0\r\n\r\n"), (), 400),
    "a chunk's size that ends by LF": (post(b"Transfer-Encoding: chunked", body=b"5\nabcde\r\n0\r\n\r\n"), (), 400),
    "a chunk that ends by LF": (post(b"Transfer-Encoding: chunked", body=b"5\r\nabcde\n0\r\n\r\n"), (), 400),
    "a chunk's extension with a bare LF": (
        post(b"Transfer-Encoding: chunked", body=b"2;\nxx\r\n4c\r\n" + SMUGGLED),
        (),
        400,
    ),
    "a chunk's extension with a bare CR": (
        post(b"Transfer-Encoding: chunked", body=b"2;\rxx\r\n4c\r\n" + SMUGGLED),
        (),
        400,
    ),
    "a last chunk that ends by LFs": (post(b"Transfer-Encoding: chunked", body=b"0\n\n" + SMUGGLED), (), 400),
    "a trailer that sets a length": (
        post(b"Transfer-Encoding: chunked", body=b"0\r\nContent-Length: 5\r\n\r\n" + SMUGGLED),
        (),
        400,
    ),
    "a trailer that is folded": (post(b"Transfer-Encoding: chunked", body=b"0\r\nA: b\r\n c\r\n\r\n"), (), 400),
    # And what is right, although others get it wrong.
    "a body of GET": (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 34\r\n\r\n" + SMUGGLED, ("/",), 0),
    "a body of nothing": (post(b"Content-Length: 0", body=SMUGGLED), ("/", "/smuggled"), 0),
    "zeros before a length": (post(b"Content-Length: 0005", body=b"abcde" + SMUGGLED), ("/", "/smuggled"), 0),
    "a name with an underscore": (post(b"Transfer_Encoding: chunked", body=SMUGGLED), ("/", "/smuggled"), 0),
    "zeros before a chunk's size": (
        post(b"Transfer-Encoding: CHUNKED", body=b"0005\r\nabcde\r\n000\r\n\r\n" + SMUGGLED),
        ("/", "/smuggled"),
        0,
    ),
    "requests after a close": (post(b"Connection: close", body=SMUGGLED), ("/",), 0),
    "requests after an upgrade": (post(b"Connection: Upgrade", b"Upgrade: h2c", body=SMUGGLED), ("/",), 0),
    "requests after HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n" + SMUGGLED, ("/",), 0),
    "another host in the target": (b"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", ("http://y/",), 0),
    "empty lines before a request": (b"\r\n\r\n" + SMUGGLED, ("/smuggled",), 0),
}


@pytest.mark.parametrize("name", CORPUS)
def test_what_others_read_differently_is_read_strictly(name: str) -> None:
    """A server reads known ambiguities as RFC 9112 has them in its strict form, whole and in single bytes."""
    data, targets, status = CORPUS[name]
    wanted = read(data)
    assert tuple(target for _, target, _ in wanted.requests) == targets
    for step in (len(data), 1):
        requests = Requests()
        for at in range(0, len(data), step):
            requests.feed(data[at : at + step])
        assert reading(list(requests.waiting)).requests == wanted.requests
        assert [each.refusal for each in requests.waiting if each.refusal] == [status] * bool(status)


@settings(max_examples=500, deadline=None)
@given(st.integers(min_value=0, max_value=2**40))
def test_sentences_near_the_grammar_are_read_strictly(seed: int) -> None:
    """What is nearly a request is read as the RFC's grammar reads it, wherever it is cut."""
    assert compare(seed) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0, max_value=2**40))
def test_connections_survive_sentences_near_the_grammar(seed: int) -> None:
    """Handlers meet what they may, all else is refused, in order, and nothing is raised or left behind."""
    assert connect(seed) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_read_strictly(data: bytes) -> None:
    """Bytes without any sense are refused, or wait for more."""
    requests = Requests()
    requests.feed(data + b"\r\n\r\n\r\n")
    assert agree(reading(list(requests.waiting)), read(data + b"\r\n\r\n\r\n"))


def test_the_same_seeds_are_the_same_fuzz() -> None:
    """A short run of what `python -m tests.fuzz_http` does at length."""
    assert fuzz(2000, every=100) is None


def test_what_is_found_is_told() -> None:
    """A reading that is laxer than it may be is not let pass."""
    lax, strict = Reading((("GET", "/", b""),), refused=False), Reading((), refused=True)
    assert not agree(lax, strict)
    assert not agree(Reading((), refused=False), strict)
    assert agree(strict, Reading((), refused=False))
