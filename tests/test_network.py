"""Connecting on a real network: two namespaces with a cable between them, and every way in which an address can be dead.

Skipped, with the reason, where the machine does not allow it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import reactor as package
from reactor import CloseKind, ConnectError, ConnectOptions, Connector, ConnectTimeout, Inet, OverrideResolver, Stream
from tests.kit import PATIENCE, Recorder, Watched
from tests.network import (
    NO_ROUTE4,
    ROUTED_NOWHERE4,
    SERVER4,
    SERVER6,
    SILENT4,
    SILENT6,
    UNREACHABLE4,
    Cable,
    Network,
    Unavailable,
    network,
)


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """One network for all tests of this file."""
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(network())
        except Unavailable as error:
            pytest.skip(str(error))
        yield made


@pytest.fixture
def client(net: Network) -> Iterator[Watched]:
    """A reactor on the client's side."""
    names = {"both.example": [SILENT6, SERVER4], "dead.example": [SILENT6, SILENT4]}
    with net.inside(net.client), Watched(resolver=OverrideResolver(names, None), debug=True) as made:
        yield made
    assert not made.raised, made.raised


def error_of(handler: Recorder) -> ConnectError:
    assert handler.reason is not None
    assert isinstance(handler.reason.error, ConnectError)
    return handler.reason.error


def test_a_server_answers_on_both_families(net: Network, client: Watched) -> None:
    """The cable works."""
    for host in (SERVER4, SERVER6):
        with net.listen(host) as listener:
            handler = Recorder()
            client.connect(handler, listener.getsockname())
            client.until(lambda handler=handler: handler.events)  # type: ignore[misc]
            assert handler.events == ["connect"]
            assert isinstance(handler.peer, Inet)
            assert handler.peer.host == host
            handler.abort()
            client.turn()


@pytest.mark.parametrize(
    ("host", "number", "words"),
    [
        (SERVER4, errno.ECONNREFUSED, "refused"),
        (SERVER6, errno.ECONNREFUSED, "refused"),
        (NO_ROUTE4, errno.ENETUNREACH, "unreachable"),
        (UNREACHABLE4, errno.EHOSTUNREACH, "unreachable"),
        (ROUTED_NOWHERE4, errno.EHOSTUNREACH, "unreachable"),
    ],
)
def test_dead_addresses_are_told_apart(client: Watched, host: str, number: int, words: str) -> None:
    """Refused, no route, and a router that says so: each with its number, long before the deadline."""
    handler = Recorder()
    client.connect(handler, (host, 9))
    client.run()
    error = error_of(handler)
    assert handler.events == ["close"]
    assert (error.errno, handler.kind) == (number, CloseKind.ERROR)
    assert f":9 {words} (" in str(error)


def test_an_address_that_swallows_everything(client: Watched) -> None:
    """Nobody answers: the deadline ends it, and names what was tried."""
    handler = Recorder()
    client.connect(handler, "dead.example:9", timeout=0.3)
    client.run()
    error = error_of(handler)
    assert isinstance(error, ConnectTimeout)
    assert handler.kind is CloseKind.TIMEOUT
    assert [attempt.address for attempt in error.attempts] == [Inet(SILENT6, 9), Inet(SILENT4, 9)]
    assert str(error).count("no answer (0.") == 2
    assert not client.handlers


def test_black_holed_ipv6_does_not_keep_ipv4_from_answering(net: Network, client: Watched) -> None:
    """IPv4 is tried beside it after the attempt delay, and the loser is gone in the pass of the success."""
    with net.listen() as listener:
        handler, begin = Recorder(), client.time()
        client.connect(handler, ("both.example", listener.getsockname()[1]))
        client.until(lambda: any(isinstance(each, Connector) for each in client.handlers))
        (loser,) = [each for each in client.handlers if isinstance(each, Connector)]
        client.until(lambda: handler.events)
        assert handler.events == ["connect"]
        assert client.time() - begin >= 0.25
        assert list(client.handlers) == [handler]
        assert loser.fileno() == -1
        assert len(client.timers) == 0


