"""Serve a directory to browsers: `python -m examples.http_lite [--bind ADDRESS] [DIRECTORY]`.

Ctrl-C and SIGTERM end it with status 0: it listens no more, finishes the answers that are under way, and closes. A second
one, or `GRACE_SECONDS`, ends it at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

import attrs

from reactor import Acceptor, AddressError, Inet, ListenError, Reactor

try:
    from examples.http_lite.connection import Connection, Site
    from examples.http_lite.files import Files
    from examples.http_lite.log import AccessLog
except ModuleNotFoundError as missing:
    if missing.name != "httptools":
        raise
    sys.exit(print("http_lite: httptools is missing: pip install selector-reactor[http]", file=sys.stderr) or 2)

#: What is under way gets this long to finish when the server is to end.
GRACE_SECONDS = 10.0


@attrs.define(eq=False)
class Server:
    """Listens, and ends in good order."""

    reactor: Reactor
    site: Site
    _acceptor: Acceptor | None = attrs.field(init=False, default=None)

    def listen(self, address: str) -> None:
        """Listen on *address*; see `Reactor.listen` for what it raises."""
        self._acceptor = self.reactor.listen(lambda: Connection(self.site), address)

    def end(self) -> None:
        """Begin to end; called again, end at once."""
        if self._acceptor is None:
            self.reactor.shutdown(grace=0)
            return
        self._acceptor.close()
        self._acceptor = None
        self.site.drain()
        self.reactor.call_later(GRACE_SECONDS, self.reactor.shutdown, 0).unref()

    @property
    def url(self) -> str:
        """Where it is to be found."""
        assert self._acceptor is not None
        address = self._acceptor.addresses[0]
        return f"http://{address}/" if isinstance(address, Inet) else str(address)


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes; return the exit status."""
    options = parse(arguments)
    if not os.path.isdir(options.directory):
        return fail(f"{options.directory}: no such directory")
    with Reactor() as reactor:
        stream = None if options.quiet else sys.stdout
        site = Site(Files(options.directory), AccessLog(stream, reactor.call_soon, reactor.system.time))
        server = Server(reactor, site)
        try:
            server.listen(options.bind)
        except (AddressError, ListenError) as error:
            return fail(error.strerror if isinstance(error, ListenError) and error.strerror else str(error))
        for number in (signal.SIGINT, signal.SIGTERM):
            reactor.on_signal(number, server.end)
        shown = os.fsencode(os.path.abspath(options.directory)).decode("utf-8", "replace")
        print(f"serving {shown} on {server.url}", flush=True)
        reactor.run()
    site.log.flush()
    if site.log.stream is None and not options.quiet:
        # Nobody reads stdout any more: what is left in its buffer would be complained of at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m examples.http_lite", description="Serve a directory to browsers.")
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1:8000",
        help="where to listen: HOST:PORT, :PORT for every interface, or unix:PATH; port 0 means any free one"
        " (default: %(default)s)",
    )
    parser.add_argument("--quiet", action="store_true", help="write no line for each request")
    parser.add_argument(
        "directory", metavar="DIRECTORY", nargs="?", default=".", help="what to serve (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def fail(message: str) -> int:
    """Say why the server cannot serve; return the exit status for that."""
    print(f"http_lite: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
