"""Knock at many doors at once: which addresses accept connections?

It shows many connects under way together, each with its own deadline, and how a program bounds their number: it starts
some, and one more whenever one is over. Whatever becomes of an attempt, `on_close` is called exactly once, last; so that is
the one place to count and to go on from.

Run it::

    python -m examples.knock 127.0.0.1:7000-7100 [::1]:22 example.org:80 unix:/run/some.sock
    python -m examples.knock --timeout 0.2 --at-once 16 127.0.0.1-9:1-1024 10.0.0.0/28:22
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import ipaddress
import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator

import attrs

from reactor import AddressError, CloseKind, CloseReason, DelayError, Reactor, Stream


@attrs.define(eq=False)
class Round:
    """A walk past all *addresses*, with no more than *at_once* attempts under way."""

    reactor: Reactor
    addresses: Iterator[str]
    timeout: float
    at_once: int
    under_way: int = attrs.field(init=False, default=0)
    counts: Counter[str] = attrs.field(init=False, factory=Counter)

    def go_on(self) -> None:
        """Start as many attempts as may be under way."""
        while self.under_way < self.at_once and (address := next(self.addresses, None)) is not None:
            try:
                self.reactor.connect(Knock(address, self), address, timeout=self.timeout)
            except AddressError as error:
                self.note(address, "failed", str(error))
            else:
                self.under_way += 1

    def note(self, address: str, result: str, detail: str = "") -> None:
        """Print and count one result."""
        self.counts[result] += 1
        print(address, detail or result, flush=True)


@attrs.define(eq=False)
class Knock(Stream):
    """One attempt."""

    address: str
    round: Round

    def on_connect(self) -> None:
        # Nothing was sent, so nothing can be lost: RST frees both ends at once, where an orderly end would linger.
        self.abort()

    def on_close(self, reason: CloseReason) -> None:
        if reason.kind is CloseKind.SHUTDOWN:
            return
        if reason.kind is CloseKind.LOCAL_ABORT:
            self.round.note(self.address, "open")
        elif reason.kind is CloseKind.TIMEOUT:
            self.round.note(self.address, "timed out")
        elif isinstance(reason.error, OSError) and reason.error.errno == errno.ECONNREFUSED:
            self.round.note(self.address, "refused")
        else:
            self.round.note(self.address, "failed", str(reason))
        self.round.under_way -= 1
        self.round.go_on()


def expand(text: str) -> Iterator[str]:
    """Return the addresses that *text*, `HOSTS:PORTS` or a Unix socket, stands for: every port of every host."""
    hosts, colon, ports = text.rpartition(":")
    if text.startswith("unix:") or not colon:
        return iter([text])
    every_port = _range(ports, 65535, "ports, such as 7000-7100") if "-" in ports else [ports]
    return (f"{host}:{port}" for host in _hosts(hosts) for port in every_port)


def _hosts(text: str) -> Iterable[str]:
    """Return the hosts that *text* stands for: `10.0.0.0/28`, `[fd00::]/120`, `127.0.0.1-9`, or one by itself."""
    if "/" in text:
        try:
            network = ipaddress.ip_network(text.replace("[", "").replace("]", ""))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return (f"[{host}]" if host.version == 6 else str(host) for host in network.hosts())
    head, _, last = text.rpartition(".")
    if "-" in last and head.replace(".", "").isdecimal():
        return (f"{head}.{number}" for number in _range(last, 255, "hosts, such as 127.0.0.1-9"))
    return [text]


def _range(text: str, most: int, what: str) -> range:
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last) <= most):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of {what}")
    return range(int(first), int(last) + 1)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1 attempt has to be under way")
    return number


def main() -> None:
    """Knock everywhere, once."""
    parser = argparse.ArgumentParser(description="Try to connect to many addresses, and print what becomes of each.")
    parser.add_argument(
        "addresses",
        metavar="ADDRESS",
        nargs="+",
        type=expand,
        help="HOSTS:PORTS, with a name, an address, 127.0.0.1-9 or 10.0.0.0/28, and PORT or FIRST-LAST; or unix:PATH",
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=1.0, help="deadline of each attempt (default: %(default)g)"
    )
    parser.add_argument(
        "--at-once", metavar="NUMBER", type=_positive, default=256, help="attempts under way together (default: %(default)d)"
    )
    options = parser.parse_args()
    started = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt), Reactor() as reactor:
        knocks = Round(reactor, itertools.chain.from_iterable(options.addresses), options.timeout, options.at_once)
        try:
            knocks.go_on()
        except DelayError as error:
            parser.error(str(error))
        reactor.run()
        results = ", ".join(f"{knocks.counts[result]} {result}" for result in ("open", "refused", "timed out", "failed"))
        print(f"{knocks.counts.total()} addresses in {time.monotonic() - started:.2f} s: {results}")


if __name__ == "__main__":
    main()