def test_many_at_once_end_once_each_in_their_own_way(net: Network, client: Watched) -> None:
    """A third is accepted, a third refused, a third swallowed; nothing is left."""
    with net.listen() as listener:
        port = listener.getsockname()[1]
        targets = [(SERVER4, port), (SERVER4, 9), (SILENT4, 9)] * 30
        handlers = [Recorder({"connect": Recorder.abort}) for _ in targets]
        for handler, target in zip(handlers, targets, strict=True):
            client.connect(handler, target, timeout=0.5)
        client.run()
        for handler, (host, to) in zip(handlers, targets, strict=True):
            if to == port:
                assert handler.events == ["connect", "close"]
            else:
                assert handler.events == ["close"]
                assert handler.kind is (CloseKind.TIMEOUT if host == SILENT4 else CloseKind.ERROR)
        assert not client.handlers
        assert len(client.timers) == 0


def test_one_address_is_given_less_time(net: Network, client: Watched) -> None:
    """With a cap for each address the next one is tried when it is over."""
    with net.listen() as listener:
        handler = Recorder()
        options = ConnectOptions(attempt_timeout=0.05, attempt_delay=2.0)
        dial = client.connect(handler, [(SILENT4, 9), listener.getsockname()], options=options)
        client.until(lambda: handler.events)
        assert handler.events == ["connect"]
        assert "no answer within 0.05 s" in str(dial.attempts[0].error)


PROGRAM = """
import sys
from reactor import Reactor, Stream
class Client(Stream):
    def on_connect(self):
        print(self.peer); self.abort()
    def on_close(self, reason):
        print(type(reason.error).__name__)
with Reactor() as reactor:
    reactor.connect(Client(), sys.argv[1], timeout=10)
    reactor.run()
"""


@pytest.mark.parametrize("name", ["both.example", "nosuch.invalid"])
def test_a_name_from_the_hosts_file(net: Network, name: str) -> None:
    """The system's own answer, in a process of its own: first the dead address of the file, then the living one."""
    net.hosts(f"{SILENT6} both.example\n{SERVER4} both.example\n")
    home = str(Path(package.__file__).parent.parent)
    with net.listen() as listener:
        address = f"{name}:{listener.getsockname()[1]}"
        done = subprocess.run(
            net.command(sys.executable, "-W", "error", "-c", PROGRAM, address),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**os.environ, "PYTHONPATH": home},
            check=False,
        )
    lines = done.stdout.splitlines()
    if name == "both.example":
        assert (lines, done.stderr) == ([f"{SERVER4}:{listener_port(address)}", "NoneType"], "")
    else:
        assert lines in (["NameNotFound"], ["LookupFailed"])
        assert done.stderr == ""


def listener_port(address: str) -> str:
    return address.rpartition(":")[2]


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back whatever comes."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


def test_a_slow_and_lossy_cable() -> None:
    """100 ms each way, and 1 % of the frames lost: a hundred connections come about, once each, and carry their bytes."""
    cable = Cable(delay=0.1, loss=0.01)
    with contextlib.ExitStack() as stack:
        try:
            net = stack.enter_context(network(cable))
        except Unavailable as error:
            pytest.skip(str(error))
        listener = stack.enter_context(net.listen())
        stack.enter_context(net.inside(net.client))
        reactor = stack.enter_context(Watched(debug=True))
        reactor.listen(Echo, listener)  # it is on the server's side, whoever serves it
        handlers = [
            Recorder({"connect": lambda stream: stream.write(PATTERN), "data": close_when_whole}) for _ in range(100)
        ]
        for handler in handlers:
            reactor.connect(handler, listener.getsockname(), timeout=PATIENCE)
        reactor.until(lambda: all(handler.events[-1:] == ["close"] for handler in handlers))
        assert all(handler.received == PATTERN for handler in handlers)
        assert all(handler.events.count("connect") == 1 for handler in handlers)
        assert cable.lost > 0
        assert not reactor.raised


#: Not a power of two long, so that a lost or doubled piece cannot look right.
PATTERN = bytes(range(251)) * 40


def close_when_whole(stream: Recorder) -> None:
    if len(stream.received) >= len(PATTERN):
        stream.close()


def test_the_network_is_told_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be made, the reason is a sentence, not a traceback."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unavailable, match="need root"), network():
        raise AssertionError("made without root")
