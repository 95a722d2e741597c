"""Static files: what a request's path names, below one directory and never outside of it, and how that is answered.

A path is resolved, links and all, and refused if that leads out of the directory. What is opened then is looked at again, so
that nobody can exchange a directory for a link between the check and its use. Then come the rules of RFC 9110: conditions
(13), ranges (14), siblings that are compressed already (12.5.3).
"""

from __future__ import annotations

import errno
import mimetypes
import os
import re
import stat
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from html import escape
from typing import Any, TypeAlias
from urllib.parse import quote_from_bytes, unquote_to_bytes

import attrs

from examples.http_lite.app import Action, always
from examples.http_lite.request import Request
from examples.http_lite.response import Answer, Pieces, other_method, page, status_page

#: A listing shows no more than this.
ENTRIES_MAX = 4000
#: Files of up to this many bytes are kept in memory, and leave with the head, in one call; the kernel sends larger ones.
INLINE_BYTES = 128 * 1024
#: So many files are kept, and are looked at, not for, when they are asked for again.
FILES_KEPT = 64
#: More ranges than this in one request are ignored, as RFC 9110, 14.2 allows: the whole is cheaper.
RANGES_MAX = 16
CODINGS = {"br": ".br", "gzip": ".gz"}  # of compressed siblings, the best one first, and their suffixes
#: Never wait (for the other end of a FIFO), never hand a descriptor on, never follow a link.
_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_NOCTTY", "O_BINARY", "O_NOINHERIT")
)
#: What an errno is to the client; anything else is 500.
_STATUS_OF_ERROR = {
    **dict.fromkeys([errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENAMETOOLONG, errno.EINVAL], 404),
    **dict.fromkeys([errno.EACCES, errno.EPERM], 403),
    **dict.fromkeys([errno.EMFILE, errno.ENFILE, errno.ENOMEM], 503),
}
#: What no name contains. On Windows these would lead to other directories, drives and streams.
_NOT_IN_NAMES = re.compile(rb"[/\0\\:]" if os.name == "nt" else rb"[/\0]")
#: What browsers must be told right, whatever the machine's own tables say; an archive is what it is, not what is in it.
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript"}
_TYPES |= {".json": "application/json", ".wasm": "application/wasm", ".gz": "application/gzip", ".svg": "image/svg+xml"}
_TYPES |= {".md": "text/markdown", ".webp": "image/webp", ".woff2": "font/woff2"}
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONDITIONS = {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "range"}
_COMPRESSIBLE = re.compile(r"text/|application/(json|javascript|xml|wasm)|image/svg")
_RANGES = re.compile(r"bytes=\s*((?:\d+-\d*|-\d+)(?:\s*,\s*(?:\d+-\d*|-\d+))*)\s*", re.IGNORECASE | re.ASCII)
_QUALITY = re.compile(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*")
_TAG = re.compile(r'(?:W/)?"[^"]*"')
_BOUNDARY = "b0a4c6e1f9d27358"

# What a path names


@attrs.define(eq=False)
class File:
    """A regular file, open until nobody has it any more; and the answers that are all of it, by coding."""

    fd: int
    path: bytes
    info: os.stat_result
    kind: str

    def fileno(self) -> int:
        return self.fd

    def __del__(self) -> None:
        os.close(self.fd)

    @property
    def is_current(self) -> bool:
        """Whether its path names it still, as it was when it was opened."""
        was = self.info
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        return now.st_mtime_ns == was.st_mtime_ns and now.st_size == was.st_size and os.path.samestat(now, was)

    def read(self, offset: int, count: int) -> bytes:
        os.lseek(self.fd, offset, os.SEEK_SET)
        data = os.read(self.fd, count) if count else b""
        if len(data) != count:
            raise EOFError("the file has shrunk")
        return data


@attrs.frozen
class Folder:
    """A directory without an index: the names in it that would be served, what each is, and whether there are more."""

    path: str
    entries: list[tuple[bytes, os.stat_result]]
    is_cut: bool


@attrs.frozen
class Nothing:
    """Nothing to serve, for the reason that the status gives; 301: it is to be found at *location*."""

    status: int
    location: str = ""


Found: TypeAlias = "File | Folder | Nothing"


@lru_cache(maxsize=1024)
def content_type(suffix: str) -> str:
    """Return the media type for a file name's *suffix*: the last one, with its dot."""
    kind, encoding = mimetypes.guess_type("file" + suffix)
    kind = _TYPES.get(suffix.lower(), None if encoding else kind) or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def names_of(path: str) -> tuple[bytes, ...]:
    """Return the names that lead to what an escaped *path* means; the last one is empty for a directory.

    ValueError: there can be no such path. Clients resolve dots themselves (RFC 3986, 6.2.2.3). FileNotFoundError: an empty
    name within, since nobody is sent to `//elsewhere` from here; a hidden name.
    """
    if not path.startswith("/") or _BAD_ESCAPE.search(path):
        raise ValueError("no path, or a broken escape")
    names = tuple(map(unquote_to_bytes, path[1:].encode("latin-1").split(b"/")))
    if any(name in (b".", b"..") or _NOT_IN_NAMES.search(name) for name in names):
        raise ValueError("no name of a file")
    if b"" in names[:-1] or any(map(_is_hidden, names)):
        raise FileNotFoundError(errno.ENOENT, "an empty or hidden name")
    return names


def _is_hidden(name: bytes) -> bool:
    return name.startswith(b".") and name != b".well-known"  # RFC 8615


def _real_path(path: str | os.PathLike[str]) -> bytes:
    return os.path.realpath(os.fsencode(path))


@attrs.frozen
class Files:
    """The directory that is served: any path of it."""

    root: bytes = attrs.field(converter=_real_path)

    def find(self, path: str) -> Found:
        """Return what *path* names, which is escaped and has no query."""
        try:
            names = names_of(path)
            real = self._resolve(names)
            info = os.stat(real)
            if not stat.S_ISDIR(info.st_mode):
                return self._open(real) if names[-1] else Nothing(404)
            if names[-1]:
                return Nothing(301, path + "/")
            try:
                return self._open(self._resolve((*names[:-1], b"index.html")))
            except FileNotFoundError:
                return self._list(real, os.fsdecode(b"/".join((b"", *names))))
        except ValueError:
            return Nothing(400)
        except OSError as error:
            return Nothing(_STATUS_OF_ERROR.get(error.errno or 0, 500))

    def _open(self, real: bytes) -> File:
        """Open a regular file; FileNotFoundError: it is none, or was exchanged for what lies elsewhere."""
        if not stat.S_ISREG(os.stat(real).st_mode):  # else opening may wait, or do something, such as rewind a tape
            raise FileNotFoundError(errno.ENOENT, "no regular file")
        fd = os.open(real, _FLAGS)
        file = File(fd, real, os.fstat(fd), content_type(os.path.splitext(os.fsdecode(real))[1]))
        place = f"/proc/self/fd/{fd}"  # where there is none, somebody may exchange it twice, at the right moments
        self._check(os.fsencode(os.readlink(place)) if os.path.exists(place) else os.path.realpath(real))
        return file

    def _list(self, real: bytes, path: str) -> Folder:
        """Return the directory's entries: no links that lead out or nowhere, no devices, FIFOs or sockets."""
        entries: list[tuple[bytes, os.stat_result]] = []
        with os.scandir(real) as found:
            for entry in found:
                if len(entries) == ENTRIES_MAX:
                    break
                try:
                    self._check(os.path.realpath(entry.path, strict=True))
                    info = entry.stat()
                except OSError:
                    continue
                if (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)) and not _is_hidden(entry.name):
                    entries.append((entry.name, info))
        return Folder(path, entries, len(entries) == ENTRIES_MAX)

    def _resolve(self, names: tuple[bytes, ...]) -> bytes:
        return self._check(os.path.realpath(os.path.join(self.root, *names), strict=True))

    def _check(self, real: bytes) -> bytes:
        """Return *real*; FileNotFoundError: it is not below the root."""
        if os.path.commonpath((self.root, real)) != self.root:
            raise FileNotFoundError(errno.ENOENT, "outside of what is served")
        return real


