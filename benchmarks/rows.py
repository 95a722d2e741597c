"""What is measured: each row is one question, its contestants, and how far we mean to reach."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from benchmarks import codecs, http, load, machine

MESSAGE = b"x" * 64
LINES = 16
LINE = b"GET key0123456789\n"
#: The longest that one contestant is measured in one round, and is waited for.
SECONDS_MAX, PATIENCE_SECONDS = 3.0, 60.0
IDLE_CONNECTIONS = 15_000

#: What has to be installed for a contestant; the others always are.
NEEDS = {
    "uvloop": "uvloop",
    "uvloop streams": "uvloop",
    "Twisted": "twisted",
    "Tornado": "tornado",
    "gevent": "gevent",
    "trio": "trio",
    "pyasyncore": "asyncore",
    **http.NEEDS,
}
ECHO = ("ours", "by hand", "C", "uvloop", "asyncio", "asyncio streams", "Twisted", "Tornado", "gevent", "trio", "pyasyncore")

#: What one measurement has found: "cost" is what is compared; more is told beside it.
Sample = dict[str, float]


@attrs.frozen
class Row:
    """One question."""

    name: str
    title: str
    #: Of the cost; less is better.
    unit: str
    contestants: tuple[str, ...]
    #: Given a contestant, and a scale: 1 for a full measurement, less for a quick one.
    measure: Callable[[str, float], Sample]
    #: How our cost is to stand to others': at most this ratio.
    goals: Mapping[str, float] = attrs.field(factory=dict)
    #: How much it may cost at most, if that is a number by itself.
    most: float | None = None
    #: Whether a quick run has it.
    quick: bool = True
    #: The one that others are compared with.
    ours: str = "ours"
    #: For a curve, what its contestants' names stand on: a line of "name @ number" for each name.
    curve: str = ""


@attrs.frozen
class Server:
    """A server process, and where it listens."""

    pid: int
    address: tuple[str, int]
    group: bool = False

    def measured(self, work: Callable[[], load.Exchanged], per: float = 1.0) -> Sample:
        """Do *work*; return the server's processor time in microseconds for each piece of it, *per* pieces a message."""
        before = machine.cpu_seconds(self.pid, group=self.group)
        done = work()
        used = machine.cpu_seconds(self.pid, group=self.group) - before
        return {
            "cost": used / (done.count * per) * 1e6,
            "rate": done.count * per / done.seconds,
            "p50": done.median,
            "p99": done.late,
            "load": done.busy,
            "server": used / done.seconds,
        }


