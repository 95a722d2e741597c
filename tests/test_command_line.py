"""`python -m reactor`: programs that know nothing of it are recorded, replayed and shown."""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import reactor
from reactor import System
from reactor.__main__ import main, megabytes, signal_number
from tests.journals import names
from tests.kit import PATIENCE

ROOT = Path(__file__).parent.parent

PROGRAM = """
import sys
from reactor import Reactor, Stream

def say():
    print(sys.argv[1:], __name__, reactor.system.time())
    {act}

with Reactor() as reactor:
    reactor.call_soon(say)
    reactor.run()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run.journal")


def program(place: Path, act: str = "pass", name: str = "program") -> str:
    """Write a program, and return its path."""
    written = place / f"{name}.py"
    written.write_text(PROGRAM.format(act=act))
    return str(written)


# In this process


def test_a_program_prints_the_same_in_a_replay(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It gets its arguments, believes to be the main program, and hears the same clock; nothing is left changed."""
    before, argv, modules = System.default, list(sys.argv), list(sys.path)
    command = [path, program(tmp_path), "one", "--two"]
    assert main(["record", *command]) == 0
    recorded = capsys.readouterr().out
    assert recorded.startswith("['one', '--two'] __main__ ")
    assert main(["replay", *command]) == 0
    assert capsys.readouterr().out == recorded
    assert (System.default, sys.argv, sys.path) == (before, argv, modules)


