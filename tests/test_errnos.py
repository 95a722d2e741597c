"""The tables of errnos."""

from __future__ import annotations

import errno
import socket

import pytest

from reactor import CloseKind, errnos
from reactor.errnos import Accepting, Answer


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (errno.EAGAIN, Accepting.DRAINED),
        (errno.ECONNABORTED, Accepting.SKIP),
        (errno.EPROTO, Accepting.SKIP),
        (errno.EMFILE, Accepting.REST),
        (errno.ENFILE, Accepting.REST),
        (errno.ENOBUFS, Accepting.REST),
        (errno.ENOMEM, Accepting.REST),
        (errno.EBADF, Accepting.DEAD),
        (errno.ENOTSOCK, Accepting.DEAD),
    ],
)
def test_accept_errors(number: int, meaning: Accepting) -> None:
    """Each errno of accept(2) means one of four things."""
    assert errnos.ACCEPT[number] is meaning


@pytest.mark.parametrize(
    ("family", "number", "answer"),
    [
        (socket.AF_INET, 0, Answer.CONNECTED),
        (socket.AF_INET, errno.EISCONN, Answer.CONNECTED),
        (socket.AF_INET, errno.EINPROGRESS, Answer.PENDING),
        (socket.AF_INET, errno.EALREADY, Answer.PENDING),
        (socket.AF_INET, errno.EINTR, Answer.PENDING),
        (socket.AF_INET, errno.ECONNREFUSED, Answer.FAILED),
        (socket.AF_INET, errno.EAGAIN, Answer.FAILED),
        (socket.AF_UNIX, errno.EAGAIN, Answer.RETRY),
        (socket.AF_UNIX, errno.ENOENT, Answer.FAILED),
    ],
)
def test_connect_errors(family: int, number: int, answer: Answer) -> None:
    """EAGAIN means that a Unix socket has started nothing, and that another has failed."""
    assert errnos.connect_answer(family, number) is answer


def test_windows_would_block_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where EWOULDBLOCK is a number of its own, connect says "in progress" with it."""
    monkeypatch.setattr(errno, "EWOULDBLOCK", 10035)
    assert errnos.connect_answer(socket.AF_INET, 10035) is Answer.PENDING
    assert errnos.connect_answer(socket.AF_INET, errno.EAGAIN) is Answer.FAILED


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ECONNRESET, CloseKind.RESET),
        (errno.EPIPE, CloseKind.RESET),
        (errno.ETIMEDOUT, CloseKind.TIMEOUT),
        (errno.EHOSTUNREACH, CloseKind.ERROR),
        (None, CloseKind.ERROR),
    ],
)
def test_endings(number: int | None, kind: CloseKind) -> None:
    """An errno of send or recv says how the connection ended."""
    error = OSError() if number is None else OSError(number, "text")

    assert errnos.ending(error) is kind


def test_errors_are_named_by_their_symbols() -> None:
    """Counters say EMFILE, not 24; what has no symbol says its number."""
    assert errnos.name(OSError(errno.EMFILE, "")) == "EMFILE"
    assert errnos.name(OSError(9999, "")) == "9999"
    assert errnos.name(OSError()) == "None"
