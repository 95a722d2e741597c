"""RFC 9112 read strictly, and bytes that come near it: what HTTP-lite's reading of requests is compared with.

The reader here is slow, short, and made of the RFC's own grammar, with none of the code that it judges.
"""

from __future__ import annotations

import random
import re

import attrs

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
#: 3: a server may split at more than one space, since there is no other way to read it.
_LINE = re.compile(rb"(" + _TOKEN + rb") +([!-~]+) +HTTP/(\d)\.(\d)\r\n")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*\r\n")
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
#: 7.1.1: extensions are ignored, and so are those with no name, or with a value of two parts.
_EXTENSION = rb";(?:" + _TOKEN + rb"|(?==))(?:=(?:" + _TOKEN + rb")?(?:" + _QUOTED + rb")?)?"
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)((?:" + _EXTENSION + rb")*)\r\n")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)(?:[/?][^#]*)?", re.IGNORECASE)
_AUTHORITY = re.compile(_HOST.pattern.removesuffix(rb"(?::[0-9]*)?") + rb":[0-9]+")
#: RFC 9110, 16.1: those that are registered; others are not implemented.
_KNOWN = frozenset(
    (
        b"ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY"
        b" OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK"
        b" UNLOCK UNSUBSCRIBE"
    ).split()
)
_ONCE = (b"host", b"content-length", b"transfer-encoding", b"content-type", b"expect", b"authorization")


@attrs.frozen
class Reading:
    """What a server must make of some bytes: the requests that it may act on, and whether what follows is to be refused."""

    requests: tuple[tuple[str, str, bytes], ...]
    refused: bool


class _More(Exception):
    """There is no end yet."""


class _Bad(Exception):
    """That is no request."""


def read(data: bytes, body_max: int = 1 << 20) -> Reading:
    """Read *data* as the RFC has it, and as a server that prefers to refuse where the RFC leaves it a choice."""
    found: list[tuple[str, str, bytes]] = []
    try:
        while True:
            while data[:1] in (b"\r", b"\n") and data:  # 2.2: empty lines before a request
                data = data[1:]
            if not data:
                return Reading(tuple(found), refused=False)
            request, data, goes_on = _request(data, body_max)
            found.append(request)
            if not goes_on:
                return Reading(tuple(found), refused=False)
    except _More:
        return Reading(tuple(found), refused=False)
    except _Bad:
        return Reading(tuple(found), refused=True)


def _take(pattern: re.Pattern[bytes], data: bytes) -> tuple[re.Match[bytes], bytes]:
    """Match a line, which is bad as soon as its end is there."""
    match = pattern.match(data)
    if match is None:
        raise _Bad if b"\n" in data else _More
    return match, data[match.end() :]


def _fields(data: bytes) -> tuple[dict[bytes, list[bytes]], bytes]:
    fields: dict[bytes, list[bytes]] = {}
    while not data.startswith(b"\r\n"):
        if data in (b"", b"\r"):
            raise _More
        match, data = _take(_FIELD, data)
        if match[1].lower() == b"transfer-encoding" and b"\t" in match[0][match.end(2) :]:
            raise _Bad  # 5.1 allows it, and no honest client sends it
        fields.setdefault(match[1].lower(), []).append(match[2])
    return fields, data[2:]


def _request(data: bytes, body_max: int) -> tuple[tuple[str, str, bytes], bytes, bool]:  # noqa: PLR0912  # a list of rules
    line, data = _take(_LINE, data)
    method, target, version = line[1], line[2], (line[3], line[4])
    fields, data = _fields(data)
    if version not in ((b"1", b"1"), (b"1", b"0")) or method not in _KNOWN:
        raise _Bad
    is_old = version == (b"1", b"0")
    if any(len(fields.get(name, ())) > 1 for name in _ONCE):
        raise _Bad
    host = fields.get(b"host", [None])[0]
    if (host is None and not is_old) or not _HOST.fullmatch(host or b""):  # 3.2
        raise _Bad
    absolute = _ABSOLUTE.fullmatch(target)
    if method == b"CONNECT":
        is_target = bool(_AUTHORITY.fullmatch(target))
    elif absolute:
        is_target = bool(_HOST.fullmatch(absolute[1]))
    else:
        is_target = (target.startswith(b"/") and b"#" not in target) or (target == b"*" and method == b"OPTIONS")
    if not is_target:
        raise _Bad
    length, coding = fields.get(b"content-length", [None])[0], fields.get(b"transfer-encoding", [None])[0]
    if coding is not None and (is_old or length is not None or coding.lower() != b"chunked"):  # 6.1, 6.3
        raise _Bad
    if length is not None and (not re.fullmatch(rb"[0-9]+", length) or int(length) > body_max):
        raise _Bad
    expect = fields.get(b"expect", [None])[0]
    if expect is not None and not is_old and expect.lower() != b"100-continue":
        raise _Bad
    body = b""
    if method == b"CONNECT":
        return (method.decode(), target.decode(), b""), b"", False  # RFC 9110, 9.3.6: there is no content
    options = {each.strip().lower() for value in fields.get(b"connection", []) for each in value.split(b",")}
    upgrades = b"upgrade" in options and b"upgrade" in fields
    if upgrades and (coding is not None or int(length or 0)):  # RFC 9110, 7.8: what follows might be of either protocol
        raise _Bad
    if coding is not None:
        body, data = _chunks(data)
    elif length is not None:
        if len(data) < int(length):
            raise _More
        body, data = data[: int(length)], data[int(length) :]
    goes_on = b"close" not in options and (not is_old or b"keep-alive" in options)
    goes_on = goes_on and not upgrades
    return (method.decode(), target.decode(), body), data, goes_on


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        match, data = _take(_CHUNK, data)
        size = int(match[1], 16)
        if not size:
            trailers, data = _fields(data)
            if b"transfer-encoding" in trailers or b"content-length" in trailers:  # RFC 9110, 6.5.1
                raise _Bad
            return body, data
        if len(data) < size + 2:
            raise _Bad if len(data) > size and data[size : size + 1] != b"\r" else _More
        if data[size : size + 2] != b"\r\n":
            raise _Bad
        body, data = body + data[:size], data[size + 2 :]


