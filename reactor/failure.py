"""Why no connection came about, in one error: every address that was tried, with its answer and its time. Pure."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from reactor.addresses import Address
from reactor.errors import Attempt, ConnectError, ConnectTimeout, LookupFailed, NameNotFound, ProxyError

#: In words that fit behind an address. Other errors are told in the system's.
_IN_WORDS = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "no answer",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ENOENT: "no such socket",
}
#: More targets than this are counted, not named.
TARGETS_NAMED = 3


def no_answer(text: str = "no answer") -> OSError:
    """Return the error of what was still under way at the deadline."""
    return TimeoutError(errno.ETIMEDOUT, text)


def failure(  # noqa: PLR0913  # all that there is to tell
    targets: Sequence[Address],
    attempts: Sequence[Attempt],
    *,
    cause: OSError,
    within: float | None = None,
    via: object = None,
    untried: Sequence[Address] = (),
) -> ConnectError:
    """Return the error for a connection to *targets* that did not come about.

    Args:
        targets: what was asked for.
        attempts: what was tried, in the order in which it was begun.
        cause: the error that came last.
        within: the deadline in seconds, if that was what ended it.
        via: the proxy, if there was one.
        untried: addresses whose turn had not come.
    """
    names = " or ".join(map(str, targets[:TARGETS_NAMED]))
    if len(targets) > TARGETS_NAMED:
        names += f" or {len(targets) - TARGETS_NAMED} more"
    deadline = "" if within is None else f" within {within:g} s"
    by_way_of = "" if via is None else f" via {via}"
    tried = [f"{each.address} {_words(each.error)} ({_time(each.elapsed)} s)" for each in attempts]
    tried += [f"{address} not tried" for address in untried]
    kind = _kind(attempts, timed_out=within is not None)
    error = kind(cause.errno, f"cannot connect to {names}{by_way_of}{deadline}: {', '.join(tried)}")
    error.attempts, error.untried, error.__cause__ = tuple(attempts), tuple(untried), cause
    if isinstance(error, ProxyError) and isinstance(cause, ProxyError):
        error.reply = cause.reply
    return error


def _kind(attempts: Sequence[Attempt], *, timed_out: bool) -> type[ConnectError]:
    if timed_out:
        return ConnectTimeout
    for kind in (NameNotFound, LookupFailed):
        if all(isinstance(each.error, kind) for each in attempts):
            return kind
    return ProxyError if isinstance(attempts[-1].error, ProxyError) else ConnectError


def _words(error: OSError) -> str:
    """Return what *error* says, in our own words if it says no more than its number does."""
    text = error.strerror or str(error)
    if isinstance(error, NameNotFound):
        return "no such name"
    number = error.errno or 0
    return _IN_WORDS.get(number, text) if text == os.strerror(number) else text


def _time(elapsed: float) -> str:
    return f"{elapsed:.2f}" if elapsed < 1 else f"{elapsed:.1f}"