@contextmanager
def served(kind: str, name: str, python: str = sys.executable, path: str | None = None) -> Iterator[Server]:
    """Run a contestant's server."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        address = listener.getsockname()
        command = [python, "-m", "benchmarks.serve", kind, name, str(listener.fileno())]
        environment = {**os.environ, **({} if path is None else {"PYTHONPATH": path})}
        process = subprocess.Popen(
            command,
            pass_fds=[listener.fileno()],
            env=environment,
            preexec_fn=machine.pin_server,  # noqa: PLW1509  # there is no other thread
        )
    try:
        yield Server(process.pid, address)
    finally:
        process.kill()
        process.wait()


def seconds(scale: float) -> float:
    """Return how long a load may take."""
    return max(0.4, SECONDS_MAX * scale)


def warmed(server: Server, clients: list[socket.socket], message: bytes) -> None:
    """Have the server accept all, and have served each a little."""
    load.exchange(clients, message, max(2 * len(clients), 200), PATIENCE_SECONDS)


def echo(
    name: str, scale: float, *, connections: int = 50, size: int = 64, count: int = 150_000, per: float = 1.0
) -> Sample:
    """Keep one message of *size* in flight on each of *connections*."""
    with served("echo", name) as server, load.connected(server.address, connections) as clients:
        message = b"x" * size
        warmed(server, clients, message)
        return server.measured(lambda: load.exchange(clients, message, int(count * scale), seconds(scale)), per)


def lines(name: str, scale: float) -> Sample:
    """Keep lines in flight on each connection, as a pipelining client does."""
    with served("lines", name) as server, load.connected(server.address, 50) as clients:
        message = LINE * LINES
        warmed(server, clients, message)
        return server.measured(lambda: load.exchange(clients, message, int(20_000 * scale), seconds(scale)), LINES)


def accept(name: str, scale: float) -> Sample:
    """Connect, exchange one message, end, some at a time."""
    with served("echo", name) as server:
        load.churn(server.address, MESSAGE, 320, PATIENCE_SECONDS)
        return server.measured(lambda: load.churn(server.address, MESSAGE, int(12_000 * scale), seconds(scale)))


def idle(name: str, scale: float) -> Sample:
    """Hold connections, each of which has had its echo: bytes of resident memory for each."""
    count = machine.connections_max(int(IDLE_CONNECTIONS * scale))
    with served("echo", name) as server, load.connected(server.address, 100) as clients:
        warmed(server, clients, MESSAGE)
        before = machine.resident_bytes(server.pid)
        with load.connected(server.address, count) as more:
            load.exchange(more, MESSAGE, count, PATIENCE_SECONDS)
            return {"cost": (machine.resident_bytes(server.pid) - before) / count, "connections": count}


def beside_idle(name: str, scale: float) -> Sample:
    """Echo on 50 connections while others idle, or, for a name that ends in "alone", while none do."""
    count = machine.connections_max(int(IDLE_CONNECTIONS * min(1.0, 2 * scale)))
    name, _, alone = name.partition(" ")
    with served("echo", name) as server, load.connected(server.address, 0 if alone else count) as others:
        if others:
            load.exchange(others, MESSAGE, count, PATIENCE_SECONDS)
        with load.connected(server.address, 50) as clients:
            warmed(server, clients, MESSAGE)
            return server.measured(lambda: load.exchange(clients, MESSAGE, int(150_000 * scale), seconds(scale)))


def task(what: str, name: str, *numbers: float) -> Sample:
    """Run one of `benchmarks.tasks`."""
    command = [sys.executable, "-m", "benchmarks.tasks", what, name, *(str(int(number)) for number in numbers)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=PATIENCE_SECONDS).stdout
    return dict(json.loads(said))


def connects(name: str, scale: float) -> Sample:
    """Make 1,000 connections at once to a server in C."""
    with served("echo", "C") as server, load.connected(server.address, 1) as clients:
        warmed(server, clients, MESSAGE)
        return task("connects", name, machine.connections_max(1000), server.address[1])


IMPORT = "import time; began = time.process_time_ns(); {}; print((time.process_time_ns() - began) / 1e6)"
IMPORTED = {"ours": "import reactor", "ours, Reactor and Stream": "from reactor import Reactor, Stream"}


def imports(name: str, scale: float) -> Sample:
    """Import a module, in a process that has imported nothing, from bytecode: the least of some, in milliseconds."""
    command = [sys.executable, "-c", IMPORT.format(IMPORTED.get(name, f"import {name}"))]
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        costs = [float(subprocess.check_output(command, env=environment)) for _ in range(1 + max(3, int(10 * scale)))]
    return {"cost": min(costs[1:])}


def http_request(name: str, scale: float, *, path: str, connections: int, count: int) -> Sample:
    """Keep one request in flight on each connection."""
    with http.served(name, path) as found, load.connected(found.address, connections) as clients:
        server = Server(found.pid, found.address, group=True)

        def ask(times: int, within: float) -> load.Exchanged:
            return load.exchange(clients, found.request, times, within, found.reply_bytes)

        ask(count // 40, PATIENCE_SECONDS)
        return server.measured(lambda: ask(int(count * scale), seconds(scale)))


def http_row(
    name: str,
    what: str,
    path: str,
    contestants: tuple[str, ...],
    goals: Mapping[str, float],
    *,
    connections: int = 64,
    count: int = 20_000,
) -> Row:
    """Return a row of HTTP servers, of which the first is ours."""
    measure = functools.partial(http_request, path=path, connections=connections, count=count)
    title = f"HTTP, {what}, {connections} connections"
    return Row(name, title, "us", contestants, measure, goals, quick=False, ours=contestants[0])


def codec(name: str, scale: float) -> Sample:
    """Cut a chunk of lines."""
    return {"cost": codecs.nanoseconds(codecs.CASES[name], int(20_000 * scale))}


# Curves, and other interpreters: a contestant's name ends in what it stands at.


def at(name: str) -> tuple[str, int]:
    """Take a curve's contestant apart."""
    who, _, number = name.partition(" @ ")
    return who, int(number)


def by_connections(name: str, scale: float) -> Sample:
    """Echo on so many connections."""
    who, number = at(name)
    return echo(who, scale, connections=machine.connections_max(number), count=100_000)