# Inputs

_METHODS = (b"GET", b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE", b"CONNECT", b"get", b"BREW")
_TARGETS = (
    b"/",
    b"/a?b=c",
    b"/%2e%2e/x",
    b"*",
    b"http://x/y",
    b"http://u@x/",
    b"x:80",
    b"/#f",
    b"//x",
    b"",
    b"/\xff",
    b"ftp://x/",
)
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/11", b"")
_HEADERS = (
    *(
        b"Host: x",
        b"Host: x",
        b"Host:",
        b"Host: x:80",
        b"Host: a b",
        b"Host : x",
        b"Connection: close",
        b"Connection: keep-alive",
    ),
    *(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 3", b"Content-Length: 03", b"Content-Length: +3", b"A: b"),
    *(
        b"Content-Length: 3, 3",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: Chunked",
        b"A:\tb\x80",
    ),
    *(b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding : chunked", b" A: folded"),
    *(
        b"Transfer-Encoding:\x0bchunked",
        b"Expect: 100-continue",
        b"Expect: x",
        b"A: \x00",
        b"A: b\rc",
        b": b",
        b"A b",
        b"\xe9: b",
    ),
    *(b"Transfer_Encoding: chunked", b"Cookie: a", b"Cookie: b", b"X-" + b"y" * 60 + b": z"),
)
_GOOD = (b"A: b", b"Connection: keep-alive", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Expect: 100-continue")
_BODIES = (
    *(
        b"",
        b"",
        b"abc",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"3;x=y\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\nT: v\r\n\r\n",
    ),
    *(
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
    ),
    *(
        b"ffffffffffffffff1\r\na\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b'3;x="a;b\\""\r\nabc\r\n0\r\n\r\n',
        b"3;\r\nabc\r\n0\r\n\r\n",
    ),
)
_ENDINGS = (*[b"\r\n"] * 12, b"\n", b"\r", b"\r\r\n", b" \r\n", b"\x00\r\n")


def sentence(dice: random.Random) -> bytes:
    """Return some requests, each of which may be right, nearly right, or wrong."""
    parts: list[bytes] = []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        tidy = dice.random() < 0.75
        pick = (lambda options: options[0]) if tidy else dice.choice
        parts += [
            pick(_METHODS),
            b" ",
            pick(_TARGETS),
            b" ",
            pick(_VERSIONS),
            dice.choice(_ENDINGS[:13] if tidy else _ENDINGS),
        ]
        headers = [b"Host: x"] if tidy or dice.random() < 0.8 else []
        headers += [dice.choice(_HEADERS if dice.random() < 0.5 else _GOOD) for _ in range(dice.choice((0, 0, 1, 1, 2, 4)))]
        for header in headers:
            parts += [header, dice.choice(_ENDINGS) if dice.random() < 0.05 else b"\r\n"]
        parts += [b"\r\n", dice.choice(_BODIES)]
    data = b"".join(parts)
    for _ in range(dice.choice((0, 0, 0, 1, 1, 3))):
        data = mutated(data, dice)
    return data


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Return *data* with a little damage."""
    at, other = dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)
    low, high = min(at, other), max(at, other)
    return dice.choice(
        (
            lambda: data[:at] + bytes([dice.randrange(256)]) + data[at:],
            lambda: data[:at] + dice.choice((b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b",", b"\x00", b"0")) + data[at:],
            lambda: data[:at] + data[at + 1 :],
            lambda: data[:low] + data[high:],
            lambda: data[:high] + data[low:],
            lambda: data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :],
        )
    )()


def cuts(data: bytes, dice: random.Random) -> list[bytes]:
    """Return *data* in pieces."""
    places = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice((0, 0, 1, 2, 5))))
    return [data[low:high] for low, high in zip([0, *places], [*places, len(data)], strict=True) if low < high]
