"""Simulated selectors: each is a selector as the standard library has them."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reactor import READ, WRITE
from reactor.testing import Faults, Hang, Simulation
from reactor.testing.selector import KINDS, Kind
from tests.facts import said


@pytest.fixture
def sim() -> Iterator[Simulation]:
    """A simulation with nothing in it."""
    with Simulation() as made:
        yield made


@pytest.fixture
def pair(sim: Simulation) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets."""
    here, there = sim.socketpair()
    with here, there:
        yield here, there


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_registered_is_found(sim: Simulation, pair: tuple[socket.socket, socket.socket], kind: Kind) -> None:
    """The map has each key by its object and by its number, until it is unregistered or the selector closed."""
    here, _ = pair
    selector: Any = sim.selector(kind)
    key = selector.register(here, READ, "data")
    found = selector.get_map()
    assert (len(found), list(found), found[here], found[here.fileno()]) == (1, [here.fileno()], key, key)
    assert selector.get_key(here) == key == selectors.SelectorKey(here, here.fileno(), READ, "data")
    assert selector.modify(here, WRITE, "other").data == "other"
    assert [(key.data, events) for key, events in selector.select()] == [("other", WRITE)]
    calls: list[Callable[[], object]] = [
        lambda: selector.register(here, READ),
        lambda: selector.get_key(4711),
        lambda: found[4711],
    ]
    for call in calls:
        with pytest.raises(KeyError):
            call()
    wrong: Any
    for wrong in ("word", object(), -1):
        with pytest.raises(ValueError, match=r"Invalid file"):
            selector.register(wrong, READ)
    with pytest.raises(ValueError, match="Invalid events"):
        selector.register(here, 8)
    selector.close()
    selector.close()
    assert selector.get_map() is None
    with pytest.raises(RuntimeError, match="closed"):
        selector.get_key(here)
    assert not sim.selectors


@pytest.mark.parametrize(("kind", "answer"), [("epoll", "EBADF"), ("poll", [READ]), ("select", "EBADF")])
def test_a_number_of_nothing(sim: Simulation, kind: Kind, answer: object) -> None:
    """epoll refuses it at once, poll reports it, select refuses it each time."""
    with sim.selector(kind) as selector:
        registered = said(selector.register, 99, READ)
        if kind == "epoll":
            assert registered == answer
        else:
            told = said(selector.select, 0)
            assert (told if isinstance(told, str) else [events for _, events in told]) == answer


def test_epoll_forgets_what_is_closed(sim: Simulation, pair: tuple[socket.socket, socket.socket]) -> None:
    """A closed descriptor reports nothing, and to modify it says ENOENT, also if its number is used again."""
    here, there = pair
    with sim.selector("epoll") as selector:
        selector.register(here, READ)
        there.send(b"x")
        here.close()
        with sim.sockets.socket():
            assert selector.select(0) == []
            assert said(selector.modify, here, WRITE) == "ENOENT"
            assert len(selector.get_map()) == 0


def test_an_epoll_selector_can_be_watched(sim: Simulation, pair: tuple[socket.socket, socket.socket]) -> None:
    """It is a descriptor, readable when somebody that it watches is ready."""
    here, there = pair
    inner: Any
    with sim.selector("epoll") as inner, sim.selector("poll") as outer:
        inner.register(here, READ)
        outer.register(inner, READ)
        assert outer.select(0) == []
        there.send(b"x")
        assert [events for _, events in outer.select(0)] == [READ]
        outer.unregister(inner)


def test_a_wait_is_virtual(sim: Simulation, pair: tuple[socket.socket, socket.socket]) -> None:
    """It ends after its time, or as soon as somebody is ready; one that can never end raises `Hang`."""
    here, there = pair
    with sim.selector("epoll") as selector:
        selector.register(here, READ)
        assert selector.select(100) == []
        assert sim.now == 1100
        sim.after(5, there.send, b"x")
        assert len(selector.select()) == 1
        assert sim.now == 1105
        here.recv(1)
        sim.partition("sim", "elsewhere")
        with pytest.raises(Hang, match=r"nothing can happen any more\nnothing gets through between elsewhere and sim"):
            selector.select()


def test_faults_of_a_wait() -> None:
    """By fault a wait ends early, reports somebody who is not ready, or lets the clock jump; each is in the journal."""
    with Simulation(faults=Faults(early=0.3, spurious=0.3, jump=0.3, shuffle=1.0), checks=False) as sim:
        socks = [*sim.socketpair(), *sim.socketpair()]
        with sim.selector("epoll") as selector:
            for sock in socks:
                selector.register(sock, READ)
            answers = {len(selector.select(1)) for _ in range(50)}
            for sock in socks:
                selector.modify(sock, READ | WRITE)
            orders = {tuple(key.fd for key, _ in selector.select(0)) for _ in range(50)}
        assert answers == {0, 1}
        assert len(orders) > 2
        assert "EINTR!" in str(sim.journal)
        assert sim.now > 1050
        for sock in socks:
            sock.close()
