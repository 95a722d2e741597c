"""Deadlines of one connection, by name: moments, and silences that must not last. Pure: `now` is an argument.

Lazy: what happens on the connection only notes the moment. One timer, which is nobody's here, asks `next` when it fires, and
is set anew to what it is told. So a byte costs no work on a heap, and thousands of connections one entry each.
"""

from __future__ import annotations

from math import inf

import attrs

#: Silences: nothing in either direction, nothing in, nothing out although something is queued.
ROLLING = ("idle", "read", "write")


@attrs.define(eq=False)
class Deadlines:
    """What one connection has to keep."""

    #: When bytes last came, and when the kernel last took any.
    heard: float
    moved: float
    _moments: dict[str, float] = attrs.field(factory=dict, init=False)
    #: How many seconds, and since when at the earliest.
    _silences: dict[str, tuple[float, float]] = attrs.field(factory=dict, init=False)

    def set(self, kind: str, seconds: float, now: float) -> None:
        """Give *kind* so many *seconds*: of silence from *now* on for one of `ROLLING`, in all for any other."""
        if kind in ROLLING:
            self._silences[kind] = seconds, now
        else:
            self._moments[kind] = now + seconds

    def drop(self, kind: str) -> None:
        """Let *kind* take any time."""
        self._silences.pop(kind, None)
        self._moments.pop(kind, None)

    def has(self, kind: str) -> bool:
        """Tell whether *kind* has a deadline."""
        return kind in self._silences or kind in self._moments

    def next(self, *, is_sending: bool) -> tuple[float, str]:
        """Return the next moment, and what is late then; infinity if there is none."""
        due, late = inf, ""
        for kind, moment in self._moments.items():
            if moment < due:
                due, late = moment, kind
        for kind, (seconds, begun) in self._silences.items():
            if kind == "write" and not is_sending:
                continue
            since = begun
            if kind != "read" and self.moved > since:
                since = self.moved
            if kind != "write" and self.heard > since:
                since = self.heard
            if since + seconds < due:
                due, late = since + seconds, kind
        return due, late
