"""Requests: bytes in, requests out. No sockets, no clock, no files.

`httptools` splits the bytes. It limits nothing and knows little of what a request means, so this module does: the length of
a target, of a head and of a body, which version, how many Host fields, whether the connection may go on. A request that
fails is a `Request` like any other, in its place behind those that came before it, with `refusal` set.
"""

from __future__ import annotations

import re
from collections import deque
from enum import Enum, auto

import attrs
import httptools

#: Longer targets are refused with 414.  # nginx 8 KiB, apache 8190
TARGET_BYTES_MAX = 8 * 1024
#: More header bytes or fields are refused with 431.  # nginx 32 KiB, apache 100 fields
HEADER_BYTES_MAX = 32 * 1024
HEADERS_MAX = 100
#: A head that is still incomplete after this many bytes: `httptools` keeps a field back until it has all of it.
HEAD_BYTES_MAX = TARGET_BYTES_MAX + HEADER_BYTES_MAX
#: Longer bodies are refused with 413; shorter ones are read and dropped.  # nginx 1 MiB
BODY_BYTES_MAX = 1024 * 1024

#: What a Host field may consist of: RFC 9110, 7.2 and RFC 3986, 3.2.2.
_HOST = re.compile(rb"[\w.~!$&'()*+,;=%:\[\]-]*", re.ASCII)


class Part(Enum):
    """How much there is of the next request."""

    NOTHING = auto()
    HEAD = auto()  # its head is not complete
    BODY = auto()  # its head is, its body is not


@attrs.define(eq=False)
class Request:
    """One request, complete, its body dropped."""

    method: str = "-"
    #: As it came: a path, an absolute URL, `*` (RFC 9112, 3.2).
    target: str = "-"
    #: "1.1" or "1.0"
    version: str = "1.1"
    #: Whether another request may follow on the connection; never after a refusal.
    keep_alive: bool = False
    #: The status to refuse it with; 0: it is to be answered.
    refusal: int = 0

    @property
    def line(self) -> str:
        """The request line, for a log."""
        return f"{self.method} {self.target} HTTP/{self.version}"


class _Refused(Exception):
    """Raised in a callback of the parser, to stop it."""

    def __init__(self, status: int) -> None:
        self.status = status


