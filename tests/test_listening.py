"""Sockets that listen."""

from __future__ import annotations

import errno
import os
import pathlib
import socket
import stat
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from reactor import AddressError, AddressInUse, Inet, ListenError, ListenOptions, Unix, Unsupported, UsageError
from reactor import listening as module
from reactor.listening import Listening, listen_on
from tests.kit import Fault, exists
from tests.worlds import System

OPTIONS = ListenOptions()


@pytest.fixture
def opened() -> Iterator[list[Listening]]:
    """What a test opens and this closes."""
    found: list[Listening] = []
    yield found
    for each in found:
        each.remove_file(System())
        each.sock.close()


def test_every_interface_is_one_dual_stack_socket(opened: list[Listening]) -> None:
    """':0' is one socket on one port, which serves IPv4 and IPv6."""
    opened += listen_on(System(), ":0", OPTIONS)
    (one,) = opened
    assert isinstance(one.address, Inet)
    assert one.address.host == "::"
    assert one.address.port > 0
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, one.address.port)).close()


def test_without_dual_stack_it_is_two_sockets_on_one_port(opened: list[Listening]) -> None:
    """Where one socket cannot serve both, two do, with the same port even when the kernel chose it."""

    class Single(System):
        def has_dualstack_ipv6(self) -> bool:
            return False

    opened += listen_on(Single(), ":0", OPTIONS)

    assert {each.address.host for each in opened if isinstance(each.address, Inet)} == {"0.0.0.0", "::"}
    assert len({each.sock.getsockname()[1] for each in opened}) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_numeric_host_is_one_address(opened: list[Listening], host: str) -> None:
    """The address that was asked for is the real one, and says so."""
    opened += listen_on(System(), (host, 0), OPTIONS)
    assert [each.address.host for each in opened if isinstance(each.address, Inet)] == [host]


class Names(System):
    """A resolver that knows two addresses for every name."""

    places: tuple[tuple[int, Any], ...] = ((socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0)))

    def getaddrinfo(self, host: str | None, port: int, *, family: int = 0, flags: int = 0) -> list[tuple[int, Any]]:
        return [(family, (raw[0], port, *raw[2:])) for family, raw in self.places]


def test_a_name_is_every_address_that_it_has(opened: list[Listening]) -> None:
    """Two addresses are two sockets on one port, IPv6 for IPv6 only."""
    opened += listen_on(Names(), "some.name:0", OPTIONS)
    # In which order depends on whose free port was free for the other one, too.
    assert {str(each.address).rpartition(":")[0] for each in opened} == {"[::1]", "127.0.0.1"}
    assert len({each.sock.getsockname()[1] for each in opened}) == 1


def test_a_taken_port_makes_it_choose_again(opened: list[Listening], monkeypatch: pytest.MonkeyPatch) -> None:
    """If the free port of the first address is taken on the second, all are closed and another one is tried."""
    real = module._bind_all
    calls: list[list[Any]] = []

    def once(system: System, places: list[Any], dual: bool, options: ListenOptions) -> list[Listening]:
        calls.append(list(places))
        if len(calls) == 1:
            raise OSError(errno.EADDRINUSE, "taken")
        return real(system, places, dual, options)

    monkeypatch.setattr(module, "_bind_all", once)
    opened += listen_on(Names(), "some.name:0", OPTIONS)

    assert len(opened) == 2
    assert calls[1] == [calls[0][1], calls[0][0]]


def test_addresses_that_this_machine_lacks_are_passed_over(opened: list[Listening]) -> None:
    """A hosts file that promises an address which no interface has does not keep the others from listening."""

    class Missing(Names):
        places = ((socket.AF_INET, ("192.0.2.1", 0)), (socket.AF_INET, ("127.0.0.1", 0)))

    opened += listen_on(Missing(), "some.name:0", OPTIONS)
    assert len(opened) == 1


