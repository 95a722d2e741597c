"""Options under portable names, set before a socket connects."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator

import pytest

from reactor import ConnectOptions, Inet, Keepalive, System
from reactor import sockets as module
from reactor.sockets import prepare
from tests.kit import Fault, FaultySocket

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def system() -> Fault:
    return Fault()


@pytest.fixture
def sock(system: Fault) -> Iterator[FaultySocket]:
    made = system.socket(V4)
    assert isinstance(made, FaultySocket)
    with made:
        yield made


def tcp(sock: socket.socket, option: int) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, option)


def test_the_defaults_set_nodelay_alone(system: Fault, sock: FaultySocket) -> None:
    """And nothing if that is not wanted."""
    prepare(system, sock, V4, ConnectOptions(nodelay=False))
    assert not system.calls["setsockopt"]
    prepare(system, sock, V4, ConnectOptions())
    assert tcp(sock, socket.TCP_NODELAY)
    assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockname() == ("0.0.0.0", 0)


def test_nodelay_is_best_effort(system: Fault, sock: FaultySocket) -> None:
    """A kernel that will not is no reason not to connect."""
    system.faults["setsockopt"] = [errno.EINVAL]
    prepare(system, sock, V4, ConnectOptions())


def test_a_unix_socket_is_left_alone() -> None:
    """It has none of these options."""
    system = System()
    with socket.socket(socket.AF_UNIX) as sock:
        prepare(system, sock, socket.AF_UNIX, ConnectOptions(keepalive=Keepalive(), local="127.0.0.1"))
        assert sock.getsockname() == ""


def test_keepalive_and_user_timeout(system: Fault, sock: FaultySocket) -> None:
    """All in seconds, whatever the kernel counts in."""
    prepare(system, sock, V4, ConnectOptions(keepalive=Keepalive(idle=9, interval=4, count=3), user_timeout=0.0001))
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert [tcp(sock, socket.TCP_KEEPIDLE), tcp(sock, socket.TCP_KEEPINTVL), tcp(sock, socket.TCP_KEEPCNT)] == [9, 4, 3]
    assert tcp(sock, socket.TCP_USER_TIMEOUT) == 1


def test_what_a_platform_lacks_is_left_out(system: Fault, sock: FaultySocket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keepalive is on all the same."""
    monkeypatch.setattr(module, "_KEEPALIVE", (("idle", None),))
    prepare(system, sock, V4, ConnectOptions(keepalive=Keepalive(idle=9)))
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_an_option_that_the_kernel_refuses_is_an_error(system: Fault, sock: FaultySocket) -> None:
    """What was asked for and cannot be had is told, with the kernel's number."""
    system.faults["setsockopt"] = [errno.EINVAL]
    with pytest.raises(OSError, match="cannot set socket options: "):
        prepare(system, sock, V4, ConnectOptions(nodelay=False, keepalive=Keepalive()))


@pytest.mark.skipif(sys.platform != "linux", reason="IP_BIND_ADDRESS_NO_PORT is Linux's")
def test_a_local_address_takes_no_port_before_it_connects(system: Fault, sock: FaultySocket) -> None:
    """The port is chosen when the target is known, so that one port can serve many targets (ip(7))."""
    prepare(system, sock, V4, ConnectOptions(local="127.0.0.2"))
    assert sock.getsockname() == ("127.0.0.2", 0)


def test_without_that_option_the_port_is_chosen_at_once(
    system: Fault, sock: FaultySocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A platform that cannot wait binds as ever."""
    monkeypatch.setattr(module, "_BIND_ADDRESS_NO_PORT", None)
    prepare(system, sock, V4, ConnectOptions(local="127.0.0.2"))
    host, port = sock.getsockname()
    assert host == "127.0.0.2"
    assert port > 0


def test_a_local_port_can_be_used_again_at_once(system: Fault, sock: FaultySocket) -> None:
    """A port of one's own choice is not blocked by the connection before (TIME_WAIT)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        local = Inet(*probe.getsockname())
    prepare(system, sock, V4, ConnectOptions(local=local))
    assert sock.getsockname() == (local.host, local.port)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_the_local_address_of_the_targets_family_is_taken(system: Fault) -> None:
    """One for each family; a named scope is one, too; where there is none, the error says so."""
    options = ConnectOptions(local=["127.0.0.2", "::1"])
    with system.socket(V6) as sock:
        prepare(system, sock, V6, options)
        assert sock.getsockname()[0] == "::1"
    for family, name in ((V4, "IPv4"), (V6, "IPv6")):
        with system.socket(family) as sock, pytest.raises(OSError, match=f"has no {name} address"):
            prepare(system, sock, family, ConnectOptions(local="::1" if family == V4 else "127.0.0.1"))


def test_a_local_address_that_cannot_be_had(system: Fault, sock: FaultySocket) -> None:
    """The error has the kernel's number, and says that it is the local address that is wrong."""
    with pytest.raises(OSError, match=r"cannot connect from 192\.0\.2\.254:0: ") as raised:
        prepare(system, sock, V4, ConnectOptions(local="192.0.2.254"))
    assert raised.value.errno == errno.EADDRNOTAVAIL