@attrs.define(eq=False)
class Requests:
    """The requests of one connection. `feed` it what comes, and take them out of `waiting`."""

    #: Complete requests, the oldest first.
    waiting: deque[Request] = attrs.field(init=False, factory=deque)
    #: What there is of the next one.
    part: Part = attrs.field(init=False, default=Part.NOTHING)
    #: The client sends the body only when it has seen a 100 (RFC 9110, 10.1.1). Set it to False when that is sent.
    expects_continue: bool = attrs.field(init=False, default=False)

    _parser: httptools.HttpRequestParser = attrs.field(init=False, repr=False)
    _over: bool = attrs.field(init=False, default=False)  # the last request is there: whatever follows is dropped
    _part_bytes: int = attrs.field(init=False, default=0)  # that came and completed nothing
    _target: bytes = attrs.field(init=False, default=b"")
    _header_bytes: int = attrs.field(init=False, default=0)
    _headers: int = attrs.field(init=False, default=0)
    _hosts: int = attrs.field(init=False, default=0)
    _length: int = attrs.field(init=False, default=0)
    _transfer_encoding: bytes = attrs.field(init=False, default=b"")
    _expect: bytes = attrs.field(init=False, default=b"")
    _keep_alive: bool = attrs.field(init=False, default=False)
    _version: str = attrs.field(init=False, default="1.1")

    def __attrs_post_init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Take *data*, which may be cut anywhere. What it completes is in `waiting` then.

        After a request that is the last one of its connection, refused or not, everything is dropped.
        """
        if self._over:
            return
        known = len(self.waiting)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the request is in `waiting`, as the last one: `on_headers_complete` has seen to that
        except httptools.HttpParserError as error:
            if not self._over:  # "Data after `Connection: close`" is none of our business
                self._refuse(_status_for(error))
        if self.part is Part.NOTHING or len(self.waiting) > known:
            self._part_bytes = 0
        else:
            self._count(len(data))

    def give_up(self, status: int) -> None:
        """Refuse what there is of the next request: its time is over."""
        if not self._over:
            self._refuse(status)

    # What the parser calls

    def on_message_begin(self) -> None:
        """The first byte of a request came."""
        self.part = Part.HEAD
        self._target = self._transfer_encoding = self._expect = b""
        self._header_bytes = self._headers = self._hosts = self._length = 0

    def on_url(self, fragment: bytes) -> None:
        """Some of the target came."""
        self._target += fragment
        if len(self._target) > TARGET_BYTES_MAX:
            raise _Refused(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field came, or a trailer field, which only counts."""
        self._headers += 1
        self._header_bytes += len(name) + len(value) + 4
        if self._headers > HEADERS_MAX or self._header_bytes > HEADER_BYTES_MAX:
            raise _Refused(431)
        if self.part is Part.HEAD and len(name) in _LENGTHS:
            self._note(name.lower(), value.strip())

    def on_headers_complete(self) -> None:
        """The head is complete: decide whether the request is one that can be answered."""
        parser = self._parser
        self._version = version = parser.get_http_version()
        # An upgrade is not taken up (RFC 9110, 7.8), and the parser stops there: the connection ends with the answer.
        self._keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        if version not in ("1.1", "1.0"):
            raise _Refused(505)
        if self._hosts != 1 and (version == "1.1" or self._hosts):  # RFC 9112, 3.2
            raise _Refused(400)
        self.part = Part.BODY
        if self._length or self._transfer_encoding or self._expect:
            self._judge_body()

    def on_message_complete(self) -> None:
        """The body is complete, too."""
        self.part = Part.NOTHING
        self.expects_continue = False
        self._over = not self._keep_alive
        method, target = self._parser.get_method().decode(), self._target.decode("latin-1")
        self.waiting.append(Request(method, target, self._version, self._keep_alive))

    # Rules

    def _note(self, name: bytes, value: bytes) -> None:
        """Remember a field that decides something."""
        if name == b"host":
            self._hosts += 1
            if not _HOST.fullmatch(value):
                raise _Refused(400)
        elif name == b"content-length":
            self._length = int(value)  # the parser has checked that these are digits
        elif name == b"transfer-encoding":
            self._transfer_encoding = (self._transfer_encoding + b"," + value).strip(b",").lower()
        elif name == b"expect":
            self._expect = value.lower()

    def _judge_body(self) -> None:
        """Refuse a body that is too long or packed in an unknown way; note whether the client waits for a 100."""
        if self._transfer_encoding:
            if self._version == "1.0":  # RFC 9112, 6.1: its framing is not to be trusted
                raise _Refused(400)
            if self._transfer_encoding != b"chunked":  # RFC 9112, 6.1
                raise _Refused(501)
        if self._length > BODY_BYTES_MAX:
            raise _Refused(413)
        if self._expect and self._version == "1.1":  # RFC 9110, 10.1.1: from 1.0 it is to be ignored
            if self._expect != b"100-continue":
                raise _Refused(417)
            self.expects_continue = bool(self._length or self._transfer_encoding)

    def _count(self, size: int) -> None:
        """Count bytes that completed nothing: a field or a chunked body without end comes to its end here."""
        self._part_bytes += size
        if self._over:
            return
        if self.part is Part.HEAD and self._part_bytes > HEAD_BYTES_MAX:
            self._refuse(431 if self._headers or len(self._target) <= TARGET_BYTES_MAX else 414)
        elif self.part is Part.BODY and self._part_bytes > HEAD_BYTES_MAX + BODY_BYTES_MAX:
            self._refuse(413)

    def _refuse(self, status: int) -> None:
        """Queue a refusal, and hear nothing any more."""
        method = self._parser.get_method().decode() if self._target else "-"
        self.waiting.append(Request(method, self._target.decode("latin-1") or "-", refusal=status))
        self.part = Part.NOTHING
        self.expects_continue = False
        self._over = True


#: The lengths of the names that `_note` knows: most other fields are passed over without a closer look.
_LENGTHS = frozenset(map(len, (b"host", b"content-length", b"transfer-encoding", b"expect")))


def _status_for(error: httptools.HttpParserError) -> int:
    """Return the status for what the parser raised: a rule of ours, a version it does not know, or nonsense."""
    if isinstance(error.__context__, _Refused):
        return error.__context__.status
    return 505 if str(error) == "Invalid HTTP version" else 400
