"""A trace opens in Perfetto, a summary can be read, and the command runs a program as Python would."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from reactor import Loop
from reactor.__main__ import main
from reactor.tracing import Tracer
from tests.kit import Clock, Recorder, Watched

PROGRAM = """\
import sys
from reactor import Reactor, Stream

class Echo(Stream):
    def on_data(self, data):
        self.write(data)

class Client(Stream):
    def on_connect(self):
        self.write(b"hello")
    def on_data(self, data):
        print("got", data.decode(), *sys.argv[1:])
        self.reactor.stop()

with Reactor() as reactor:
    acceptor = reactor.listen(Echo, "127.0.0.1:0")
    reactor.connect(Client(), f"127.0.0.1:{acceptor.port}")
    reactor.run()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that connects to itself."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def run(*arguments: str | Path) -> int:
    """Run the command; return its status."""
    return main(["trace", *map(str, arguments)])


def test_a_trace_is_in_the_trace_event_format(program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Spans with a duration, instants with a scope, counters; a program of its own arguments; and a summary."""
    out = tmp_path / "out.json"
    assert run("--out", out, program, "one", "--two") == 0
    printed, said = capsys.readouterr()
    assert printed == "got hello one --two\n"
    events: list[dict[str, Any]] = json.loads(out.read_text())["traceEvents"]
    names = {event["name"] for event in events}
    assert names >= {
        "pass",
        "poll",
        "Echo.on_readable",
        "Client.on_readable",
        "accept",
        "connect",
        "read",
        "write",
        "queued",
    }
    for event in events:
        assert event["ph"] in "XiC"
        assert event["ts"] >= 0
        assert event["pid"] == event["tid"] == 1
        assert ("dur" in event) == (event["ph"] == "X")
        assert ("s" in event) == (event["ph"] == "i")
    spans = [event for event in events if event["ph"] == "X"]
    hook = next(event for event in spans if event["name"] == "Echo.on_readable")
    around = [e for e in spans if e["name"] == "pass" and e["ts"] <= hook["ts"] <= e["ts"] + e["dur"]]
    assert len(around) == 1
    assert "10 bytes received, 10 sent" in said
    assert "Echo.on_readable" in said
    assert f"{out}: open it at https://ui.perfetto.dev" in said
    assert Loop.default_instruments == ()


@pytest.mark.parametrize(
    ("end", "status", "printed"), [("exit(3)", 3, ""), ("exit()", 0, ""), ("exit('no')", 1, "no\n"), ("version", 0, "")]
)
def test_the_status_is_the_programs(
    program: Path, capsys: pytest.CaptureFixture[str], end: str, status: int, printed: str
) -> None:
    """However it ends, the trace is saved."""
    program.write_text(f"import sys\nsys.{end}\n")
    out = program.with_suffix(".json")
    assert run("--out", out, program) == status
    assert capsys.readouterr().err.startswith(printed)
    assert out.exists()


def test_what_the_program_raises_comes_out(program: Path, tmp_path: Path) -> None:
    """After the trace is saved; arguments and path are put back."""
    program.write_text("raise ValueError('here')\n")
    before = sys.argv, list(sys.path)
    with pytest.raises(ValueError, match="here"):
        run("--out", tmp_path / "out", program)
    assert (sys.argv, sys.path) == before
    assert json.loads((tmp_path / "out").read_text())["traceEvents"] == []


def test_the_summary_names_the_slowest_and_the_busiest(tmp_path: Path) -> None:
    """Sorted by time, by the longest call, and by number; and how much of the time was spent waiting."""
    system = Clock()
    with Watched(system=system, debug=True, slow_phase=None) as reactor:
        tracer = reactor.instrument(Tracer())

        def slow() -> None:
            system.moment += 3

        def quick() -> None:
            system.moment += 1

        for _ in range(5):
            reactor.call_soon(quick)
        reactor.call_soon(slow)
        reactor.turn()
        reactor.call_later(2, print)
        reactor.run_until(lambda: not reactor.timers)
    lines = tracer.summary().splitlines()
    assert "20%" in lines[0]
    first = {
        title: lines[lines.index(title + ":") + 1].rpartition(".")[2] for title in ("most time", "slowest", "most called")
    }
    assert first == {"most time": "quick", "slowest": "slow", "most called": "quick"}


def test_errors_and_owners_are_in_the_trace(virtual: Watched) -> None:
    """An error is an instant that is drawn across everything; a timer names its owner."""
    tracer = virtual.instrument(Tracer())
    here, there = virtual.system.socketpair()
    stream = virtual.attach(Recorder(), here)

    def fail() -> None:
        raise ValueError("here")

    with there:
        stream.call_later(0, fail)
        virtual.turn(2)
    (error,) = [event for event in tracer.events if event["name"] == "error"]
    assert error["args"] == {"where": "timer", "error": "ValueError"}
    (timer,) = [event for event in tracer.events if event["name"].endswith("fail")]
    assert timer["args"]["owner"].startswith("<Recorder fd=")
    virtual.raised.clear()


def test_a_trace_is_bounded(virtual: Watched) -> None:
    """What does not fit is counted, and said."""
    tracer = virtual.instrument(Tracer(limit=5))
    virtual.turn(10)
    assert len(tracer.events) == 5
    assert tracer.dropped > 0
    assert f"{tracer.dropped} events are not in the trace, which keeps 5" in tracer.summary()


def test_an_empty_trace_has_a_summary() -> None:
    """A program that makes no reactor."""
    assert Tracer().summary().startswith("0 passes in 0.000 s, 0%")
