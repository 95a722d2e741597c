"""The access log: one line per request, on a text stream, in the common or the combined log format or as JSON.

Lines of one pass of the loop are written together. Writing may block if whoever reads the stream does not keep up; a stream
that breaks is given up, and the server goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TextIO

import attrs

from examples.http_lite.request import Request

#: What could end a quoted string or a line.
_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\", **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 161))}}


@attrs.define(eq=False)
class AccessLog:
    """Writes lines to *stream*, or drops them if that is None."""

    stream: TextIO | None
    call_soon: Callable[[Callable[[], None]], object]
    clock: Callable[[], float] = time.time  # or that of the reactor's system, so that a replay writes the same lines
    form: str = "common"  # or "combined"; or "json", with the seconds, and why the connection was closed under an answer
    _lines: list[str] = attrs.field(init=False, repr=False, factory=list)
    _second: int = attrs.field(init=False, default=-1)
    _stamp: str = attrs.field(init=False, default="")

    def note(self, client: str, request: Request, status: int, sent: int, seconds: float, closed: str) -> None:  # noqa: PLR0913, PLR0917  # what a line says
        """Note what *client*'s *request* was answered with: a *status* (0: none), *sent* bytes of a body, in *seconds*."""
        if not self._lines:
            self.call_soon(self.flush)
        second, agent, referer = int(self.clock()), request.fields.get("user-agent"), request.fields.get("referer")
        if second != self._second:
            form = "%Y-%m-%dT%H:%M:%S%z" if self.form == "json" else "%d/%b/%Y:%H:%M:%S %z"
            self._second, self._stamp = second, time.strftime(form, time.localtime(second))
        if self.form == "json":
            line = json.dumps(
                {
                    "time": self._stamp,
                    "client": client,
                    "method": request.method,
                    "target": request.target,
                    "host": request.host,
                    "agent": agent,
                    "referer": referer,
                    "status": status,
                    "bytes": sent,
                    "seconds": round(seconds, 6),
                    "closed": closed or None,
                }
            )
        else:
            line = f'{client} - - [{self._stamp}] "{request.line.translate(_ESCAPES)}" {status or "-"} {sent or "-"}'
            if self.form == "combined":
                line += f' "{(referer or "-").translate(_ESCAPES)}" "{(agent or "-").translate(_ESCAPES)}"'
        self._lines.append(line + "\n")

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
