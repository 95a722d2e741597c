"""Those who wait for room in a Unix socket's backlog: first come, first served, and one asks for all."""

from __future__ import annotations

import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from reactor import Connector
from reactor import line as module
from tests.kit import Clock, Watched


@attrs.define(eq=False)
class Guest(Connector):
    """Notes in a common book when it was let in."""

    book: list[Guest]
    sock_got: socket.socket | None = attrs.field(init=False, default=None)

    def on_connect(self, sock: socket.socket) -> None:
        self.sock_got = sock
        self.book.append(self)


class Counting(Clock):
    """A system that counts the calls of connect."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def sockaddr(self, address: Any) -> Any:
        self.asked += 1
        return super().sockaddr(address)


@attrs.define(eq=False)
class Door:
    """A listener with a full backlog, and guests before it."""

    reactor: Watched
    system: Counting
    listener: socket.socket
    path: pathlib.Path
    book: list[Guest] = attrs.field(init=False, factory=list)
    inside: list[socket.socket] = attrs.field(init=False, factory=list)

    def fill(self) -> None:
        while True:
            sock = socket.socket(socket.AF_UNIX)
            self.inside.append(sock)
            sock.setblocking(False)
            if sock.connect_ex(str(self.path)):
                return

    def guest(self, timeout: float | None = None) -> Guest:
        return Guest(self.path, timeout=timeout, book=self.book).start(self.reactor)

    def accept(self, number: int = 1) -> None:
        for _ in range(number):
            self.inside.append(self.listener.accept()[0])


@pytest.fixture
def door(tmp_path: pathlib.Path) -> Iterator[Door]:
    system = Counting()
    with socket.socket(socket.AF_UNIX) as listener, Watched(system=system, debug=True) as reactor:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)
        made = Door(reactor, system, listener, tmp_path / "s")
        made.fill()
        yield made
        for sock in made.inside:
            sock.close()
        for guest in made.book:
            assert guest.sock_got is not None
            guest.sock_got.close()
    assert not reactor.raised, reactor.raised


def test_first_come_first_served(door: Door) -> None:
    """Each that is let in calls the next; nobody is let in twice or forgotten."""
    guests = [door.guest() for _ in range(5)]
    while len(door.book) < 5:
        door.accept()
        seen = len(door.book)
        door.reactor.until(lambda seen=seen: len(door.book) > seen)  # type: ignore[misc]
    assert door.book == guests
    assert not door.reactor.lines
    assert len(door.reactor.timers) == 0
    assert not door.reactor.handlers


def test_one_asks_for_all(door: Door) -> None:
    """A hundred who wait cost no more calls than one: 1, 2, 4 … 50 ms apart."""
    for _ in range(100):
        door.guest(timeout=1)
    before = door.system.asked
    door.reactor.run()
    assert door.system.asked - before < 6 + 1 / module.RETRY_SECONDS_MAX + 2
    assert not door.reactor.lines


def test_the_pause_is_short_again_after_a_success(door: Door) -> None:
    """When one has been let in there may be room for more."""
    door.guest()
    last = door.guest()
    door.reactor.run_until(lambda: False, timeout=1)
    door.accept()
    door.reactor.until(lambda: door.book)
    begin = door.reactor.time()
    door.accept()
    door.reactor.until(lambda: last in door.book)
    assert door.reactor.time() - begin <= 2 * module.RETRY_SECONDS_MIN + 0.001


def test_many_are_let_in_in_batches(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that has become long is not worked off in one pass."""
    monkeypatch.setattr(module, "ASKED_PER_PASS", 2)
    for _ in range(5):
        door.guest()
    door.listener.listen(50)  # Linux takes a new backlog for a listening socket
    door.reactor.turn()
    door.reactor.run_until(lambda: len(door.book) >= 2, timeout=0.0015)
    assert len(door.book) == 2
    door.reactor.until(lambda: len(door.book) == 5)


def test_who_gives_up_leaves_the_line(door: Door) -> None:
    """The others stay in their order; when the last one is gone, so is the line and its timer."""
    first, second, third = (door.guest() for _ in range(3))
    first.cancel()
    door.accept()
    door.reactor.until(lambda: door.book)
    assert door.book == [second]
    assert third.cancel()
    assert not door.reactor.lines
    assert len(door.reactor.timers) == 0


def test_a_server_that_goes_away_is_told_to_all(door: Door) -> None:
    """Refused is an answer, for each of them."""
    guests = [door.guest() for _ in range(3)]
    door.listener.close()
    door.reactor.run()
    assert door.book == []
    assert all(isinstance(guest.reason.error, ConnectionRefusedError) for guest in guests if guest.reason)
    assert all(guest.reason for guest in guests)


def test_who_gives_up_between_being_let_in_and_being_told(door: Door) -> None:
    """It is silent, and the socket is closed; the next one is let in."""
    first, second = door.guest(), door.guest()
    door.accept(2)
    door.reactor.call_later(0.001, first.cancel)  # due in the pass in which the line moves up
    door.reactor.until(lambda: door.book)
    assert door.book == [second]
    assert first.sock.fileno() == -1
    assert not door.reactor.lines

    last = door.guest()
    door.reactor.turn()
    assert last.cancel() or last in door.book
