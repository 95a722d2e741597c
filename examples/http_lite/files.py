"""Files: what a request's path names, below one directory and never outside of it.

Every component of a path is opened by itself, relative to the directory before it and without following symbolic links, so
that nobody can exchange one for a link between a check and its use. Only when a link is in the way is the path resolved; if
it still is below the root, what it resolves to is opened in the same manner. Where the platform cannot open relative to a
directory (Windows), the resolved path is checked and opened at once.

Knows the file system, and neither sockets nor HTTP messages; statuses are what it answers where there is nothing to serve.
The caller owns the descriptors that it gets.
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
_FILE_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_NOCTTY", "O_BINARY", "O_NOINHERIT")
)
_FOLDER_FLAGS = _FILE_FLAGS | getattr(os, "O_DIRECTORY", 0)
_OPENS_RELATIVE = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")

#: open(2): a link where none is followed. EMLINK on FreeBSD, ENOTDIR for one in the middle.
_LINK_ERRORS = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR)
#: What an errno of open(2) is to the client; anything else is 500.
_STATUS_OF_ERROR = {
    **dict.fromkeys([errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENAMETOOLONG, errno.EINVAL], 404),
    **dict.fromkeys([errno.EACCES, errno.EPERM], 403),
    **dict.fromkeys([errno.EMFILE, errno.ENFILE, errno.ENOMEM], 503),
}

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: What no name contains. On Windows these would lead to other directories, drives and streams.
_NOT_IN_NAMES = re.compile(rb"[/\0\\:]" if os.name == "nt" else rb"[/\0]")

#: What browsers must be told right, whatever the machine's own tables say.
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}


@attrs.define(eq=False)
class File:
    """A regular file, open."""

    fd: int
    size: int
    changed_ns: int
    content_type: str

    def close(self) -> None:
        """Close the descriptor. Closing twice is allowed."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


@attrs.frozen
class Folder:
    """A directory without an index: the names in it that would be served, and what is known of each."""

    path: str
    entries: list[tuple[bytes, os.stat_result]]
    #: Whether there are more than `entries`.
    is_cut: bool


@attrs.frozen
class Elsewhere:
    """A directory whose URL lacks the slash at its end."""

    location: str


@attrs.frozen
class Nothing:
    """Nothing to serve, for the reason that the status gives."""

    status: int


Found: TypeAlias = "File | Folder | Elsewhere | Nothing"


@lru_cache(maxsize=1024)
def content_type(suffix: str) -> str:
    """Return the media type for a file name's *suffix*: the last one, with its dot."""
    kind, encoding = mimetypes.guess_type("file" + suffix)
    if encoding:  # an archive is sent as what it is, not as what is in it
        kind = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(encoding)
    kind = _TYPES.get(suffix.lower(), kind) or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def names_of(path: str) -> tuple[bytes, ...]:
    """Return the names that lead to what an escaped *path* means; the last one is empty for a directory.

    Raises:
        ValueError: there is no such path, for whatever server: not absolute, a broken escape, NUL, a name with a
            slash in it, `.` or `..`, which clients resolve themselves (RFC 3986, 6.2.2.3).
        FileNotFoundError: an empty name within; nobody is sent to `//elsewhere` from here.
    """
    if not path.startswith("/") or _BAD_ESCAPE.search(path):
        raise ValueError("no path, or a broken escape")
    names = tuple(map(unquote_to_bytes, path[1:].encode("latin-1").split(b"/")))
    for name in names:
        if name in (b".", b"..") or _NOT_IN_NAMES.search(name):
            raise ValueError("no name of a file")
    if b"" in names[:-1]:
        raise FileNotFoundError(errno.ENOENT, "an empty name")
    return names


def _real_path(path: str | bytes | os.PathLike[str]) -> bytes:
    return os.path.realpath(os.fsencode(path))