def test_if_every_address_is_missing_that_is_the_error() -> None:
    """The kernel's reason comes out, with the address as it was asked for."""
    with pytest.raises(ListenError, match="cannot listen on 192.0.2.1:0") as caught:
        listen_on(System(), "192.0.2.1:0", OPTIONS)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_port_in_use_says_so_and_leaves_nothing_open(opened: list[Listening]) -> None:
    """AddressInUse, with the address."""
    opened += listen_on(System(), "127.0.0.1:0", OPTIONS)
    port = opened[0].sock.getsockname()[1]
    with pytest.raises(AddressInUse, match=f"cannot listen on 127.0.0.1:{port}: Address already in use") as caught:
        listen_on(System(), ("127.0.0.1", port), OPTIONS)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_name_that_nobody_knows_is_an_error() -> None:
    """The resolver's reason comes out as a ListenError."""

    class Ignorant(System):
        def getaddrinfo(self, host: str | None, port: int, *, family: int = 0, flags: int = 0) -> list[tuple[int, Any]]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(ListenError, match="Name or service not known"):
        listen_on(Ignorant(), "no.such.name:1", OPTIONS)


def test_ports_may_be_shared_where_the_platform_can(opened: list[Listening], monkeypatch: pytest.MonkeyPatch) -> None:
    """reuse_port lets two listen on one port; without SO_REUSEPORT it is refused."""
    shared = ListenOptions(reuse_port=True)
    opened += listen_on(System(), "127.0.0.1:0", shared)
    opened += listen_on(System(), ("127.0.0.1", opened[0].sock.getsockname()[1]), shared)
    monkeypatch.delattr("socket.SO_REUSEPORT")
    with pytest.raises(Unsupported, match="SO_REUSEPORT"):
        listen_on(System(), ":0", shared)


def test_windows_takes_its_ports_exclusively(monkeypatch: pytest.MonkeyPatch) -> None:
    """There SO_REUSEADDR would let others take the port over."""
    options: list[tuple[int, int, int]] = []

    class Noting:
        def setsockopt(self, *option: int) -> None:
            options.append(option)  # type: ignore[arg-type]

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr("socket.SO_EXCLUSIVEADDRUSE", -5, raising=False)
    module._set_options(Noting(), socket.AF_INET, False, ListenOptions(nodelay=False))  # type: ignore[arg-type]

    assert options == [(socket.SOL_SOCKET, -5, 1)]


def test_a_bound_socket_may_be_given() -> None:
    """A socket of the caller's is made to listen, or is left as it listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        for _ in range(2):
            (one,) = listen_on(System(), sock, OPTIONS)
            assert one.sock is sock
            assert str(one.address) == f"127.0.0.1:{sock.getsockname()[1]}"
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            assert sock.gettimeout() == 0


def test_other_sockets_are_refused() -> None:
    """A datagram socket does not listen."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(UsageError, match="a bound stream socket"):
        listen_on(System(), sock, OPTIONS)


# Unix sockets


def path_of(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "s.sock")


@pytest.mark.kernel("modes and owners of files")
def test_a_unix_socket_has_its_permissions_before_anybody_can_connect(
    opened: list[Listening], tmp_path: pathlib.Path
) -> None:
    """The file is private by default, and what was asked for otherwise."""
    opened += listen_on(System(), tmp_path / "a", OPTIONS)
    opened += listen_on(System(), tmp_path / "b", ListenOptions(mode=0o666, owner=os.getuid(), group=os.getgid()))

    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "b").st_mode) == 0o666
    assert opened[0].address == Unix(str(tmp_path / "a"))


def test_a_dead_servers_file_is_replaced(opened: list[Listening], tmp_path: pathlib.Path) -> None:
    """What a crash left behind does not keep its successor from starting."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path_of(tmp_path))
        dead.listen()
    opened += listen_on(System(), path_of(tmp_path).join(["unix:", ""]), OPTIONS)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path_of(tmp_path))


def test_a_live_servers_file_is_not(opened: list[Listening], tmp_path: pathlib.Path) -> None:
    """The second starter is refused, and the first goes on serving."""
    opened += listen_on(System(), tmp_path / "s.sock", OPTIONS)
    with pytest.raises(AddressInUse, match="somebody is alive there"):
        listen_on(System(), tmp_path / "s.sock", OPTIONS)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path_of(tmp_path))


@pytest.mark.kernel("a file that is no socket")
def test_other_files_are_never_removed(tmp_path: pathlib.Path) -> None:
    """A regular file at the path is an error, and stays."""
    (tmp_path / "s.sock").write_text("precious")
    with pytest.raises(AddressInUse, match="a file is there that is no socket"):
        listen_on(System(), tmp_path / "s.sock", OPTIONS)
    assert (tmp_path / "s.sock").read_text() == "precious"


@pytest.mark.kernel("locks a directory")
def test_without_the_lock_nothing_is_removed(
    opened: list[Listening], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another starter holds the directory, a dead file is left alone; a free path may be had all the same."""
    monkeypatch.setattr("reactor.system.DIRECTORY_LOCK_SECONDS", 0.0)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path_of(tmp_path))
    with System().directory_lock(path_of(tmp_path)):
        with pytest.raises(AddressInUse, match="its directory is locked"):
            listen_on(System(), tmp_path / "s.sock", OPTIONS)
        opened += listen_on(System(), tmp_path / "other.sock", OPTIONS)


