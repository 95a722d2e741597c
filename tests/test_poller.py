"""The poller: what handlers want and what the kernel was told agree, and descriptors are told apart by owner, not number."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable, Iterator

import pytest

from reactor import READ, WRITE, CloseKind, Unsupported, UsageError
from reactor import poller as module
from tests.kit import Recorder, Watched, Watcher, unix_pair


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = unix_pair()
    with here, there:
        yield here, there


def asked(reactor: Watched, handler: Watcher) -> int:
    """What the selector itself was told of a handler."""
    key = reactor.poller.selector.get_map().get(handler.sock)
    return 0 if key is None else key.events


def test_the_kernel_is_told_what_the_handler_wants(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Whatever an interest changes to, refresh makes the selector agree; interest 0 is unregistered."""
    handler = reactor.attach(Watcher(READ), pair[0])
    for wants in (READ, WRITE, READ | WRITE, 0, WRITE, 0, 0, READ):
        handler.wants = wants
        handler.refresh()
        assert asked(reactor, handler) == wants


def test_refresh_is_free_when_nothing_changed(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Telling the kernel what it knows costs no call."""
    handler = reactor.attach(Watcher(READ), pair[0])
    reactor.poller.selector.modify = None  # type: ignore[assignment,method-assign]
    handler.refresh()


@pytest.mark.parametrize("was", [0, READ, READ | WRITE])
@pytest.mark.parametrize("wants", [0, READ, READ | WRITE])
def test_a_successor_stands_in_the_place_of_its_predecessor(
    reactor: Watched, pair: tuple[socket.socket, socket.socket], was: int, wants: int
) -> None:
    """Whatever the one wanted and the other wants, the selector knows the other one then, and nobody else."""
    first, second = reactor.attach(Watcher(was), pair[0]), Watcher(wants)
    second._claim(reactor)
    reactor.succeed(first, second, None, None)
    assert asked(reactor, second) == wants
    pair[1].send(b"x")
    reactor.turn()
    assert first.heard == []
    assert ("readable" in second.heard, "writable" in second.heard) == (bool(wants & READ), bool(wants & WRITE))
    assert not first.is_open
    second.close()
    reactor.turn()
    assert second.heard[-1] == "close"


def test_refresh_of_a_closed_handler_does_nothing(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """A handler that is over is never registered again."""
    handler = reactor.attach(Watcher(READ), pair[0])
    handler.close()
    handler.refresh()
    assert len(reactor.poller.selector.get_map()) == 1  # the waker


def test_two_live_handlers_cannot_share_a_descriptor(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """The second is refused; the first goes on, and the socket is still the caller's."""
    first = reactor.attach(Watcher(READ), pair[0])
    with pytest.raises(UsageError, match="already belongs to"):
        reactor.attach(Watcher(READ), pair[0])
    pair[1].send(b"x")
    reactor.turn()

    assert first.heard == ["readable"]


@pytest.mark.kernel("watches a regular file")
def test_a_regular_file_is_refused_by_epoll(pair: tuple[socket.socket, socket.socket]) -> None:
    """epoll_ctl says EPERM for a file; the error says so, and the handler is spent."""
    if not hasattr(selectors, "EpollSelector"):
        pytest.skip("no epoll on this platform")

    class File:
        def __init__(self, fd: int) -> None:
            self.fd = fd

        def fileno(self) -> int:
            return self.fd

        def setblocking(self, flag: bool) -> None:
            pass

    with Watched(selector=selectors.EpollSelector()) as reactor, open(__file__) as file:
        with pytest.raises(Unsupported, match="a file is always ready"):
            reactor.attach(Watcher(READ), File(file.fileno()))  # type: ignore[arg-type]
        assert not reactor.handlers


@pytest.mark.kernel("the highest number that select takes")
def test_select_refuses_numbers_that_are_too_high(pair: tuple[socket.socket, socket.socket]) -> None:
    """One descriptor beyond FD_SETSIZE is refused when it comes, and does not break every later call."""
    with Watched(selector=selectors.SelectSelector()) as reactor:
        high = os.dup2(pair[0].fileno(), 2000)
        with socket.socket(fileno=high) as beyond:
            with pytest.raises(Unsupported, match="SelectSelector cannot watch descriptor 2000"):
                reactor.attach(Watcher(READ), beyond)
        handler = reactor.attach(Watcher(READ), pair[0])
        pair[1].send(b"x")
        reactor.turn()

        assert handler.heard == ["readable"]


@pytest.mark.unchecked("closes a descriptor behind its handler")
def test_a_descriptor_closed_behind_our_back_ends_its_handler(reactor: Watched) -> None:
    """Whichever way the selector reports it, on_close comes with the error, and others are served."""
    (bad, bad_peer), (good, good_peer) = unix_pair(), unix_pair()
    with bad_peer, good_peer:
        leaker, other = reactor.attach(Recorder(), bad), reactor.attach(Watcher(READ), good)
        reactor.turn()
        bad.close()
        good_peer.send(b"x")
        reactor.until(lambda: other.heard)
        leaker.write(b"x")
        reactor.until(lambda: leaker.events == ["connect", "close"])

    assert leaker.kind is CloseKind.ERROR


@pytest.mark.unchecked("closes a descriptor behind its handler")
@pytest.mark.parametrize("before", [READ, WRITE])
def test_a_change_of_interest_finds_a_closed_descriptor(reactor: Watched, before: int) -> None:
    """Where the selector says that it does not know the number any more, its handler ends with that error."""
    here, there = unix_pair()
    with there:
        leaker = reactor.attach(Watcher(before), here)
        here.close()
        leaker.wants = READ + WRITE - before
        leaker.refresh()
        leaker.act = lambda leaker: leaker.sock.recv(1)
        reactor.until(lambda: "close" in leaker.heard)
        reactor.raised.clear()


@pytest.mark.unchecked("closes a descriptor behind its handler")
def test_select_survives_a_closed_descriptor() -> None:
    """select(2) fails as a whole for one bad number: the culprit is found and the rest is served."""
    (bad, bad_peer), (good, good_peer) = unix_pair(), unix_pair()
    with bad_peer, good_peer, Watched(selector=selectors.SelectSelector()) as reactor:
        leaker, other = reactor.attach(Watcher(READ), bad), reactor.attach(Watcher(READ), good)
        reactor.turn()
        bad.close()
        good_peer.send(b"x")
        reactor.until(lambda: other.heard and leaker.heard)

        assert leaker.heard == ["close"]


def test_an_error_that_no_handler_explains_is_raised() -> None:
    """The selector's own failure is not swallowed."""

    class Broken(selectors.SelectSelector):
        broken = False

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if self.broken:
                raise OSError(5, "the selector itself")
            return super().select(timeout)

    selector = Broken()
    with Watched(selector=selector) as reactor:
        selector.broken = True
        with pytest.raises(OSError, match="the selector itself"):
            reactor.run_once(0)


def test_a_number_that_comes_back_belongs_to_its_new_owner(reactor: Watched) -> None:
    """A socket closed without its handler, its number registered again: the leaker is named and ended, the new one heard."""
    old, old_peer = unix_pair()
    leaker = reactor.attach(Watcher(READ), old)
    reactor.turn()
    number = old.fileno()
    old.close()
    old_peer.close()
    here, there = unix_pair()
    with there:
        new = here if here.fileno() == number else socket.socket(fileno=os.dup2(here.fileno(), number))
        if new is not here:
            here.close()
        with pytest.warns(ResourceWarning, match=r"<Watcher fd=\d+> was closed without handler.close\(\)"):
            handler = reactor.attach(Watcher(READ), new)
        there.send(b"x")
        reactor.turn()

        assert handler.heard == ["readable"]
        assert leaker.heard == ["close"]


@pytest.mark.kernel("duplicates a descriptor")
def test_a_ghost_does_not_burn_a_core(logs: list[str]) -> None:
    """A closed descriptor whose duplicate lives on makes epoll return for ever; the poller notices and starts anew."""
    if not hasattr(selectors, "EpollSelector"):
        pytest.skip("no epoll on this platform")
    here, there = unix_pair()
    with there, Watched(selector=selectors.EpollSelector()) as reactor:
        first = reactor.poller.selector
        handler = reactor.attach(Watcher(READ), here)
        reactor.turn()
        with socket.socket(fileno=os.dup(here.fileno())):
            here.close()  # not handler.close(): the kernel goes on watching what the duplicate keeps alive
            handler.close()
            there.send(b"x")
            for _ in range(module.EMPTY_WAITS_MAX + 2):
                reactor.run_once(60)  # would last, were the ghost not reported
            assert reactor.poller.selector is not first
            assert logs == ["EpollSelector reports a descriptor that is gone; building it anew"]
            logs.clear()
            timer = reactor.call_later(0.001, reactor.stop)
            reactor.run()
            assert timer.due is None


def test_waits_that_end_well_are_not_counted_as_empty(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Only empty waits in a row are the mark of a ghost."""
    reactor.poller.waited_in_vain()
    reactor.attach(Watcher(WRITE), pair[0])
    reactor.turn()

    assert reactor.poller.empty_waits == 0


def test_only_some_selectors_have_a_descriptor(selector: Callable[[], selectors.BaseSelector]) -> None:
    """fileno is the selector's own, or an error that says which selectors have one."""
    with Watched(selector=selector()) as reactor:
        if hasattr(reactor.poller.selector, "fileno"):
            assert reactor.fileno() == reactor.poller.selector.fileno()
        else:
            with pytest.raises(Unsupported, match="EpollSelector"):
                reactor.fileno()


@pytest.mark.kernel("duplicates a descriptor")
def test_starting_anew_passes_over_what_else_is_gone(logs: list[str]) -> None:
    """Another descriptor closed behind our back does not break the new selector: its handler ends."""
    if not hasattr(selectors, "EpollSelector"):
        pytest.skip("no epoll on this platform")
    (here, there), (other, other_there) = unix_pair(), unix_pair()
    with there, other_there, Watched(selector=selectors.EpollSelector()) as reactor:
        handler, lost = reactor.attach(Watcher(READ), here), reactor.attach(Watcher(READ), other)
        reactor.turn()
        with socket.socket(fileno=os.dup(here.fileno())):
            here.close()
            handler.close()
            other.close()
            there.send(b"x")
            for _ in range(module.EMPTY_WAITS_MAX + 2):
                reactor.run_once(60)
            assert lost.heard == ["close"]
    assert len(logs) == 1
    logs.clear()
