"""Answers: what a handler may give, and the heads and pages that go out. Pure: bytes out, the time comes in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import attrs

HTML, TEXT, JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"
#: Methods that are known, and may be allowed for something (RFC 9110, 9 and RFC 5789); others are not implemented (501).
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
#: RFC 9110, 6.4.1: these have no body, whatever else is said.
BODILESS = frozenset((204, 304))
#: RFC 9110, 5.1 and 5.5: what else is sent could be read as another answer. Where this one ends is not others' to say.
_FIELD = re.compile(
    r"(?!(connection|content-length|transfer-encoding|date):)[\w!#$%&'*+.^`|~-]+:[\t -~\x80-\xff]*", re.ASCII | re.IGNORECASE
)
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
#: Fields of every answer that leaves its type to us.
_SECURITY = "X-Content-Type-Options: nosniff\r\nX-Frame-Options: SAMEORIGIN\r\nReferrer-Policy: same-origin\r\n"

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --dim: light-dark(#667, #99a); --link: light-dark(#0b57d0, #8ab4f8); }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 0 auto; padding: 1.5rem 1rem; }}
h1 {{ font-size: 1.25rem; overflow-wrap: anywhere; }}
p, td + td, th {{ color: var(--dim); font-weight: normal; font-variant-numeric: tabular-nums; }}
table {{ width: 100%; border-collapse: collapse; }}
td, th {{ padding: .4rem .75rem .4rem 0; border-bottom: 1px solid #8883; text-align: left; white-space: nowrap; }}
td:first-child {{ overflow-wrap: anywhere; white-space: normal; width: 99%; }}
.size {{ text-align: right; }}
a {{ color: var(--link); text-decoration: none; }}
@media (max-width: 32rem) {{ .date {{ display: none; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


@attrs.frozen
class Pieces:
    """A body in pieces: bytes, and `(offset, count)` of a *file*, which is closed when nobody has it any more."""

    file: Any
    pieces: list[bytes | tuple[int, int]]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(len(piece) if isinstance(piece, bytes) else piece[1] for piece in self.pieces)


@lru_cache(maxsize=1024)
def _as_sent(fields: tuple[tuple[str, str], ...]) -> bytes:
    """Return *fields* as they are sent; ValueError: one is none, or not the handler's to give."""
    for name, value in fields:
        if not _FIELD.fullmatch(f"{name}:{value}"):
            raise ValueError(f"not a field to be sent: {name!r}: {value!r}")
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")


@attrs.define(eq=False)
class Answer:
    """What is to be sent; ValueError: a field that is none, or is not the handler's to give.

    Its body is bytes; `Pieces` of a file; an iterable of bytes, from which no more is taken than the client takes; or a
    function, which is called with a `Flow`, and writes to that.
    """

    status: int = 200
    body: Any = b""
    content_type: str = TEXT  # "": it stands in *fields*, which are those of an application with a mind of its own
    fields: tuple[tuple[str, str], ...] = ()  # behind those that every answer has
    length: int | None = None  # of an iterable or a flow, if it is known
    more: bytes = attrs.field(init=False, repr=False, default=b"")  # the fields as they are sent

    def __attrs_post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"{self.status} is not the status of a final answer")
        if self.fields:
            self.more = _as_sent(self.fields)


@attrs.define(eq=False)
class Heads:
    """Beginnings of heads, with a Date (RFC 9110, 6.6.1), each made once a second; *clock* tells the seconds since 1970."""

    clock: Callable[[], float]
    starts: dict[tuple[int, str], bytes] = attrs.field(init=False, factory=dict)  # by status and content type
    stale_at: float = attrs.field(init=False, default=0.0)  # on the loop's clock
    _date: str = attrs.field(init=False, default="")

    def start(self, status: int, kind: str, now: float) -> bytes:
        """Return what begins a head; it is *now*, on the loop's clock."""
        if now >= self.stale_at:
            time = self.clock()
            self.starts.clear()
            self._date, self.stale_at = formatdate(int(time), usegmt=True), now + 1 - time % 1
        start = self.starts.get((status, kind))
        if start is None:
            text = f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\nServer: reactor\r\nDate: {self._date}\r\n"
            text += _SECURITY if kind else ""
            text += f"Content-Type: {kind}\r\n" if kind and status not in BODILESS else ""
            start = self.starts[status, kind] = text.encode("latin-1")
        return start


def as_answer(given: Any) -> Answer:
    """Return the answer that a handler means by *given*: text, bytes, None for 204, an iterator of bytes, else JSON."""
    if isinstance(given, Answer):
        return given
    if isinstance(given, str):
        return Answer(200, given.encode())
    if given is None:
        return Answer(204)
    if isinstance(given, (bytes, Iterator)):
        return Answer(200, given, "application/octet-stream")
    return Answer(200, json.dumps(given).encode(), JSON)


def page(status: int, title: str, body: str, *fields: tuple[str, str], policy: str = "style-src 'unsafe-inline'") -> Answer:
    """Return an HTML document. Title and body are HTML: what comes from elsewhere must have been escaped."""
    # A name that is no UTF-8 on the disk holds surrogates, which cannot be sent.
    text = _PAGE.format(title=title, body=body).encode("utf-8", "replace")
    return Answer(status, text, HTML, (("Content-Security-Policy", f"default-src 'none'; {policy}"), *fields))


@lru_cache(maxsize=64)
def status_page(status: int, *fields: tuple[str, str]) -> Answer:
    """Return an answer that is nothing but its status."""
    return page(status, f"{status} {_PHRASES[status]}", "", *fields)


def other_method(method: str, allowed: Iterable[str]) -> Answer:
    """Return the answer to a method that is none of those *allowed*: RFC 9110, 9.3.7, 15.5.6 and 15.6.2."""
    allow = ("Allow", ", ".join(sorted(allowed)))
    if method == "OPTIONS":
        return Answer(204, fields=(allow,))
    return status_page(405, allow) if method in METHODS else status_page(501)
