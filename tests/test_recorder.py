"""A program that is recorded, and replayed, sees the same both times: readiness, bytes, errors, signals, threads."""

from __future__ import annotations

import errno
import os
import selectors
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from reactor import READ, CloseKind, Handler, Inet, ListenOptions, Reactor, Stream, System, Unix, UsageError
from reactor.testing import Recorder
from tests import kit
from tests.journals import names, records, twice
from tests.kit import PATIENCE, Watcher, unix_pair

NUMBER = signal.SIGUSR1


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run.journal")


@attrs.define(eq=False)
class Echo(Stream):
    def on_data(self, data: bytes) -> None:
        self.write(data)


def kill(system: System, number: int = NUMBER) -> None:
    """Send a signal, when it is recorded; in a replay it comes out of the journal."""
    if isinstance(system, Recorder):
        os.kill(os.getpid(), number)


def errno_of(call: Callable[..., object], *args: Any) -> object:
    """Return what a call returns, or the number of its error."""
    try:
        return call(*args)
    except OSError as error:
        return type(error).__name__, error.errno


# Whole programs


@pytest.mark.parametrize("address", [":0", "127.0.0.1:0", "unix:{place}/socket"])
def test_a_conversation(path: str, tmp_path: Path, address: str) -> None:
    """Both sides of connections over TCP and Unix sockets: what each has heard, when, and at which addresses."""
    (tmp_path / "here").mkdir()

    def scenario(system: System) -> object:
        with Reactor(system=system) as reactor:
            acceptor = reactor.listen(Echo, address.format(place=tmp_path / "here"))
            target = acceptor.addresses[0] if address.startswith("unix") else f"127.0.0.1:{acceptor.port}"
            talker = kit.Recorder(act={"connect": lambda it: it.write(b"x" * 300_000), "data": lambda it: done(it)})  # noqa: PLW0108

            def done(it: kit.Recorder) -> None:
                if len(it.received) == 300_000:
                    it.close()
                    acceptor.close()

            reactor.connect(talker, target)
            reactor.run()
            stats = attrs.asdict(reactor.stats())
        return talker.events, talker.kind, bytes(talker.received), str(talker.peer), str(talker.local), stats

    twice(path, scenario)


def test_connections_that_fail(path: str) -> None:
    """Refused, reset, given up: the same errors, with the same texts and times."""

    def scenario(system: System) -> object:
        heard: list[str] = []
        with Reactor(system=system) as reactor, system.socket(socket.AF_INET) as silent:
            silent.bind(("127.0.0.1", 0))
            refused = kit.Recorder()
            reactor.connect(refused, silent.getsockname())
            timed = reactor.call_later(0.05, heard.append, "timer")
            reactor.run()
            heard += [str(refused.reason), str(timed.due), str(reactor.time())]
        return heard

    seen = twice(path, scenario)
    assert "refused" in str(seen)


def test_a_reset_is_a_reset_again(path: str) -> None:
    """What a peer that no reactor knows of does to a connection is in the journal."""

    def scenario(system: System) -> object:
        with Reactor(system=system) as reactor:
            streams = [kit.Recorder()]
            acceptor = reactor.listen(lambda: streams[0], "127.0.0.1:0")
            if isinstance(system, Recorder):
                peer = socket.create_connection(("127.0.0.1", acceptor.port), timeout=PATIENCE)
                peer.send(b"x")
                kit.reset(peer)
            reactor.run_until(lambda: streams[0].reason is not None, timeout=PATIENCE)
        return streams[0].events, str(streams[0].reason)

    assert "reset" in str(twice(path, scenario))


def test_sockets_from_elsewhere(path: str) -> None:
    """A socket that the program has made itself is recorded from the moment at which a handler gets it."""

    def scenario(system: System) -> object:
        here, there = unix_pair()
        with Reactor(system=system) as reactor, there:
            there.send(b"hello")
            stream = reactor.attach(kit.Recorder(act={"data": lambda it: it.end()}), here)
            if isinstance(system, Recorder):
                there.shutdown(socket.SHUT_WR)
            reactor.run()
            return stream.events, bytes(stream.received), stream.sock is here, here.fileno(), isinstance(here, socket.socket)

    assert "hello" in str(twice(path, scenario))


