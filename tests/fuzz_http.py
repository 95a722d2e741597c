"""HTTP-lite under requests that are nearly right: `python -m tests.fuzz_http --count 1000000`. A seed is an input.

Each input is read by `Requests`, cut somewhere, and compared with the strict reading of RFC 9112. One in so many goes
through a whole connection on a simulated network, where every request that may reach a handler must be answered, in order,
every other one be refused, and nothing be left.

With `--guided`, atheris makes the inputs, from those of the first seeds, and keeps what reaches new lines of HTTP-lite.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import random
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from examples.http_lite import request
from examples.http_lite.app import App
from examples.http_lite.connection import Connection, Phase, Site
from examples.http_lite.log import AccessLog
from examples.http_lite.request import Request, Requests
from reactor.testing import Simulation
from tests.http_grammar import Reading, cuts, read, sentence

#: Inputs of so many seeds are what a guided run begins with.
GUIDED_SEEDS = 2000


@attrs.frozen
class Finding:
    """An input that is not read as it should be."""

    seed: int
    data: bytes
    wanted: object
    found: object


def input_of(seed: int) -> tuple[bytes, list[bytes]]:
    """Return the input of a *seed*, whole and in pieces; it ends so that no line is left open."""
    dice = random.Random(seed)
    data = sentence(dice) + b"\r\n\r\n\r\n"
    return data, cuts(data, dice)


def agree(found: Reading, wanted: Reading) -> bool:
    """Tell whether a reading is as strict as it should be; what cannot become a request may be refused before it ends."""
    return found.requests == wanted.requests and (found.refused or not wanted.refused)


def compare(seed: int) -> Finding | None:
    """Read an input in pieces."""
    data, pieces = input_of(seed)
    wanted, found = read(data), fed(pieces)
    return None if agree(found, wanted) else Finding(seed, data, wanted, found)


def fed(pieces: list[bytes]) -> Reading:
    """Return what HTTP-lite reads in an input."""
    requests = Requests()
    for piece in pieces:
        requests.feed(piece)
    found = reading(list(requests.waiting))
    requests.end()
    return found


def reading(requests: list[Request]) -> Reading:
    """Return what *requests* amount to."""
    met = tuple((each.method, each.target, each.body) for each in requests if not each.refusal)
    return Reading(met, refused=any(each.refusal for each in requests))


def connect(seed: int) -> Finding | None:
    """Send an input through a connection on a simulated network, and look at what it answers."""
    data, pieces = input_of(seed)
    wanted, met, made = read(data), list[Request](), list[Connection]()

    def answer(request: Request) -> str:
        met.append(request)
        return f"{len(met)}\n"

    heard, sim = bytearray(), Simulation(seed)
    host, client = sim.host("server"), sim.host("client")
    with host.reactor(debug=False) as reactor:
        site = Site(App(lambda _: answer), AccessLog(None, reactor.call_soon, lambda: 0.0))

        def connection() -> Connection:
            made.append(Connection(site))
            return made[-1]

        reactor.listen(connection, (host.addresses[0], 80))
        with client.sockets.create_connection((host.addresses[0], 80)) as sock:
            with contextlib.suppress(OSError):  # it is closed already
                for piece in pieces:
                    sock.sendall(piece)
                sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while piece := sock.recv(65536):
                    heard += piece
        errors = reactor.stats().errors
    found, answers = reading(met), heard.count(b"\r\nDate: ")
    reach = tuple(each for each in wanted.requests if each[0] not in ("TRACE", "CONNECT") and each[1] != "*")
    is_over = all(each.phase is Phase.CLOSING and each.request is None and not each.is_open for each in made)
    right = found.requests == reach and wanted.refused <= answers - len(wanted.requests) <= 1
    return None if right and is_over and not errors else Finding(seed, data, wanted, (found, bytes(heard), errors))


def fuzz(count: int, first: int = 0, every: int = 20) -> Finding | None:
    """Try *count* inputs, one in *every* through a connection, too; return the first that is not read as it should be."""
    for seed in range(first, first + count):
        finding = compare(seed) or (connect(seed) if seed % every == 0 else None)
        if finding is not None:
            return finding
    return None


def fuzz_guided(count: int) -> None:
    """Try *count* inputs that atheris makes; exits, with a finding in a file, like libFuzzer, of which it is made."""
    atheris: Any = importlib.import_module("atheris")
    for function in filter(inspect.isfunction, (*vars(Requests).values(), *vars(request).values(), read)):
        atheris.instrument_func(function)

    def try_one(data: bytes) -> None:
        data += b"\r\n\r\n\r\n"
        wanted, found = read(data), fed(cuts(data, random.Random(len(data))))
        assert agree(found, wanted), Finding(-1, data, wanted, found)

    with tempfile.TemporaryDirectory() as corpus:
        for seed in range(GUIDED_SEEDS):
            (Path(corpus) / str(seed)).write_bytes(input_of(seed)[0])
        atheris.Setup([sys.argv[0], f"-runs={count}", f"-artifact_prefix={corpus}-", corpus], try_one)
        atheris.Fuzz()


def main() -> int:
    """Fuzz, and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_http", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--every", type=int, default=20, help="one in so many goes through a connection")
    parser.add_argument("--guided", action="store_true", help="by coverage; needs atheris")
    given = parser.parse_args()
    if given.guided:
        fuzz_guided(given.count)
    began = time.monotonic()
    finding = fuzz(given.count, given.first, given.every)
    print(
        f"{given.count} inputs from seed {given.first} on, in {time.monotonic() - began:.0f} s: {finding or 'nothing found'}"
    )
    return finding is not None


if __name__ == "__main__":
    sys.exit(main())
