"""Static files: a request and a directory in, an answer out. Conditions, ranges, and siblings that are compressed already.

Knows what HTTP says of files (RFC 9110, 8.8, 12.5.3, 13 and 14); what a path names is for `files`.
"""

from __future__ import annotations

import os
import re
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime

import attrs

from examples.http_lite.files import Elsewhere, File, Files, Folder, Nothing
from examples.http_lite.listing import listing
from examples.http_lite.request import Request
from examples.http_lite.response import METHODS, Answer, Pieces, not_allowed, status_page, with_fields

#: Files of up to this many bytes are read and leave with the head, in one call; larger ones are sent by the kernel.
INLINE_BYTES = 16 * 1024
#: More ranges than this in one request are ignored, as RFC 9110, 14.2 allows: the whole is cheaper.
RANGES_MAX = 16
#: The codings of compressed siblings, the best one first, and their suffixes.
CODINGS = {"br": ".br", "gzip": ".gz"}
_COMPRESSIBLE = re.compile(r"text/|application/(json|javascript|xml|wasm)|image/svg")
_RANGES = re.compile(r"bytes=\s*((?:\d+-\d*|-\d+)(?:\s*,\s*(?:\d+-\d*|-\d+))*)\s*", re.IGNORECASE | re.ASCII)
_BOUNDARY = "b0a4c6e1f9d27358"


@attrs.frozen
class Static:
    """Answers GET and HEAD from a directory."""

    files: Files

    def __call__(self, request: Request) -> Answer:
        """Return the answer to *request*."""
        if request.method == "OPTIONS":
            return Answer(204, fields=(("Allow", "GET, HEAD, OPTIONS"),))
        if request.method not in ("GET", "HEAD"):
            return not_allowed(("GET", "HEAD", "OPTIONS")) if request.method in METHODS else status_page(501)
        found = self.files.find(request.path)
        if isinstance(found, Folder):
            return listing(found)
        if isinstance(found, Elsewhere):
            query = f"?{request.query}" if request.query else ""
            return with_fields(status_page(301), ("Location", found.location + query))
        if isinstance(found, Nothing):
            return status_page(found.status)
        return self._file(request, found)

    def _file(self, request: Request, file: File) -> Answer:
        kind, fields, coding = file.content_type, [], ""
        if _COMPRESSIBLE.match(kind):
            fields.append(("Vary", "Accept-Encoding"))
            file, coding = self._sibling(request, file)
            if coding:
                fields.append(("Content-Encoding", coding))
        tag = f'"{file.changed_ns:x}-{file.size:x}{coding and "-" + coding}"'
        changed = file.changed_ns // 1_000_000_000
        fields += [("ETag", tag), ("Last-Modified", formatdate(changed, usegmt=True)), ("Accept-Ranges", "bytes")]
        status = judge(request, tag, changed)
        if status:
            file.close()
            return Answer(304, fields=tuple(fields)) if status == 304 else status_page(status)
        ranges = wanted(request, file.size, tag, changed)
        if ranges is None:
            return Answer(200, body_of(file, [(0, file.size)]), kind, tuple(fields))
        if not ranges:
            file.close()
            return with_fields(status_page(416), ("Content-Range", f"bytes */{file.size}"))
        if len(ranges) == 1:
            fields.append(("Content-Range", content_range(*ranges[0], file.size)))
            return Answer(206, body_of(file, [ranges[0]]), kind, tuple(fields))
        pieces: list[bytes | tuple[int, int]] = []
        for each in ranges:
            part = f"\r\n--{_BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Range: {content_range(*each, file.size)}\r\n\r\n"
            pieces += [part.encode(), each]
        pieces.append(f"\r\n--{_BOUNDARY}--\r\n".encode())
        return Answer(206, body_of(file, pieces), f"multipart/byteranges; boundary={_BOUNDARY}", tuple(fields))

    def _sibling(self, request: Request, file: File) -> tuple[File, str]:
        """Return the compressed form of *file* that the client likes and that is no older, else the file itself."""
        accepted = acceptable(request.fields.get("accept-encoding", ""))
        path = request.path + ("index.html" if request.path.endswith("/") else "")
        for coding, suffix in CODINGS.items():
            if coding in accepted:
                found = self.files.find(path + suffix)
                if isinstance(found, File):
                    if found.changed_ns >= file.changed_ns:
                        file.close()
                        return found, coding
                    found.close()
        return file, ""


