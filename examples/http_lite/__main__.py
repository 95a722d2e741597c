"""Serve a directory or an application; see `python -m examples.http_lite --help`.

Ctrl-C and SIGTERM end it: it listens no more, finishes what is under way, and closes. A second one, or the end of the
grace, ends it at once. The status is 0 if everybody was served to the end, 1 if somebody was cut, 2 if it cannot serve.
"""

from __future__ import annotations

import argparse
import logging
import os
import pkgutil
import signal
import socket
import sys
from typing import Any

import attrs

from reactor import Acceptor, Address, AddressError, Inet, ListenError, ListenOptions, MemoryBudget, Reactor, ThreadOptions

try:
    from examples.http_lite.app import App
    from examples.http_lite.connection import Connection, Site
    from examples.http_lite.log import AccessLog
    from examples.http_lite.options import Options
    from examples.http_lite.static import Files, Static
    from examples.http_lite.status import Report
    from examples.http_lite.wsgi import Gateway
except ModuleNotFoundError as missing:
    if missing.name != "httptools":
        raise
    sys.exit(print("http_lite: httptools is missing: pip install selector-reactor[http]", file=sys.stderr) or 2)

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
LIMITS = {field.name: field for field in attrs.fields(Options)}
EPILOG = """\
examples:
  %(prog)s                                   this directory, on http://127.0.0.1:8000/
  %(prog)s --bind :8080 public               a directory, on every interface
  %(prog)s --bind unix:/run/site.sock public behind a proxy
  %(prog)s --app examples.http_lite.demo:app routes, JSON, uploads, server-sent events
  %(prog)s --wsgi package.module:app --threads 8

/healthz says 200 while the server takes requests, and 503 while it drains; /status shows people what goes on; /metrics is
for Prometheus, if prometheus_client is installed.

limits, in bytes and seconds, for --limit:
""" + "\n".join(f"  {f'{name}={each.default}':<28} {each.metadata['what']}" for name, each in LIMITS.items())


