"""The directive `benchmark-results`: what `python -m benchmarks` has written, as a table, so that no number is copied."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive
from state_tables import row

if TYPE_CHECKING:
    from sphinx.application import Sphinx

RESULTS = Path(__file__).parent.parent / "plots" / "results.json"
HEAD = ("what", "ours", "to the named peer", "reach")


def lines(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the table's lines: one for each goal of a row."""
    for each in found["rows"].values():
        ours, unit = each["ours"], each["unit"]
        what, said = each["title"], ""
        for peer, verdict in each["verdicts"].items():
            mine = ours + "".join(peer.partition(" @ ")[1:])  # at the same point
            cost = f"{statistics.median(sample['cost'] for sample in each['samples'][mine]):,.1f} {unit}"
            ratios = each["ratios"].get(peer)
            ratio = f"{statistics.median(ratios):.2f} of {peer} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
            yield what, "" if cost == said else cost, ratio, verdict
            what, said = "", cost


class BenchmarkResults(Directive):
    """`benchmark-results`, without arguments."""

    def run(self) -> list[nodes.Node]:
        """Draw it, and say on what machine it was measured."""
        self.state.document.settings.record_dependencies.add(str(RESULTS))
        found = json.loads(RESULTS.read_text("utf-8"))
        machines = [each["machine"] for each in found["rows"].values()]
        loads = sorted(machine["load_average"][0] for machine in machines)
        kinds = {f"{machine['python']}, {machine['cpu']}, {len(machine['cores'])} cores" for machine in machines}
        said = f"{'; '.join(sorted(kinds))}; load average {loads[0]:.1f} to {loads[-1]:.1f}."
        table = nodes.tgroup(
            "",
            *(nodes.colspec(colwidth=width) for width in (5, 2, 5, 4)),
            nodes.thead("", row(map(nodes.Text, HEAD))),
            nodes.tbody("", *(row(map(nodes.Text, line)) for line in lines(found))),
            cols=len(HEAD),
        )
        return [nodes.paragraph("", said), nodes.table("", table)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("benchmark-results", BenchmarkResults)
    return {"parallel_read_safe": True}