def test_a_module_is_run_as_one(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With -m, it is found where `python -m` would find it."""
    monkeypatch.chdir(tmp_path)
    program(tmp_path, name="a_module_to_be_run")
    for verb in ("record", "replay"):
        assert main([verb, path, "-m", "a_module_to_be_run", "x"]) == 0
        assert capsys.readouterr().out.startswith("['x'] __main__ ")


@pytest.mark.parametrize("exit_", [("sys.exit(3)", 3, ""), ("sys.exit()", 0, ""), ("sys.exit('so')", 1, "so\n")])
def test_the_status_is_the_programs(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], exit_: tuple[str, int, str]
) -> None:
    """Whatever the program says when it exits holds, recorded and replayed."""
    act, status, error = exit_
    for verb in ("record", "replay"):
        assert main([verb, path, program(tmp_path, act)]) == status
        assert capsys.readouterr().err == error


def test_a_program_that_fails_fails_as_without(path: str, tmp_path: Path) -> None:
    """Its exception comes out, and what was recorded is there, from a ring, too."""
    failing = program(tmp_path, "raise KeyboardInterrupt")
    for options in ([], ["--ring", "1"]):
        with pytest.raises(KeyboardInterrupt):
            main(["record", *options, path, failing])
        assert "enter" in names(path)
        with pytest.raises(KeyboardInterrupt):
            main(["replay", path, failing])


def test_a_divergence_is_an_error(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another program than the one that was recorded ends with status 1, and is told where."""
    main(["record", path, program(tmp_path)])
    assert main(["replay", path, program(tmp_path, "reactor.time()")]) == 1
    error = capsys.readouterr().err
    assert re.match(r"reactor: record \d+, 0\.\d+ s: the program has left the journal\n  the journal: ", error)
    assert re.search(r"^recorded with Python 3\.\d+\.\d+\S* on \w+, reactor ", error, re.MULTILINE)


def test_a_journal_that_ends_early_is_no_error(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recorded process was killed: the replay comes as far, and says so."""
    main(["record", path, program(tmp_path)])
    os.truncate(path, os.path.getsize(path) - 1)
    assert main(["replay", path, program(tmp_path)]) == 0
    assert re.match(r"reactor: record 0, 0\.\d+ s: the journal ends here", capsys.readouterr().err)


def test_a_journal_is_shown(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was run, then a line for each record."""
    main(["record", path, program(tmp_path)])
    capsys.readouterr()
    assert main(["show", path]) == 0
    header, *shown = capsys.readouterr().out.splitlines()
    assert header.startswith("Python 3.")
    assert [line.split()[2] for line in shown] == names(path)


def test_whoever_has_seen_enough_may_go(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that breaks, as that of `head` does, is no error."""
    main(["record", path, program(tmp_path)])
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as broken:
        monkeypatch.setattr(sys, "stdout", broken)
        assert main(["show", path]) == 0
        monkeypatch.undo()


@pytest.mark.parametrize("verb", ["replay", "show"])
def test_what_is_no_journal_is_refused(verb: str, path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With status 2, before anything runs; so is a journal that is not there, or cannot be written."""
    more = [program(tmp_path)] if verb == "replay" else []
    with pytest.raises(SystemExit, match="2"):
        main([verb, path, *more])
    assert "No such file" in capsys.readouterr().err
    Path(path).write_text("something else")
    with pytest.raises(SystemExit, match="2"):
        main([verb, path, *more])
    assert capsys.readouterr().err == f"reactor: {path} is no journal\n"
    with pytest.raises(SystemExit, match="2"):
        main(["record", str(tmp_path / "nowhere" / "x"), program(tmp_path)])
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["record", "x"], "which program?"),
        (["replay", "x", "-m"], "which program?"),
        (["record", "x", "no/such/program.py"], "no/such/program.py: no such program"),
        (["record", "--ring", "0", "x", "y"], "invalid megabytes value: '0'"),
        (["record", "--dump-on", "SIGNONE", "x", "y"], "invalid signal_number value: 'SIGNONE'"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With status 2, and a word on what would be right."""
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


def test_numbers_and_names() -> None:
    """Signals go by number or name, with or without SIG; megabytes may be fractions."""
    assert {signal_number(text) for text in (str(int(signal.SIGUSR1)), "USR1", "sigusr1")} == {signal.SIGUSR1}
    assert megabytes("0.5") == 512 * 1024


def test_a_full_disk_is_reported(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program runs to its end, and the journal's fate is told."""
    resource = pytest.importorskip("resource")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    act = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))"
    act += "; reactor.system.tape.flush()"
    try:
        assert main(["record", path, program(tmp_path, act)]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "reactor: the journal ends early: [Errno 27]" in capsys.readouterr().err


def test_the_debugger_stops_where_it_is_told(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--stop-at` opens pdb where the program, or the library, has taken the record."""
    main(["record", path, program(tmp_path)])
    place = names(path).index("time")
    opened: list[Any] = []

    class Debugger:
        def __init__(self, skip: list[str]) -> None:
            assert skip == ["reactor.testing.*"]

        def set_trace(self, frame: Any) -> None:
            opened.append((frame.f_code.co_name, frame.f_globals["__name__"]))

    monkeypatch.setattr("pdb.Pdb", Debugger)
    assert main(["replay", "--stop-at", str(place), path, program(tmp_path)]) == 0
    assert opened == [("say", "__main__")]
    capsys.readouterr()


def test_who_quits_the_debugger_is_told_nothing(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It raises in the program, which then leaves the journal: no news to whoever has quit."""
    main(["record", path, program(tmp_path)])
    capsys.readouterr()
    quitting = program(tmp_path, "import bdb; raise bdb.BdbQuit")
    assert main(["replay", path, quitting]) == 1
    assert capsys.readouterr().err == ""


def test_the_module_is_a_program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m reactor` reads its own arguments."""
    monkeypatch.setattr(sys, "argv", ["reactor", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(Path(reactor.__file__).with_name("__main__.py")), run_name="__main__")
    assert "replay" in capsys.readouterr().out


# As processes


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `python` with *arguments*, and see to it that it ends."""
    command = [sys.executable, "-W", "error", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=3 * PATIENCE, check=False)


#: Sends requests whole, in pieces and by the dozen; ends one side, or resets in the middle of an answer; each by the seed.
CLIENT = """
import random, socket, struct, sys
port, seed = int(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
for _ in range(40):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        request = b"GET /%s HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" % chance.choice([b"small", b"big", b"", b"nothing", b"%zz"])
        data = request * chance.choice([1, 1, 3, 12])
        cut = chance.randrange(len(data))
        sock.sendall(data[:cut])
        if chance.random() < 0.5:
            sock.sendall(data[cut:])
        end = chance.random()
        if end < 0.4:
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        elif end < 0.7:
            sock.recv(chance.choice([1, 100, 65536])) if cut > 100 else None
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
"""


def serve_and_load(path: str, tmp_path: Path, *options: str) -> tuple[list[str], str]:
    """Record HTTP-lite while two clients use it badly; return its arguments, and its access log."""
    pytest.importorskip("httptools")
    site = tmp_path / "site"
    site.mkdir()
    (site / "small").write_text("small")
    (site / "big").write_bytes(os.urandom(300_000))
    arguments = ["-m", "examples.http_lite", "--bind", "127.0.0.1:0", str(site)]
    with running("-m", "reactor", "record", *options, path, *arguments) as server:
        assert server.stdout is not None
        greeting = server.stdout.readline()
        port = greeting.rpartition(":")[2].strip("/\n")
        clients = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(CLIENT), port, str(seed)]) for seed in (1, 2)]
        assert [client.wait(3 * PATIENCE) for client in clients] == [0, 0]
        with socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE) as last:
            last.sendall(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
            assert last.recv(1000)
            server.send_signal(signal.SIGTERM)
            log, errors = server.communicate(timeout=PATIENCE)
    assert (server.returncode, errors) == (0, "")
    return arguments, greeting + log


def test_http_lite_replays_its_access_log(path: str, tmp_path: Path) -> None:
    """A server under load with half-closes and resets writes, replayed without a network, the same log byte for byte."""
    arguments, log = serve_and_load(path, tmp_path)
    assert len(log.splitlines()) > 80
    assert "Connection reset by peer" in run("-m", "reactor", "show", path).stdout
    replayed = run("-m", "reactor", "replay", path, *arguments)
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert replayed.stdout == log


def test_http_lite_replays_from_a_ring_that_was_large_enough(path: str, tmp_path: Path) -> None:
    """Nothing is written until it is asked for; a program that ends in good order has nothing to tell."""
    serve_and_load(path, tmp_path, "--ring", "64", "--dump-on", "USR2")
    assert not os.path.exists(path)


def test_a_process_that_was_killed(path: str, tmp_path: Path) -> None:
    """Everything up to its last long wait is in the journal; the replay ends there, cleanly."""
    waiting = program(tmp_path, "sys.stdout.flush(); reactor.call_later(1000, print)")
    with running("-m", "reactor", "record", path, waiting) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        while "time" not in (names(path) if os.path.getsize(path) > 100 else []):
            assert process.poll() is None
        process.kill()
        process.communicate(timeout=PATIENCE)
    replayed = run("-m", "reactor", "replay", path, waiting)
    assert (replayed.returncode, replayed.stdout) == (0, said)
    assert "the journal ends here; the process was killed" in replayed.stderr


def test_pdb_in_a_replay(path: str, tmp_path: Path) -> None:
    """A breakpoint, and --stop-at: what was recorded waits as long as somebody looks at it."""
    breaking = program(tmp_path, "breakpoint() if len(sys.argv) > 1 and 'replay' in sys.orig_argv else None")
    assert run("-m", "reactor", "record", path, breaking, "x").returncode == 0
    debugged = run("-m", "reactor", "replay", path, breaking, "x", stdin="p 6 * 7\nwhere\ncontinue\n")
    assert "42" in debugged.stdout
    assert "say()" in debugged.stdout
    assert debugged.returncode == 0, debugged
    quitting = run("-m", "reactor", "replay", path, breaking, "x", stdin="quit\n")
    assert (quitting.returncode, quitting.stderr) == (1, ""), quitting
    place = names(path).index("take")
    debugged = run(
        "-m", "reactor", "replay", "--stop-at", str(place), path, breaking, "x", stdin="p self.passes\ncontinue\ncontinue\n"
    )
    assert "(Pdb) 0" in debugged.stdout
    assert "reactor/loop.py" in debugged.stdout
    assert debugged.returncode == 0, debugged