# How it is answered


@attrs.define(eq=False)
class Static:
    """Answers GET and HEAD from a directory."""

    files: Files
    #: Files by path; and, by file and coding, the answers that are all of it.
    _kept: dict[str, File] = attrs.field(init=False, repr=False, factory=dict)
    _whole: dict[tuple[File, str], Answer] = attrs.field(init=False, repr=False, factory=dict)

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
        kind, changed = found.kind, found.info.st_mtime_ns
        if "accept-encoding" in asked and _COMPRESSIBLE.match(kind):
            path = request.path + ("index.html" if request.path.endswith("/") else "")
            for each in accepted(asked["accept-encoding"]):
                sibling = self._find(path + CODINGS[each])
                if isinstance(sibling, File) and sibling.info.st_mtime_ns >= changed:
                    found, coding = sibling, each
                    break
        answer = self._whole.get((found, coding))
        if answer is None:
            answer = self._whole[found, coding] = whole(found, kind, coding)
        return answer if asked.keys().isdisjoint(_CONDITIONS) else conditional(request, found, answer)

    def _find(self, path: str) -> Found:
        file = self._kept.get(path)
        if file is not None and file.is_current:
            return file
        if file is not None or len(self._kept) >= FILES_KEPT:
            self.close()
        found = self.files.find(path)
        if isinstance(found, File):
            self._kept[path] = found
        return found

    def close(self) -> None:
        """Let go the files that are kept."""
        self._kept.clear()
        self._whole.clear()