def test_a_listener_from_elsewhere(path: str) -> None:
    """A bound socket is recorded from `listen` on, its address with it."""

    def scenario(system: System) -> object:
        with Reactor(system=system) as reactor:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                acceptor = reactor.listen(Echo, listener)
                port = acceptor.port
                acceptor.close()
                reactor.run()
            return port

    twice(path, scenario)


@pytest.mark.parametrize("kind", kit.SELECTORS)
def test_any_selector(path: str, kind: Callable[[], selectors.BaseSelector]) -> None:
    """The program's own choice is recorded, too; in a replay it is not used."""

    def scenario(system: System) -> object:
        here, there = unix_pair()
        with Reactor(system=system, selector=kind()) as reactor, there:
            if isinstance(system, Recorder):
                there.send(b"x")
            handler = reactor.attach(Watcher(act=lambda it: it.close()), here)
            reactor.run()
            return handler.heard

    assert twice(path, scenario) == ["readable", "close"]


def test_the_recorders_own_selector(path: str) -> None:
    """A recorder can be given what makes its selectors."""
    with Recorder(path, selector=selectors.SelectSelector) as recorder, recorder.selector() as selector:
        assert selector.get_map() == {}
        assert not hasattr(selector, "fileno")
        with pytest.raises(KeyError):
            selector.get_key(0)


def test_errors_of_the_selector(path: str) -> None:
    """A descriptor that cannot be watched, one that is gone: a replay raises the same."""

    def scenario(system: System) -> object:
        seen: list[object] = []
        with system.selector() as selector:
            one, other = system.socketpair()
            fd = one.fileno()
            selector.register(fd, READ, "data")
            seen += [selector.get_key(fd).data, list(selector.get_map()) == [fd], selector.select(0)]
            seen.append([key.data for key, _ in selector.select(0.1)])
            if isinstance(system, Recorder):
                os.close(fd)
            seen.append(errno_of(selector.modify, fd, 3, "data"))
            seen.append(list(selector.get_map()))
            other.close()
            if isinstance(system, Recorder):
                os.dup2(os.open(os.devnull, os.O_RDONLY), fd)
            seen.append(errno_of(selector.register, fd, READ))
            one.close()
        return seen

    assert "PermissionError" in str(twice(path, scenario))


def test_a_wait_that_fails(path: str) -> None:
    """select(2) refuses a descriptor that is closed; so does the replay."""

    def scenario(system: System) -> object:
        with system.adopt_selector(selectors.SelectSelector()) as selector:
            one, other = system.socketpair()
            selector.register(one.fileno(), READ)
            if isinstance(system, Recorder):
                os.close(one.fileno())
            failed = errno_of(selector.select, 0)
            if isinstance(system, Recorder):
                os.dup2(other.fileno(), one.fileno())
            selector.unregister(one.fileno())
            one.close()
            other.close()
            return failed

    assert twice(path, scenario) == ("OSError", errno.EBADF)


# Sockets


