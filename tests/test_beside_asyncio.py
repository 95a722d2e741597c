"""The whole of asyncio beside handlers: nothing spins, nothing is lost, and each ends by itself."""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
import pytest

from reactor import Reactor, Stream, Unsupported
from reactor.beside_asyncio import BesideAsyncio
from tests.kit import PATIENCE, Watched, listening, unix_pair

pytestmark = pytest.mark.skipif(
    not hasattr(selectors.DefaultSelector, "fileno"), reason="no selector of this platform's has a descriptor"
)


class Counting(BesideAsyncio):
    """Counts how often it was asked, and how often that waited."""

    asked = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.asked += 1
        return super().select(timeout)


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


def together(main: Callable[[Reactor, Counting], Coroutine[Any, Any, None]], reactor: Reactor | None = None) -> None:
    """Run *main* in asyncio beside a reactor."""
    with reactor or Watched(debug=True) as one:
        selector = Counting(one)
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
            runner.run(asyncio.wait_for(main(one, selector), PATIENCE))
        assert not getattr(one, "raised", ())


async def ask(port: int, question: bytes) -> bytes:
    """Send something and return what comes back, by asyncio's streams."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(question)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_asyncio_talks_to_handlers() -> None:
    """Clients of asyncio's, many at a time, are served by handlers in the same thread."""

    async def main(reactor: Reactor, _: Counting) -> None:
        acceptor = reactor.listen(Echo, "127.0.0.1:0")
        questions = [bytes([number]) * 1000 * number for number in range(50)]
        assert await asyncio.gather(*(ask(acceptor.port, each) for each in questions)) == questions

    together(main)


def test_hooks_and_tasks_use_each_other() -> None:
    """A hook starts a task; the task writes to the stream, and sets a timer of the reactor's."""
    heard: list[str] = []

    @attrs.define(eq=False)
    class Slow(Stream):
        task: asyncio.Task[None] | None = attrs.field(init=False, default=None)

        def on_data(self, data: bytes) -> None:
            self.task = asyncio.get_running_loop().create_task(self.answer(data))

        async def answer(self, data: bytes) -> None:
            await asyncio.sleep(0.001)
            self.write(data.upper())
            self.call_later(0.001, self.end)
            heard.append("task")

    async def main(reactor: Reactor, _: Counting) -> None:
        acceptor = reactor.listen(Slow, "127.0.0.1:0")
        reader, writer = await asyncio.open_connection("127.0.0.1", acceptor.port)
        writer.write(b"hello")
        assert await reader.read() == b"HELLO"
        writer.close()
        await writer.wait_closed()

    together(main)
    assert heard == ["task"]


def test_timers_of_both_are_kept() -> None:
    """A timer of either ends the wait; each of these is set by the one before it."""

    async def main(reactor: Reactor, _: Counting) -> None:
        heard: list[str] = []
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def first() -> None:
            heard.append("reactor")
            loop.call_later(0.01, second)

        def second() -> None:
            heard.append("asyncio")
            reactor.call_later(0.01, third)

        def third() -> None:
            heard.append("reactor")
            done.set()

        reactor.call_later(0.01, first)
        await done.wait()
        assert heard == ["reactor", "asyncio", "reactor"]

    together(main)


def test_nothing_spins() -> None:
    """While neither has anything to do, nobody wakes up; and one event is one pass."""

    async def main(reactor: Reactor, selector: Counting) -> None:
        here, there = unix_pair()
        reactor.attach(Echo(), here)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        passes, asked = reactor.passes, selector.asked
        await asyncio.sleep(0.05)
        assert reactor.passes == passes
        assert selector.asked - asked <= 3
        there.setblocking(False)
        loop = asyncio.get_running_loop()
        for _ in range(10):
            await loop.sock_sendall(there, b"x")
            assert await loop.sock_recv(there, 10) == b"x"
        assert reactor.passes - passes <= 11
        assert selector.asked - asked <= 60
        there.close()

    together(main)


