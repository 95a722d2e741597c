"""What was measured, as a table for people, as JSON for programs, and as plots for docs/performance.md."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from benchmarks.rows import ROWS, Row, Sample, at

#: A load that is busier than this may be what is measured.
LOAD_BUSY_MAX = 0.95
#: Costs that differ by more than this ratio would look like none where they are small.
LINEAR_SPAN_MAX = 20


@attrs.define
class Measured:
    """A row's samples: one of each contestant in each round."""

    row: Row
    samples: dict[str, list[Sample]] = attrs.field(factory=dict)

    def values(self, name: str, key: str = "cost") -> list[float]:
        """Return what was found in each round."""
        return [sample[key] for sample in self.samples[name] if key in sample]

    def median(self, name: str, key: str = "cost") -> float | None:
        """Return the middle of it."""
        values = self.values(name, key)
        return statistics.median(values) if values else None

    def ours(self, name: str) -> str:
        """Return what of ours stands at the same point as *name*."""
        return self.row.ours + "".join(name.partition(" @ ")[1:])

    def ratios(self, name: str) -> list[float]:
        """Return our cost by that of *name*, in each round."""
        ours = self.ours(name)
        if ours not in self.samples or name == ours:
            return []
        pairs = zip(self.values(ours), self.values(name), strict=False)
        return [mine / theirs for mine, theirs in pairs if theirs]

    def verdict(self, name: str) -> str:
        """Return what became of a goal."""
        if name == self.row.ours and self.row.most is not None:
            cost = self.median(name)
            assert cost is not None
            return (
                f"at most {self.row.most:g}: {'met' if cost <= self.row.most else f'missed by {cost - self.row.most:.0f}'}"
            )
        goal = self.row.goals.get(name.partition(" @ ")[0])
        ratios = self.ratios(name)
        if goal is None or not ratios:
            return ""
        ratio = statistics.median(ratios)
        return f"at most {goal:.2f}: {'met' if ratio <= goal else f'missed by {ratio / goal - 1:.0%}'}"

    def table(self) -> Iterable[str]:
        """Yield the lines of a table."""
        rounds = max(map(len, self.samples.values()), default=0)
        yield f"{self.row.name}: {self.row.title} ({self.row.unit}, median of {rounds}, least to most)"
        for name in self.samples:
            cost = self.median(name)
            if cost is None:
                continue
            values, ratios = self.values(name), self.ratios(name)
            line = f"  {name:24}{cost:10.2f}  ({min(values):.2f} to {max(values):.2f})".ljust(60)
            if ratios:
                line += f"ours is {statistics.median(ratios):.2f} of it ({min(ratios):.2f} to {max(ratios):.2f})".ljust(38)
            else:
                line += " " * 38
            yield (line + self._beside(name) + "  " + self.verdict(name)).rstrip()

    def _beside(self, name: str) -> str:
        found = {key: self.median(name, key) for key in ("rate", "p50", "p99", "load", "server", "calls per wake-up")}
        words = {
            "rate": "{:9,.0f}/s",
            "p50": "p50 {:6.0f} us",
            "p99": "p99 {:6.0f} us",
            "load": "load {:4.0%} busy",
            "server": "server {:4.0%}",
            "calls per wake-up": "{:.0f} calls a wake-up",
        }
        return ", ".join(words[key].format(value) for key, value in found.items() if value is not None)


def warnings(measured: Iterable[Measured]) -> Iterable[str]:
    """Yield what makes a result doubtful: a load that was as busy as it could be while the server was not."""
    for each in measured:
        for name in each.samples:
            busy, server = each.median(name, "load"), each.median(name, "server")
            if busy is not None and server is not None and busy > LOAD_BUSY_MAX and server < busy:
                yield f"{each.row.name}, {name}: the load was busy {busy:.0%} of the time, the server {server:.0%}"


def write(measured: Iterable[Measured], machine: dict[str, object], target: Path) -> None:
    """Put the rows into the JSON file *target*, each with the machine it was measured on; what it has of others stays."""
    rows: dict[str, Any] = json.loads(target.read_text())["rows"] if target.exists() else {}
    rows |= {
        each.row.name: {
            "title": each.row.title,
            "unit": each.row.unit,
            "ours": each.row.ours,
            "machine": machine,
            "samples": each.samples,
            "ratios": {name: ratios for name in each.samples if (ratios := each.ratios(name))},
            "verdicts": {name: verdict for name in each.samples if (verdict := each.verdict(name))},
        }
        for each in measured
    }
    rows = {row.name: rows[row.name] for row in ROWS if row.name in rows}
    target.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


def plot(measured: Measured, target: Path) -> None:
    """Draw bars, the cheapest first; for a curve, lines over a logarithmic axis, on another one if they span much."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "reactor"  # the same picture for the same numbers
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt

    row = measured.row
    costs = {name: cost for name in measured.samples if (cost := measured.median(name)) is not None}
    figure, axes = plt.subplots(figsize=(7, 3.6 if row.curve else 0.8 + 0.32 * len(costs)), layout="constrained")
    if row.curve:
        lines: dict[str, list[tuple[int, float]]] = {}
        for name, cost in costs.items():
            who, number = at(name)
            lines.setdefault(who, []).append((number, cost))
        for who, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker="o", label=who)
        axes.set(xscale="log", xlabel=row.curve, ylabel=row.unit)
        if max(costs.values()) > LINEAR_SPAN_MAX * min(costs.values()):
            axes.set(yscale="log")
        else:
            axes.set(ylim=(0, None))
        axes.legend()
    else:
        names = sorted(costs, key=costs.__getitem__, reverse=True)
        middle = [costs[name] for name in names]
        spread = [
            [costs[name] - min(measured.values(name)) for name in names],
            [max(measured.values(name)) - costs[name] for name in names],
        ]
        colours = ["tab:orange" if name.startswith(row.ours) else "tab:blue" for name in names]
        axes.barh(names, middle, xerr=spread, color=colours, ecolor="gray")
        axes.set(xlabel=f"{row.unit}, less is better")
    axes.set_title(row.title, fontsize="medium")
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)