def test_every_call_of_a_stream_socket(path: str) -> None:
    """Bytes, counts, addresses, options and errnos come back, call by call."""

    def scenario(system: System) -> object:
        seen: list[object] = []
        listener = system.socket(socket.AF_INET)
        seen += [listener.fileno(), listener.family, listener.type, listener.proto, listener.timeout]
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        seen.append(errno_of(listener.accept))
        here = system.socket(socket.AF_INET)
        seen.append(errno_of(here.connect, listener.getsockname()))
        there, peer = listener.accept()
        seen.append(there.getblocking())
        there.setblocking(False)
        seen += [peer, there.fileno(), there.getpeername(), here.getsockname(), here.getsockopt(socket.SOL_SOCKET, 4)]
        seen += [here.connect_ex(listener.getsockname()), here.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)]
        seen += [errno_of(here.recv, 10), errno_of(there.recv_into, bytearray(3))]
        seen += [here.send(b"one"), here.sendmsg([b"t", b"wo"])]
        here.sendall(b"three")
        there.setblocking(True)
        there.settimeout(PATIENCE)
        seen += [there.gettimeout(), there.getblocking(), there.get_inheritable()]
        there.set_inheritable(False)
        room = bytearray(10)
        seen += [there.recv(3), there.recv_into(room, 1), there.recvmsg(2), there.recvfrom(4), bytes(room)]
        here.shutdown(socket.SHUT_WR)
        seen += [there.recvfrom_into(room), there.recv(5), bytes(room)]
        seen += [errno_of(here.send, b"x"), errno_of(here.listen), errno_of(listener.shutdown, socket.SHUT_RD)]
        for sock in (here, there, listener):
            sock.close()
            sock.close()
            seen += [sock.fileno(), errno_of(sock.getsockname)]
        return seen

    twice(path, scenario)


def test_datagrams(path: str) -> None:
    """A datagram socket of the program's own carries payloads, senders and errors."""

    def scenario(system: System) -> object:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
        ):
            for sock in (one, two):
                assert system.adopt(system.adopt(sock)) is sock
                sock.bind(("127.0.0.1", 0))
                sock.settimeout(PATIENCE)
            seen = [one.sendto(b"hello", two.getsockname()), two.recvfrom(100), two.type, two.family, two.proto]
            seen += [one.sendto(b"again", 0, two.getsockname()), two.recvfrom_into(bytearray(10))]
        return seen

    assert "hello" in str(twice(path, scenario))


@pytest.mark.parametrize("what", ["detach", "dup", "makefile", "sendfile", "recvmsg_into"])
def test_what_a_replay_could_not_follow_is_refused(path: str, what: str) -> None:
    """Calls that lead out of what is recorded raise, when it is recorded and in a replay alike."""

    def scenario(system: System) -> object:
        pair = system.socketpair()
        for sock in pair:
            with pytest.raises(UsageError, match=f"has no {what}"):
                getattr(sock, what)()
            with pytest.raises(UsageError, match="ancillary"):
                sock.recvmsg(1, 100)
            with pytest.raises(UsageError, match="ancillary"):
                sock.sendmsg([b""], [(socket.SOL_SOCKET, 1, b"")])
            sock.close()
        return repr(pair[0])[:10]

    with Recorder(path) as recorder:
        scenario(recorder)
    from tests.journals import replayed

    assert replayed(path, scenario) == "<replayed "


def test_tls_and_other_classes_are_refused(path: str) -> None:
    """A socket of a class of its own would lose what the class does; the caller keeps it."""
    here, there = unix_pair()
    context = ssl.create_default_context()
    with Recorder(path) as recorder, Reactor(system=recorder) as reactor, here, there:
        with context.wrap_socket(here, server_hostname="x", do_handshake_on_connect=False) as tls:
            with pytest.raises(UsageError, match="SSLSocket: TLS is not covered"):
                reactor.attach(Watcher(), tls)
            assert tls.fileno() >= 0


# Errors


