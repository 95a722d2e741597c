"""From a name to addresses: what needs nobody to be asked, who waits for what, and what happens if no answer comes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from reactor import AddressError, Inet, LookupFailed, NameNotFound, PoolFull, SystemResolver, UsageError
from reactor.resolver import Found, Resolver, known
from tests.kit import PATIENCE, Clock, Watched

V4, V6 = socket.AF_INET, socket.AF_INET6


@attrs.define(eq=False)
class ByHand:
    """A pool whose jobs run when the test says so."""

    room: int
    jobs: list[Callable[[], None]] = attrs.field(init=False, factory=list)
    closed: bool = attrs.field(init=False, default=False)

    @property
    def queued(self) -> int:
        return len(self.jobs)

    def submit(self, job: Callable[[], None]) -> None:
        if len(self.jobs) >= self.room:
            raise PoolFull("no room")
        self.jobs.append(job)

    def close(self) -> None:
        self.closed = True

    def work(self) -> None:
        """Run all jobs, in a thread: results may come from there only by call_threadsafe."""
        jobs, self.jobs = self.jobs, []
        thread = threading.Thread(target=lambda: [job() for job in jobs])
        thread.start()
        thread.join(PATIENCE)


class Names(Clock):
    """A system that knows the names that it is told, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, list[str] | Exception] = {}
        self.asked: list[tuple[str | None, int]] = []
        self.pools: list[ByHand] = []

    def pool(self, name: str, *, threads: int, queue: int) -> ByHand:
        self.pools.append(ByHand(queue))
        return self.pools[-1]

    def getaddrinfo(self, host: str | None, port: int, *, family: int = 0, flags: int = 0) -> list[tuple[int, Any]]:
        self.asked.append((host, family))
        answer = self.names.get(host or "", socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        if isinstance(answer, Exception):
            raise answer
        raw: list[tuple[int, Any]] = [(V6, (each, port, 0, 0)) if ":" in each else (V4, (each, port)) for each in answer]
        return [each for each in raw if family in (0, each[0])]


@attrs.define(eq=False)
class Scene:
    """A reactor, its resolver, and what was found."""

    reactor: Watched
    system: Names
    found: list[Any] = attrs.field(init=False, factory=list)

    def resolve(self, name: str, port: int = 80, family: int = 0) -> Any:
        return self.reactor.resolver.resolve(name, port, family, self.found.append)

    def work(self) -> None:
        self.system.pools[0].work()
        self.reactor.turn(2)


def scene(resolver: Resolver) -> Iterator[Scene]:
    system = Names()
    with Watched(system=system, resolver=resolver, debug=True) as reactor:
        yield Scene(reactor, system)
    assert not reactor.raised, reactor.raised


@pytest.fixture
def plain() -> Iterator[Scene]:
    yield from scene(SystemResolver(queue=2, timeout=20))


@pytest.fixture
def caching() -> Iterator[Scene]:
    yield from scene(SystemResolver(cache_seconds=60, cache_names=2))


@pytest.mark.parametrize(
    ("name", "family", "hosts"),
    [
        ("192.0.2.1", 0, ["192.0.2.1"]),
        ("2001:db8::1", V6, ["2001:db8::1"]),
        ("fe80::1%eth0", 0, ["fe80::1%eth0"]),
        ("LocalHost", 0, ["::1", "127.0.0.1"]),
        ("localhost.", V4, ["127.0.0.1"]),
        ("app.localhost", V6, ["::1"]),
    ],
)
def test_what_needs_nobody_to_be_asked(plain: Scene, name: str, family: int, hosts: list[str]) -> None:
    """Numeric addresses, with their scope, and localhost are known without a thread; the answer comes from the loop."""
    plain.resolve(name, 80, family)
    assert plain.found == []
    plain.reactor.turn()
    assert plain.found == [[Inet(host, 80) for host in hosts]]
    assert not plain.system.pools


def test_a_family_that_is_not_there_is_no_such_name(plain: Scene) -> None:
    """An IPv4 address has no IPv6 address; a name that has to be asked for is not known."""
    found = known("192.0.2.1", 80, V6)
    assert isinstance(found, NameNotFound)
    assert found.phase == "lookup"
    assert known("example.org", 80, 0) is None


def test_a_name_is_asked_for_in_the_pool(plain: Scene) -> None:
    """The answer comes in the system's order, with the port; the scope of a link-local address is kept."""
    plain.system.names["host.example"] = ["2001:db8::1", "192.0.2.1"]
    plain.resolve("host.example", 443)
    assert plain.reactor.stats().lookups_queued == 1
    plain.work()
    assert plain.found == [[Inet("2001:db8::1", 443), Inet("192.0.2.1", 443)]]
    assert plain.reactor.stats().lookups_queued == 0
    assert len(plain.reactor.timers) == 0


def test_families_that_nobody_asked_for_are_left_out(plain: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is neither IPv4 nor IPv6 cannot be connected to; a scope comes as a number."""
    raw = [(V6, ("fe80::1%eth0", 0, 0, 7)), (9999, "what")]
    monkeypatch.setattr(plain.system, "getaddrinfo", lambda *_, **__: raw)
    plain.resolve("host.example")
    plain.work()
    assert plain.found == [[Inet("fe80::1", 80, 0, 7)]]


def test_the_family_is_asked_for(plain: Scene) -> None:
    """The system is asked for one family if only one is wanted."""
    plain.system.names["host.example"] = ["2001:db8::1", "192.0.2.1"]
    plain.resolve("host.example", family=V4)
    plain.work()
    assert plain.found == [[Inet("192.0.2.1", 80)]]
    assert plain.system.asked == [("host.example", V4)]


def test_equal_lookups_under_way_are_one(plain: Scene) -> None:
    """Names are equal in any case, and whatever the port; each waiter hears its own."""
    plain.system.names["host.example"] = ["192.0.2.1"]
    plain.resolve("host.example", 80)
    plain.resolve("HOST.example", 443)
    plain.resolve("host.example", 443, V4)
    plain.work()
    assert len(plain.system.asked) == 2
    assert plain.found == [[Inet("192.0.2.1", 80)], [Inet("192.0.2.1", 443)], [Inet("192.0.2.1", 443)]]


def test_other_alphabets_go_by_idna(plain: Scene) -> None:
    """A name that is not ASCII is asked for in the form that name servers know."""
    plain.system.names["xn--bcher-kva.example"] = ["192.0.2.1"]
    plain.resolve("bücher.example")
    plain.work()
    assert plain.found == [[Inet("192.0.2.1", 80)]]


@pytest.mark.parametrize("name", ["a..b", "ü" * 64, "x" * 64, f"{'x.' * 127}x", "."])
def test_what_cannot_be_a_name_is_refused_at_once(plain: Scene, name: str) -> None:
    """The call raises, with the name; nobody is asked."""
    with pytest.raises(AddressError, match="is no host name"):
        plain.resolve(name)
    assert not plain.system.pools


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), NameNotFound, "no such name: 'host.example'"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), LookupFailed, "cannot be looked up: Temporary failure"),
        (ValueError("strange"), LookupFailed, "cannot be looked up: strange"),
    ],
)
def test_failures_are_of_two_kinds(plain: Scene, error: Exception, kind: type[Exception], text: str) -> None:
    """The name does not exist, or it could not be found out; the system's own error stands behind it."""
    plain.system.names["host.example"] = error
    plain.resolve("host.example")
    plain.work()
    (found,) = plain.found
    assert type(found) is kind
    assert text in str(found)
    assert found.__cause__ is error or "strange" in str(found.__cause__)


def test_a_name_without_addresses_does_not_exist(plain: Scene) -> None:
    """An empty answer is an answer: no."""
    plain.system.names["host.example"] = []
    plain.resolve("host.example")
    plain.work()
    assert isinstance(plain.found[0], NameNotFound)


def test_no_answer_in_time_frees_those_who_wait(plain: Scene) -> None:
    """At the deadline all hear so; the late answer is dropped, and the next lookup asks anew."""
    plain.system.names["host.example"] = ["192.0.2.1"]
    plain.resolve("host.example")
    plain.resolve("host.example")
    begin = plain.reactor.time()
    plain.reactor.run()
    assert len(plain.found) == 2
    assert plain.reactor.time() == begin + 20
    assert all(isinstance(found, LookupFailed) and "within 20 s" in str(found) for found in plain.found)
    plain.resolve("host.example")
    assert plain.system.pools[0].queued == 2  # the first one is stuck there still
    plain.work()
    assert plain.system.asked == [("host.example", 0)]
    assert plain.found[2:] == [[Inet("192.0.2.1", 80)]]


def test_a_cancelled_lookup_is_silent(plain: Scene) -> None:
    """Nobody hears of it, and a name that nobody wants any more is not asked for."""
    plain.system.names["host.example"] = ["192.0.2.1"]
    lookup = plain.resolve("host.example")
    other = plain.resolve("host.example")
    assert lookup.cancel()
    assert not lookup.cancel()
    assert other.cancel()
    assert len(plain.reactor.timers) == 0
    plain.work()
    assert not plain.system.asked
    assert plain.found == []

    local = plain.resolve("localhost")
    assert local.cancel()
    plain.reactor.turn()
    assert plain.found == []


def test_an_answer_that_comes_after_the_cancel_is_dropped(plain: Scene) -> None:
    """Between the thread's answer and its delivery the waiter may go."""
    plain.system.names["host.example"] = ["192.0.2.1"]
    lookup = plain.resolve("host.example")
    plain.system.pools[0].work()
    lookup.cancel()
    plain.reactor.turn(2)
    assert plain.found == []


def test_too_many_lookups_are_refused(plain: Scene) -> None:
    """What does not fit into the queue fails, from the loop, with a clear error; what waits goes on."""
    plain.system.names.update({"one.example": ["192.0.2.1"], "two.example": ["192.0.2.2"]})
    for name in ("one.example", "two.example", "three.example"):
        plain.resolve(name)
    assert plain.found == []
    plain.reactor.turn()
    assert "too many lookups at once: no room" in str(plain.found[0])
    plain.work()
    assert plain.found[1:] == [[Inet("192.0.2.1", 80)], [Inet("192.0.2.2", 80)]]


def test_answers_are_kept_if_asked_for(caching: Scene) -> None:
    """Within its time an answer is used again; failures are not kept, and the oldest goes when there are too many."""
    for number, name in enumerate(("one", "two", "three"), 1):
        caching.system.names[name] = [f"192.0.2.{number}"]
    caching.resolve("one")
    caching.work()
    caching.resolve("one", 443)
    caching.reactor.turn()
    assert caching.found == [[Inet("192.0.2.1", 80)], [Inet("192.0.2.1", 443)]]
    assert len(caching.system.asked) == 1

    caching.system.moment += 61
    for name in ("one", "two", "three", "four"):
        caching.resolve(name)
    caching.work()
    assert len(caching.system.asked) == 5
    for name in ("one", "two", "three", "four"):
        caching.resolve(name)
    caching.work()
    assert [name for name, _ in caching.system.asked[5:]] == ["one", "four"]


def test_answers_are_not_kept_by_default(plain: Scene) -> None:
    """Nobody knows how long they are good for."""
    plain.system.names["host.example"] = ["192.0.2.1"]
    for _ in range(2):
        plain.resolve("host.example")
        plain.work()
    assert len(plain.system.asked) == 2


def test_closing_the_reactor_ends_what_is_under_way(plain: Scene) -> None:
    """No answer is heard any more, and a thread that comes back late finds nobody."""
    plain.system.names["host.example"] = ["192.0.2.1"]
    plain.resolve("host.example")
    (job,) = plain.system.pools[0].jobs
    other = plain.resolve("other.example")
    plain.reactor.close()
    assert plain.system.pools[0].closed
    job()
    assert not plain.system.asked
    assert other.cancel()
    assert plain.found == []


def test_a_thread_that_is_asking_while_the_reactor_closes(plain: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is dropped without a word."""

    def slow(*_: Any, **__: Any) -> list[Any]:
        plain.reactor.close()
        return []

    monkeypatch.setattr(plain.system, "getaddrinfo", slow)
    plain.resolve("host.example")
    plain.system.pools[0].jobs[0]()
    assert plain.found == []


@pytest.mark.parametrize(
    "options", [{"threads": 0}, {"queue": 0}, {"cache_names": 0}, {"timeout": float("nan")}, {"cache_seconds": "1"}]
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    """An option that cannot be is refused when the resolver is made."""
    with pytest.raises(UsageError):
        SystemResolver(**options)


def test_a_resolver_serves_one_reactor() -> None:
    """A second reactor is refused it, and leaves nothing behind."""
    resolver = SystemResolver()
    with Watched(resolver=resolver), pytest.raises(UsageError, match="one reactor"):
        Watched(resolver=resolver)


# The real thing


@pytest.mark.kernel("a thread of a pool")
def test_the_real_resolver_looks_names_up_in_a_thread(reactor: Watched) -> None:
    """A form that only the system understands goes through a thread and comes back."""
    found: list[Found] = []
    reactor.resolver.resolve("127.1", 80, 0, found.append)
    reactor.until(lambda: found)
    assert found == [[Inet("127.0.0.1", 80)]]
