"""What the server says of itself: to whoever balances load, to Prometheus, and to people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import attrs

from examples.http_lite.app import App
from examples.http_lite.connection import Connection, Site
from examples.http_lite.request import Request
from examples.http_lite.response import Answer, page, status_page
from reactor import Reactor

#: The status page comes anew so often, and shows so many exchanges under way, the slowest first.
REFRESH_SECONDS, SLOWEST = 2, 20
#: What is told of `Reactor.stats`; the others count up.
_GAUGES = ("connections", "timers", "bytes_queued", "thread_calls", "longest_phase")
_COUNTERS = ("accepted", "errors", "slow_phases", "seconds_idle")


@attrs.define(eq=False)
class Report:
    """Tells of one server."""

    site: Site
    reactor: Reactor
    #: When people have looked last, and the numbers of then.
    _looked: float = attrs.field(init=False, default=attrs.Factory(lambda self: self.reactor.time(), takes_self=True))
    _seen: dict[str, float] = attrs.field(init=False, factory=dict)

    def add_routes(self, app: App, *, is_open: bool) -> None:
        """Give *app* `/healthz`, and, for clients on this machine unless it *is_open*, `/status` and `/metrics`.

        Routes of these names that it has itself stay.
        """

        def hidden(show: Callable[[], Answer]) -> Callable[[Request], Answer]:
            here = ("-", "127.0.0.1", "::1", "::ffff:127.0.0.1")
            return lambda _: show() if is_open or app.client in here else status_page(404)

        ready, draining = Answer(200, b"ready\n"), Answer(503, b"draining\n")
        app.add_unless_there("/healthz", lambda _: draining if self.site.is_draining else ready)
        app.add_unless_there("/metrics", hidden(self.metrics))
        app.add_unless_there("/status", hidden(self.page))

    def numbers(self) -> dict[str, float]:
        """Return what is counted."""
        stats, served = self.reactor.stats(), self.site.served + sum(each.served for each in self.connections())
        return {"requests": served, **{name: getattr(stats, name) for name in _GAUGES + _COUNTERS}}

    def connections(self) -> list[Connection]:
        """Return all that are there, those with the oldest exchanges first."""
        found = [each for each in self.reactor.handlers if isinstance(each, Connection)]
        return sorted(found, key=lambda each: each.began)

    def metrics(self) -> Answer:
        """Return the numbers as Prometheus reads them; 404 without `prometheus_client`."""
        try:
            from prometheus_client import CollectorRegistry, generate_latest
        except ImportError:
            return status_page(404)
        registry = CollectorRegistry()
        registry.register(self)
        return Answer(200, generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8")

    def collect(self) -> Iterator[Any]:
        """Return the numbers; called by `prometheus_client`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, value in self.numbers().items():
            family = GaugeMetricFamily if name in _GAUGES else CounterMetricFamily
            yield family(f"http_lite_{name}", name.replace("_", " "), value)

    def page(self) -> Answer:
        """Return the numbers, what they have become in a second since the last look, and what is under way."""
        now, found = self.reactor.time(), self.numbers()
        passed = max(now - self._looked, 0.001)
        rate = {name: (found[name] - self._seen.get(name, 0.0)) / passed for name in found}
        self._looked, self._seen = now, found
        rows = [
            ("Connections", f"{found['connections']:.0f}, {rate['accepted']:.1f} new a second"),
            ("Requests", f"{found['requests']:.0f}, {rate['requests']:.1f} a second"),
            ("Busy", f"{100 * max(0.0, 1 - rate['seconds_idle']):.0f} %"),
            ("Waiting to be sent", f"{found['bytes_queued']:,.0f} bytes"),
            ("Errors of handlers", f"{found['errors']:.0f}"),
        ]
        for each in [each for each in self.connections() if each.request is not None][:SLOWEST]:
            age = f"{each.phase.name.lower()} for {now - each.began:.1f} s, {each.sent:,} bytes, {each.client}"
            rows.append((escape(each.request.line[:80]) if each.request else "", age))
        cells = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows)
        title = "Draining" if self.site.is_draining else "Serving"
        return page(200, title, f"<table>{cells}</table>", ("Refresh", str(REFRESH_SECONDS)), ("Cache-Control", "no-store"))
