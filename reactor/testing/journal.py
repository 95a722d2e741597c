"""The journal of a simulation: what happened, in order, in virtual time; the same for the same seed, byte by byte."""

from __future__ import annotations

from collections import deque
from typing import Any

import attrs

from reactor.errors import CloseReason

#: Entries that are kept; the oldest are forgotten.
ENTRIES_MAX = 200_000
#: Of bytes that went somewhere, a line shows these.
SHOWN_BYTES_MAX = 24


def shown(value: object) -> str:
    """Return *value* as a line shows it: nothing in it differs from run to run, as the place of an object in memory does."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value[:SHOWN_BYTES_MAX])
        return f"{data!r}{f'…[{len(value)}]' if len(value) > SHOWN_BYTES_MAX else ''}"
    if isinstance(value, str):
        return value
    if isinstance(value, (BaseException, CloseReason)):
        return f"{type(value).__name__}({value})"
    if value is None or isinstance(value, (int, float, tuple)):
        return repr(value)
    return f"<{type(value).__name__}>"


def _kept(value: object) -> object:
    kind = type(value)
    if kind is int or kind is str or value is None or (kind is bytes and len(value) <= SHOWN_BYTES_MAX):  # type: ignore[arg-type]
        return value
    return shown(value)


@attrs.define(eq=False)
class Journal:
    """Entries `(moment, host, what, details)`."""

    _entries: deque[tuple[float, str, str, tuple[Any, ...]]] = attrs.field(
        factory=lambda: deque(maxlen=ENTRIES_MAX), repr=False
    )
    #: How many there have been.
    count: int = attrs.field(default=0, init=False)

    def note(self, moment: float, host: str, what: str, *details: Any) -> None:
        """Note that at *moment*, on *host*, *what* happened.

        What is small stays as it is until somebody asks; the rest is made into text now, lest the journal keep whole buffers
        and tracebacks, and what changes be shown as it is later.
        """
        self.count += 1
        self._entries.append((moment, host, what, tuple(map(_kept, details))))

    def lines(self, last: int | None = None) -> list[str]:
        """Return the entries, or the *last* of them, one line each."""
        entries = list(self._entries)
        if last is not None:
            entries = entries[len(entries) - last :] if last < len(entries) else entries
        return [
            f"{moment:.6f} {host} {what} {' '.join(map(shown, details))}".rstrip() for moment, host, what, details in entries
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())
