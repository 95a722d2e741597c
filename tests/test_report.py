"""What a reactor says of itself: counters, data and text agree, and nothing is missing."""

from __future__ import annotations

import json
import sys

import pytest

from reactor import READ, Limits, Reactor
from tests.kit import Clock, Recorder, Watched, Watcher, jam, tcp_pair, unix_pair


def test_a_snapshot_is_json(reactor: Watched) -> None:
    """Every handler with state, addresses, age and queue; every timer; every call."""
    acceptor = reactor.listen(Recorder, "127.0.0.1:0")
    acceptor.pause("tea")
    client = Recorder()
    reactor.connect(client, f"127.0.0.1:{acceptor.port}")
    reactor.until(lambda: "connect" in client.events)
    queued = jam(client) and client.buffered
    client.deadline("login", 30)
    reactor.call_later(60, print)
    reactor.call_soon(reactor.stop)
    found = json.loads(json.dumps(reactor.snapshot()))

    by_class = {each["class"].rpartition(".")[2]: each for each in found["handlers"]}
    assert by_class["Acceptor"]["listens_on"] == [f"127.0.0.1:{acceptor.port}"]
    assert by_class["Acceptor"]["paused_by"] == ["tea"]
    stream = by_class["Recorder"]
    assert stream["state"] == "FLOWING/OPEN"
    assert stream["peer"] == f"127.0.0.1:{acceptor.port}"
    assert stream["queued"] == queued
    assert stream["waits_to"] == "read and write"
    assert stream["parked"] == ""
    assert stream["age"] >= 0
    assert (stream["idle"] is None) == (client.reactor.system.idle_seconds(client.sock) is None)
    assert stream["deadline"]["kind"] == "login"
    assert 0 < stream["deadline"]["due_in"] <= 30
    assert stream["made_at"].startswith(f"{__file__}:")
    assert {key: found["timers"][-1][key] for key in ("callback", "owner")} == {"callback": "print", "owner": None}
    assert found["calls"] == ["Loop.stop"]
    assert found["stats"]["bytes_queued"] == queued
    assert found["stats"]["connections"] == 1
    assert found["stats"]["handlers"] == 2
    assert not found["running"]
    client.abort()


def test_a_dump_says_the_same(virtual: Watched) -> None:
    """As text: age, deadline, and where it was made."""
    here, there = tcp_pair()
    with there:
        stream = virtual.attach(Recorder(), here)
        virtual.turn()
        stream.deadline("login", 30)
        virtual.run_until(lambda: False, timeout=10)
        text = virtual.dump()
        assert "10.0 s old" in text
        assert "login deadline in 20.0 s" in text
        assert f"made at {__file__}:" in text
        stream.close(timeout=5)
        stream.close(timeout=4)
        assert "FINISHED" in virtual.dump()


def test_the_nearest_deadline_is_shown(virtual: Watched) -> None:
    """That of a close under way counts, too."""
    here, there = tcp_pair()
    with there:
        stream = virtual.attach(Recorder(), here)
        virtual.turn()
        stream.limits = Limits(idle_timeout=50)
        jam(stream)
        stream.close(timeout=5)
        (handler,) = virtual.snapshot()["handlers"]
        assert handler["deadline"]["kind"] == "close"
        stream.abort()


def test_without_debug_nothing_is_known_of_where() -> None:
    """Places cost a walk through the stack for each handler, so they are for debugging."""
    with Watched(system=Clock()) as reactor:
        here, there = unix_pair()
        reactor.attach(Watcher(READ), here)
        (handler,) = reactor.snapshot()["handlers"]
        assert handler["made_at"] is None
        assert handler["idle"] is None
        assert not reactor.sites
        there.close()


def test_one_that_is_connecting_is_shown(reactor: Watched) -> None:
    """The handler that waits for its connection, and the attempt; neither is a connection yet."""
    client = Recorder()
    dial = reactor.connect(client, "127.0.0.1:9", timeout=30)
    found = reactor.snapshot()["handlers"]
    assert any(each.get("connects_to") == "127.0.0.1:9" for each in found)
    assert any(each["life"] == "CLAIMED" and each["idle"] is None for each in found)
    assert reactor.stats().connections == 0
    dial.cancel()


def test_places_are_forgotten_with_their_handlers(reactor: Watched) -> None:
    """What is closed or let go leaves nothing behind."""
    here, there = unix_pair()
    handler = reactor.attach(Watcher(READ), here)
    assert reactor.sites
    handler.close()
    assert not reactor.sites
    there.close()


@pytest.mark.kernel("asks for TCP_INFO")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel keeps it on Linux")
def test_the_kernel_knows_how_long_a_connection_has_been_idle(reactor: Watched) -> None:
    """No byte costs anything for it."""
    here, there = tcp_pair()
    with there:
        reactor.attach(Recorder(), here)
        (handler,) = reactor.snapshot()["handlers"]
        assert handler["idle"] >= 0
        assert "idle 0." in reactor.dump()


def test_an_empty_reactor_says_so() -> None:
    """A header, and nothing else."""
    with Reactor(system=Clock()) as reactor:
        assert reactor.dump() == "Reactor on Jumping, pass 0, not running"
        assert reactor.snapshot()["handlers"] == []
