"""What the server says of itself: to whoever balances load, to Prometheus, and to people."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

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


def add_routes(app: App, site: Site, reactor: Reactor, *, is_open: bool) -> None:
    """Give *app* `/healthz`, and, for clients on this machine unless it *is_open*, `/status` and `/metrics`."""
    shown = {"at": reactor.time(), "served": 0.0, "accepted": 0.0, "seconds_idle": 0.0}

    def connections() -> list[Connection]:
        return [each for each in reactor.handlers if isinstance(each, Connection)]

    def numbers() -> dict[str, float]:
        stats = reactor.stats()
        served = site.served + sum(each.served for each in connections())
        return {"served": served, **{name: getattr(stats, name) for name in _GAUGES + _COUNTERS}}

    def may_see() -> bool:
        return is_open or app.client in ("-", "127.0.0.1", "::1", "::ffff:127.0.0.1")

    @app.route("GET", "/healthz")
    def healthz(_: Request) -> Answer:
        return Answer(503, b"draining\n") if site.is_draining else Answer(200, b"ready\n")

    class Collector:
        def collect(self) -> Iterator[Any]:
            from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

            for name, value in numbers().items():
                family = GaugeMetricFamily if name in _GAUGES else CounterMetricFamily
                yield family(f"http_lite_{name}", name.replace("_", " "), value)

    @app.route("GET", "/metrics")
    def metrics(_: Request) -> Answer:
        try:
            from prometheus_client import CollectorRegistry, generate_latest
        except ImportError:
            return status_page(404)
        if not may_see():
            return status_page(404)
        registry = CollectorRegistry()
        registry.register(Collector())
        return Answer(200, generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8")

    @app.route("GET", "/status")
    def status(_: Request) -> Answer:
        if not may_see():
            return status_page(404)
        now, found = reactor.time(), numbers()
        passed = max(now - shown["at"], 0.001)
        rate = {name: (found[name] - shown[name]) / passed for name in ("served", "accepted", "seconds_idle")}
        shown.update(found, at=now)
        facts = {
            "Connections": f"{found['connections']:.0f}, {rate['accepted']:.1f} new a second",
            "Requests": f"{found['served']:.0f}, {rate['served']:.1f} a second",
            "Busy": f"{100 * (1 - min(rate['seconds_idle'], 1)):.0f} %",
            "Waiting to be sent": f"{found['bytes_queued']:,.0f} bytes",
            "Errors of handlers": f"{found['errors']:.0f}",
        }
        busy = sorted((each for each in connections() if each.request is not None), key=lambda each: each.began)
        rows = [f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in facts.items()]
        rows += [
            f"<tr><td>{escape(each.request.line[:80] if each.request else '')}</td><td>{each.client}, {each.phase.name.lower()}"
            f" for {now - each.began:.1f} s, {each.sent:,} bytes</td></tr>"
            for each in busy[:SLOWEST]
        ]
        title = "Draining" if site.is_draining else "Serving"
        return page(200, title, f"<table>{''.join(rows)}</table>", ("Refresh", str(REFRESH_SECONDS)), ("Cache-Control", "no-store"))