def test_threads_wake_both() -> None:
    """What a thread sends to either of them arrives."""

    async def main(reactor: Reactor, _: Counting) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        reactor.run_in_thread(lambda: "from a thread", then=future.set_result)
        assert await future == "from a thread"
        assert await asyncio.to_thread(lambda: "from another") == "from another"
        event = asyncio.Event()
        await asyncio.to_thread(reactor.call_threadsafe, event.set)
        await event.wait()

    together(main)


@pytest.mark.skipif(sys.platform == "win32", reason="asyncio has subprocesses and signals there in other loops only")
def test_subprocesses_and_signals_of_asyncios() -> None:
    """Both work as ever, signals of the reactor's too."""

    async def main(reactor: Reactor, _: Counting) -> None:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('hello')", stdout=subprocess.PIPE)
        said, _error = await child.communicate()
        assert (said, child.returncode) == (b"hello\n", 0)
        heard: asyncio.Queue[str] = asyncio.Queue()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.put_nowait, "asyncio")
        reactor.on_signal(signal.SIGUSR2, heard.put_nowait, "reactor")
        for number, who in ((signal.SIGUSR1, "asyncio"), (signal.SIGUSR2, "reactor"), (signal.SIGUSR1, "asyncio")):
            os.kill(os.getpid(), number)
            assert await heard.get() == who
        reactor.call_soon(os.kill, os.getpid(), signal.SIGUSR1)  # in the middle of a pass
        assert await heard.get() == "asyncio"
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)

    together(main)


def test_a_reactor_that_is_closed_leaves_asyncio_running() -> None:
    """After `close` asyncio goes on alone, also if it is given the number of the reactor's descriptor."""

    async def main(reactor: Reactor, _: Counting) -> None:
        reactor.call_later(0.001, len, "")
        await asyncio.sleep(0.005)
        number = reactor.fileno()
        reactor.close()
        made = [socket.socket() for _ in range(4)]
        sock = next(each for each in made if each.fileno() == number)
        sock.setblocking(False)
        with listening() as listener:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, listener.getsockname())
            server, _ = listener.accept()
            server.sendall(b"hello")
            assert await loop.sock_recv(sock, 10) == b"hello"
            server.close()
        for each in made:
            each.close()

    together(main)


def test_a_shutdown_runs_its_course() -> None:
    """`shutdown` of the reactor closes its handlers, and asyncio goes on."""

    async def main(reactor: Reactor, _: Counting) -> None:
        acceptor = reactor.listen(Echo, "127.0.0.1:0")
        reader, writer = await asyncio.open_connection("127.0.0.1", acceptor.port)
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        reactor.shutdown(PATIENCE)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert acceptor.reason is not None

    together(main)


def test_a_selector_without_a_descriptor_is_refused() -> None:
    """It cannot be watched; nothing is left open."""
    with Reactor(selector=selectors.SelectSelector()) as reactor, pytest.raises(Unsupported, match="has no descriptor"):
        BesideAsyncio(reactor)


def test_what_a_hook_raises_leaves_asyncio_alone() -> None:
    """The reactor hears of it, as ever; a SystemExit leaves `run` of both."""

    async def main(reactor: Reactor, _: Counting) -> None:
        reactor.call_soon(int, "x")
        await asyncio.sleep(0.001)

    with Watched() as reactor:
        selector = Counting(reactor)
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
            runner.run(main(reactor, selector))
            assert isinstance(reactor.raised.pop().exc, ValueError)
            reactor.call_soon(sys.exit, 3)
            with pytest.raises(SystemExit):
                runner.run(asyncio.sleep(PATIENCE))


def test_import_reactor_does_not_load_it() -> None:
    """Neither asyncio nor this module comes with the package."""
    program = "import sys, reactor; print({'asyncio', 'reactor.beside_asyncio', 'concurrent.futures'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout == "set()\n"
