"""Static files: a request and a directory in, an answer out. Conditions, ranges, siblings that are compressed, listings.

Knows what HTTP says of files (RFC 9110, 8.8, 12.5.3, 13 and 14); what a path names is for `files`.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from html import escape
from typing import Any
from urllib.parse import quote_from_bytes

import attrs

from examples.http_lite.app import Action, always
from examples.http_lite.files import File, Files, Folder, Nothing, content_type
from examples.http_lite.request import Request
from examples.http_lite.response import Answer, Pieces, other_method, page, status_page

#: Files of up to this many bytes are kept in memory, and leave with the head, in one call; the kernel sends larger ones.
INLINE_BYTES = 128 * 1024
#: So many files are kept, and are looked at, not for, when they are asked for again.
FILES_KEPT = 64
#: More ranges than this in one request are ignored, as RFC 9110, 14.2 allows: the whole is cheaper.
RANGES_MAX = 16
#: The codings of compressed siblings, the best one first, and their suffixes.
CODINGS = {"br": ".br", "gzip": ".gz"}
_CONDITIONS = {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "range"}
_COMPRESSIBLE = re.compile(r"text/|application/(json|javascript|xml|wasm)|image/svg")
_RANGES = re.compile(r"bytes=\s*((?:\d+-\d*|-\d+)(?:\s*,\s*(?:\d+-\d*|-\d+))*)\s*", re.IGNORECASE | re.ASCII)
_QUALITY = re.compile(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*")
_TAG = re.compile(r'(?:W/)?"[^"]*"')
_BOUNDARY = "b0a4c6e1f9d27358"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@attrs.define(eq=False)
class Kept:
    """A file that is kept open, its type, and the answers that are all of it, by coding."""

    file: File
    kind: str
    answers: dict[str, Answer] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Static:
    """Answers GET and HEAD from a directory."""

    files: Files
    _kept: dict[str, Kept] = attrs.field(init=False, repr=False, factory=dict)

    def find(self, request: Request) -> Action:
        """Return what answers *request*."""
        if request.method not in ("GET", "HEAD"):
            return always(other_method(request.method, ("GET", "HEAD", "OPTIONS")))
        return self.answer

    def answer(self, request: Request) -> Answer:
        """Return the answer to *request*, by what is there now."""
        found, asked, coding = self._find(request.path), request.fields, ""
        if isinstance(found, Folder):
            return listing(found, request.query)
        if isinstance(found, Nothing):
            query = f"?{request.query}" if request.query else ""
            return status_page(found.status, *([("Location", found.location + query)] if found.location else []))
        kind, changed = found.kind, found.file.info.st_mtime_ns
        if "accept-encoding" in asked and _COMPRESSIBLE.match(kind):
            path = request.path + ("index.html" if request.path.endswith("/") else "")
            for each in accepted(asked["accept-encoding"]):
                sibling = self._find(path + CODINGS[each])
                if isinstance(sibling, Kept) and sibling.file.info.st_mtime_ns >= changed:
                    found, coding = sibling, each
                    break
        answer = found.answers.get(coding) or found.answers.setdefault(coding, whole(found.file, kind, coding))
        return answer if asked.keys().isdisjoint(_CONDITIONS) else conditional(request, found.file, answer)

    def _find(self, path: str) -> Kept | Folder | Nothing:
        kept = self._kept.get(path)
        if kept is not None and kept.file.is_current:
            return kept
        self._kept.pop(path, None)
        found = self.files.find(path)
        if not isinstance(found, File):
            return found
        if len(self._kept) >= FILES_KEPT:
            self.close()
        kept = self._kept[path] = Kept(found, content_type(os.path.splitext(os.fsdecode(found.path))[1]))
        return kept

    def close(self) -> None:
        """Let go the files that are kept."""
        self._kept.clear()


def whole(file: File, kind: str, coding: str) -> Answer:
    """Return the answer that is all of *file*."""
    info, fields = file.info, [("Accept-Ranges", "bytes")]
    if _COMPRESSIBLE.match(kind):
        fields.append(("Vary", "Accept-Encoding"))
    if coding:
        fields.append(("Content-Encoding", coding))
    fields.append(("ETag", f'"{info.st_mtime_ns:x}-{info.st_size:x}{coding and "-" + coding}"'))
    fields.append(("Last-Modified", formatdate(info.st_mtime_ns // 1_000_000_000, usegmt=True)))
    return Answer(200, body_of(file, [(0, info.st_size)]), kind, tuple(fields))


def body_of(file: File, pieces: list[bytes | tuple[int, int]]) -> bytes | Pieces:
    """Return a body of these pieces of *file*."""
    body = Pieces(file, pieces)
    if body.size > INLINE_BYTES:
        return body
    read = [piece if isinstance(piece, bytes) else _read(file.fd, *piece) for piece in pieces]
    return b"".join(read)


def _read(fd: int, offset: int, count: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    data = os.read(fd, count) if count else b""
    if len(data) != count:
        raise EOFError("the file has shrunk")
    return data


def conditional(request: Request, file: File, answer: Answer) -> Answer:
    """Return what *answer* becomes by the conditions and ranges of *request*."""
    size, changed = file.info.st_size, file.info.st_mtime_ns // 1_000_000_000
    tag = dict(answer.fields)["ETag"]
    status = judge(request.fields, tag, changed)
    if status:
        return Answer(304, fields=answer.fields) if status == 304 else status_page(status)
    ranges = wanted(request, size, tag, changed)
    if ranges is None:
        return answer
    if not ranges:
        return status_page(416, ("Content-Range", f"bytes */{size}"))
    said = [f"bytes {offset}-{offset + count - 1}/{size}" for offset, count in ranges]
    if len(ranges) == 1:
        return Answer(206, body_of(file, [*ranges]), answer.content_type, (*answer.fields, ("Content-Range", said[0])))
    pieces: list[bytes | tuple[int, int]] = []
    for each, where in zip(ranges, said, strict=True):
        head = f"\r\n--{_BOUNDARY}\r\nContent-Type: {answer.content_type}\r\nContent-Range: {where}\r\n\r\n"
        pieces += [head.encode(), each]
    pieces.append(f"\r\n--{_BOUNDARY}--\r\n".encode())
    return Answer(206, body_of(file, pieces), f"multipart/byteranges; boundary={_BOUNDARY}", answer.fields)


def judge(fields: dict[str, str], tag: str, changed: int) -> int:
    """Return the status that a request's conditions lead to, in the order of RFC 9110, 13.2.2; 0: they are met."""
    if (match := fields.get("if-match")) is not None:
        if match.strip() != "*" and tag not in _TAG.findall(match):
            return 412
    elif (date := moment(fields.get("if-unmodified-since"))) is not None and changed > date:
        return 412
    if (none := fields.get("if-none-match")) is not None:  # compared weakly: RFC 9110, 13.1.2
        return 304 if none.strip() == "*" or tag in [each.removeprefix("W/") for each in _TAG.findall(none)] else 0
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


