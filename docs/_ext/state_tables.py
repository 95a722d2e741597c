"""The directive `state-table`: draws a table of states, so that the page cannot disagree with the code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from sphinx.application import Sphinx

NOTHING_CHANGES = "·"


def row(cells: Iterable[nodes.Node]) -> nodes.row:
    """Return a table's row of *cells*."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def draw(table: Mapping[Enum, Mapping[Enum, Enum]]) -> nodes.table:
    """Return *table* with a row for each state and a column for each event."""
    events = list(dict.fromkeys(event for moves in table.values() for event in moves))
    order = {event: place for place, event in enumerate(type(events[0]))}
    events.sort(key=lambda event: order[event])
    head = nodes.thead("", row([nodes.Text(""), *(nodes.literal("", event.name) for event in events)]))
    body = nodes.tbody()
    for state, moves in table.items():
        cells: list[nodes.Node] = [nodes.strong("", state.name)]
        for event in events:
            after = moves.get(event)
            cells.append(nodes.Text("" if after is None else NOTHING_CHANGES if after is state else after.name))
        body += row(cells)
    columns = (nodes.colspec(colwidth=1) for _ in range(len(events) + 1))
    return nodes.table("", nodes.tgroup("", *columns, head, body, cols=len(events) + 1))


class StateTable(Directive):
    """`state-table` with the name of a table of `reactor.states`, or of another module: `module:TABLE`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        module, _, name = self.arguments[0].rpartition(":")
        return [draw(getattr(import_module(module or "reactor.states"), name))]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("state-table", StateTable)
    return {"parallel_read_safe": True}
