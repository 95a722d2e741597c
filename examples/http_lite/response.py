"""Answers: what a handler may give, and the heads and pages that go out. Pure: bytes out, the time comes in as an argument.

A head is one `bytes`, so that a head and a small body leave in one write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

import attrs

from examples.http_lite.request import Request

#: Interim answer to a client that waits before it sends a body (RFC 9110, 15.2.1).
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HTML, TEXT, JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"
#: Methods that are known, and may be allowed for something (RFC 9110, 9 and RFC 5789); others are not implemented (501).
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
#: RFC 9110, 6.4.1: these have no body, whatever else is said.
BODILESS = frozenset((204, 304))
#: RFC 9110, 5.1 and 5.5; what else is sent as a field could be read as another answer.
_NAME, _VALUE = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII), re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

#: Light or dark, as the reader likes it; shared by listings and error pages.
STYLE = """\
:root { color-scheme: light dark; --dim: #667; --line: #8883; --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --dim: #99a; --link: #8ab4f8; } }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 0 auto; padding: 1.5rem 1rem; }
h1 { font-size: 1.25rem; overflow-wrap: anywhere; }
p { color: var(--dim); }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
"""
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


class Closable(Protocol):
    """Something that is to be closed when an answer is over."""

    def close(self) -> None:
        """Close it."""


@attrs.frozen
class Pieces:
    """A body in pieces: bytes, and `(offset, count)` of an open file, which is closed when it is over, however it ends."""

    file: Closable
    fd: int
    pieces: list[bytes | tuple[int, int]]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(len(piece) if isinstance(piece, bytes) else piece[1] for piece in self.pieces)

    def close(self) -> None:
        """Close the file."""
        self.file.close()


@attrs.define(eq=False)
class Flow:
    """A body that comes as it comes: events, or the work of a thread. Write to it once it has started.

    Each callback is called in the loop: *on_start* when the head is on its way; *on_room* when `write` has returned False,
    and there is room again; *on_over* once, when nothing more will be taken, whoever ended it.

    Args:
        on_start: called with the flow.
        endless: whether the server, when it is to end, may end the flow, too, since it would not end by itself.
    """

    on_start: Callable[[Flow], object]
    on_room: Callable[[], object] = lambda: None
    on_over: Callable[[], object] = lambda: None
    endless: bool = attrs.field(default=False, kw_only=True)
    _out: Callable[[bytes | None], bool] | None = attrs.field(init=False, default=None)
    _abort: Callable[[], None] = attrs.field(init=False, default=lambda: None)
    _is_over: bool = attrs.field(init=False, default=False)

    def start(self, out: Callable[[bytes | None], bool], abort: Callable[[], None]) -> None:
        """Begin; called by the connection. *out* takes bytes, and None for the end."""
        self._out, self._abort = out, abort
        self.on_start(self)

    def write(self, data: bytes) -> bool:
        """Send *data*; False: send no more until `on_room`, or ever if it is over."""
        return self._out is not None and (not data or self._out(data))

    def end(self) -> None:
        """That was all. Ending twice is allowed."""
        if self._out is not None:
            self._out(None)

    def cut(self) -> None:
        """It cannot be finished: break the connection, so that the client does not take what it has for all."""
        if self._out is not None:
            self._abort()

    def close(self) -> None:
        """Nothing more is taken; called by the connection."""
        if not self._is_over:
            self._is_over, self._out = True, None
            self.on_over()


Body: TypeAlias = "bytes | Pieces | Flow | Iterable[bytes]"


@attrs.define(eq=False)
class Answer:
    """What is to be sent. *fields* come behind those that every answer has; an iterable body is sent as it is taken.

    Raises:
        ValueError: a field that could be read as something else.
    """

    status: int = 200
    body: Body = b""
    content_type: str = TEXT
    fields: tuple[tuple[str, str], ...] = ()
    #: Of an iterable body or a flow, if it is known.
    length: int | None = None

    def __attrs_post_init__(self) -> None:
        for name, value in self.fields:
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError(f"{name!r}: {value!r} is no header field")

    def close(self) -> None:
        """Let go what the body holds: a file, an iterator, those who feed a flow. Closing twice is allowed."""
        if not isinstance(self.body, bytes):
            getattr(self.body, "close", lambda: None)()


@attrs.define(eq=False)
class Later:
    """The promise of an answer. Return it from a handler, and call `give` once, in the loop."""

    _taker: Callable[[Any], None] | None = attrs.field(init=False, default=None)
    _given: list[Any] = attrs.field(init=False, factory=list)

    def give(self, answer: Any) -> None:
        """Answer with what a handler might have returned; if the client has gone, nothing happens."""
        self._given.append(answer)
        if self._taker is not None:
            self._deliver()

    def take(self, taker: Callable[[Any], None]) -> None:
        """Have *taker* called with the answer, now or when it is there; called by the connection."""
        self._taker = taker
        if self._given:
            self._deliver()

    def _deliver(self) -> None:
        taker, self._taker = self._taker, lambda _: None
        assert taker is not None
        taker(self._given[0])


@attrs.define(eq=False)
class Dates:
    """The Date field's value (RFC 9110, 6.6.1), written anew no more than once a second."""

    _second: int = attrs.field(init=False, default=-1)
    _text: bytes = attrs.field(init=False, default=b"")

    def at(self, now: float) -> bytes:
        """Return the value for *now*, in seconds since the epoch."""
        second = int(now)
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True).encode()
        return self._text


