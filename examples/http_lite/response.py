"""Answers: what a handler may give, and the heads and pages that go out. Pure: bytes out, the time comes in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, TypeAlias

import attrs

HTML, TEXT, JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"
#: Methods that are known, and may be allowed for something (RFC 9110, 9 and RFC 5789); others are not implemented (501).
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
#: RFC 9110, 6.4.1: these have no body, whatever else is said.
BODILESS = frozenset((204, 304))
#: RFC 9110, 5.1 and 5.5: what is no field could be read as another answer; so could those that say where this one ends.
_FIELD = re.compile(r"(?!(?:connection|content-length|transfer-encoding|date):)[\w!#$%&'*+.^`|~-]+:[\t -~\x80-\xff]*", re.A | re.I)
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
#: Fields of every answer that leaves its type to us.
SECURITY = "X-Content-Type-Options: nosniff\r\nX-Frame-Options: SAMEORIGIN\r\nReferrer-Policy: same-origin\r\n"

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
p, time, td + td, th {{ color: var(--dim); font-weight: normal; font-variant-numeric: tabular-nums; }}
table {{ width: 100%; border-collapse: collapse; }}
td, th {{ padding: .4rem .25rem; border-bottom: 1px solid #8883; text-align: left; white-space: nowrap; }}
td:first-child {{ overflow-wrap: anywhere; white-space: normal; width: 99%; }}
td.size, th.size {{ text-align: right; }}
a {{ color: var(--link); text-decoration: none; }}
a:hover {{ text-decoration: underline; }}
@media (max-width: 32rem) {{ .date {{ display: none; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


@attrs.define(eq=False)
class Flow:
    """A body that comes as it comes: events, or the work of a thread. Write to it once it has started.

    Each callback is called in the loop: *on_start*, with the flow, when the head is on its way; *on_room* when `write` has
    returned False, and there is room again; *on_over* once, when nothing more will be taken, whoever ended it.

    Args:
        on_start: called with the flow.
        endless: whether the server, when it is to end, may end the flow, too, since it would not end by itself.
    """

    on_start: Callable[[Flow], object]
    on_room: Callable[[], object] = lambda: None
    on_over: Callable[[], object] = lambda: None
    endless: bool = attrs.field(default=False, kw_only=True)
    # Takes bytes, and None for the end; and what breaks the connection.
    _out: Callable[[bytes | None], bool] | None = attrs.field(init=False, default=None)
    _abort: Callable[[], None] = attrs.field(init=False, default=lambda: None)

    @property
    def is_over(self) -> bool:
        """Whether nothing is taken: it has not started, or has ended."""
        return self._out is None

    def start(self, out: Callable[[bytes | None], bool], abort: Callable[[], None]) -> None:
        """Begin; called by the connection."""
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
        self._abort()

    def close(self) -> None:
        """Nothing more is taken; called by the connection, once."""
        self._out, self._abort = None, lambda: None
        self.on_over()


@attrs.frozen
class Pieces:
    """A body in pieces: bytes, and `(offset, count)` of a *file*, which is closed when nobody has it any more."""

    file: Any
    pieces: list[bytes | tuple[int, int]]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(len(piece) if isinstance(piece, bytes) else piece[1] for piece in self.pieces)


Body: TypeAlias = "bytes | Pieces | Flow | Iterable[bytes]"


@lru_cache(maxsize=1024)
def _as_sent(fields: tuple[tuple[str, str], ...]) -> bytes:
    """Return *fields* as they are sent; ValueError: one is none, or not the handler's to give."""
    for name, value in fields:
        if not _FIELD.fullmatch(f"{name}:{value}"):
            raise ValueError(f"not a field to be sent: {name!r}: {value!r}")
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")


@attrs.define(eq=False)
class Answer:
    """What is to be sent. *fields* come behind those that every answer has; an iterable body is sent as it is taken.

    Raises:
        ValueError: a field that is none, or is not the handler's to give; a status that is not final.
    """

    status: int = 200
    body: Body = b""
    #: "": it stands in *fields*, where it belongs to those of an application that answers for its own security.
    content_type: str = TEXT
    fields: tuple[tuple[str, str], ...] = ()
    #: Of an iterable body or a flow, if it is known.
    length: int | None = None
    #: The fields as they are sent.
    more: bytes = attrs.field(init=False, repr=False, default=b"")

    def __attrs_post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"{self.status} is not the status of a final answer")
        if self.fields:
            self.more = _as_sent(self.fields)

    def with_fields(self, *fields: tuple[str, str]) -> Answer:
        """Return it with more fields."""
        return attrs.evolve(self, fields=self.fields + fields)

    def close(self) -> None:
        """Let go what the body holds: an iterator, those who feed a flow."""
        if not isinstance(self.body, (bytes, Pieces)):
            getattr(self.body, "close", lambda: None)()


@attrs.define(eq=False)
class Later:
    """The promise of an answer. Return it from a handler, and call `give` once, in the loop."""

    _taker: Callable[[Any], None] | None = attrs.field(init=False, default=None)
    _given: list[Any] = attrs.field(init=False, factory=list)

    def give(self, answer: Any) -> None:
        """Answer with what a handler might have returned, or raised; if the client has gone, nothing happens."""
        if self._taker is None:
            self._given = [answer]
        else:
            self._taker(answer)

    def take(self, taker: Callable[[Any], None]) -> None:
        """Have *taker* called with the answer, now or when it is there; called by the connection."""
        self._taker = taker
        for answer in self._given:
            taker(answer)


@attrs.define(eq=False)
class Heads:
    """Beginnings of heads, with their Date (RFC 9110, 6.6.1): made once a second, each of them.

    Args:
        clock: returns the seconds since the epoch; `System.time`, so that a replay says the same.
    """

    clock: Callable[[], float]
    #: By status and content type; the length of the body belongs behind them.
    starts: dict[tuple[int, str], bytes] = attrs.field(init=False, factory=dict)
    #: When they are out of date, on the loop's clock.
    stale_at: float = attrs.field(init=False, default=0.0)
    _date: str = attrs.field(init=False, default="")

    def renew(self, now: float) -> None:
        """Begin anew: it is *now*, on the loop's clock."""
        time = self.clock()
        self.starts.clear()
        self._date, self.stale_at = formatdate(int(time), usegmt=True), now + 1 - time % 1

    def start(self, status: int, kind: str, now: float) -> bytes:
        """Return what begins a head."""
        if now >= self.stale_at:
            self.renew(now)
        start = self.starts.get((status, kind))
        if start is None:
            more = f"{SECURITY}{'' if status in BODILESS else f'Content-Type: {kind}{chr(13)}{chr(10)}'}" if kind else ""
            text = f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\nServer: reactor\r\nDate: {self._date}\r\n{more}"
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
    if isinstance(given, (bytes, Iterator, Flow)):
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