def by_size(name: str, scale: float) -> Sample:
    """Echo messages of such a size: microseconds for each KiB."""
    who, number = at(name)
    count = max(200, min(100_000, 400_000_000 // number))
    return echo(who, scale, connections=10, size=number, count=count, per=number / 1024)


def by_timers(name: str, scale: float) -> Sample:
    """Set and cancel timers while so many wait."""
    who, number = at(name)
    return task("timers", who, 200_000 * scale, number, 0)


@functools.cache
def interpreters() -> dict[str, str]:
    """Return the Pythons that are found, and can run us, by their names."""
    found: dict[str, str] = {}
    for name in ("python3.11", "python3.12", "python3.13", "python3.14", "python3.15", "pypy3.11", "pypy3"):
        for place in (shutil.which(name), *map(str, Path.home().glob(f".pyenv/versions/*/bin/{name}"))):
            if place and not subprocess.run([place, "-c", ""], check=False, capture_output=True).returncode:
                found.setdefault(name, place)
    return found


@functools.cache
def pure_attrs() -> str:
    """Return a directory with attrs and the project, and nothing of this interpreter's."""
    place = Path(tempfile.mkdtemp(prefix="reactor-benchmarks-"))
    site = Path(attrs.__file__).parent.parent
    for name in ("attr", "attrs"):
        shutil.copytree(site / name, place / name)
    return f"{place}{os.pathsep}{Path(__file__).parent.parent}"


def by_python(name: str, scale: float) -> Sample:
    """Echo on another interpreter."""
    who, _, python = name.partition(" @ ")
    path = pure_attrs()
    with (
        served("echo", who, interpreters()[python], path) as server,
        load.connected(server.address, 50) as clients,
    ):
        load.exchange(clients, MESSAGE, int(50_000 * scale), seconds(scale))  # PyPy compiles meanwhile
        return server.measured(lambda: load.exchange(clients, MESSAGE, int(100_000 * scale), seconds(scale)))


def _curve(numbers: tuple[int, ...], *names: str) -> tuple[str, ...]:
    return tuple(f"{name} @ {number}" for name in names for number in numbers)


CONNECTIONS = (10, 100, 1000, 5000, 15_000)
SIZES = (64, 1024, 16_384, 131_072, 1_048_576)
TIMERS = (10, 1000, 100_000, 1_000_000)
ECHO_GOALS = {"uvloop": 1.0, "by hand": 1.12, "asyncio": 0.30}

#: In the order in which they are measured.
ROWS = (
    Row("echo-1", "echo 64 B, 1 connection", "us", ECHO, functools.partial(echo, connections=1, count=60_000), ECHO_GOALS),
    Row("echo-50", "echo 64 B, 50 connections", "us", ECHO, echo, ECHO_GOALS),
    Row("echo-1000", "echo 64 B, 1,000 connections", "us", ECHO, functools.partial(echo, connections=1000), ECHO_GOALS),
    Row(
        "accept",
        "accept, exchange once, close",
        "us",
        ("ours", "by hand", "C", "uvloop", "asyncio", "Twisted", "Tornado", "gevent", "trio", "pyasyncore"),
        accept,
        {"uvloop": 1.0, "asyncio": 0.40},
    ),
    Row(
        "lines",
        "lines, 16 in flight, 50 connections; each line",
        "us",
        ("ours", "uvloop", "uvloop streams", "asyncio", "asyncio streams", "Twisted"),
        lines,
        {"asyncio streams": 0.5, "uvloop": 0.8},
    ),
    Row("idle", "memory of an idle connection", "B", ("ours", "uvloop", "asyncio", "by hand"), idle, most=900),
    Row(
        "idle-echo",
        "echo beside 15,000 idle connections, and alone",
        "us",
        ("ours", "ours alone", "uvloop", "uvloop alone"),
        beside_idle,
        {"ours alone": 1.05},
        quick=False,
    ),
    Row(
        "timers-cancel",
        "set a timer, cancel it",
        "ns",
        ("ours", "asyncio", "uvloop"),
        lambda name, scale: task("timers", name, 1e6 * scale, 0, 0),
        {"asyncio": 0.33},
    ),
    Row(
        "timers-restart",
        "set a timer, push it back, cancel it",
        "ns",
        ("ours", "asyncio", "uvloop"),
        lambda name, scale: task("timers", name, 1e6 * scale, 0, 1),
        {"asyncio": 0.33},
    ),
    Row(
        "deadline",
        "echo 64 B, 50 connections, with an idle deadline each",
        "us",
        ("ours, idle deadline", "ours"),
        echo,
        {"ours": 1.03},
        ours="ours, idle deadline",
    ),
    Row(
        "threadsafe",
        "calls from 4 threads",
        "ns",
        ("ours", "asyncio", "uvloop"),
        lambda name, scale: task("threadsafe", name, 400_000 * scale),
        {"asyncio": 0.5},
    ),
    Row("connects", "1,000 connects at once", "us", ("ours", "by hand", "asyncio", "uvloop"), connects, {"asyncio": 1 / 3}),
    Row(
        "import",
        "import",
        "ms",
        ("ours", "ours, Reactor and Stream", "attrs", "asyncio", "selectors, socket", "uvloop"),
        imports,
        {"attrs": 1.25, "asyncio": 1.0},
    ),
    Row(
        "bulk-16k",
        "echo 16 KiB, 10 connections; each MiB",
        "us",
        ("ours", "uvloop", "asyncio", "Twisted", "Tornado", "gevent", "trio"),
        functools.partial(echo, connections=10, size=16_384, count=40_000, per=1 / 64),
        {"uvloop": 1.0},
    ),
    Row(
        "bulk-1m",
        "echo 1 MiB, 4 connections; each MiB",
        "us",
        ("ours", "uvloop", "asyncio", "Twisted", "Tornado", "gevent", "trio"),
        functools.partial(echo, connections=4, size=1_048_576, count=1000),
        {"uvloop": 1.0},
    ),
    Row("codecs", "cut 16 lines of 17 B; each", "ns", tuple(codecs.CASES), codec, quick=False, ours="Lines"),
    http_row(
        "http-route",
        "a hello from code",
        "/hello",
        ("ours, a route", "uvicorn", "granian", "aiohttp"),
        {"uvicorn": 1 / 3, "granian": 1 / 2},
    ),
    http_row(
        "http-wsgi",
        f"a hello by WSGI in {http.THREADS} threads",
        "/hello",
        ("ours, WSGI", "waitress", "gunicorn"),
        {"waitress": 1 / 2, "gunicorn": 1 / 2},
    ),
    http_row(
        "http-wsgi-loop",
        "a hello by WSGI in the loop",
        "/hello",
        ("ours, WSGI in the loop", "granian, WSGI"),
        {"granian, WSGI": 1 / 1.5},
    ),
    http_row("http-file-1k", "a file of 1 kB", "/1k", ("ours", "nginx"), {}),
    http_row("http-file-100k", "a file of 100 kB", "/100k", ("ours", "nginx"), {"nginx": 1 / 0.8}),
    http_row("http-file-10m", "a file of 10 MB", "/10m", ("ours", "nginx"), {"nginx": 1 / 0.8}, connections=8, count=800),
    http_row("record", "a file of 1 kB, recorded", "/1k", ("recorded", "in a ring", "ours"), {}),
    Row(
        "pythons",
        "echo 64 B, 50 connections, by interpreter",
        "us",
        tuple(f"{who} @ {name}" for name in interpreters() for who in ("ours", "by hand")),
        by_python,
        {"by hand": 1.12},
        quick=False,
    ),
    Row(
        "curve-connections",
        "echo 64 B",
        "us",
        _curve(CONNECTIONS, "ours", "uvloop", "asyncio"),
        by_connections,
        quick=False,
        curve="connections",
    ),
    Row(
        "curve-sizes",
        "echo, 10 connections; each KiB",
        "us",
        _curve(SIZES, "ours", "uvloop", "asyncio"),
        by_size,
        quick=False,
        curve="bytes of a message",
    ),
    Row(
        "curve-timers",
        "set a timer and cancel it, while others wait",
        "ns",
        _curve(TIMERS, "ours", "asyncio"),
        by_timers,
        quick=False,
        curve="timers that wait",
    ),
)


def missing(name: str) -> str:
    """Return the module that a contestant lacks, or "" if it can run."""
    if name == "nginx":
        return "" if http.NGINX else name
    module = NEEDS.get(name.partition(" @ ")[0], "")
    return "" if machine.is_there(module) else module


def settle() -> None:
    """Let what the last contestant has left be cleared away by the kernel."""
    time.sleep(0.02)