@lru_cache(maxsize=256)
def _start(status: int, content_type: str) -> bytes:
    """Return what begins a head."""
    kind = "" if status in BODILESS or not content_type else f"Content-Type: {content_type}\r\n"
    phrase = _PHRASES.get(status, "")
    return f"HTTP/1.1 {status} {phrase}\r\nServer: reactor\r\nX-Content-Type-Options: nosniff\r\n{kind}Date: ".encode(
        "latin-1"
    )


def head(answer: Answer, request: Request, date: bytes, length: int | None, *, last: bool) -> bytes:
    """Return the head of *answer*.

    Args:
        answer: what is said.
        request: what it answers.
        date: see `Dates`.
        length: of the body, also if it is not sent because the method is HEAD; None: unknown.
        last: whether the connection ends with it.
    """
    if length is None:
        framing = b"\r\nTransfer-Encoding: chunked\r\n" if request.version == "1.1" else b"\r\n"
    else:
        framing = b"\r\n" if answer.status == 204 else b"\r\nContent-Length: %d\r\n" % length
    start = _start(answer.status, answer.content_type)
    # the default is not stated (RFC 9112, 9.3)
    going = b"Connection: close\r\n" if last else b"" if request.version == "1.1" else b"Connection: keep-alive\r\n"
    if not answer.fields:
        return b"".join((start, date, framing, going, b"\r\n"))
    more = "".join(f"{name}: {value}\r\n" for name, value in answer.fields)
    return b"".join((start, date, framing, going, more.encode("latin-1"), b"\r\n"))


def chunk(data: bytes) -> bytes:
    """Return *data* as a chunk (RFC 9112, 7.1); b"" is the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def framed(chunks: Iterable[bytes], length: int | None, *, chunked: bool) -> Iterator[bytes]:
    """Return *chunks* as they are sent: as chunks, or cut at *length*.

    Raises:
        ValueError: they are fewer than *length*.
    """
    try:
        for data in chunks:
            if length is not None:
                yield data[:length]
                length -= min(len(data), length)
            elif data:
                yield chunk(data) if chunked else data
        if chunked:
            yield chunk(b"")
        if length:
            raise ValueError(f"{length} bytes are missing of the length that was announced")
    finally:
        getattr(chunks, "close", lambda: None)()


def as_answer(given: Any) -> Answer:
    """Return the answer that a handler means by *given*: text, bytes, None for 204, an iterator of bytes, else JSON."""
    if isinstance(given, Answer):
        return given
    if isinstance(given, str):
        return Answer(200, given.encode())
    if isinstance(given, bytes):
        return Answer(200, given, "application/octet-stream")
    if given is None:
        return Answer(204)
    if isinstance(given, (Iterator, Flow)):
        return Answer(200, given, "application/octet-stream")
    return Answer(200, json.dumps(given).encode(), JSON)


def page(status: int, title: str, body: str, style: str = "") -> Answer:
    """Return an HTML document. Title and body are HTML: what comes from elsewhere must have been escaped."""
    # A name that is no UTF-8 on the disk holds surrogates, which cannot be sent.
    text = _PAGE.format(title=title, style=STYLE + style, body=body).encode("utf-8", "replace")
    return Answer(status, text, HTML, (("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),))


@lru_cache(maxsize=64)
def status_page(status: int) -> Answer:
    """Return an answer that is nothing but its status."""
    title = f"{status} {_PHRASES[status]}"
    return page(status, title, f"<h1>{title}</h1>")


def with_fields(answer: Answer, *fields: tuple[str, str]) -> Answer:
    """Return *answer* with more fields."""
    return attrs.evolve(answer, fields=answer.fields + fields)


def not_allowed(methods: Iterable[str]) -> Answer:
    """Return what says which *methods* are allowed (RFC 9110, 15.5.6)."""
    return with_fields(status_page(405), ("Allow", ", ".join(sorted(methods))))
