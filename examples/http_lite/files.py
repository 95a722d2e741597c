"""Files: what a request's path names, below one directory and never outside of it.

A path is resolved, links and all, and refused if that leads out of the directory. What is opened then is looked at once more:
nobody can exchange a directory for a link between the check and its use. Statuses are what is answered where there is nothing
to serve.
"""

from __future__ import annotations

import errno
import mimetypes
import os
import re
import stat
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

import attrs

INDEX = b"index.html"
#: A listing shows no more than this.
ENTRIES_MAX = 4000
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
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: What no name contains. On Windows these would lead to other directories, drives and streams.
_NOT_IN_NAMES = re.compile(rb"[/\0\\:]" if os.name == "nt" else rb"[/\0]")
#: What browsers must be told right, whatever the machine's own tables say; an archive is what it is, not what is in it.
_TYPES = {
    **{".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".md": "text/markdown"},
    **{".json": "application/json", ".wasm": "application/wasm", ".gz": "application/gzip", ".svg": "image/svg+xml"},
    **{".webp": "image/webp", ".woff2": "font/woff2"},
}


@attrs.define(eq=False)
class File:
    """A regular file, open until nobody has it any more."""

    fd: int
    path: bytes
    info: os.stat_result

    def fileno(self) -> int:
        """Return its descriptor."""
        return self.fd

    @property
    def is_current(self) -> bool:
        """Whether its path names it still, as it was when it was opened."""
        was = self.info
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        return now.st_mtime_ns == was.st_mtime_ns and now.st_size == was.st_size and os.path.samestat(now, was)

    def __del__(self) -> None:
        os.close(self.fd)


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

    Raises:
        ValueError: there is no such path, for whatever server: not absolute, a broken escape, NUL, a name with a
            slash in it, `.` or `..`, which clients resolve themselves (RFC 3986, 6.2.2.3).
        FileNotFoundError: an empty name within, since nobody is sent to `//elsewhere` from here; a hidden name.
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
    """Tell whether a name is nobody's business: it begins with a dot, and is not that of RFC 8615."""
    return name.startswith(b".") and name != b".well-known"


@attrs.frozen
class Files:
    """The directory that is served: any path of it."""

    root: bytes = attrs.field(converter=lambda path: os.path.realpath(os.fsencode(path)))

    def find(self, path: str) -> Found:
        """Return what *path* names, which is escaped and has no query."""
        try:
            names = names_of(path)
            real = self._resolve(names)
            info = os.stat(real)
            if not stat.S_ISDIR(info.st_mode):
                return self._open(real) if names[-1] and stat.S_ISREG(info.st_mode) else Nothing(404)
            if names[-1]:
                return Nothing(301, path + "/")
            try:
                return self._open(self._resolve((*names[:-1], INDEX)))
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
        file = File(fd, real, os.fstat(fd))
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
        """Return the real path of *names*; FileNotFoundError: it is not below the root, or not there."""
        return self._check(os.path.realpath(os.path.join(self.root, *names), strict=True))

    def _check(self, real: bytes) -> bytes:
        if os.path.commonpath((self.root, real)) != self.root:
            raise FileNotFoundError(errno.ENOENT, "outside of what is served")
        return real
