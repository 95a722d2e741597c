"""The tables themselves."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest

from reactor import IllegalMove, states

TABLES: dict[str, tuple[Mapping[Any, Mapping[Any, Any]], Enum]] = {
    "LIFE": (states.LIFE, states.Life.NEW),
    "READING": (states.READING, states.Reading.IDLE),
    "WRITING": (states.WRITING, states.Writing.IDLE),
    "PRESSURE": (states.PRESSURE, states.Pressure.LOW),
    "CONNECTING": (states.CONNECTING, states.Connecting.NEW),
    "DIALING": (states.DIALING, states.Dialing.NEW),
    "SOCKS": (states.SOCKS, states.Socks.METHOD),
    "RECONNECTING": (states.RECONNECTING, states.Reconnecting.NEW),
}


def test_every_table_of_the_module_is_tested() -> None:
    """No table is left out of this file."""
    assert set(TABLES) == {name for name, value in vars(states).items() if isinstance(value, Mapping) and name.isupper()}


@pytest.mark.parametrize("name", TABLES)
def test_every_state_is_a_key_and_can_be_reached(name: str) -> None:
    """A table has a row for each state, and each can be reached from the first."""
    table, first = TABLES[name]
    reached, todo = {first}, [first]
    while todo:
        for state in table[todo.pop()].values():
            if state not in reached:
                reached.add(state)
                todo.append(state)

    assert set(type(first)) == set(table) == reached


@pytest.mark.parametrize("name", TABLES)
def test_every_event_is_used(name: str) -> None:
    """No event is there that no state knows."""
    table, _ = TABLES[name]
    used = {event for row in table.values() for event in row}

    events: type[Enum] = type(next(iter(used)))

    assert used == set(events)


def test_move_returns_the_next_state() -> None:
    """A move is a look-up."""
    assert states.move(states.WRITING, states.Writing.OPEN, states.WritingEvent.FINISH) is states.Writing.FINISHING


def test_a_missing_row_is_an_illegal_move() -> None:
    """What the table does not have raises, and says which state and which event."""
    with pytest.raises(IllegalMove, match="Life.OVER has no move BIND"):
        states.move(states.LIFE, states.Life.OVER, states.LifeEvent.BIND)
