"""The seam to the real operating system."""

from __future__ import annotations

import os
import pathlib
import selectors
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import pytest

from reactor import Inet, Unix
from reactor import system as module
from reactor.system import close
from tests.kit import PATIENCE, exists, tcp_pair, unix_pair
from tests.worlds import System


@pytest.fixture
def system() -> System:
    return System()


def test_sockets_are_non_blocking_and_not_inherited(system: System) -> None:
    """What the system makes can neither block nor leak into a child."""
    pair = system.socketpair()
    with system.socket(socket.AF_INET) as sock, pair[0], pair[1]:
        for each in (sock, *pair):
            assert each.gettimeout() == 0
            assert not each.get_inheritable()


@pytest.mark.kernel("the operating system's own sockets")
def test_sockets_are_non_blocking_where_they_are_not_made_so(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SOCK_NONBLOCK, as on macOS, it is set afterwards."""
    monkeypatch.setattr(module, "_NONBLOCK", 0)
    with system.socket(socket.AF_INET) as sock:
        assert not sock.getblocking()


@pytest.mark.kernel("the operating system's own clock")
def test_the_clock_goes_on(system: System) -> None:
    """The clock is monotonic, and the thread is this one."""
    before = system.monotonic()
    assert before <= system.monotonic() <= time.monotonic()
    assert system.thread() == __import__("threading").get_ident()


@pytest.mark.kernel("the platform's own selector")
def test_the_selector_is_the_best(system: System) -> None:
    """The platform's default selector is used."""
    with system.selector() as selector:
        assert type(selector) is selectors.DefaultSelector


def test_numeric_names_resolve(system: System) -> None:
    """A numeric host has one address."""
    assert system.getaddrinfo("127.0.0.1", 80, flags=socket.AI_NUMERICHOST) == [(socket.AF_INET, ("127.0.0.1", 80))]


def test_a_named_scope_becomes_a_number(system: System) -> None:
    """The kernel wants an interface's index."""
    index = socket.if_nametoindex("lo")
    assert system.sockaddr(Inet("fe80::1%lo", 80)) == ("fe80::1", 80, 0, index)
    assert system.sockaddr(Inet("fe80::1%7", 80)) == ("fe80::1", 80, 0, 7)
    assert system.sockaddr(Unix("/x")) == "/x"
    with pytest.raises(OSError, match="no interface"):
        system.sockaddr(Inet("fe80::1%nosuch", 80))


def test_open_descriptors_are_known(system: System) -> None:
    """is_open tells a number that names something from one that does not."""
    with system.socket(socket.AF_INET) as sock:
        fd = sock.fileno()
        assert system.is_open(fd)
    assert not system.is_open(fd)


def test_a_socket_file_has_an_identity(system: System, tmp_path: pathlib.Path) -> None:
    """It is there from bind on, whoever has closed the socket, until it is removed; its successor is another one."""
    path = tmp_path / "s"
    assert not exists(path)
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as other:
        sock.bind(str(path))
        found = system.socket_file(str(path))
        assert found is not None
        assert system.socket_file(str(path)) == found
        other.bind(str(path) + "2")
        assert system.socket_file(str(path) + "2") != found
    assert system.socket_file(str(path)) == found
    system.unlink(str(path))
    assert not exists(path)
    with pytest.raises(FileNotFoundError):
        system.unlink(str(path))
    system.unlink(str(path) + "2")


@pytest.mark.kernel("files that are no sockets")
def test_socket_files_are_told_from_others(system: System, tmp_path: pathlib.Path) -> None:
    """Only a socket's file has an identity."""
    path = tmp_path / "s"
    assert system.socket_file(str(path)) is None
    path.write_text("")
    assert system.socket_file(str(path)) is None
    path.unlink()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        found = os.stat(path)
        assert system.socket_file(str(path)) == (found.st_dev, found.st_ino)
    system.unlink(str(path))
    assert not path.exists()


def test_a_dead_socket_is_told_from_a_live_one(system: System, tmp_path: pathlib.Path) -> None:
    """Alive is whoever listens, also with a full backlog, and whatever cannot be asked."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        assert not system.is_socket_alive(path)
        sock.listen(0)
        assert system.is_socket_alive(path)
        with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
            for filler in (one, two):
                filler.setblocking(False)
                filler.connect_ex(path)
            assert system.is_socket_alive(path)
    assert not system.is_socket_alive(path)


@pytest.mark.kernel("modes and owners of files")
def test_permissions_are_set(system: System, tmp_path: pathlib.Path) -> None:
    """Mode, owner and group arrive at the file."""
    path = tmp_path / "s"
    path.write_text("")
    system.set_permissions(str(path), 0o640, None, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    system.set_permissions(str(path), 0o600, os.getuid(), os.getgid())
    assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())
    system.set_permissions(str(path), 0o600, None, os.getgid())


@pytest.mark.kernel("locks a directory")
def test_a_directory_is_locked_by_one_starter_at_a_time(
    system: System, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds the directory locked waits a little, and is told when that was in vain."""
    monkeypatch.setattr(module, "DIRECTORY_LOCK_SECONDS", 0.02)
    path = str(tmp_path / "s")
    with system.directory_lock(path) as locked:
        assert locked
        with system.directory_lock(path) as second:
            assert not second
    with system.directory_lock(path) as locked:
        assert locked


@pytest.mark.kernel("locks a directory")
def test_a_platform_without_flock_has_no_lock(
    system: System, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without fcntl nothing is locked, and the caller is told."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with system.directory_lock(str(tmp_path / "s")) as locked:
        assert not locked


def test_signals_pass_through(system: System) -> None:
    """Handlers and the wake-up descriptor are set, read and put back."""
    assert system.is_main_thread()
    heard = []
    before = system.set_signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        assert system.get_signal(signal.SIGUSR1) is not before
        system.raise_signal(signal.SIGUSR1)
        assert heard == [signal.SIGUSR1]
        one, other = system.socketpair()
        with one, other:
            assert system.set_wakeup_fd(one.fileno()) == -1
            assert system.set_wakeup_fd(-1) == one.fileno()
    finally:
        system.set_signal(signal.SIGUSR1, before)


@pytest.mark.kernel("what the platform has")
def test_dual_stack_is_what_the_stdlib_says(system: System) -> None:
    """The question goes to the stdlib."""
    assert system.has_dualstack_ipv6() == socket.has_dualstack_ipv6()


def test_close_by_reset_is_seen_as_a_reset() -> None:
    """The peer of a socket closed by RST reads an error, not an end."""
    here, there = tcp_pair()
    close(here, reset=True)
    there.settimeout(PATIENCE)
    with there, pytest.raises(ConnectionResetError):
        there.recv(1)


def test_what_close_reports_is_no_error() -> None:
    """BSDs tell of the peer's reset there; the descriptor is gone all the same."""

    class Told:
        def close(self) -> None:
            raise ConnectionResetError

    close(Told())  # type: ignore[arg-type]


def test_close_in_order_is_seen_as_an_end() -> None:
    """The peer of a socket closed in order reads the end; closing what is closed is harmless."""
    here, there = tcp_pair()
    close(here)
    close(here, reset=True)
    with there:
        assert there.recv(1) == b""


# What a descriptor is at


@pytest.mark.kernel("asks what only Linux keeps of a connection")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel counts on Linux")
def test_linux_counts_what_was_read_and_written() -> None:
    """Both numbers grow with what this side does, whatever the other one does meanwhile."""
    system = System()
    here, there = tcp_pair()
    with here, there:
        first = system.progress(here)
        there.sendall(b"four")
        assert here.recv(1, socket.MSG_PEEK)
        assert system.progress(here) == first
        here.recv(3)
        here.sendall(b"seven b")
        then = system.progress(here)
        assert first is not None
        assert then == (first[0] + 3, first[1] + 7)
        assert system.idle_seconds(here) is not None
        assert system.unread(here) == 1


@pytest.mark.kernel("asks what only Linux keeps of a connection")
def test_where_nothing_is_counted_nothing_is_told() -> None:
    """Of Unix sockets, listeners, datagrams and what is closed."""
    system = System()
    here, there = unix_pair()
    with here, there:
        there.send(b"abc")
        assert system.progress(here) is None
        assert system.idle_seconds(here) is None
        assert system.unread(here) == (3 if os.name == "posix" else None)
    assert system.unread(here) is None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert system.progress(listener) is None
        assert system.unread(listener) == 1
    assert system.progress(listener) is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert system.progress(datagrams) is None


@pytest.mark.kernel("asks what only Linux keeps of a connection")
def test_a_kernel_that_tells_less_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old kernel's shorter answer, or a platform without these calls, is no answer."""
    system = System()
    here, there = tcp_pair()
    with here, there:
        monkeypatch.setattr("termios.TIOCOUTQ", 0)
        assert system.progress(here) is None
        monkeypatch.setattr("reactor.system._TCP_INFO_BYTES", 10**6)
        assert system.progress(here) is None
        monkeypatch.setitem(sys.modules, "fcntl", None)
        assert system.unread(here) is None


@pytest.mark.kernel("files are the machine's")
def test_a_file_is_read_without_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no pread(2), the position is put back."""
    monkeypatch.delattr(os, "pread")
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb", buffering=0) as file:
        file.seek(2)
        assert System().read_at(file.fileno(), 5, 3) == b"567"
        assert file.tell() == 2
