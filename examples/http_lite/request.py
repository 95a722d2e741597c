"""Requests: bytes in, requests out. No sockets, no clock.

`httptools` splits the bytes, strictly, but limits nothing and knows little of what a request means; this module does. A
request that breaks a rule is a `Request` like any other, in its place behind those that came before it, with `refusal` set.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from tempfile import SpooledTemporaryFile
from typing import Any

import attrs
import httptools

from examples.http_lite.options import OPTIONS, Options

#: RFC 9110, 7.2 and RFC 3986, 3.2.2: a name or an IPv4 address, or an IPv6 address in brackets; and maybe a port.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|([\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(:\d*)?", re.ASCII)
_AUTHORITY = re.compile(_HOST.pattern.removesuffix(r"(:\d*)?") + r":\d+", re.ASCII)  # RFC 9112, 3.2.3
_ABSOLUTE = re.compile(r"https?://([^/?]+)", re.IGNORECASE)  # RFC 9112, 3.2.2, with its authority
#: Fields that may come once only: where they come twice, two readers may read two things.
_ONCE = frozenset(("host", "content-length", "transfer-encoding", "content-type", "expect", "authorization"))
#: A head of no more than this is remembered, with so many others: clients say the same again and again.
HEAD_BYTES_KNOWN, HEADS_KNOWN = 2048, 512


class Part(Enum):
    """How much there is of the next request: nothing; empty lines, which may come before it (RFC 9112, 2.2); and so on."""

    NOTHING, BLANK, HEAD, BODY = auto(), auto(), auto(), auto()


class Spool(SpooledTemporaryFile[bytes]):
    """A file that is in memory until it is too long for that, and closed when nobody has it any more."""

    def __del__(self) -> None:
        self.close()


@attrs.define(eq=False)
class Request:
    """One request, complete. Nobody may change it: the same one may come again."""

    method: str = "-"
    target: str = "-"  # as it came, in any of its four forms (RFC 9112, 3.2)
    version: str = "1.1"  # or "1.0"
    #: Header fields by their names in lower case; those that came more than once are joined. No trailers.
    fields: dict[str, str] = attrs.field(factory=dict)
    #: Its body, if there is one, from the beginning; and how long that is.
    file: Spool | None = attrs.field(default=None, repr=False)
    size: int = 0
    #: Whether another request may follow on the connection: never after a refusal; and whether a length is all it needs.
    keep_alive: bool = False
    is_plain: bool = False
    #: The status to refuse it with; 0: it is to be answered.
    refusal: int = 0
    #: The target's path and query, still escaped ("*" and "" for `OPTIONS *`); and its authority, else the Host field.
    path: str = ""
    query: str = ""
    host: str = ""
    #: What answers it, once that is known.
    action: Callable[[Request], Any] | None = attrs.field(default=None, repr=False)

    @property
    def line(self) -> str:
        return f"{self.method} {self.target} HTTP/{self.version}"

    @property
    def body(self) -> bytes:
        return b"" if self.file is None or self.file.seek(0) else self.file.read()

    def json(self) -> Any:
        """Return what the body says in JSON; ValueError: it is none."""
        return json.loads(self.body)


class _Refused(Exception):
    """Raised in a callback of the parser, with a status, to stop it."""


@attrs.define(eq=False)
class Requests:
    """The requests of one connection: `feed` it what comes, and take them out of `waiting`.

    Heads that may come again are put into *known*, which is to be shared by all that have the same *options*.
    """

    options: Options = OPTIONS
    known: dict[bytes, Request] = attrs.field(factory=dict)
    waiting: deque[Request] = attrs.field(init=False, factory=deque)  # complete, the oldest first
    part: Part = attrs.field(init=False, default=Part.NOTHING)  # of the next one
    body_size: int = attrs.field(init=False, default=0)  # bytes of its body that have come
    #: The client sends the body only when it has seen a 100 (RFC 9110, 10.1.1). Set it to False when that is sent.
    expects_continue: bool = attrs.field(init=False, default=False)
    #: None when the last request is there: whatever follows is dropped, and no cycle keeps a body alive.
    _parser: httptools.HttpRequestParser | None = attrs.field(init=False, repr=False)
    _part_bytes: int = attrs.field(init=False, default=0)  # that came and completed nothing
    _header_bytes: int = attrs.field(init=False, default=0)
    _headers: int = attrs.field(init=False, default=0)
    _target: bytes = attrs.field(init=False, default=b"")
    _next: Request = attrs.field(init=False, factory=Request)

    def __attrs_post_init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Take *data*, which may be cut anywhere; after the last request of a connection it is dropped."""
        parser, began, count = self._parser, self.part, len(self.waiting)
        if parser is None:
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the request is in `waiting`, as the last one: `on_headers_complete` has seen to that
        except httptools.HttpParserError as error:
            self.refuse(_status_for(error))
        if len(self.waiting) == count:
            self._count(len(data))
            return
        self._part_bytes, request = 0, self.waiting[-1]
        is_whole = began is self.part is Part.NOTHING and len(self.waiting) == count + 1 and request.file is None
        if is_whole and request.keep_alive and len(data) <= HEAD_BYTES_KNOWN:
            if len(self.known) >= HEADS_KNOWN:
                self.known.clear()
            self.known[data] = request

    def end(self) -> None:
        """No more will come: what there is of the next request is dropped."""
        self.part, self._parser = Part.NOTHING, None

    def refuse(self, status: int) -> None:
        """Refuse what there is of the next request, and hear nothing any more."""
        if self._parser is not None:  # else it is "Data after `Connection: close`", which is none of our business
            method = self._parser.get_method().decode() if self._target else "-"
            self.waiting.append(Request(method, self._target.decode("latin-1") or "-", refusal=status))
            self.expects_continue = False
            self.end()

    def _count(self, size: int) -> None:
        """Count bytes that completed nothing: a field, a chunk's extension or a trailer without end ends here."""
        self._part_bytes += size
        head_bytes = self.options.target_bytes + self.options.header_bytes
        if self.part is Part.NOTHING:
            self.part = Part.BLANK
        elif self.part is Part.HEAD and self._part_bytes > head_bytes:
            self.refuse(431 if self._headers or len(self._target) <= self.options.target_bytes else 414)
        elif self.part is Part.BODY and self._part_bytes > head_bytes + 2 * self.options.body_bytes:
            self.refuse(413)

    # What the parser calls

    def on_message_begin(self) -> None:
        self.part, self._next, self._target = Part.HEAD, Request(), b""
        self._header_bytes = self._headers = self.body_size = 0

    def on_url(self, fragment: bytes) -> None:
        self._target += fragment
        if len(self._target) > self.options.target_bytes:
            raise _Refused(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field came, or a trailer field, which only counts."""
        self._headers += 1
        self._header_bytes += len(name) + len(value) + 4
        if self._headers > self.options.headers or self._header_bytes > self.options.header_bytes:
            raise _Refused(431)
        if self.part is Part.HEAD:
            fields, key, text = self._next.fields, name.decode("ascii").lower(), value.decode("latin-1").strip(" \t")
            if key in fields and key in _ONCE:
                raise _Refused(400)
            fields[key] = f"{fields[key]}{'; ' if key == 'cookie' else ', '}{text}" if key in fields else text

    def on_headers_complete(self) -> None:
        """The head is complete: decide whether the request is one that can be answered."""
        parser, request = self._parser, self._next
        assert parser is not None
        request.method, request.target = parser.get_method().decode(), self._target.decode("latin-1")
        request.version = parser.get_http_version()
        if request.version not in ("1.1", "1.0"):
            raise _Refused(505)
        # An upgrade is not taken up (RFC 9110, 7.8), and the parser stops there: the connection ends with the answer.
        request.keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        request.is_plain = request.keep_alive and request.version == "1.1" and request.method != "HEAD"
        _judge_target(request)
        self._judge_body(request)
        self.part = Part.BODY

    def on_body(self, data: bytes) -> None:
        self.body_size += len(data)
        if self.body_size > self.options.body_bytes:
            raise _Refused(413)
        if self._next.file is None:
            self._next.file = Spool(self.options.memory_bytes)
        self._next.file.write(data)

    def on_message_complete(self) -> None:
        request, request.size = self._next, self.body_size
        if request.file is not None:
            request.file.seek(0)
        self.part, self.expects_continue = Part.NOTHING, False
        self.waiting.append(request)
        if not request.keep_alive:
            self.end()

    def _judge_body(self, request: Request) -> None:
        """Refuse a body that is too long or packed in an unknown way; note whether the client waits for a 100."""
        length, coding = request.fields.get("content-length", ""), request.fields.get("transfer-encoding")
        if coding is not None:
            codings = [each.strip().lower() for each in coding.split(",")]
            if request.version == "1.0" or length or codings[-1] != "chunked":  # RFC 9112, 6.1 and 6.3
                raise _Refused(400)
            if codings != ["chunked"]:
                raise _Refused(501)
        assert self._parser is not None
        if self._parser.should_upgrade() and request.method != "CONNECT" and length.strip("0") + (coding or ""):
            raise _Refused(501)  # the parser would leave the body to the other protocol
        if length and int(length) > self.options.body_bytes:  # the parser has checked that these are digits
            raise _Refused(413)
        expect = request.fields.get("expect")
        if expect is not None and request.version == "1.1":  # RFC 9110, 10.1.1: from 1.0 it is to be ignored
            if expect.lower() != "100-continue":
                raise _Refused(417)
            self.expects_continue = coding is not None or (length != "" and int(length) > 0)


def _judge_target(request: Request) -> None:
    """Refuse a target whose form does not belong to the method, and a Host that is missing or is none (RFC 9112, 3.2)."""
    host, target = request.fields.get("host"), request.target
    is_absolute = _ABSOLUTE.match(target) if request.method != "CONNECT" else None
    request.host = is_absolute[1] if is_absolute else host or ""  # 3.2.2: Host is to be ignored then
    # User names are none of a host's (RFC 9110, 4.2.4); no form has a fragment.
    if (
        (host is None and request.version == "1.1")
        or "#" in target
        or not all(map(_HOST.fullmatch, (host or "", request.host)))
    ):
        raise _Refused(400)
    if is_absolute:
        target = "/" + target[is_absolute.end() :].removeprefix("/")
    elif request.method == "CONNECT":
        if not _AUTHORITY.fullmatch(target):
            raise _Refused(400)
    elif not (target.startswith("/") or (target == "*" and request.method == "OPTIONS")):
        raise _Refused(400)
    request.path, _, request.query = target.partition("?")


def _status_for(error: httptools.HttpParserError) -> int:
    """Return the status for what the parser raised: a rule of ours, a version it does not know, or nonsense."""
    cause = error.__context__
    if isinstance(cause, _Refused):
        return int(cause.args[0])
    if cause is not None and not isinstance(cause, httptools.HttpParserError):
        return 500  # such as no room for a temporary file
    return 505 if str(error) in ("Invalid HTTP version", "Pause on PRI/Upgrade") else 400