def whole(file: File, kind: str, coding: str) -> Answer:
    """Return the answer that is all of *file*."""
    info, fields = file.info, [("Accept-Ranges", "bytes")]
    fields += [("Vary", "Accept-Encoding")] if _COMPRESSIBLE.match(kind) else []
    fields += [("Content-Encoding", coding)] if coding else []
    fields.append(("ETag", f'"{info.st_mtime_ns:x}-{info.st_size:x}{coding and "-" + coding}"'))
    fields.append(("Last-Modified", formatdate(info.st_mtime_ns // 1_000_000_000, usegmt=True)))
    return Answer(200, body_of(file, [(0, info.st_size)]), kind, tuple(fields))


def body_of(file: File, pieces: list[bytes | tuple[int, int]]) -> bytes | Pieces:
    """Return a body of these pieces of *file*."""
    body = Pieces(file, pieces)
    if body.size > INLINE_BYTES:
        return body
    return b"".join(piece if isinstance(piece, bytes) else file.read(*piece) for piece in pieces)


def conditional(request: Request, file: File, answer: Answer) -> Answer:
    """Return what *answer* becomes by the conditions and ranges of *request*."""
    size, changed, kind = file.info.st_size, file.info.st_mtime_ns // 1_000_000_000, answer.content_type
    tag = dict(answer.fields)["ETag"]
    if status := judge(request.fields, tag, changed):
        return Answer(304, fields=answer.fields) if status == 304 else status_page(status)
    ranges = wanted(request, size, tag, changed)
    if ranges is None:
        return answer
    said = [f"bytes {offset}-{offset + count - 1}/{size}" for offset, count in ranges]
    if not ranges:
        return status_page(416, ("Content-Range", f"bytes */{size}"))
    if len(ranges) == 1:
        return Answer(206, body_of(file, [*ranges]), kind, (*answer.fields, ("Content-Range", said[0])))
    pieces: list[bytes | tuple[int, int]] = []
    for each, where in zip(ranges, said, strict=True):
        pieces += [f"\r\n--{_BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Range: {where}\r\n\r\n".encode(), each]
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
    return 304 if (date := moment(fields.get("if-modified-since"))) is not None and changed <= date else 0


def wanted(request: Request, size: int, tag: str, changed: int) -> list[tuple[int, int]] | None:
    """Return the ranges to send, each an offset and a count: none of them can be met if empty; None: send it all."""
    match, condition = _RANGES.fullmatch(request.fields.get("range", "")), request.fields.get("if-range")
    if match is None or request.method != "GET":  # RFC 9110, 14.2: for GET only, and nonsense is ignored
        return None
    if condition is not None and condition != tag and moment(condition) != changed:  # RFC 9110, 13.1.5: strong, exact
        return None
    specs, found = match[1].split(","), list[tuple[int, int]]()
    for spec in specs:
        first, _, last = spec.strip().partition("-")
        begin = int(first) if first else max(0, size - int(last))
        end = min(int(last), size - 1) if first and last else size - 1
        if first and last and int(last) < int(first):
            return None  # RFC 9110, 14.1.1: the whole field is invalid
        if begin <= end:
            found.append((begin, end - begin + 1))
    is_silly = len(specs) > RANGES_MAX or (len(found) > 1 and sum(count for _, count in found) >= size)
    return None if is_silly else found


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
    order = _ORDERS.get(query.removeprefix("-"), _ORDERS["name"])
    entries = sorted(folder.entries, key=order, reverse=query.startswith("-"))
    names = (f'<th class="{each}"><a href="?{"-" * (query == each)}{each}">{each.title()}</a></th>' for each in _ORDERS)
    rows = ['<tr><td><a href="../">../</a></td><td></td><td class="date"></td></tr>'] if folder.path != "/" else []
    for name, info in sorted(entries, key=lambda entry: not stat.S_ISDIR(entry[1].st_mode)):
        slash, size = ("/", "") if stat.S_ISDIR(info.st_mode) else ("", size_for_people(info.st_size))
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.st_mtime))
        # Everything but letters, digits and `_.-~` is escaped in the link: no name is taken for a scheme.
        link = f'<a href="{quote_from_bytes(name, safe="")}{slash}">{escape(os.fsdecode(name))}{slash}</a>'
        rows.append(f'<tr><td>{link}</td><td class="size">{size}</td><td class="date">{changed}</td></tr>')
    note = f"Only {len(entries)} entries are shown." if folder.is_cut else "" if entries else "Nothing is here."
    body = ("<table>", f"<tr>{''.join(names)}</tr>", *rows, f"</table><p>{note}</p>")
    return page(200, escape(folder.path), "\n".join(body))


def size_for_people(size: int) -> str:
    """Return *size* with a unit, to two digits or as whole numbers: "17 B", "1.5 KiB", "230 MiB"."""
    amount, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.1f} {units[0]}" if units[0] != "B" and amount < 10 else f"{amount:.0f} {units[0]}"