class Door(Acceptor):
    """Who cannot be let in is told so."""

    def on_overload(self, sock: socket.socket, peer: Address) -> None:
        self.turn_away(sock, BUSY)


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes; return the exit status."""
    given = parse(arguments)
    logging.getLogger("reactor.slow").setLevel(logging.WARNING if given.verbose else logging.ERROR)
    try:
        limits = Options(**dict(given.limit))
        app, shown = what_to_serve(given)
    except ValueError as error:
        return fail(str(error))
    stream = None if given.log == "off" else sys.stdout
    threads, budget = ThreadOptions(threads=max(1, given.threads)), MemoryBudget(limits.queued_bytes)
    with Reactor(threads=threads, budget=budget) as reactor:
        app.reactor = reactor
        site = Site(app, AccessLog(stream, reactor.call_soon, reactor.system.time, given.log), limits)
        Report(site, reactor).add_routes(app, is_open=given.open_status)
        # All that come to a Unix socket would be one peer.
        most, each = limits.connections, None if given.bind.startswith("unix:") else limits.connections_per_peer
        unsent = limits.unsent_bytes if hasattr(socket, "TCP_NOTSENT_LOWAT") else None
        options = ListenOptions(max_connections=most, max_per_peer=each, on_limit="reject", notsent_lowat=unsent)
        try:
            door = Door(lambda: Connection(site), options).listen(reactor, given.bind)
        except (AddressError, ListenError) as error:
            return fail(getattr(error, "strerror", None) or str(error))
        app.port = next((each.port for each in door.addresses if isinstance(each, Inet)), app.port)

        def end() -> None:
            if site.is_draining:
                reactor.shutdown(grace=0)
            else:
                site.is_draining = True
                reactor.call_later(given.drain, reactor.shutdown, limits.grace_seconds)

        for number in (signal.SIGINT, signal.SIGTERM):
            reactor.on_signal(number, end)
        urls = (f"http://{each}/" if isinstance(each, Inet) else str(each) for each in door.addresses)
        print(f"serving {shown} on {', '.join(coloured(url, sys.stdout, 36) for url in urls)}", flush=True)
        reactor.run()
        site.log.flush()  # what follows may take a while; and who is cut behind it is noted, too
        app.on_end()
        status = 1 if reactor.cut else 0
    site.log.flush()
    if stream is not None and site.log.stream is None:
        # Nobody reads stdout any more: what is left in its buffer would be complained of at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def what_to_serve(given: argparse.Namespace) -> tuple[App, str]:
    """Return what answers requests, and what to call it; ValueError: there is no such thing."""
    directory = given.directory or ("" if given.app or given.wsgi else ".")
    if directory and not os.path.isdir(directory):
        raise ValueError(f"{directory}: no such directory")
    app = named(given.app) if given.app else App()
    if not isinstance(app, App):
        raise ValueError(f"{given.app}: no App of examples.http_lite.app")  # noqa: TRY004  # as if it were not there
    if given.wsgi:
        gateway = Gateway(named(given.wsgi), app, given.threads)
        app.otherwise, app.on_end = gateway.find, gateway.close
    elif directory:
        app.otherwise = Static(Files(directory)).find
    shown = os.fsencode(os.path.abspath(directory)).decode("utf-8", "replace") if directory else ""
    return app, " and ".join(filter(None, (given.app, given.wsgi, shown)))


def named(name: str) -> Any:
    """Return what *name*, `package.module:object`, names; ValueError: nothing."""
    sys.path.insert(0, os.getcwd())
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name}: {error}; it is to be package.module:object") from error


def limit(text: str) -> tuple[str, float]:
    """Return the name and the value of a limit."""
    name, _, value = text.partition("=")
    if name not in LIMITS:
        raise argparse.ArgumentTypeError(f"{name!r} is no limit; they are {', '.join(LIMITS)}")
    return name, int(value) if isinstance(LIMITS[name].default, int) else float(value)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    describe = "Serve a directory or an application over HTTP/1.1."
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m examples.http_lite", None, describe, EPILOG, formatter_class=shape)
    where = "HOST:PORT, :PORT for every interface, unix:PATH; port 0 is any free one (default: %(default)s)"
    add = parser.add_argument
    add("--bind", metavar="ADDRESS", default="127.0.0.1:8000", help=where)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--app", metavar="MODULE:APP", help="an application with routes; what has none comes from DIRECTORY")
    what.add_argument("--wsgi", metavar="MODULE:APP", help="a WSGI application")
    add("--threads", type=int, default=4, metavar="N", help="for --wsgi; 0 runs it in the loop (default: %(default)s)")
    add("--limit", type=limit, action="append", default=[], metavar="NAME=VALUE", help="change a limit; see below")
    add("--log", choices=("common", "combined", "json", "off"), default="common", help="a line per request, on stdout")
    add("--quiet", action="store_const", const="off", dest="log", help="the same as --log off")
    add("--verbose", action="store_true", help="say on stderr what holds up the loop")
    add("--drain", type=float, default=0.0, metavar="SECONDS", help="be unready so long before ending (default: 0)")
    add("--open-status", action="store_true", help="show /status and /metrics to clients elsewhere, too")
    add("directory", metavar="DIRECTORY", nargs="?", default="", help="what to serve (default: this one)")
    given = parser.parse_args(arguments)
    if given.threads < 0:
        parser.error("--threads is a number from 0 on")
    return given


def coloured(text: str, stream: Any, colour: int) -> str:
    """Return *text* in a colour, if people see it."""
    return f"\x1b[{colour}m{text}\x1b[0m" if stream.isatty() and "NO_COLOR" not in os.environ else text


def fail(message: str) -> int:
    """Say why the server cannot serve; return the exit status for that."""
    print(f"http_lite: {coloured(message, sys.stderr, 31)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
