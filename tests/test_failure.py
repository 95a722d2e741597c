"""One error that says all: what was tried, what was answered, and how long it took."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from reactor import Attempt, ConnectError, ConnectTimeout, Inet, LookupFailed, NameNotFound, ProxyError, Unix
from reactor.failure import failure, no_answer

TARGET = Inet("example.org", 443)
SIX, FOUR = Inet("2001:db8::1", 443), Inet("192.0.2.1", 443)


def kernel(number: int) -> OSError:
    return OSError(number, os.strerror(number))


REFUSED = kernel(errno.ECONNREFUSED)
LOST = NameNotFound(-2, "no such name: 'example.org'")
DEAF = LookupFailed(-3, "Temporary failure in name resolution")


def told(*attempts: tuple[Any, OSError, float], **more: Any) -> ConnectError:
    made = [Attempt(*attempt) for attempt in attempts]
    return failure([TARGET], made, cause=made[-1].error, **more)


def test_it_reads_like_a_sentence() -> None:
    """Each address with its answer and its time, after the target and the deadline."""
    error = told((SIX, no_answer(), 4.7), (FOUR, REFUSED, 0.02), within=5)
    assert type(error) is ConnectTimeout
    assert error.strerror == (
        "cannot connect to example.org:443 within 5 s: [2001:db8::1]:443 no answer (4.7 s), 192.0.2.1:443 refused (0.02 s)"
    )
    assert [attempt.address for attempt in error.attempts] == [SIX, FOUR]
    assert error.errno == errno.ECONNREFUSED
    assert error.__cause__ is REFUSED
    assert error.phase == "connect"


def test_what_had_no_turn_is_named() -> None:
    """An address that was not tried is in the message, and not among the attempts."""
    error = told((SIX, no_answer(), 1.0), within=1, untried=[FOUR])
    assert str(error).endswith("[2001:db8::1]:443 no answer (1.0 s), 192.0.2.1:443 not tried")
    assert error.untried == (FOUR,)
    assert len(error.attempts) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (REFUSED, "refused"),
        (kernel(errno.ETIMEDOUT), "no answer"),
        (kernel(errno.ENETUNREACH), "unreachable"),
        (kernel(errno.EHOSTUNREACH), "unreachable"),
        (kernel(errno.ENOENT), "no such socket"),
        (kernel(errno.EACCES), os.strerror(errno.EACCES)),
        (OSError(errno.ECONNREFUSED, "it connected to itself"), "it connected to itself"),
        (OSError("without a number"), "without a number"),
        (LOST, "no such name"),
        (DEAF, "Temporary failure in name resolution"),
    ],
)
def test_errors_in_words(error: OSError, words: str) -> None:
    """Short words where the system's are long; what says more than its number is told as it is."""
    assert f"192.0.2.1:443 {words} (0.00 s)" in str(told((FOUR, error, 0.0)))


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([REFUSED], ConnectError),
        ([LOST], NameNotFound),
        ([LOST, LOST], NameNotFound),
        ([LOST, DEAF], LookupFailed),
        ([LOST, REFUSED], ConnectError),
        ([ProxyError(errno.EACCES, "407")], ProxyError),
        ([REFUSED, ProxyError(errno.EACCES, "407")], ProxyError),
    ],
)
def test_the_kind_says_what_to_do(errors: list[OSError], kind: type[ConnectError]) -> None:
    """A name that is not there is another error than an address that does not answer."""
    error = told(*((FOUR, each, 0.0) for each in errors))
    assert type(error) is kind
    assert error.errno == errors[-1].errno


def test_a_proxy_is_named_with_its_reply() -> None:
    """The way is part of the message, and what the proxy said can be asked for."""
    said = ProxyError(errno.EACCES, "407 Proxy Authentication Required")
    said.reply = 407
    error = told((FOUR, said, 0.5), via="HTTP proxy proxy:3128")
    assert str(error).endswith(
        "cannot connect to example.org:443 via HTTP proxy proxy:3128: "
        "192.0.2.1:443 407 Proxy Authentication Required (0.50 s)"
    )
    assert isinstance(error, ProxyError)
    assert error.reply == 407
    assert error.phase == "proxy"


def test_many_targets_are_counted() -> None:
    """A list of targets is named as far as it is short."""
    targets = [Unix("/a"), Unix("/b"), Unix("/c"), Unix("/d"), Unix("/e")]
    attempts = [Attempt(Unix("/a"), kernel(errno.ENOENT), 0.0)]
    assert "to unix:/a or unix:/b: " in str(failure(targets[:2], attempts, cause=attempts[0].error))
    assert "to unix:/a or unix:/b or unix:/c or 2 more: " in str(failure(targets, attempts, cause=attempts[0].error))
