"""Fetch many URLs at once, and print status, size and times of each.

It shows what a client goes through: a name is looked up, addresses are tried side by side, a request is sent, an answer is
read as it comes; and each of these can fail in its own way, which `on_close` tells. Whatever becomes of a fetch, its line is
printed there, once. The number under way is bounded, and one deadline holds for each fetch as a whole.

Run it::

    python -m examples.fetch http://example.org/ http://127.0.0.1:8000/a.bin
    python -m examples.fetch --at-once 4 --timeout 5 --proxy 127.0.0.1:3128 http://example.org/

Plain HTTP only: https is not there yet.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
from collections import deque
from urllib.parse import SplitResult, urlsplit

import attrs

from reactor import AddressError, CloseKind, CloseReason, DelayError, HttpConnect, Proxy, Reactor, Stream

HEAD_BYTES_MAX = 64 * 1024
PROGRESS_SECONDS = 0.2


@attrs.define(eq=False)
class Round:
    """All *urls*, no more than *at_once* of them under way."""

    reactor: Reactor
    urls: deque[SplitResult]
    at_once: int
    timeout: float
    via: Proxy | None
    under_way: dict[Fetch, None] = attrs.field(init=False, factory=dict)
    done: int = attrs.field(init=False, default=0)
    failed: int = attrs.field(init=False, default=0)
    size: int = attrs.field(init=False, default=0)

    def go_on(self) -> None:
        """Start as many as may be under way."""
        while self.urls and len(self.under_way) < self.at_once:
            fetch = Fetch(self.urls.popleft(), self)
            self.under_way[fetch] = None
            fetch.start()

    def note(self, fetch: Fetch, result: str, *, good: bool) -> None:
        """Print one result, and start the next."""
        self.under_way.pop(fetch)
        self.done += 1
        self.failed += not good
        self.size += fetch.size
        print(f"{result:<24} {fetch.size:>12,} bytes {fetch.times()} {fetch.url.geturl()}", flush=True)
        self.go_on()

    def progress(self) -> None:
        """Say how far it is, on a terminal."""
        size = self.size + sum(fetch.size for fetch in self.under_way)
        counts = f"{self.done} done, {len(self.under_way)} under way, {len(self.urls)} to go"
        print(f"\r{counts}, {size:,} bytes ", end="", file=sys.stderr)


@attrs.define(eq=False)
class Fetch(Stream):
    """One of them."""

    url: SplitResult
    round: Round
    size: int = attrs.field(init=False, default=0)
    began: float = attrs.field(init=False, factory=time.monotonic)
    connected: float | None = attrs.field(init=False, default=None)
    head: bytes | None = attrs.field(init=False, default=b"")
    status: str = attrs.field(init=False, default="")
    length: int | None = attrs.field(init=False, default=None)

    def start(self) -> None:
        """Connect; the same time is what all of it may take."""
        host, port = self.url.hostname or "", self.url.port or 80
        try:
            self.round.reactor.connect(self, (host, port), timeout=self.round.timeout, via=self.round.via)
        except AddressError as error:
            self.round.note(self, str(error), good=False)

    def on_connect(self) -> None:
        self.connected = time.monotonic()
        self.call_later(max(0.0, self.round.timeout - (self.connected - self.began)), self.on_timeout, "fetch")
        path = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
        # By 1.0, so that the answer is never cut into chunks, and ends with the connection.
        self.write(f"GET {path} HTTP/1.0\r\nHost: {self.url.netloc.rpartition('@')[2]}\r\n\r\n".encode())

    def on_data(self, data: bytes) -> None:
        if self.head is None:
            self.size += len(data)
            return
        self.head += data
        head, end, body = self.head.partition(b"\r\n\r\n")
        if not end:
            if len(self.head) > HEAD_BYTES_MAX:
                self.abort()
            return
        self.head = None
        line, _, fields = head.decode("latin-1").partition("\r\n")
        match = re.fullmatch(r"HTTP/1\.\d (\d{3}.*)", line)
        self.status = "".join(filter(str.isprintable, match[1]))[:24] if match else "no HTTP"
        length = re.search(r"^content-length:\s*(\d+)\s*$", fields, re.MULTILINE | re.IGNORECASE)
        self.length = int(length[1]) if length else None
        self.size = len(body)

    def on_close(self, reason: CloseReason) -> None:
        if reason.kind is CloseKind.SHUTDOWN:
            return
        whole = reason.kind is CloseKind.PEER_END and self.length in (None, self.size)
        if self.connected is None or reason.kind is CloseKind.TIMEOUT:
            told = reason.error.strerror if isinstance(reason.error, OSError) else None
            self.round.note(self, told or str(reason), good=False)
        elif whole and self.status.startswith("2"):
            self.round.note(self, self.status, good=True)
        elif whole and self.status:
            self.round.note(self, self.status, good=False)
        else:
            self.round.note(self, f"{self.status or 'no answer'}, cut off", good=False)

    def times(self) -> str:
        """Return how long it took, and how much of that until it was connected."""
        now = time.monotonic()
        if self.connected is None:
            return f"{now - self.began:8.3f} s"
        return f"{now - self.began:8.3f} s (connected after {self.connected - self.began:.3f} s)"


def url(text: str) -> SplitResult:
    """Return the parts of a URL."""
    parts = urlsplit(text)
    if parts.scheme == "https":
        raise argparse.ArgumentTypeError(f"{text!r}: https is not there yet; only http is")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme == "http" and parts.hostname and port != 0 and text.isascii() and text.isprintable():
        return parts
    raise argparse.ArgumentTypeError(f"{text!r} is no URL such as http://example.org/")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1 fetch has to be under way")
    return number


def main() -> None:
    """Fetch everything, once."""
    parser = argparse.ArgumentParser(description="Fetch URLs by plain HTTP, many at once.")
    parser.add_argument("urls", metavar="URL", nargs="+", type=url, help="http://HOST[:PORT]/PATH; https is not there yet")
    parser.add_argument(
        "--at-once", metavar="NUMBER", type=_positive, default=32, help="fetches under way together (default: %(default)d)"
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=30.0, help="deadline of each fetch (default: %(default)g)"
    )
    parser.add_argument("--proxy", metavar="HOST:PORT", type=HttpConnect, help="an HTTP proxy that connects for us")
    options = parser.parse_args()
    began = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt), Reactor() as reactor:
        fetches = Round(reactor, deque(options.urls), options.at_once, options.timeout, options.proxy)
        try:
            fetches.go_on()
        except DelayError as error:
            parser.error(str(error))
        if sys.stderr.isatty():
            reactor.call_every(PROGRESS_SECONDS, fetches.progress).unref()
        reactor.run()
        seconds = time.monotonic() - began
        print(f"{fetches.done} fetched, {fetches.failed} of them failed, {fetches.size:,} bytes, {seconds:.2f} s")
        sys.exit(1 if fetches.failed else 0)


if __name__ == "__main__":
    main()