def moment(value: str | None) -> int | None:
    """Return the seconds since the epoch that a date says; None: it is none."""
    try:
        date = parsedate_to_datetime(value or "")
        return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp())
    except (ValueError, OverflowError, IndexError):
        return None


def accepted(value: str) -> list[str]:
    """Return those of `CODINGS` that an Accept-Encoding field likes no less than none, the best first (RFC 9110, 12.5.3)."""
    quality: dict[str, float] = {}
    for each in value.lower().split(","):
        name, _, weight = each.partition(";")
        match = _QUALITY.fullmatch(weight)
        quality[name.strip()] = float(match[1]) if match else 1.0
    likes = {coding: quality.get(coding, quality.get("*", 0.0)) for coding in CODINGS}
    least = max(quality.get("identity", 0.0), 0.001)
    return sorted((coding for coding in CODINGS if likes[coding] >= least), key=lambda coding: -likes[coding])


#: By what a query sorts a listing: entries, each a name and what it is.
_ORDERS: dict[str, Callable[[tuple[bytes, os.stat_result]], Any]] = {
    "name": lambda entry: (os.fsdecode(entry[0]).casefold(), entry[0]),
    "size": lambda entry: entry[1].st_size,
    "date": lambda entry: entry[1].st_mtime_ns,
}


def listing(folder: Folder, query: str = "") -> Answer:
    """Return the page for *folder*: directories first; by name, or as *query* says: `size`, or `-size` for the reverse."""
    entries = sorted(folder.entries, key=_ORDERS.get(query.removeprefix("-"), _ORDERS["name"]), reverse=query.startswith("-"))
    names = (f'<th class="{each}"><a href="?{"-" * (query == each)}{each}">{each.title()}</a></th>' for each in _ORDERS)
    rows = ['<tr><td><a href="../">../</a></td><td></td><td class="date"></td></tr>'] if folder.path != "/" else []
    for name, info in sorted(entries, key=lambda entry: not stat.S_ISDIR(entry[1].st_mode)):
        slash, size = ("/", "") if stat.S_ISDIR(info.st_mode) else ("", size_for_people(info.st_size))
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.st_mtime))
        # Everything but letters, digits and `_.-~` is escaped in the link: no name is taken for a scheme.
        link = f'<a href="{quote_from_bytes(name, safe="")}{slash}">{escape(os.fsdecode(name))}{slash}</a>'
        rows.append(f'<tr><td>{link}</td><td class="size">{size}</td><td class="date">{changed}</td></tr>')
    note = f"Only {len(entries)} entries are shown." if folder.is_cut else "" if entries else "Nothing is here."
    return page(200, escape(folder.path), "\n".join(("<table>", f"<tr>{''.join(names)}</tr>", *rows, f"</table><p>{note}</p>")))


def size_for_people(size: int) -> str:
    """Return *size* with a unit, to two digits or as whole numbers: "17 B", "1.5 KiB", "230 MiB"."""
    amount, unit = float(size), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit and amount < 10 else f"{amount:.0f} {_UNITS[unit]}"
