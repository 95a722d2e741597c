"""What the documentation prints runs: README's programs are those of docs/programs, and each does what its page says."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import reactor
import reactor.testing
from tests.kit import PATIENCE, read_all

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "docs" / "programs"
#: The port that the programs name; a test gives them a free one.
PORT = "7007"


@pytest.fixture
def port() -> str:
    """A port that was free a moment ago, on every interface."""
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as probe:
        probe.bind(("", 0))
        return str(probe.getsockname()[1])


@contextlib.contextmanager
def running(program: str, port: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program of docs/programs on *port*, and see to it that it ends."""
    source = (PROGRAMS / f"{program}.py").read_text("utf-8").replace(PORT, port)
    command = [sys.executable, "-W", "error", "-c", source]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def connected(port: str) -> socket.socket:
    """Return a socket that is connected to *port*, as soon as somebody listens there."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE)
        except ConnectionRefusedError:
            assert time.monotonic() < give_up, f"nobody listens on {port}"
            time.sleep(0.01)  # a process is starting: the one thing that no virtual clock can hasten


def test_readme_prints_programs_that_run() -> None:
    """README's two programs are docs/programs/echo.py and greeter.py, letter for letter."""
    printed = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert printed == [(PROGRAMS / name).read_text("utf-8") for name in ("echo.py", "greeter.py")]