@attrs.frozen
class Files:
    """The directory that is served.

    Args:
        root: any path of a directory.
    """

    root: bytes = attrs.field(converter=_real_path)

    def find(self, path: str) -> Found:
        """Return what *path* names, which is escaped and has no query."""
        try:
            names = names_of(path)
            return self._folder(names[:-1]) if not names[-1] else self._file(names, path)
        except ValueError:
            return Nothing(400)
        except OSError as error:
            return Nothing(_STATUS_OF_ERROR.get(error.errno or 0, 500))

    def _file(self, names: tuple[bytes, ...], path: str) -> Found:
        fd, info = self._open(names)
        if fd >= 0:
            return _opened(fd, info, os.path.splitext(os.fsdecode(names[-1]))[1])
        return Elsewhere(path + "/") if stat.S_ISDIR(info.st_mode) else Nothing(404)

    def _folder(self, names: tuple[bytes, ...]) -> Found:
        try:
            fd, info = self._open((*names, INDEX))
        except OSError as error:
            if _STATUS_OF_ERROR.get(error.errno or 0) != 404:
                raise
        else:
            if fd >= 0:
                return _opened(fd, info, ".html")
        return self._list(names)

    def _list(self, names: tuple[bytes, ...]) -> Folder:
        """Return the directory's entries: no links that lead out or nowhere, no devices, FIFOs or sockets."""
        real = self._resolve(names)
        if not _OPENS_RELATIVE:
            return self._scan(names, real, real)
        fd, _ = _walk(self._split(real), _FOLDER_FLAGS)
        try:
            return self._scan(names, real, fd)
        finally:
            os.close(fd)

    def _scan(self, names: tuple[bytes, ...], real: bytes, place: bytes | int) -> Folder:
        entries: list[tuple[bytes, os.stat_result]] = []
        with os.scandir(place) as found:
            for entry in found:
                if len(entries) == ENTRIES_MAX:
                    break
                info = self._look(real, entry)
                if info is not None and (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
                    entries.append((os.fsencode(entry.name), info))
            is_cut = len(entries) == ENTRIES_MAX
        return Folder(os.fsdecode(b"/".join((b"", *names, b""))), entries, is_cut)

    def _look(self, real: bytes, entry: os.DirEntry[str] | os.DirEntry[bytes]) -> os.stat_result | None:
        """Return what an entry is, or None if it would not be served."""
        try:
            if entry.is_symlink():
                self._resolve((*self._below(real), os.fsencode(entry.name)))
            return entry.stat()
        except OSError:
            return None

    def _open(self, names: tuple[bytes, ...]) -> tuple[int, os.stat_result]:
        """Return an open regular file and what it is; or -1 and what is there instead."""
        if not _OPENS_RELATIVE:
            return _walk((self._resolve(names),))
        try:
            return _walk((self.root + b"/" + names[0], *names[1:]))
        except OSError as error:
            if error.errno not in _LINK_ERRORS:
                raise
        return _walk(self._split(self._resolve(names)))

    def _resolve(self, names: tuple[bytes, ...]) -> bytes:
        """Return the real path of *names*.

        Raises:
            FileNotFoundError: it is not below the root, or not there.
        """
        real = os.path.realpath(os.path.join(self.root, *names), strict=True)
        if os.path.commonpath((self.root, real)) != self.root:
            raise FileNotFoundError(errno.ENOENT, "outside of what is served")
        return real

    def _below(self, real: bytes) -> tuple[bytes, ...]:
        """Return the names that lead from the root to *real*."""
        sep = os.fsencode(os.sep)
        return tuple(filter(None, real[len(self.root) :].split(sep)))

    def _split(self, real: bytes) -> tuple[bytes, ...]:
        """Return what `_walk` takes to open *real*."""
        first, *others = self._below(real) or (b".",)
        return (self.root + b"/" + first, *others)


def _opened(fd: int, info: os.stat_result, suffix: str) -> File:
    return File(fd, info.st_size, info.st_mtime_ns, content_type(suffix))


def _walk(names: tuple[bytes, ...], flags: int | None = None) -> tuple[int, os.stat_result]:
    """Go through directories to the last of *names*, following no links; the first one is a whole path.

    What is there is looked at before it is opened: opening a FIFO or a device does something to it.

    Returns:
        the open descriptor of a regular file, or -1 if it is none and no *flags* are given; and what it is.
    """
    *folders, last = names
    parent: int | None = None
    try:
        for name in folders:
            child = os.open(name, _FOLDER_FLAGS, dir_fd=parent)
            if parent is not None:
                os.close(parent)
            parent = child
        info = os.stat(last, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            raise OSError(errno.ELOOP, "a symbolic link")
        if flags is None and not stat.S_ISREG(info.st_mode):
            return -1, info
        fd = os.open(last, _FILE_FLAGS if flags is None else flags, dir_fd=parent)
    finally:
        if parent is not None:
            os.close(parent)
    info = os.fstat(fd)
    if flags is None and not stat.S_ISREG(info.st_mode):  # exchanged meanwhile
        os.close(fd)
        return -1, info
    return fd, info
