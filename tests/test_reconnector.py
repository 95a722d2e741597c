"""A client that stays connected: when it tries, when it waits, when it stops."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from reactor import (
    Backoff,
    CloseKind,
    CloseReason,
    ConnectError,
    DelayError,
    HttpConnect,
    Reactor,
    ReactorClosed,
    Reconnector,
    UsageError,
)
from tests.kit import Clock, Recorder, Watched, hole, listening

ONE = Backoff(first=1, factor=2, cap=8)


class Dice(Clock):
    """A system whose chance is always the same."""

    def random(self) -> float:
        return 0.5


@attrs.define(eq=False, kw_only=True)
class Client(Reconnector[Recorder]):
    """Writes down its hooks."""

    heard: list[str] = attrs.field(init=False, factory=list)
    reasons: list[CloseReason] = attrs.field(init=False, factory=list)
    delays: list[float] = attrs.field(init=False, factory=list)

    def on_up(self) -> None:
        assert self.is_up
        self.heard.append("up")

    def on_down(self, reason: CloseReason, delay: float) -> None:
        self.heard.append("down")
        self.reasons.append(reason)
        self.delays.append(delay)

    def on_stop(self, reason: CloseReason) -> None:
        self.heard.append("stop")
        self.reasons.append(reason)


@attrs.define(eq=False)
class Scene:
    """A client of a listener that the test accepts by hand."""

    reactor: Watched
    listener: socket.socket
    made: list[Recorder] = attrs.field(init=False, factory=list)
    act: dict[str, Callable[[Recorder], object]] = attrs.field(init=False, factory=dict)

    def handler(self) -> Recorder:
        self.made.append(Recorder(self.act))
        return self.made[-1]

    def client(self, **options: Any) -> Client:
        options = {"address": self.listener.getsockname(), "backoff": ONE, **options}
        return Client(reactor=self.reactor, factory=self.handler, **options).start()

    def accept_and_end(self) -> None:
        """Accept one, end it, and let the client notice."""
        self.listener.accept()[0].close()


@pytest.fixture
def scene() -> Any:
    with listening() as listener, Watched(system=Dice(), debug=True) as reactor:
        yield Scene(reactor, listener)
    assert not reactor.raised, reactor.raised


def nobody() -> Any:
    """An address that refuses."""
    with listening() as listener:
        return listener.getsockname()


def test_it_comes_up_and_comes_back(scene: Scene) -> None:
    """A new handler for each connection; a pause after each end; the handler hears of its end before the client does."""
    client = scene.client()
    assert client.heard == []
    scene.act["close"] = lambda handler: client.heard.append("closed")
    scene.reactor.until(lambda: client.is_up)
    first = client.handler
    assert first is scene.made[0]
    assert first.events == ["connect"]
    begin = scene.reactor.time()
    scene.accept_and_end()
    scene.reactor.until(lambda: len(client.heard) == 4)
    assert client.heard == ["up", "closed", "down", "up"]
    assert client.handler is scene.made[1]
    assert scene.reactor.time() == begin + client.delays[0]
    assert client.reasons[0].kind is CloseKind.PEER_END
    client.stop()


def test_the_pause_grows_with_each_failure_up_to_the_cap(scene: Scene) -> None:
    """Anything up to a bound that doubles; here chance says half of it."""
    client = scene.client(address=nobody())
    scene.reactor.until(lambda: len(client.delays) == 6)
    assert client.delays == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert client.failures == 6
    assert all(isinstance(reason.error, ConnectError) for reason in client.reasons)
    assert [handler.events for handler in scene.made] == [["close"]] * 6
    client.stop()


def test_a_connection_that_lived_begins_the_count_anew(scene: Scene) -> None:
    """Longer than the cap is a success; shorter is one more failure."""
    client = scene.client()
    for lived in (1, 8.5, 7.5):
        scene.reactor.until(lambda: client.is_up)
        scene.reactor.system.moment += lived  # type: ignore[attr-defined]
        scene.accept_and_end()
        scene.reactor.until(lambda: not client.is_up)
        scene.reactor.turn(3)
    assert client.delays == [0.5, 0.5, 1.0]
    client.stop()


def test_a_permanent_failure_ends_it(scene: Scene) -> None:
    """If the predicate says so, there is no next try, and the reason is told once."""

    def is_refused(reason: CloseReason) -> bool:
        return isinstance(reason.error, OSError) and reason.error.errno == errno.ECONNREFUSED

    client = scene.client(address=nobody(), is_permanent=is_refused)
    scene.reactor.run()
    assert client.heard == ["stop"]
    assert client.is_stopped
    assert client.handler is None
    client.stop()


def test_it_is_up_when_it_is_prepared(scene: Scene) -> None:
    """prepare comes after on_connect; up is when it says so, once; what is ready too late is not."""
    ready: list[Callable[[], None]] = []

    def prepare(handler: Recorder, done: Callable[[], None]) -> None:
        assert handler.events == ["connect"]
        ready.append(done)

    client = scene.client(prepare=prepare)
    scene.reactor.until(lambda: ready)
    scene.reactor.turn(3)
    assert not client.is_up
    assert client.handler is scene.made[0]
    ready[0]()
    ready[0]()
    assert client.is_up
    assert client.heard == ["up"]
    assert len(scene.reactor.timers) == 0

    scene.accept_and_end()
    scene.reactor.until(lambda: len(ready) == 2)
    ready[0]()
    assert not client.is_up
    scene.accept_and_end()
    scene.reactor.until(lambda: client.heard == ["up", "down", "down"])
    ready[1]()
    assert not client.is_up
    assert client.delays == [0.5, 1.0]
    client.stop()


def test_preparing_has_a_deadline(scene: Scene) -> None:
    """Who is not ready in time is aborted, and the try has failed."""
    client = scene.client(prepare=lambda handler, ready: None, timeout=3)
    begin = scene.reactor.time()
    scene.reactor.until(lambda: client.heard)
    assert client.heard == ["down"]
    assert client.reasons[0].kind is CloseKind.LOCAL_ABORT
    assert scene.reactor.time() == begin + 3
    client.stop()


@pytest.mark.parametrize("where", ["prepare", "on_up", "connect"])
def test_what_user_code_raises_ends_that_connection_alone(scene: Scene, where: str) -> None:
    """It is reported, the handler closed for it, and the next try comes."""

    def fail(*_: object) -> None:
        raise ValueError("here")

    if where == "on_up":

        @attrs.define(eq=False, kw_only=True)
        class Failing(Client):
            def on_up(self) -> None:
                fail()

        client: Client = Failing(
            reactor=scene.reactor, factory=scene.handler, address=scene.listener.getsockname(), backoff=ONE
        ).start()
    elif where == "prepare":
        client = scene.client(prepare=fail)
    else:
        scene.act["connect"] = fail
        client = scene.client()
    scene.reactor.until(lambda: len(scene.made) == 2)
    assert client.heard == ["down"]
    assert client.reasons[0].kind is CloseKind.HANDLER_ERROR
    assert {str(context.exc) for context in scene.reactor.raised} == {"here"}
    scene.reactor.raised.clear()
    client.stop()


def test_a_factory_that_raises_later_stops_it(scene: Scene) -> None:
    """The error is reported; nothing is left behind that nobody could stop."""
    client = scene.client()
    scene.reactor.until(lambda: client.is_up)

    def fail() -> Recorder:
        raise ValueError("no more")

    client.factory = fail
    scene.accept_and_end()
    scene.reactor.run()
    assert client.is_stopped
    assert [str(context.exc) for context in scene.reactor.raised] == ["no more"]
    scene.reactor.raised.clear()


def test_a_predicate_that_raises_stops_it(scene: Scene) -> None:
    """Nobody knows whether to go on, so it does not."""

    def fail(reason: CloseReason) -> bool:
        raise ValueError("no idea")

    client = scene.client(address=nobody(), is_permanent=fail)
    scene.reactor.run()
    assert client.is_stopped
    assert client.heard == []
    assert [str(context.exc) for context in scene.reactor.raised] == ["no idea"]
    scene.reactor.raised.clear()


def test_a_handler_that_closes_itself_is_followed_by_another(scene: Scene) -> None:
    """In on_connect, too; and one that lets its socket go has ended as well."""
    scene.act["connect"] = lambda handler: handler.abort()
    client = scene.client()
    scene.reactor.until(lambda: client.heard)
    assert client.heard == ["down"]
    scene.act["connect"] = lambda handler: None
    scene.reactor.until(lambda: client.is_up)
    assert client.handler is not None
    with client.handler.detach():
        scene.reactor.until(lambda: len(client.heard) == 3)
        assert client.reasons[-1].kind is CloseKind.LOCAL_CLOSE
    client.stop()


def stop_states(scene: Scene, state: str) -> Client:
    """Return a client in *state*."""
    if state == "new":
        return Client(reactor=scene.reactor, factory=scene.handler, address="127.0.0.1:1")
    if state == "connecting":
        return scene.client()
    if state == "waiting":
        client = scene.client(address=nobody())
        scene.reactor.until(lambda: client.heard)
        return client
    client = scene.client(prepare=(lambda handler, ready: None) if state == "preparing" else None)
    scene.reactor.until(lambda: scene.made[0].events)
    if state == "lost":
        client.handler.abort()  # type: ignore[union-attr]
    if state == "told":
        client.handler.abort()  # type: ignore[union-attr]
        scene.reactor.turn()
    return client


@pytest.mark.parametrize("state", ["new", "connecting", "preparing", "up", "lost", "told", "waiting"])
def test_stop_is_clean_in_every_state(scene: Scene, state: str) -> None:
    """No hook of the client is called after it, nothing is left open, no timer waits; twice is allowed."""
    client = stop_states(scene, state)
    before = list(client.heard)
    client.stop()
    client.stop()
    assert client.is_stopped
    assert client.handler is None
    if state in ("preparing", "up", "lost", "told"):
        scene.accept_and_end()
    scene.reactor.run()
    assert client.heard == before
    assert not scene.reactor.handlers
    assert len(scene.reactor.timers) == 0
    if scene.made:
        assert scene.made[-1].events in ([], ["close"], ["connect", "close"])
    with pytest.raises(UsageError, match="started before"):
        client.start()


@pytest.mark.parametrize("how", ["close", "shutdown"])
@pytest.mark.parametrize("state", ["connecting", "preparing", "up", "lost", "waiting"])
def test_it_stops_with_the_reactor(scene: Scene, how: str, state: str) -> None:
    """Closing or shutting down is no loss to come back from, and no hook of the client speaks of it."""
    client = stop_states(scene, state)
    before = list(client.heard)
    if how == "close":
        scene.reactor.close()
    else:
        scene.reactor.call_soon(scene.reactor.shutdown, 0.5)
        scene.reactor.run()
        scene.reactor.close()
    assert client.is_stopped
    assert client.heard[len(before) :] in ([], ["down"] if state == "lost" else [])
    with pytest.raises(ReactorClosed):
        Client(reactor=scene.reactor, factory=scene.handler, address="127.0.0.1:1").start()


def test_a_try_that_comes_due_while_the_reactor_shuts_down_is_none(scene: Scene) -> None:
    """Another handler may take its time to end; no new one is made meanwhile."""
    client = stop_states(scene, "waiting")
    made = len(scene.made)
    with hole() as silent, socket.create_connection(scene.listener.getsockname()) as peer:
        sock, _ = scene.listener.accept()
        busy = scene.reactor.attach(Recorder(), sock)
        scene.reactor.turn()
        while not busy.buffered:
            busy.write(b"x" * 65536)
        scene.reactor.shutdown(5)
        scene.reactor.run()
        assert peer.fileno() >= 0
        assert silent
    assert len(scene.made) == made
    assert client.is_stopped


def test_it_takes_what_connect_takes(scene: Scene) -> None:
    """A list, a proxy, options, a timeout; what connect raises at once, start raises."""
    with hole() as silent:
        client = scene.client(address=[silent, scene.listener.getsockname()])
        scene.reactor.until(lambda: client.is_up)
        client.stop()
    with pytest.raises(UsageError, match="one address"):
        scene.client(address=["a.example:1", "b.example:1"], via=HttpConnect("127.0.0.1:1"))
    with pytest.raises(DelayError, match=r"Reconnector\.timeout"):
        scene.client(timeout=float("nan"))


def test_backoff_is_checked_and_bounded() -> None:
    """The bound grows to the cap, however many failures there are."""
    assert [ONE.bound(failures) for failures in (1, 2, 3, 4, 5, 10**6)] == [1, 2, 4, 8, 8, 8]
    for bad in ({"first": 0}, {"first": 9, "cap": 8}, {"factor": 0.5}):
        with pytest.raises(UsageError, match="0 < first <= cap"):
            Backoff(**bad)
    with pytest.raises(DelayError, match=r"Backoff\.cap"):
        Backoff(cap=float("inf"))


def test_the_real_dice_are_fair_enough() -> None:
    """Without a system of one's own the pause is somewhere between nothing and the bound, and the hooks do nothing."""
    with Reactor() as reactor:
        client = Reconnector(reactor=reactor, factory=Recorder, address=nobody(), backoff=Backoff(first=0.001, cap=0.002))
        client.start()
        reactor.run_until(lambda: client.failures == 3, timeout=5)
        assert client.failures == 3
        client.stop()
        permanent = Reconnector(reactor=reactor, factory=Recorder, address=nobody(), is_permanent=lambda reason: True)
        permanent.start()
        reactor.run()
        assert permanent.is_stopped
        with listening() as listener:
            up = Reconnector(reactor=reactor, factory=Recorder, address=listener.getsockname()).start()
            reactor.run_until(lambda: up.is_up, timeout=5)
            assert up.is_up
            up.stop()
            listener.accept()[0].close()
            reactor.run()
