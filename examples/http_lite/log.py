"""The access log: one line per request, in the common log format, on a text stream.

Lines of one pass of the loop are written together. Writing may block if whoever reads the stream does not keep up; a stream
that breaks is given up, and the server goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

import attrs

from examples.http_lite.request import Request

#: What could end a quoted string or a line.
_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\", **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 161))}}


@attrs.define(eq=False)
class AccessLog:
    """Writes lines to *stream*, or drops them if that is None.

    Args:
        stream: where to.
        call_soon: calls what it is given soon, once; `Reactor.call_soon`.
        clock: returns the seconds since the epoch; `System.time`, so that a replay writes the same lines.
    """

    stream: TextIO | None
    call_soon: Callable[[Callable[[], None]], object]
    clock: Callable[[], float] = time.time
    _lines: list[str] = attrs.field(init=False, repr=False, factory=list)
    _second: int = attrs.field(init=False, default=-1)
    _stamp: str = attrs.field(init=False, default="")

    def note(self, client: str, request: Request, status: int, sent: int) -> None:
        """Note that *client*'s *request* was answered with *status* and *sent* bytes of a body."""
        if self.stream is None:
            return
        if not self._lines:
            self.call_soon(self.flush)
        line = request.line.translate(_ESCAPES)
        self._lines.append(f'{client} - - [{self._now()}] "{line}" {status} {sent or "-"}\n')

    def flush(self) -> None:
        """Write what was noted."""
        lines, self._lines = self._lines, []
        if self.stream is None or not lines:
            return
        try:
            self.stream.write("".join(lines))
            self.stream.flush()
        except (OSError, ValueError):  # ValueError: it is closed
            self.stream = None

    def _now(self) -> str:
        second = int(self.clock())
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))
        return self._stamp
