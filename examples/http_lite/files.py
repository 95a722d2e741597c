"""Files: what a request's path names, below one directory and never outside of it.

Every component of a path is opened by itself, relative to the directory before it and without following symbolic links, so
that nobody can exchange one for a link between a check and its use. Only when a link is in the way is the path resolved; if
it still is below the root, what it resolves to is opened in the same manner. Where the platform cannot open relative to a
directory (Windows), the resolved path is checked and opened at once.

Knows the file system, and neither sockets nor HTTP messages; statuses are what it answers where there is nothing to serve.
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
#: A name that begins with a dot is not served, but for this one (RFC 8615).
WELL_KNOWN = b".well-known"

#: Never wait (for the other end of a FIFO), never hand a descriptor on, never follow a link.
_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_NOCTTY", "O_BINARY", "O_NOINHERIT")
)
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
    ".gz": "application/gzip",  # an archive is sent as what it is, not as what is in it
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
    """A directory without an index: the names in it that would be served, and what is known of each."""

    path: str
    entries: list[tuple[bytes, os.stat_result]]
    #: Whether there are more than `entries`.
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
    for name in names:
        if name in (b".", b"..") or _NOT_IN_NAMES.search(name):
            raise ValueError("no name of a file")
    if b"" in names[:-1] or any(map(_is_hidden, names)):
        raise FileNotFoundError(errno.ENOENT, "an empty or hidden name")
    return names


def _is_hidden(name: bytes) -> bool:
    return name.startswith(b".") and name != WELL_KNOWN


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
            *folders, last = names_of(path)
            names = (*folders, last) if last else tuple(folders)
            fd, info = self._open(names)
            try:
                if stat.S_ISDIR(info.st_mode):
                    return Nothing(301, path + "/") if last else self._index(names) or self._list(names, fd)
                if last and fd >= 0:
                    keep, fd = fd, -1
                    return File(keep, os.path.join(self.root, *names), info)
                return Nothing(404)
            finally:
                if fd >= 0:
                    os.close(fd)
        except ValueError:
            return Nothing(400)
        except OSError as error:
            return Nothing(_STATUS_OF_ERROR.get(error.errno or 0, 500))

    def _index(self, folder: tuple[bytes, ...]) -> File | None:
        names = (*folder, INDEX)
        try:
            fd, info = self._open(names)
        except OSError as error:
            if _STATUS_OF_ERROR.get(error.errno or 0) != 404:
                raise
            return None
        file = File(fd, os.path.join(self.root, *names), info) if fd >= 0 else None
        return file if stat.S_ISREG(info.st_mode) else None

    def _list(self, names: tuple[bytes, ...], fd: int) -> Folder:
        """Return the directory's entries: no links that lead out or nowhere, no devices, FIFOs or sockets."""
        entries: list[tuple[bytes, os.stat_result]] = []
        with os.scandir(fd if fd >= 0 else self._resolve(names)) as found:
            for entry in found:
                name = os.fsencode(entry.name)
                if len(entries) == ENTRIES_MAX:
                    break
                try:
                    if entry.is_symlink():
                        self._resolve((*names, name))
                    info = entry.stat()
                except OSError:
                    continue
                if (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)) and not _is_hidden(name):
                    entries.append((name, info))
        return Folder(os.fsdecode(b"/".join((b"", *names, b""))).replace("//", "/"), entries, len(entries) == ENTRIES_MAX)

    def _open(self, names: tuple[bytes, ...]) -> tuple[int, os.stat_result]:
        """Return an open regular file or directory, and what it is; or -1 and what is there instead."""
        if not _OPENS_RELATIVE:
            return _look(self._resolve(names), None)
        try:
            return self._walk(names)
        except OSError as error:
            if error.errno not in _LINK_ERRORS:
                raise
        below = self._resolve(names)[len(self.root) :].split(os.fsencode(os.sep))
        return self._walk(tuple(filter(None, below)))

    def _walk(self, names: tuple[bytes, ...]) -> tuple[int, os.stat_result]:
        """Do the same without following links."""
        parent: int | None = None
        try:
            for name in (self.root, *names)[:-1]:
                child = os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=parent)
                if parent is not None:
                    os.close(parent)
                parent = child
            return _look((self.root, *names)[-1], parent)
        finally:
            if parent is not None:
                os.close(parent)

    def _resolve(self, names: tuple[bytes, ...]) -> bytes:
        """Return the real path of *names*; FileNotFoundError: it is not below the root, or not there."""
        real = os.path.realpath(os.path.join(self.root, *names), strict=True)
        if os.path.commonpath((self.root, real)) != self.root:
            raise FileNotFoundError(errno.ENOENT, "outside of what is served")
        return real


def _look(name: bytes, parent: int | None) -> tuple[int, os.stat_result]:
    """Open a regular file or a directory; what it is is looked at before: opening a FIFO or a device does something to it."""
    info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if stat.S_ISLNK(info.st_mode):
        raise OSError(errno.ELOOP, "a symbolic link")
    if not stat.S_ISREG(info.st_mode) and (parent is None and not _OPENS_RELATIVE or not stat.S_ISDIR(info.st_mode)):
        return -1, info
    fd = os.open(name, _FLAGS, dir_fd=parent)
    return fd, os.fstat(fd)  # exchanged meanwhile, it is as open as before
