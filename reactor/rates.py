"""Rates: how many bytes a connection, or a group of them, may move. Pure: `now` is an argument, and nobody sleeps.

A bucket holds tokens, one a byte, and fills at the rate (RFC 2697 draws one). Whoever moves bytes takes tokens, more than
there are if need be; then nothing moves until the debt is paid.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from reactor.errors import UsageError


def _rate(instance: Any, field: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise UsageError(f"RateLimit.{field.name} is a finite number above 0, not {value!r}")


@attrs.frozen
class RateLimit:
    """At most *rate* bytes per second, and *burst* bytes at once after a rest; by default those of one second.

    Raises:
        UsageError: what is no finite number above 0.
    """

    rate: float = attrs.field(validator=_rate)
    burst: float = attrs.field(validator=_rate, default=attrs.Factory(lambda self: self.rate, takes_self=True))


@attrs.define(eq=False)
class RateGroup:
    """One limit for all streams that are given it. Given to one stream, it is that stream's own.

    Whoever comes while there are tokens takes them. Whoever comes later waits for a *share*, in the order of coming, so that
    nobody starves.
    """

    limit: RateLimit
    #: Bytes that a stream that has waited may move; by default those of 20 ms, 1024 at least. No more than the burst.
    share: int = attrs.field(default=attrs.Factory(lambda self: max(1024, int(self.limit.rate / 50)), takes_self=True))
    _tokens: float = attrs.field(init=False)
    _at: float = attrs.field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._tokens = self.limit.burst
        self.share = max(1, min(self.share, int(self.limit.burst)))

    def allowance(self, now: float) -> int:
        """Return how many bytes may move at *now*: 0, or at least a share."""
        self._fill(now)
        return 0 if self._tokens <= 0 else max(self.share, int(self._tokens))

    def take(self, count: int, now: float) -> None:
        """Note that *count* bytes have moved."""
        self._fill(now)
        self._tokens -= count

    def reserve(self, now: float) -> float:
        """Take a share in advance; return in how many seconds it is there, behind those of all who came before."""
        self.take(self.share, now)
        return max(0.0, -self._tokens / self.limit.rate)

    def give_back(self, count: int) -> None:
        """Return what was reserved and is not needed."""
        self._tokens = min(self.limit.burst, self._tokens + count)

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self.limit.burst, self._tokens + (now - self._at) * self.limit.rate)
            self._at = now