def body_of(file: File, pieces: list[bytes | tuple[int, int]]) -> bytes | Pieces:
    """Return a body of these pieces of *file*, which belongs to it from now on."""
    body = Pieces(file, file.fd, pieces)
    if body.size > INLINE_BYTES:
        return body
    try:
        read = [piece if isinstance(piece, bytes) else _read(file.fd, *piece) for piece in pieces]
    finally:
        file.close()
    return b"".join(read)


def _read(fd: int, offset: int, count: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    data = os.read(fd, count) if count else b""
    if len(data) != count:
        raise EOFError("the file has shrunk")
    return data


def judge(request: Request, tag: str, changed: int) -> int:
    """Return the status that the request's conditions lead to, in the order of RFC 9110, 13.2.2; 0: they are met."""
    fields = request.fields
    if (match := fields.get("if-match")) is not None:
        if match.strip() != "*" and tag not in tags(match):
            return 412
    elif (date := moment(fields.get("if-unmodified-since"))) is not None and changed > date:
        return 412
    if (none := fields.get("if-none-match")) is not None:  # compared weakly: RFC 9110, 13.1.2
        return 304 if none.strip() == "*" or tag in [each.removeprefix("W/") for each in tags(none)] else 0
    if (date := moment(fields.get("if-modified-since"))) is not None and changed <= date:
        return 304
    return 0


def wanted(request: Request, size: int, tag: str, changed: int) -> list[tuple[int, int]] | None:
    """Return the ranges to send, each an offset and a count: none of them can be met if empty; None: send it all."""
    match = _RANGES.fullmatch(request.fields.get("range", ""))
    if match is None or request.method != "GET":  # RFC 9110, 14.2: for GET only, and nonsense is ignored
        return None
    condition = request.fields.get("if-range")
    if condition is not None and condition != tag and moment(condition) != changed:  # RFC 9110, 13.1.5: strong, exact
        return None
    specs = match[1].split(",")
    found: list[tuple[int, int]] = []
    for spec in specs:
        first, _, last = spec.strip().partition("-")
        begin = int(first) if first else max(0, size - int(last))
        end = min(int(last), size - 1) if first and last else size - 1
        if first and last and int(last) < int(first):
            return None  # RFC 9110, 14.1.1: the whole field is invalid
        if begin <= end:
            found.append((begin, end - begin + 1))
    if len(specs) > RANGES_MAX or (len(found) > 1 and sum(count for _, count in found) >= size):
        return None
    return found


def content_range(offset: int, count: int, size: int) -> str:
    """Return the field of that name for one range."""
    return f"bytes {offset}-{offset + count - 1}/{size}"


def tags(value: str) -> list[str]:
    """Return the entity tags of a list, weak ones with their `W/`."""
    return re.findall(r'(?:W/)?"[^"]*"', value)


def moment(value: str | None) -> int | None:
    """Return the seconds since the epoch that a date says; None: it is none."""
    if value is None:
        return None
    try:
        date = parsedate_to_datetime(value)
        return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp())
    except (ValueError, OverflowError, IndexError):
        return None


def acceptable(value: str) -> set[str]:
    """Return the codings of `CODINGS` that an Accept-Encoding field allows (RFC 9110, 12.5.3)."""
    allowed: dict[str, bool] = {}
    for each in value.lower().split(","):
        name, _, quality = each.partition(";")
        allowed[name.strip()] = not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", quality)
    return {coding for coding in CODINGS if allowed.get(coding, allowed.get("*", False))}
