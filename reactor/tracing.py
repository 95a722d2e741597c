"""Tracing: what a reactor does, as a file for Perfetto (ui.perfetto.dev), and as a summary for people.

The file is JSON in the Trace Event Format of Chrome: an event for every pass, poll, hook, timer and call, and for the bytes
that each stream moved. What it costs is an entry in a list for each of them; it is not for production.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from reactor.instruments import Instrument
from reactor.loop import ErrorContext, Loop
from reactor.poller import describe
from reactor.program import run_program
from reactor.watch import name_of

if TYPE_CHECKING:
    from reactor.acceptor import Acceptor
    from reactor.addresses import Address
    from reactor.handler import Handler

#: Events that one trace keeps; those after them are counted, and are in the summary.
EVENTS_MAX = 1_000_000
#: Lines of each part of the summary.
SUMMARY_LINES = 10

Event = dict[str, Any]


@attrs.define(eq=False)
class Total:
    """Of one hook of one class, or of one callback."""

    calls: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more call."""
        self.calls += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)


@attrs.define(eq=False)
class Tracer(Instrument):
    """Keeps what it hears. Add it by `Reactor.instrument`, then `save` it.

    Args:
        limit: events to keep.
    """

    limit: int = EVENTS_MAX
    #: In the Trace Event Format; moments are in microseconds.
    events: list[Event] = attrs.field(factory=list, init=False, repr=False)
    #: By names such as "Echo.on_readable".
    totals: dict[str, Total] = attrs.field(factory=dict, init=False, repr=False)
    #: How many events there were that are not kept.
    dropped: int = attrs.field(default=0, init=False)
    passes: int = attrs.field(default=0, init=False)
    polled: float = attrs.field(default=0.0, init=False)
    traced: float = attrs.field(default=0.0, init=False)
    received: int = attrs.field(default=0, init=False)
    sent: int = attrs.field(default=0, init=False)

    # What it hears

    def on_pass(self, loop: Loop, began: float, ended: float) -> None:
        self.passes += 1
        self.traced += ended - began
        self._span("pass", "loop", began, ended, {"pass": loop.passes})

    def on_poll(self, loop: Loop, began: float, ended: float, ready: int) -> None:
        self.polled += ended - began
        self._span("poll", "loop", began, ended, {"ready": ready})
        self._add("queued", "C", ended, {"bytes": loop.queued})

    def on_dispatch(self, handler: Handler, hook: str, began: float, ended: float) -> None:
        self._count(f"{type(handler).__qualname__}.{hook}", began, ended, {"handler": describe(handler)})

    def on_timer(self, owner: Handler | None, callback: Callable[..., object], began: float, ended: float) -> None:
        self._count(name_of(callback), began, ended, {} if owner is None else {"owner": describe(owner)})

    def on_accept(self, acceptor: Acceptor, peer: Address) -> None:
        self._instant("accept", acceptor.reactor, {"peer": str(peer)})

    def on_connect(self, handler: Handler) -> None:
        self._instant("connect", handler.reactor, {"handler": describe(handler)})

    def on_read(self, handler: Handler, count: int) -> None:
        self.received += count
        self._instant("read", handler.reactor, {"handler": describe(handler), "bytes": count})

    def on_write(self, handler: Handler, count: int) -> None:
        self.sent += count
        self._instant("write", handler.reactor, {"handler": describe(handler), "bytes": count})

    def on_error(self, context: ErrorContext) -> None:
        self._add("error", "i", context.at, {"where": context.where, "error": type(context.exc).__name__}, s="p")

    # What is made of it

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace to a file that Perfetto opens.

        Raises:
            OSError: it cannot be written.
        """
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"displayTimeUnit": "ms", "traceEvents": self.events}, file)

    def summary(self) -> str:
        """Return the slowest hooks, those called most, and how the time was spent, as text."""
        share = self.polled / self.traced if self.traced else 0.0
        lines = [
            f"{self.passes} passes in {self.traced:.3f} s, {share:.0%} of that waiting in the poll",
            f"{self.received} bytes received, {self.sent} sent",
        ]
        if self.dropped:
            lines.append(f"{self.dropped} events are not in the trace, which keeps {self.limit}")
        for title, key in (
            ("most time", lambda total: total.seconds),
            ("slowest", lambda total: total.longest),
            ("most called", lambda total: total.calls),
        ):
            lines.append(f"{title}:")
            found = sorted(self.totals.items(), key=lambda item, key=key: -key(item[1]))  # type: ignore[misc]
            lines += [
                f"  {total.seconds:9.3f} s {total.calls:9} calls, the longest {total.longest * 1000:8.2f} ms  {name}"
                for name, total in found[:SUMMARY_LINES]
            ]
        return "\n".join(lines)

    # How

    def _count(self, name: str, began: float, ended: float, details: Event) -> None:
        total = self.totals.get(name)
        if total is None:
            total = self.totals[name] = Total()
        total.add(ended - began)
        self._span(name, "hook", began, ended, details)

    def _span(self, name: str, category: str, began: float, ended: float, details: Event) -> None:
        self._add(name, "X", began, details, cat=category, dur=(ended - began) * 1e6)

    def _instant(self, name: str, loop: Loop, details: Event) -> None:
        self._add(name, "i", loop.time(), details, s="t")

    def _add(self, name: str, phase: str, moment: float, details: Event, **more: Any) -> None:
        if len(self.events) >= self.limit:
            self.dropped += 1
            return
        self.events.append({"name": name, "ph": phase, "ts": moment * 1e6, "pid": 1, "tid": 1, "args": details, **more})


# python -m reactor trace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `python -m reactor trace` takes beside the program."""
    parser.add_argument("--out", default="trace.json", metavar="FILE", help="where the trace goes (default: %(default)s)")


def trace(options: argparse.Namespace) -> int:
    """Run a program, trace every reactor that it makes, save the trace, and print a summary; return the exit status.

    Ctrl-C and what the program raises end it as they would have, after the trace is saved.
    """
    tracer = Tracer()
    try:
        with _default_instrument(tracer):
            return run_program(options.program)
    finally:
        tracer.save(options.out)
        print(f"{tracer.summary()}\n{options.out}: open it at https://ui.perfetto.dev", file=sys.stderr)


@contextmanager
def _default_instrument(tracer: Tracer) -> Iterator[None]:
    before = Loop.default_instruments
    Loop.default_instruments = (*before, tracer)
    try:
        yield
    finally:
        Loop.default_instruments = before
