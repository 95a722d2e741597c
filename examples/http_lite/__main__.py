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

from reactor import Acceptor, Address, AddressError, Inet, ListenError, ListenOptions, Reactor

try:
    from examples.http_lite.app import App
    from examples.http_lite.connection import Connection, Site
    from examples.http_lite.files import Files
    from examples.http_lite.log import AccessLog
    from examples.http_lite.options import OPTIONS, Options
    from examples.http_lite.request import Request
    from examples.http_lite.response import Answer
    from examples.http_lite.static import Static
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

/healthz says 200 while the server takes requests, 503 while it drains."""


@attrs.define(eq=False)
class Door(Acceptor):
    """Who cannot be let in is told so."""

    def on_overload(self, sock: socket.socket, peer: Address) -> None:
        self.turn_away(sock, BUSY)


@attrs.define(eq=False)
class Server:
    """Listens, and ends in good order."""

    reactor: Reactor
    site: Site
    drain_seconds: float = 0.0
    _door: Door = attrs.field(init=False)

    def listen(self, address: str) -> None:
        """Listen on *address*; see `Reactor.listen` for what it raises."""
        most = self.site.options
        options = ListenOptions(max_connections=most.connections, max_per_peer=most.connections_per_peer, on_limit="reject")
        self._door = Door(lambda: Connection(self.site), options).listen(self.reactor, address)

    def end(self) -> None:
        """Begin to end; called again, end at once."""
        if self.site.is_draining:
            self.reactor.shutdown(grace=0)
            return
        self.site.is_draining = True
        self.reactor.call_later(self.drain_seconds, self.reactor.shutdown, self.site.options.grace_seconds)

    @property
    def urls(self) -> str:
        """Where it is to be found."""
        return ", ".join(f"http://{each}/" if isinstance(each, Inet) else str(each) for each in self._door.addresses)


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes; return the exit status."""
    options = parse(arguments)
    with Reactor() as reactor:
        try:
            answer, shown = what_to_serve(options, reactor)
            limits = Options(connections=options.connections, connections_per_peer=options.per_peer)
        except ValueError as error:
            return fail(str(error))
        stream = None if options.quiet or options.log == "off" else sys.stdout
        site = Site(answer, AccessLog(stream, reactor.call_soon, reactor.system.time, options.log), limits)

        def top(request: Request) -> Any:
            if request.path != "/healthz":
                return answer(request)
            return Answer(503, b"draining\n") if site.is_draining else Answer(200, b"ready\n")

        site.answer = top
        server = Server(reactor, site, options.drain)
        try:
            server.listen(options.bind)
        except (AddressError, ListenError) as error:
            return fail(error.strerror if isinstance(error, ListenError) and error.strerror else str(error))
        for number in (signal.SIGINT, signal.SIGTERM):
            reactor.on_signal(number, server.end)
        print(f"serving {shown} on {server.urls}", flush=True)
        reactor.run()
        status = 1 if reactor.cut else 0
    site.log.flush()
    if stream is not None and not site.log.is_on:
        # Nobody reads stdout any more: what is left in its buffer would be complained of at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def what_to_serve(options: argparse.Namespace, reactor: Reactor) -> tuple[Any, str]:
    """Return what answers requests, and what to call it.

    Raises:
        ValueError: there is no such thing.
    """
    if options.wsgi:
        return Gateway(named(options.wsgi), reactor, options.threads), options.wsgi
    directory = options.directory if options.directory or options.app else "."
    static = None
    if directory:
        if not os.path.isdir(directory):
            raise ValueError(f"{directory}: no such directory")
        static = Static(Files(directory))
    shown = os.fsencode(os.path.abspath(directory)).decode("utf-8", "replace") if directory else ""
    if not options.app:
        return App(static), shown
    app = named(options.app)
    if not isinstance(app, App):
        raise ValueError(f"{options.app}: no App of examples.http_lite.app")  # noqa: TRY004  # the same as if it were not there
    app.reactor, app.otherwise = reactor, static or app.otherwise
    return app, " and ".join(filter(None, (options.app, shown)))


def named(name: str) -> Any:
    """Return what *name*, `package.module:object`, names.

    Raises:
        ValueError: nothing.
    """
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
    parser = argparse.ArgumentParser(
        prog="python -m examples.http_lite",
        description="Serve a directory or an application over HTTP/1.1.",
        epilog=EXAMPLES,
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
    add("--connections", type=int, default=OPTIONS.connections, metavar="N", help="at a time (default: %(default)s)")
    add(
        "--per-peer",
        type=int,
        default=OPTIONS.connections_per_peer,
        metavar="N",
        help="from one peer (default: %(default)s)",
    )
    add("--log", choices=("common", "combined", "json", "off"), default="common", help="a line per request on stdout")
    add("--quiet", action="store_true", help="the same as --log off")
    add(
        "--drain", type=float, default=0.0, metavar="SECONDS", help="be unready so long before ending (default: %(default)s)"
    )
    add("directory", metavar="DIRECTORY", nargs="?", default="", help="what to serve (default: this one)")
    options = parser.parse_args(arguments)
    if options.threads < 0:
        parser.error("--threads is a number from 0 on")
    return options


def fail(message: str) -> int:
    """Say why the server cannot serve; return the exit status for that."""
    print(f"http_lite: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
