"""Serve a directory, an application or both; see `python -m examples.http_lite --help`.

Ctrl-C and SIGTERM end it: it listens no more, finishes what is under way, and closes. A second one, or the end of the
grace, ends it at once. The status is 0 if everybody was served to the end, 1 if somebody was cut, 2 if it cannot serve.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import socket
import sys
from typing import Any

import attrs

from reactor import Acceptor, Address, AddressError, Inet, ListenError, ListenOptions, MemoryBudget, Reactor, ThreadOptions

try:
    from examples.http_lite.app import App
    from examples.http_lite.connection import Connection, Site
    from examples.http_lite.files import Files
    from examples.http_lite.log import AccessLog
    from examples.http_lite.options import Options
    from examples.http_lite.static import Static
    from examples.http_lite.status import add_routes
    from examples.http_lite.wsgi import Gateway
except ModuleNotFoundError as missing:
    if missing.name != "httptools":
        raise
    sys.exit(print("http_lite: httptools is missing: pip install selector-reactor[http]", file=sys.stderr) or 2)

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
EXAMPLES = """\
examples:
  %(prog)s                                   this directory, on http://127.0.0.1:8000/
  %(prog)s --bind :8080 public               a directory, on every interface
  %(prog)s --bind unix:/run/site.sock public behind a proxy
  %(prog)s --app examples.http_lite.demo:app routes, JSON, server-sent events
  %(prog)s --wsgi package.module:app --threads 8

/healthz says 200 while the server takes requests, and 503 while it drains; /status shows people what goes on; /metrics is
for Prometheus, if prometheus_client is installed.

limits (bytes and seconds), for --limit:
"""


@attrs.define(eq=False)
class Door(Acceptor):
    """Who cannot be let in is told so."""

    def on_overload(self, sock: socket.socket, peer: Address) -> None:
        self.turn_away(sock, BUSY)


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes; return the exit status."""
    given = parse(arguments)
    try:
        limits = Options(**dict(given.limit))
        app, shown = what_to_serve(given)
    except ValueError as error:
        return fail(str(error))
    threads = ThreadOptions(threads=max(1, given.threads))
    with Reactor(threads=threads, budget=MemoryBudget(limits.queued_bytes)) as reactor:
        app.reactor = reactor
        site = Site(app, AccessLog(given.log, reactor.call_soon, reactor.system.time, given.form), limits)
        add_routes(app, site, reactor, is_open=given.open_status)
        most = limits.connections
        options = ListenOptions(max_connections=most, max_per_peer=limits.connections_per_peer, on_limit="reject")
        try:
            door = Door(lambda: Connection(site), options).listen(reactor, given.bind)
        except (AddressError, ListenError) as error:
            return fail(error.strerror if isinstance(error, ListenError) and error.strerror else str(error))

        def end() -> None:
            if site.is_draining:
                reactor.shutdown(grace=0)
            else:
                site.is_draining = True
                reactor.call_later(given.drain, reactor.shutdown, limits.grace_seconds)

        for number in (signal.SIGINT, signal.SIGTERM):
            reactor.on_signal(number, end)
        urls = (f"http://{each}/" if isinstance(each, Inet) else str(each) for each in door.addresses)
        print(f"serving {shown} on {', '.join(urls)}", flush=True)
        reactor.run()
        status = 1 if reactor.cut else 0
    site.log.flush()
    if given.log is not None and not site.log.is_on:
        # Nobody reads stdout any more: what is left in its buffer would be complained of at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def what_to_serve(given: argparse.Namespace) -> tuple[App, str]:
    """Return what answers requests, and what to call it; ValueError: there is no such thing."""
    directory = given.directory if given.directory or given.app or given.wsgi else "."
    if directory and not os.path.isdir(directory):
        raise ValueError(f"{directory}: no such directory")
    app = named(given.app) if given.app else App()
    if not isinstance(app, App):
        raise ValueError(f"{given.app}: no App of examples.http_lite.app")  # noqa: TRY004  # as if it were not there
    if given.wsgi:
        app.otherwise = Gateway(named(given.wsgi), app, given.threads).find
    elif directory:
        app.otherwise = Static(Files(directory)).find
    shown = os.fsencode(os.path.abspath(directory)).decode("utf-8", "replace") if directory else ""
    return app, " and ".join(filter(None, (given.app, given.wsgi, shown)))


def named(name: str) -> Any:
    """Return what *name*, `package.module:object`, names; ValueError: nothing."""
    module, _, path = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
        for each in path.split("."):
            found = getattr(found, each)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name}: {error}; it is to be package.module:object") from error
    return found


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    limits = {field.name: field for field in attrs.fields(Options)}

    def limit(text: str) -> tuple[str, Any]:
        name, _, value = text.partition("=")
        if name not in limits:
            raise argparse.ArgumentTypeError(f"{name!r} is no limit")
        return name, (int if isinstance(limits[name].default, int) else float)(value)

    known = "\n".join(f"  {name}={each.default:<12} {each.metadata['what']}" for name, each in limits.items())
    parser = argparse.ArgumentParser(
        prog="python -m examples.http_lite",
        description="Serve a directory or an application over HTTP/1.1.",
        epilog=EXAMPLES + known,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1:8000",
        help="where to listen: HOST:PORT, :PORT for every interface, or unix:PATH; port 0 means any free one"
        " (default: %(default)s)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--app", metavar="MODULE:APP", help="an application with routes; what has none comes from DIRECTORY")
    what.add_argument("--wsgi", metavar="MODULE:APP", help="a WSGI application")
    add("--threads", type=int, default=4, metavar="N", help="for --wsgi; 0 runs it in the loop (default: %(default)s)")
    add("--limit", type=limit, action="append", default=[], metavar="NAME=VALUE", help="change a limit; see below")
    add("--log", choices=("common", "combined", "json", "off"), default="common", dest="form", help="a line per request")
    add("--quiet", action="store_const", const="off", dest="form", help="the same as --log off")
    add("--drain", type=float, default=0.0, metavar="SECONDS", help="be unready so long before ending (default: 0)")
    add("--open-status", action="store_true", help="show /status and /metrics to clients elsewhere, too")
    add("directory", metavar="DIRECTORY", nargs="?", default="", help="what to serve (default: this one)")
    given = parser.parse_args(arguments)
    given.log = None if given.form == "off" else sys.stdout
    if given.threads < 0:
        parser.error("--threads is a number from 0 on")
    return given


def fail(message: str) -> int:
    """Say why the server cannot serve; return the exit status for that."""
    print(f"http_lite: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