def test_errors_of_user_code(path: str) -> None:
    """A hook that raises is told to on_error in a replay, too, and its connection is reset again."""

    def scenario(system: System) -> object:
        one, other = system.socketpair()
        with kit.Watched(system=system) as reactor:
            handler = reactor.attach(Watcher(act=lambda _: 1 // 0), one)
            other.send(b"x")
            reactor.run()
            other.close()
            return [str(context.exc) for context in reactor.raised], str(handler.reason)

    assert "division" in str(twice(path, scenario))
    assert "raised" in names(path)


def test_a_ring_is_written_when_user_code_raises(path: str) -> None:
    """The flight recorder speaks when something went wrong, and not before."""
    with Recorder(path, ring_bytes=1_000_000) as recorder, kit.Watched(system=recorder) as reactor:
        reactor.call_soon(lambda: 1 // 0)
        assert not os.path.exists(path)
        reactor.run()
        assert [context.where for context in reactor.raised] == ["call"]
        recorder.close()
        recorder.close()
    assert names(path)[-1] == "raised"


def test_a_ring_is_written_on_a_signal(path: str) -> None:
    """Somebody outside asks what has been going on."""
    before = signal.getsignal(signal.SIGUSR2)
    with Recorder(path, ring_bytes=1_000_000, dump_on=signal.SIGUSR2) as recorder, Reactor(system=recorder) as reactor:
        reactor.run()
        os.kill(os.getpid(), signal.SIGUSR2)
        assert "enter" in names(path)
    assert signal.getsignal(signal.SIGUSR2) is before


def test_a_quiet_program_has_written_everything(path: str) -> None:
    """Before it waits for long, what was noted is put into the file."""
    written: list[list[str]] = []

    class Looking(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            if timeout is None or timeout > 1:
                written.append(names(path))
            return super().select(0)

    with Recorder(path, selector=Looking) as recorder, Reactor(system=recorder) as reactor:
        reactor.run_once(5)
        reactor.run_once(None)
    assert [each[-1] for each in written] == ["monotonic", "monotonic"]
    assert len(written[1]) > len(written[0])


def test_long_runs_are_written_in_blocks(path: str) -> None:
    """A busy program writes every thousand records or so."""
    with Recorder(path) as recorder, Reactor(system=recorder) as reactor:
        for _ in range(400):
            reactor.run_once(0)
        assert len(records(path)) >= 1000


# Signals


def test_signals(path: str) -> None:
    """A signal is delivered again where the loop took it, and what was set before is put back."""

    def scenario(system: System) -> object:
        heard: list[object] = []
        with Reactor(system=system) as reactor:
            reactor.on_signal(NUMBER, lambda: heard.append(("signal", reactor.time())))
            reactor.call_soon(kill, system)
            reactor.call_later(0.01, kill, system)
            reactor.call_later(PATIENCE, reactor.stop)
            reactor.run_until(lambda: len(heard) == 2)
            heard.append(system.get_signal(NUMBER) == reactor._signals._note)
        heard.append(system.get_signal(NUMBER))
        return heard

    before = signal.getsignal(NUMBER)
    twice(path, scenario)
    assert signal.getsignal(NUMBER) == before


def test_the_ctrl_c_of_a_shutdown(path: str) -> None:
    """The first one drains, in the replay as it was; and Python's own handler is back in the end."""

    def scenario(system: System) -> object:
        one, other = system.socketpair()
        with Reactor(system=system) as reactor:
            stream = reactor.attach(kit.Recorder(), one)
            reactor.call_soon(kill, system, signal.SIGINT)
            reactor.call_later(0.01, kill, system, signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                reactor.run()
        other.close()
        return stream.events, str(stream.reason)

    twice(path, scenario)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_ctrl_c_that_strikes_at_once(path: str) -> None:
    """KeyboardInterrupt in the middle of a hook comes at the same call of the system again."""

    def scenario(system: System) -> object:
        with Reactor(system=system) as reactor:

            def busy() -> None:
                for _ in range(3):
                    kill(system, signal.SIGINT)
                reactor.time()
                raise AssertionError("unreachable")

            reactor.call_soon(busy)
            with pytest.raises(KeyboardInterrupt):
                reactor.run()
        return reactor.stats().passes

    twice(path, scenario)


def test_signals_that_a_program_sends_itself(path: str) -> None:
    """What is still pending when the reactor closes is sent on; signals that cannot be handled are refused again."""

    def scenario(system: System) -> object:
        heard: list[object] = []
        before = system.set_signal(NUMBER, lambda number, _: heard.append(number))
        with Reactor(system=system) as reactor:
            reactor.on_signal(NUMBER, print)
            kill(system)
            with pytest.raises(UsageError, match="no signal"):
                reactor.on_signal(signal.SIGKILL, print)
            with pytest.raises(UsageError, match="no signal"):
                reactor.on_signal("x", print)  # type: ignore[arg-type]
        heard += [before, system.set_signal(NUMBER, signal.SIG_IGN) is not None, system.set_signal(NUMBER, before)]
        return heard

    assert twice(path, scenario) == [NUMBER, signal.SIG_DFL, True, signal.SIG_IGN]


def test_a_program_that_has_its_own_ctrl_c_keeps_it(path: str) -> None:
    """The recorder leaves alone what is not Python's own; and one in another thread touches no signal."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Recorder(path) as recorder:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert recorder.get_signal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    thread = threading.Thread(target=lambda: Recorder(path).close())
    thread.start()
    thread.join()


def test_a_handler_that_the_program_leaves_behind_is_left_alone(path: str) -> None:
    """What was set past the recorder is not undone when it closes."""

    def theirs(number: int, _: object) -> None: ...

    before = signal.getsignal(NUMBER)
    with Recorder(path) as recorder:
        recorder.set_signal(NUMBER, lambda *_: None)
        signal.signal(NUMBER, theirs)
    assert signal.signal(NUMBER, before) is theirs


def test_doorbells_of_others(path: str) -> None:
    """Who had the wake-up descriptor before is rung when it is recorded, and only then."""

    def scenario(system: System) -> object:
        reader, writer = socket.socketpair()
        with reader, writer:
            for sock in (reader, writer):
                sock.setblocking(False)
            before = signal.set_wakeup_fd(writer.fileno()) if isinstance(system, Recorder) else -1
            with Reactor(system=system) as reactor:
                reactor.on_signal(NUMBER, lambda: None)
                reactor.call_soon(kill, system)
                reactor.run_once(0)
                reactor.run_once(0)
            if isinstance(system, Recorder):
                signal.set_wakeup_fd(before)
                assert NUMBER in reader.recv(10)
        return None

    twice(path, scenario)
    assert "ring" in names(path)


# Threads


def test_calls_from_threads(path: str) -> None:
    """Calls that threads send take effect where they did; which thread is faster this time does not matter."""

    def scenario(system: System) -> object:
        made: list[object] = []
        with Reactor(system=system) as reactor:

            def work(name: str) -> None:
                for number in range(5):
                    reactor.call_threadsafe(lambda name, number: made.append((name, number, reactor.time())), name, number)
                assert isinstance(reactor.time(), float)
                assert isinstance(system.time(), float)
                assert reactor.is_alive in (True, False)

            threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
            for thread in threads:
                thread.start()
            reactor.call_later(PATIENCE, reactor.stop)  # something must be alive until the threads have called
            reactor.run_until(lambda: len(made) == 15)
            for thread in threads:
                thread.join()
        return made

    assert len(twice(path, scenario)) == 15  # type: ignore[arg-type]


def test_calls_that_are_queued_once(path: str) -> None:
    """Which of equal calls found another one waiting is in the journal, not in the threads' speed."""

    def scenario(system: System) -> object:
        made: list[float] = []
        with Reactor(system=system) as reactor:

            def work() -> None:
                for _ in range(100):
                    reactor.call_threadsafe(call, idempotent=True)
                reactor.stop()

            def call() -> None:
                made.append(reactor.time())

            thread = threading.Thread(target=work)
            reactor.call_soon(thread.start)
            reactor.run(forever=True)
            thread.join()
        return made

    twice(path, scenario)


def test_names_that_threads_look_up(path: str) -> None:
    """Each thread gets the answer to its own question, in whatever order they ask this time."""

    def scenario(system: System) -> object:
        found: dict[str, object] = {}
        told: list[str] = []
        with Reactor(system=system) as reactor:

            def work(host: str) -> None:
                found[host] = errno_of(lambda: system.getaddrinfo(host, 80, flags=socket.AI_NUMERICHOST))
                reactor.call_threadsafe(told.append, host)

            threads = [threading.Thread(target=work, args=(host,)) for host in ("127.0.0.1", "::1", "no address")]
            for thread in threads:
                thread.start()
            reactor.call_later(PATIENCE, reactor.stop)
            reactor.run_until(lambda: len(told) == 3)
            for thread in threads:
                thread.join()
        return told, sorted(found.items(), key=str)

    assert "gaierror" in str(twice(path, scenario))


def test_a_reactor_in_another_thread(path: str) -> None:
    """A reactor may be made here and run there; its calls are those on the tape."""

    def scenario(system: System) -> object:
        made: list[float] = []
        with Reactor(system=system) as reactor:
            reactor.call_later(0.01, lambda: made.append(reactor.time()))
            thread = threading.Thread(target=reactor.run)
            thread.start()
            thread.join()
        return made

    twice(path, scenario)


def test_two_reactors_in_one_thread(path: str) -> None:
    """They share a journal, be it one after the other or one within the other."""

    def scenario(system: System) -> object:
        made: list[object] = []
        with Reactor(system=system) as one, Reactor(system=system) as two:
            one.call_soon(two.call_soon, made.append, 2)
            one.call_soon(two.run)
            two.call_threadsafe(made.append, 1)
            made += [one.is_alive, two.is_alive]
            one.run()
            made += [one.is_alive, two.is_alive]
        return made

    assert twice(path, scenario) == [True, True, 2, 1, False, False]


def test_reactors_in_two_threads_are_refused(path: str) -> None:
    """A journal is one sequence: the second thread is told, and the first one goes on."""
    errors: list[UsageError] = []
    with Recorder(path) as recorder, Reactor(system=recorder) as reactor:

        def second() -> None:
            for call in (lambda: Reactor(system=recorder), lambda: recorder.socket(socket.AF_INET), recorder.enter):
                try:
                    call()
                except UsageError as error:
                    errors.append(error)

        thread = threading.Thread(target=second)
        reactor.call_soon(thread.start)
        reactor.call_soon(thread.join)
        reactor.run()
    assert ["the reactors of one thread" in str(error) for error in errors] == [True] * 3


def test_a_connect_by_name(path: str) -> None:
    """What a thread has looked up, and a connection to it, come back without a network."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def scenario(system: System) -> object:
            with Reactor(system=system) as reactor:
                handler = Handler()
                dial = reactor.connect(handler, ("127.1", port))  # a form of a number that only the system knows
                reactor.run_until(lambda: handler.is_open or not dial.is_pending, timeout=PATIENCE)
                return handler.is_open, reactor.stats().connected

        assert twice(path, scenario) == (True, 1)


# The rest of the system


def test_what_else_is_asked(path: str, tmp_path: Path) -> None:
    """Names, interfaces, files: each answer and each error comes back."""
    file = str(tmp_path / "file")

    def scenario(system: System) -> object:
        if isinstance(system, Recorder):
            Path(file).write_text("")
        seen: list[object] = [
            system.getaddrinfo("127.0.0.1", 80, family=socket.AF_INET),
            system.random(),
            errno_of(lambda: system.getaddrinfo("no address", 80, flags=4)),
        ]
        seen += [
            errno_of(system.sockaddr, Inet("fe80::1%nosuch", 80)),
            system.sockaddr(Unix("/x")),
            system.has_dualstack_ipv6(),
        ]
        seen += [system.is_open(0), system.is_open(9999), system.absolute("x"), system.socket_file(file)]
        seen += [system.is_socket_alive(file), errno_of(system.unlink, file + "x"), errno_of(system.socket, 9999)]
        system.set_permissions(file, 0o600, None, None)
        system.unlink(file)
        with system.directory_lock(file) as locked:
            seen.append(locked)
        with pytest.raises(LookupError):
            system.set_permissions(str(tmp_path), 0o700, "no such user at all", None)
        seen += [system.time(), system.monotonic(), system.is_main_thread(), system.thread()]
        return seen

    twice(path, scenario)
    assert not os.path.exists(file)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere poll may not tell")
def test_whoever_is_off_the_selector(path: str) -> None:
    """A paused stream notices a reset, in a replay, too; and how long it was idle is what it was."""

    def scenario(system: System) -> object:
        with Reactor(system=system) as reactor:
            acceptor = reactor.listen(kit.Recorder, "127.0.0.1:0")
            client = kit.Recorder()
            reactor.connect(client, f"127.0.0.1:{acceptor.port}")
            reactor.run_until(lambda: len(reactor.handlers) == 3 and client.is_writable, timeout=PATIENCE)
            (server,) = [each for each in reactor.handlers if isinstance(each, kit.Recorder) and each is not client]
            server.pause()
            idle = [each["idle"] for each in reactor.snapshot()["handlers"]]
            client.abort()
            reactor.run_until(lambda: server.reason, timeout=PATIENCE)
            return server.kind, server.events, idle

    seen = twice(path, scenario)
    assert {"hung_up", "idle_seconds"} <= set(names(path))
    assert isinstance(seen, tuple)
    assert seen[0] is CloseKind.RESET


def test_a_handler_that_spins(path: str, logs: list[str]) -> None:
    """Over TCP it is found by what the kernel counts, and parked, in a replay, too; of others nothing is said."""

    class Deaf(Handler):
        interest = READ

        def on_readable(self) -> None:
            """Read nothing."""

    def scenario(system: System) -> object:
        with Reactor(system=system) as reactor:
            pairs = kit.tcp_pair(), unix_pair()
            with pairs[0][1], pairs[1][1]:
                for here, there in pairs:
                    there.send(b"x")
                    reactor.attach(Deaf(), here)
                for _ in range(1100):
                    reactor.run_once(0)
                return reactor.stats().spins, len(reactor.poller.parked)

    assert twice(path, scenario) == ((1, 1) if sys.platform.startswith("linux") else (0, 0))
    assert len(set(logs)) <= 1
    logs.clear()


@pytest.mark.parametrize("by_kernel", [True, False])
def test_files_that_are_sent(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_kernel: bool) -> None:
    """How much of a file has gone, or what was read of it; whether it is there is asked in no replay."""
    if not by_kernel:
        monkeypatch.delattr("os.sendfile", raising=False)
    (tmp_path / "file").write_bytes(b"x" * 1000)

    def scenario(system: System) -> object:
        here, there = unix_pair()
        with Reactor(system=system) as reactor, there, open(tmp_path / "file", "rb") as file:
            stream = reactor.attach(kit.Recorder(), here)
            reactor.run_once(0)
            told: list[BaseException | None] = []
            stream.send_file(file, 100, 500, on_sent=told.append)
            reactor.run_until(lambda: told, timeout=PATIENCE)
            return told, stream.is_sending

    assert twice(path, scenario) == ([None], False)
    assert "file_size" in names(path)
    assert ("read_at" in names(path)) is not (by_kernel and hasattr(os, "sendfile"))


def test_stale_socket_files(path: str, tmp_path: Path) -> None:
    """A dead server's file is removed when it is recorded; a replay takes that for granted, and touches no file."""
    place = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(place)

    def scenario(system: System) -> object:
        with Reactor(system=system) as reactor:
            return str(reactor.listen(Echo, f"unix:{place}", options=ListenOptions(mode=0o640)).addresses)

    twice(path, scenario)
    assert not os.path.exists(place)


def test_handlers_of_ones_own(path: str) -> None:
    """A bare handler may use its socket's calls directly."""

    @attrs.define(eq=False)
    class Counter(Handler):
        room: bytearray = attrs.field(factory=lambda: bytearray(8))
        counts: list[int] = attrs.field(factory=list)

        def on_readable(self) -> None:
            self.counts.append(self.sock.recv_into(self.room))
            self.close()

    def scenario(system: System) -> object:
        one, other = system.socketpair()
        with Reactor(system=system) as reactor:
            counter = reactor.attach(Counter(), one)
            other.send(b"hello")
            reactor.run()
            other.close()
        return counter.counts, bytes(counter.room)

    assert twice(path, scenario) == ([5], b"hello\0\0\0")
