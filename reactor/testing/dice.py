"""Everything that a simulation leaves to chance, drawn from one seed. Pure, and the same on every Python.

Each kind of decision has a stream of its own, so that leaving one fault out does not change when another one strikes. Of
`random.Random` only `random()` and `getrandbits()` are used, whose results for a seed are promised not to change.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from random import Random
from typing import Any

import attrs

#: Nothing is drawn more finely than this.
_STEPS = 1 << 30


@attrs.define(eq=False)
class Stream:
    """Numbers for one purpose."""

    _random: Random

    def below(self, limit: int) -> int:
        """Return a whole number from 0 to *limit* - 1."""
        return (self._random.getrandbits(30) * limit) >> 30

    def between(self, low: float, high: float) -> float:
        """Return a number from *low* to *high*."""
        return low + (high - low) * (self._random.getrandbits(30) / _STEPS)

    def chance(self, rate: float) -> bool:
        """Tell whether something strikes that strikes at *rate*, from 0 to 1."""
        return rate > 0 and self._random.getrandbits(30) < rate * _STEPS

    def shuffle(self, items: MutableSequence[Any]) -> None:
        """Put *items* into another order."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]


@attrs.define(eq=False)
class Die:
    """One kind of fault: when it strikes. The n-th strike has a name, `kind#n`, and details of its own.

    Between two strikes lies a gap drawn from 1 to twice the mean: as good as any law, and cheaper than a draw each time.
    """

    kind: str
    rate: float
    _seed: str
    #: Of which strikes the others are left out; None: none.
    _kept: frozenset[str] | None
    _struck: Callable[[str], None]
    strikes: int = attrs.field(init=False, default=0)
    _gaps: Stream = attrs.field(init=False)
    _gap: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._gaps = Stream(Random(self._seed))
        self._gap = self._draw()

    @property
    def name(self) -> str:
        """The latest strike's name."""
        return f"{self.kind}#{self.strikes}"

    def roll(self) -> bool:
        """Tell whether it strikes, this time."""
        self._gap -= 1
        if self._gap:
            return False
        self._gap = self._draw()
        self.strikes += 1
        if self._kept is not None and self.name not in self._kept:
            return False
        self._struck(self.name)
        return True

    def details(self) -> Stream:
        """Return numbers that belong to the latest strike, whichever strikes were left out before."""
        return Stream(Random(f"{self._seed}/{self.strikes}"))

    def _draw(self) -> int:
        if self.rate <= 0:
            return -1  # counts down for ever
        return 1 + self._gaps.below(max(1, round(2 / min(1.0, self.rate)) - 1))


@attrs.define(eq=False)
class Dice:
    """All the streams of one seed."""

    seed: int
    kept: frozenset[str] | None = None
    #: The names of the strikes so far.
    struck: list[str] = attrs.field(init=False, factory=list)

    def stream(self, purpose: str) -> Stream:
        """Return the numbers for *purpose*."""
        return Stream(Random(f"{self.seed}/{purpose}"))

    def die(self, kind: str, rate: float) -> Die:
        """Return the die of a *kind* of fault that strikes at *rate*."""
        return Die(kind, rate, f"{self.seed}/{kind}", self.kept, self.struck.append)