def test_every_program_stands_on_a_page_and_every_page_includes_what_is_there() -> None:
    """The pages include each program of docs/programs, and none that is not there."""
    pages = " ".join(page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md"))
    included = set(re.findall(r"\{literalinclude\} (?:\.\./)?programs/(\w+\.py)", pages))
    assert included == {path.name for path in PROGRAMS.glob("*.py")}


def test_the_reference_has_every_public_name() -> None:
    """Each name of `reactor.__all__` is described on one page of the reference, and no page describes another."""
    pages = " ".join(page.read_text("utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    assert sorted(re.findall(r"^\.\. auto\w+:: reactor\.(\w+)$", pages, re.MULTILINE)) == sorted(reactor.__all__)


def test_the_reference_has_every_name_of_testing() -> None:
    """Each name of `reactor.testing.__all__` is described on its page, which describes no other."""
    page = (ROOT / "docs" / "reference" / "testing.md").read_text("utf-8")
    names = re.findall(r"^\.\. auto\w+:: reactor\.testing\.(\w+)$", page, re.MULTILINE)
    assert sorted(names) == sorted(reactor.testing.__all__)


def test_echo_and_greeter(port: str) -> None:
    """The client greets the server, prints what comes back, and both sides agree that it is over."""
    with running("echo", port) as server:
        connected(port).close()
        with running("greeter", port) as client:
            printed, errors = client.communicate(timeout=PATIENCE)
        assert printed == "hello world\nclosed by this side; everything that was queued has been sent\n"
        assert (errors, client.returncode, server.poll()) == ("", 0, None)


def test_greeter_without_a_server(port: str) -> None:
    """Without a server the client hears `on_close` alone, which says what was tried, and ends well."""
    with running("greeter", port) as client:
        printed, errors = client.communicate(timeout=PATIENCE)
    assert f"cannot connect to localhost:{port}: [::1]:{port} " in printed
    assert f"127.0.0.1:{port} refused" in printed
    assert (errors, client.returncode) == ("", 0)


def test_client(port: str) -> None:
    """The client says who it is connected to, or what each address said."""
    with running("visitor", port) as client:
        printed, errors = client.communicate(timeout=PATIENCE)
    assert f"127.0.0.1:{port} Connection refused" in printed
    with running("echo", port):
        connected(port).close()
        with running("visitor", port) as client:
            printed, errors = client.communicate(timeout=PATIENCE)
    assert re.fullmatch(rf"connected to (\[::1\]|127\.0\.0\.1):{port}\n", printed)
    assert errors == ""


def test_stay(port: str) -> None:
    """Up when it is welcome, down when that ends, up again; stopped when nobody is there any more."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(port)))
        listener.listen()
        listener.settimeout(PATIENCE)
        with running("stay", port) as process:
            assert process.stdout is not None
            for last in (False, True):
                server, _ = listener.accept()
                with server:
                    assert server.recv(100) == b"hello\n"
                    server.sendall(b"welcome\n")
                    assert process.stdout.readline() == "up\n"
                    server.sendall(b"news\n")
                    assert process.stdout.readline() == "heard news\n"
                    if last:
                        listener.close()
                assert process.stdout.readline() == "down\n"
            assert process.communicate(timeout=PATIENCE) == ("stopped\n", "")


def test_ticker(port: str) -> None:
    """The ticker ticks three times; then nothing is left, and `run` returns."""
    with running("ticker", port) as process:
        printed, errors = process.communicate(timeout=PATIENCE)
    assert (printed, errors) == ("tick 1\ntick 2\ntick 3\ndone\n", "")


def test_upcase(port: str) -> None:
    """The answer comes after the request's end, and whole."""
    with running("upcase", port), connected(port) as client:
        client.sendall(b"hello\n")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"HELLO\n"


def test_faucet(port: str) -> None:
    """Ten megabytes arrive whole, however little of them is held at a time."""
    with running("faucet", port), connected(port) as client:
        assert len(read_all(client)) == 10_000_000


@pytest.mark.skipif(sys.platform == "win32", reason="there, terminating a process is no signal")
def test_service(port: str) -> None:
    """On SIGTERM the service listens no more, lets the connection that is there end, and says goodbye."""
    with running("service", port) as service, connected(port) as client:
        client.sendall(b"before")
        assert client.recv(100) == b"before"
        service.send_signal(signal.SIGTERM)
        assert read_all(client) == b""
        client.close()
        printed, errors = service.communicate(timeout=PATIENCE)
        assert (printed, errors, service.returncode) == (f"listening on port {port}\nbye\n", "", 0)


@pytest.mark.skipif(sys.platform == "win32", reason="there, terminating a process is no signal")
def test_adder(port: str, tmp_path: Path) -> None:
    """The page on recording tells the truth: the bug strikes, is recorded, and is met again in a replay under pdb."""
    source = (PROGRAMS / "adder.py").read_text("utf-8").replace(PORT, port)
    plain, stopping, mended = (str(tmp_path / f"{name}.py") for name in ("adder", "stopping", "mended"))
    Path(plain).write_text(source)
    Path(stopping).write_text(source.replace("        for line", "        breakpoint()\n        for line"))
    Path(mended).write_text(source.replace("in data.split()", "in data.split() if data.endswith(b'\\n') else ()"))
    journal = str(tmp_path / "run.journal")
    command = [sys.executable, "-W", "error", "-m", "reactor"]
    with subprocess.Popen([*command, "record", journal, plain], cwd=ROOT) as process:
        try:
            with connected(port) as client:
                for sent, heard in ((b"12\n", b"12\n"), (b"4", b"16\n"), (b"0\n", b"16\n")):
                    client.sendall(sent)
                    assert client.recv(100) == heard
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()

    def replay(program: str, stdin: str = "", *options: str) -> subprocess.CompletedProcess[str]:
        replaying = [*command, "replay", *options, journal, program]
        return subprocess.run(
            replaying, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=3 * PATIENCE, check=False
        )

    assert (replay(plain).returncode, replay(plain).stderr) == (0, "")
    assert "b'4'" in replay(stopping, "p data\ncontinue\np data\ncontinue\ncontinue\n").stdout
    shown = subprocess.run([*command, "show", journal], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    place = re.search(r"^ *(\d+) .* recv fd \d+ 65536 -> b'4'$", shown, re.MULTILINE)
    assert place is not None
    assert "on_readable()" in replay(plain, "continue\n", "--stop-at", place[1]).stdout
    left = replay(mended)
    assert left.returncode == 1
    assert "the program has left the journal\n  the journal: send fd " in left.stderr


def test_every_test_that_the_docs_name_is_there() -> None:
    """What stands in the table of complaints as shown is shown."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "elsewhere.md").read_text(encoding="utf-8")))
    defined = {
        name
        for path in (ROOT / "tests").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert named
    assert named <= defined