def test_the_file_goes_with_its_listener_but_not_its_successors(tmp_path: pathlib.Path) -> None:
    """Only the very file that was made is removed."""
    (one,) = listen_on(System(), tmp_path / "s.sock", OPTIONS)
    System().unlink(str(tmp_path / "s.sock"))
    (two,) = listen_on(System(), tmp_path / "s.sock", OPTIONS)
    one.remove_file(System())
    one.sock.close()
    assert exists(tmp_path / "s.sock")
    two.remove_file(System())
    two.sock.close()
    assert not exists(tmp_path / "s.sock")


def test_a_failure_after_bind_removes_the_file(tmp_path: pathlib.Path) -> None:
    """Neither descriptor nor file is left when permissions cannot be set, and errors of the path come out."""
    system = Fault()
    system.faults["listen"] = [errno.EACCES]
    with pytest.raises(ListenError):
        listen_on(system, tmp_path / "s.sock", OPTIONS)
    assert not exists(tmp_path / "s.sock")
    system.faults["bind"] = [errno.EACCES]
    with pytest.raises(ListenError, match="EACCES"):
        listen_on(system, tmp_path / "s.sock", OPTIONS)


@pytest.mark.kernel("a simulated host has no directories")
def test_a_directory_that_is_not_there_is_an_error(tmp_path: pathlib.Path) -> None:
    """The kernel's reason comes out."""
    with pytest.raises(ListenError, match="No such file or directory"):
        listen_on(System(), tmp_path / "none" / "s.sock", OPTIONS)


def test_abstract_names_need_no_file(opened: list[Listening]) -> None:
    """A Linux abstract socket listens, and is shown with its @."""
    if sys.platform != "linux":
        pytest.skip("the abstract namespace is Linux's")
    name = f"reactor-test-{os.getpid()}"
    opened += listen_on(System(), f"unix:@{name}", OPTIONS)
    assert str(opened[0].address) == f"unix:@{name}"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{name}")
    with pytest.raises(AddressInUse):
        listen_on(System(), f"unix:@{name}", OPTIONS)


def test_a_relative_path_is_removed_after_a_change_of_directory(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is remembered where it is."""
    monkeypatch.chdir(tmp_path)
    (one,) = listen_on(System(), "unix:s.sock", OPTIONS)
    monkeypatch.chdir("/")
    one.remove_file(System())
    one.sock.close()
    assert not exists(tmp_path / "s.sock")


def test_sockets_that_cannot_listen_are_refused() -> None:
    """Closed, unbound, connected: each says what is wrong with it."""
    closed = socket.socket()
    closed.close()
    with pytest.raises(UsageError, match="a bound stream socket"):
        listen_on(System(), closed, OPTIONS)
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        with socket.socket(family) as unbound, pytest.raises(UsageError, match="before it is to listen"):
            listen_on(System(), unbound, OPTIONS)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connected:
        with pytest.raises(ListenError, match="cannot listen on"):
            listen_on(System(), connected, OPTIONS)


def test_names_that_cannot_be() -> None:
    """A host name with an endless label is an error of the caller."""
    with pytest.raises(AddressError, match="no valid host name"):
        listen_on(System(), f"{'a' * 70}.x:80", OPTIONS)


@pytest.mark.kernel("a simulated host has no users")
def test_owners_that_cannot_be(tmp_path: pathlib.Path) -> None:
    """A user that is not there is an error of the caller, and leaves no file."""
    with pytest.raises(UsageError, match="owner or group"):
        listen_on(System(), tmp_path / "s", ListenOptions(owner="no such user"))
    assert not exists(tmp_path / "s")
