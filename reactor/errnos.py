"""What an errno of `accept`, `connect`, `recv` or `send` means for the one who made the call: tables, with sources.

Numbers that a platform does not have are left out; Windows' own (WSAE…) stand under their POSIX names in Python.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from enum import Enum, auto

from reactor.errors import CloseKind


def _numbers(*names: str) -> Iterator[int]:
    return (getattr(errno, name) for name in names if hasattr(errno, name))


class Accepting(Enum):
    """What to do when `accept` fails."""

    DRAINED = auto()  # nobody waits (any more)
    SKIP = auto()  # it concerned one connection only: go on
    REST = auto()  # descriptors or memory are used up: stop listening for a while
    DEAD = auto()  # the listening socket itself is gone: close


#: accept(2), "Error handling": Linux passes pending network errors of the new connection; more were met by trio.
ACCEPT: Mapping[int, Accepting] = {
    **dict.fromkeys(
        _numbers(
            *("ECONNABORTED", "EPROTO", "EPERM", "EINTR", "ECONNRESET", "ETIMEDOUT", "ENETDOWN", "ENETUNREACH"),
            *("EHOSTDOWN", "EHOSTUNREACH", "ENONET", "ENOPROTOOPT", "EOPNOTSUPP", "ENOSR"),
            *("ESOCKTNOSUPPORT", "EPROTONOSUPPORT"),
        ),
        Accepting.SKIP,
    ),
    **dict.fromkeys(_numbers("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"), Accepting.REST),
    **dict.fromkeys(_numbers("EBADF", "EINVAL", "ENOTSOCK"), Accepting.DEAD),
    **dict.fromkeys(_numbers("EAGAIN", "EWOULDBLOCK"), Accepting.DRAINED),
}

#: Of those, the ones that giving up a reserved descriptor helps against.
OUT_OF_DESCRIPTORS = frozenset(_numbers("EMFILE"))


#: sendfile(2), "Notes" and "Errors": this pair of descriptors cannot; read and send instead.
CANNOT_SENDFILE = frozenset(_numbers("EINVAL", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "ENOTSOCK", "EOVERFLOW"))


class Answer(Enum):
    """What `connect` on a non-blocking socket said."""

    CONNECTED = auto()
    PENDING = auto()  # writability will tell
    RETRY = auto()  # nothing was started: call again later
    FAILED = auto()


_CONNECT: Mapping[int, Answer] = {
    0: Answer.CONNECTED,
    errno.EISCONN: Answer.CONNECTED,
    **dict.fromkeys(_numbers("EINPROGRESS", "EALREADY", "EINTR"), Answer.PENDING),
}


def connect_answer(family: int, number: int) -> Answer:
    """Return what errno *number* (0: success) from `connect` on a socket of *family* means.

    EAGAIN is the trap. connect(2): on a Unix socket the backlog is full and *nothing was started*; on any other
    socket of Linux the ephemeral ports are used up. Only where EWOULDBLOCK is a number of its own (Windows) does
    it mean "in progress".
    """
    if number in _CONNECT:
        return _CONNECT[number]
    if number == errno.EAGAIN:
        return Answer.RETRY if family == getattr(socket, "AF_UNIX", None) else Answer.FAILED
    return Answer.PENDING if number == errno.EWOULDBLOCK else Answer.FAILED


#: `send` and `recv` will work later. EWOULDBLOCK, EINTR: recv(2); ENOBUFS: send(2), as macOS reports a full queue.
TRY_AGAIN = frozenset(_numbers("EAGAIN", "EWOULDBLOCK", "EINTR", "ENOBUFS"))

_ENDINGS: Mapping[int, CloseKind] = {
    **dict.fromkeys(_numbers("ECONNRESET", "EPIPE", "ECONNABORTED", "ESHUTDOWN", "ENOTCONN", "ENETRESET"), CloseKind.RESET),
    **dict.fromkeys(_numbers("ETIMEDOUT"), CloseKind.TIMEOUT),  # tcp(7): keepalive or TCP_USER_TIMEOUT gave up
}


def ending(error: OSError) -> CloseKind:
    """Return how a connection ended on which `send` or `recv` failed with *error*."""
    return _ENDINGS.get(error.errno or 0, CloseKind.ERROR)


def name(error: OSError) -> str:
    """Return the symbol of an error's number, such as "EMFILE"."""
    return errno.errorcode.get(error.errno or 0, str(error.errno))
