"""Shrink: from a run with many faults to one with the few that matter.

Strikes have names that do not depend on each other, so some can be left out and the rest strike as before. The runs are
those of a simulation: virtual time, and the same result each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from reactor.errors import UsageError
from reactor.testing.faults import KINDS, Faults
from reactor.testing.network import Network
from reactor.testing.simulation import Simulation

#: Runs that `shrink` makes at most.
RUNS_MAX = 500


@attrs.frozen
class Shrunk:
    """What `shrink` has found. As text it is the line that runs it again."""

    #: The test's name.
    name: str
    #: As it was given.
    seed: int
    #: Those that are left: no kind that does not matter, and in `only` the strikes that do.
    faults: Faults
    #: As it was given.
    network: Network | None
    #: What the last run that failed raised.
    error: Exception
    #: How many runs it took.
    runs: int
    #: Whether each strike that is left is needed; if not, the bound on runs came first.
    is_minimal: bool

    def __str__(self) -> str:
        network = "" if self.network is None else f", network={_call(self.network)}"
        return f"with Simulation({self.seed}{network}, faults={_call(self.faults)}) as sim: {self.name}(sim)"


def shrink(
    test: Callable[[Simulation], object],
    seed: int,
    faults: Faults,
    *,
    network: Network | None = None,
    runs_max: int = RUNS_MAX,
) -> Shrunk:
    """Leave out faults for as long as *test* fails: first whole kinds, then single strikes.

    Args:
        test: takes a new simulation, which is closed after it, and raises on failure. A failure counts if it is of the
            same class as the first one.
        seed: one that fails.
        faults: those with which it does.
        network: what the links are like.
        runs_max: how often *test* is run at most.

    Raises:
        UsageError: *test* does not fail.
    """
    runs = _Runs(test, seed, faults, network, runs_max)
    kept = runs.fails(None)
    if kept is None:
        raise UsageError(f"{runs.name} passes with seed {seed} and these faults; there is nothing to shrink")
    kept = runs.without(kept, [kept, *_by_kind(kept)])
    size = max(1, len(kept) // 2)
    while kept:
        before = kept
        kept = runs.without(kept, [kept[start : start + size] for start in range(0, len(kept), size)])
        if size > 1:
            size //= 2
        elif kept == before:
            break
    assert runs.error is not None
    left = {kind for kind in KINDS if any(name.startswith(f"{kind}#") for name in kept)}
    changes: dict[str, Any] = {kind: 0.0 for kind in KINDS if kind not in left}
    found = attrs.evolve(faults, **changes, only=kept)
    return Shrunk(runs.name, seed, found, network, runs.error, runs.made, is_minimal=runs.made < runs_max)


@attrs.define(eq=False)
class _Runs:
    """Runs of one test."""

    test: Callable[[Simulation], object]
    seed: int
    faults: Faults
    network: Network | None
    most: int
    made: int = attrs.field(default=0, init=False)
    #: What the last failure was.
    error: Exception | None = attrs.field(default=None, init=False)

    @property
    def name(self) -> str:
        return getattr(self.test, "__name__", "test")

    def fails(self, kept: list[str] | None) -> list[str] | None:
        """Run with the strikes *kept*, None for all; return those that struck if it fails as before, else None."""
        if self.made >= self.most:
            return None
        self.made += 1
        only = self.faults.only if kept is None else kept
        sim = Simulation(self.seed, network=self.network, faults=attrs.evolve(self.faults, only=only))
        try:
            with sim:
                self.test(sim)
        except Exception as error:
            if self.error is None or type(error) is type(self.error):
                self.error = error
                return list(sim.strikes)
        return None

    def without(self, kept: list[str], groups: list[list[str]]) -> list[str]:
        """Leave out each of the *groups* that is not needed; return what is left."""
        for group in groups:
            rest = [name for name in kept if name not in group]
            if len(rest) < len(kept):
                struck = self.fails(rest)
                if struck is not None:
                    kept = struck  # what has not struck is not needed either
        return kept


def _by_kind(names: list[str]) -> list[list[str]]:
    return [[name for name in names if name.startswith(f"{kind}#")] for kind in KINDS]


def _call(options: Any) -> str:
    """Return the expression that makes *options*, without what is as by default."""
    shown = []
    for field in attrs.fields(type(options)):
        value = getattr(options, field.name)
        if value != field.default:
            text = f"{{{', '.join(map(repr, sorted(value)))}}}" if isinstance(value, frozenset) and value else repr(value)
            shown.append(f"{field.name}={text}")
    return f"{type(options).__name__}({', '.join(shown)})"
