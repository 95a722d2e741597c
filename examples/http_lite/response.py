"""Responses: status line, header fields, pages for errors. Pure: bytes out, and the time comes in as an argument.

A response's head is one `bytes`, so that a head and a small body leave in one write.
"""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

import attrs

from examples.http_lite.request import Request

#: Interim answer to a client that waits before it sends a body (RFC 9110, 15.2.1).
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HTML = b"text/html; charset=utf-8"
#: The end of a head.
END = b"\r\n"

#: Methods of RFC 9110 and RFC 5789: known, but not allowed here (405). Others are not implemented (501).
METHODS_KNOWN = frozenset(("POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
METHODS_ALLOWED = ("GET", "HEAD")

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES = {code: f"HTTP/1.1 {code} {phrase}\r\n".encode() for code, phrase in _PHRASES.items()}

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


def head(status: int, connection: bytes, date: bytes, content_type: bytes, length: int) -> bytes:
    """Return a response's head but for the empty line, so that more fields may follow; see `END`.

    Args:
        status: one that `http.HTTPStatus` knows.
        connection: see `connection_field`.
        date: see `Dates`.
        content_type: the media type of the body.
        length: of the body, also if it is not sent because the request's method is HEAD (RFC 9110, 8.6).
    """
    return b"%b%bDate: %b\r\nServer: reactor\r\nContent-Type: %b\r\nContent-Length: %d\r\n" % (
        _STATUS_LINES[status],
        connection,
        date,
        content_type,
        length,
    )


def connection_field(request: Request) -> bytes:
    """Return the Connection field that goes with an answer: none where it would state the default (RFC 9112, 9.3)."""
    if not request.keep_alive:
        return b"Connection: close\r\n"
    return b"" if request.version == "1.1" else b"Connection: keep-alive\r\n"


def extra_fields(status: int, location: str = "") -> bytes:
    """Return the fields that *status* demands: Allow with 405 (RFC 9110, 15.5.6), Location with a redirect."""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return b"Allow: %b\r\n" % ", ".join(METHODS_ALLOWED).encode()
    return f"Location: {location}\r\n".encode("latin-1") if location else b""


def page(title: str, body: str, style: str = "") -> bytes:
    """Return a whole HTML document. Title and body are HTML: what comes from elsewhere must have been escaped."""
    # A name that is no UTF-8 on the disk holds surrogates, which cannot be sent.
    return _PAGE.format(title=title, style=STYLE + style, body=body).encode("utf-8", "replace")


def status_page(status: int) -> bytes:
    """Return the small body of an answer that is nothing but its status."""
    title = f"{status} {_PHRASES[status]}"
    return page(title, f"<h1>{title}</h1>")


def status_for_method(method: str) -> int:
    """Return 0 if *method* is served, else the status that refuses it (RFC 9110, 9.1)."""
    if method in METHODS_ALLOWED:
        return 0
    return 405 if method in METHODS_KNOWN else 501
