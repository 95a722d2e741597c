"""Random scripts are played on the kernel below and in a simulation, and every step must be answered alike.

The facts say what somebody thought of; here chance thinks. A script that is answered differently is made as short as it goes
and printed. `python -m tests.test_differential 0 5000` plays many more.
"""

from __future__ import annotations

import random
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import attrs
import pytest

from tests.facts import DGRAM, INET, INET6, STREAM, UNIX, RealWorld, Socket, World, error, reset, said
from tests.test_fidelity import SimulatedWorld

#: Of each stage so many scripts are played in a run of the tests, none longer than this.
SCRIPTS = 250
STEPS_MAX = 14

#: Which of a stage's sockets, what is done with it, and a number for what there is to choose.
Step: TypeAlias = tuple[int, str, int]
Script: TypeAlias = Sequence[Step]


@attrs.define(eq=False)
class Stage:
    """Sockets of a world, and what a script can do with each; a subclass says which and what."""

    #: Of what kinds there are stages.
    SETTINGS: ClassVar[Sequence[tuple[Any, ...]]]
    #: What can be done, by the names of methods, and how often.
    ACTS: ClassVar[Mapping[str, int]]

    world: World
    setting: tuple[Any, ...]
    sockets: list[Socket] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.sockets = self.make()

    def make(self) -> list[Socket]:
        """Return the sockets."""
        raise NotImplementedError

    # What can be done with sockets of every kind

    def send(self, sock: Socket, _: int) -> object:
        return said(sock.send, b"abcdefg")

    def send_nothing(self, sock: Socket, _: int) -> object:
        return said(sock.send, b"")

    def receive(self, sock: Socket, _: int) -> object:
        return said(sock.recv, 100)

    def receive_some(self, sock: Socket, number: int) -> object:
        return said(sock.recv, 2 + number)

    def peek(self, sock: Socket, _: int) -> object:
        return said(sock.recv, 3, socket.MSG_PEEK)

    def shut(self, sock: Socket, number: int) -> object:
        return said(sock.shutdown, (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR)[number])

    def close(self, sock: Socket, _: int) -> object:
        return said(sock.close)

    def error(self, sock: Socket, _: int) -> object:
        return said(error, sock)

    def ready(self, sock: Socket, _: int) -> object:
        return self.world.ready(sock) if sock.fileno() >= 0 else None

    def has_name(self, sock: Socket, _: int) -> object:
        return named(said(sock.getsockname))

    def has_peer(self, sock: Socket, _: int) -> object:
        return named(said(sock.getpeername))


@attrs.define(eq=False)
class Streams(Stage):
    """Both ends of a connection. No buffer gets full: when there is room again depends on the kernel's bookkeeping."""

    SETTINGS: ClassVar[Sequence[tuple[Any, ...]]] = ((INET, "pair"), (INET6, "pair"), (UNIX, "pair"), (UNIX, "socketpair"))
    ACTS: ClassVar = {
        "send": 2,
        "send_nothing": 1,
        "receive": 2,
        "receive_some": 1,
        "peek": 1,
        "shut": 2,
        "close": 1,
        "reset": 1,
        "linger": 1,
        "error": 1,
        "ready": 2,
        "has_name": 1,
        "has_peer": 1,
        "connect": 1,
        "listen": 1,
        "accept": 1,
    }

    address: Any = attrs.field(init=False, default=None)

    def make(self) -> list[Socket]:
        family, how = self.setting
        self.address = self.world.listener(family).getsockname()
        if how == "pair":
            return list(self.world.pair(family))
        made = self.world.socketpair()
        for sock in made:
            sock.setblocking(False)
        return list(made)

    def reset(self, sock: Socket, _: int) -> object:
        return said(reset, sock)

    def linger(self, sock: Socket, _: int) -> object:
        return said(sock.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def connect(self, sock: Socket, _: int) -> object:
        return said(sock.connect_ex, self.address)

    def listen(self, sock: Socket, _: int) -> object:
        return said(sock.listen, 1)

    def accept(self, sock: Socket, _: int) -> object:
        return said(sock.accept)


@attrs.define(eq=False)
class Handshakes(Streams):
    """One that listens, and two that connect to it or to nobody; `accept` is the script's."""

    SETTINGS = ((INET, 0), (INET6, 0), (UNIX, 0), (INET, 1), (UNIX, 1))
    ACTS: ClassVar = {
        "connect": 3,
        "connect_dead": 1,
        "accept": 2,
        "send": 1,
        "receive": 1,
        "shut": 1,
        "close": 1,
        "reset": 1,
        "error": 1,
        "ready": 2,
        "has_peer": 1,
        "listen": 1,
        "give_up": 1,
    }

    accepted: list[Socket] = attrs.field(init=False, factory=list)
    dead: Any = attrs.field(init=False, default=None)

    def make(self) -> list[Socket]:
        family, backlog = self.setting
        listener = self.world.listener(family, backlog)
        nobody = self.world.bound(family)
        self.address, self.dead = listener.getsockname(), nobody.getsockname()
        nobody.close()
        return [listener, self.world.open(family), self.world.open(family)]

    def connect_dead(self, sock: Socket, _: int) -> object:
        return said(sock.connect_ex, self.dead)

    def accept(self, sock: Socket, _: int) -> object:
        found = said(sock.accept)
        if not isinstance(found, tuple):
            return found
        made = self.world.keep(found[0])
        made.setblocking(False)
        self.accepted.append(made)
        return "accepted", said(made.recv, 100), self.world.ready(made)

    def give_up(self, _: Socket, number: int) -> object:
        """Close the one that was accepted last, with or without what it has to read."""
        if not self.accepted:
            return None
        made = self.accepted.pop()
        return said(made.recv, 100) if number else None, said(made.close)


@attrs.define(eq=False)
class Datagrams(Stage):
    """Two datagram sockets that are bound, and the name of nobody."""

    SETTINGS = ((INET,), (INET6,), (UNIX,))
    ACTS: ClassVar = {
        "send": 2,
        "send_nothing": 1,
        "send_to": 2,
        "receive": 2,
        "receive_some": 1,
        "peek": 1,
        "connect": 2,
        "connect_dead": 1,
        "ready": 2,
        "error": 1,
        "has_peer": 1,
        "close": 1,
        "shut": 2,
    }

    names: list[Any] = attrs.field(init=False, factory=list)

    def make(self) -> list[Socket]:
        (family,) = self.setting
        made = [self.world.bound(family, DGRAM) for _ in range(3)]
        self.names = [sock.getsockname() for sock in made]
        made.pop().close()
        return made

    def send_to(self, sock: Socket, number: int) -> object:
        return said(sock.sendto, b"hijk", self.names[number])

    def connect(self, sock: Socket, number: int) -> object:
        return said(sock.connect_ex, self.names[number % 2])

    def connect_dead(self, sock: Socket, _: int) -> object:
        return said(sock.connect_ex, self.names[2])


@attrs.define(eq=False)
class Names(Stage):
    """Three sockets that want one port, on addresses that may exclude each other."""

    HOSTS: ClassVar[Mapping[int, Sequence[str]]] = {
        INET: ("0.0.0.0", "127.0.0.1", "127.0.0.2"),
        INET6: ("::", "::1", "::ffff:127.0.0.1"),
    }
    SETTINGS = tuple(
        (kind, families)
        for kind in (STREAM, DGRAM)
        for families in ((INET, INET, INET), (INET, INET, INET6), (INET, INET6, INET6), (INET6, INET6, INET6))
    )
    ACTS: ClassVar = {
        "bind": 3,
        "listen": 2,
        "reuse_address": 1,
        "reuse_port": 1,
        "only_v6": 1,
        "close": 1,
        "connect": 1,
        "has_name": 1,
        "error": 1,
    }

    port: int = attrs.field(init=False, default=0)

    def make(self) -> list[Socket]:
        kind, families = self.setting
        self.port = self.world.port()
        return [self.world.open(family, kind) for family in families]

    def bind(self, sock: Socket, number: int) -> object:
        return said(sock.bind, self._address(sock.family, number))

    def listen(self, sock: Socket, _: int) -> object:
        return said(sock.listen, 4)

    def reuse_address(self, sock: Socket, number: int) -> object:
        return said(sock.setsockopt, socket.SOL_SOCKET, socket.SO_REUSEADDR, min(1, number))

    def reuse_port(self, sock: Socket, _: int) -> object:
        return said(sock.setsockopt, socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def only_v6(self, sock: Socket, number: int) -> object:
        return said(sock.setsockopt, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, min(1, number))

    def connect(self, sock: Socket, number: int) -> object:
        """Somebody else connects to the port, and goes."""
        other = self.world.open(sock.family, sock.type)
        answers = [said(other.connect_ex, self._address(sock.family, number))]
        self.world.settle()
        answers += [self.world.ready(other), said(error, other)]
        other.close()
        return answers

    def _address(self, family: int, number: int) -> tuple[str, int]:
        return self.HOSTS[family][number], self.port


STAGES: tuple[type[Stage], ...] = (Streams, Handshakes, Datagrams, Names)


def named(said: object) -> object:
    """Leave out of a name what differs from world to world."""
    return said if isinstance(said, str) and said[:1] == "E" else "named"


def drawn(stage: type[Stage], seed: int) -> tuple[tuple[Any, ...], list[Step]]:
    """Return the setting and the script that belong to *seed*."""
    rng = random.Random(f"{stage.__name__}/{seed}")
    setting = rng.choice(stage.SETTINGS)
    sockets = 3 if stage in (Names, Handshakes) else 2
    acts = rng.choices(list(stage.ACTS), list(stage.ACTS.values()), k=rng.randrange(3, STEPS_MAX + 1))
    return setting, [(rng.randrange(sockets), act, rng.randrange(3)) for act in acts]


def play(world: World, stage: type[Stage], setting: tuple[Any, ...], script: Script) -> list[object]:
    """Return what is said to each step of *script* in *world*."""
    with world:
        made = stage(world, setting)
        answers = []
        for who, act, number in script:
            answers.append(getattr(made, act)(made.sockets[who], number))
            world.settle()
    return answers


def difference(tmp_path: Path, stage: type[Stage], setting: tuple[Any, ...], script: Script) -> str:
    """Return the transcript of *script* if the worlds do not agree, else nothing."""
    directories = [Path(tempfile.mkdtemp(dir=tmp_path)) for _ in range(2)]
    real = play(RealWorld(directories[0]), stage, setting, script)
    simulated = play(SimulatedWorld(directories[1]), stage, setting, script)
    if real == simulated:
        return ""
    lines = [f"{stage.__name__} {setting}"]
    for step, one, other in zip(script, real, simulated, strict=True):
        lines.append(f"    {step}  ->  {one!r}" + ("" if one == other else f"  (the simulation: {other!r})"))
    return "\n".join(lines)


def disagreements(tmp_path: Path, stage: type[Stage], seeds: range) -> Iterator[str]:
    """Play the scripts of all *seeds*; yield the shortest transcript of each disagreement."""
    for seed in seeds:
        setting, script = drawn(stage, seed)
        found = difference(tmp_path, stage, setting, script)
        at = 0
        while found and at < len(script):
            shorter = script[:at] + script[at + 1 :]
            if left := difference(tmp_path, stage, setting, shorter):
                script, found, at = shorter, left, 0
            else:
                at += 1
        if found:
            yield f"seed {seed}: {found}"


@pytest.mark.skipif(sys.platform != "linux", reason="the simulation answers as Linux does")
@pytest.mark.parametrize("stage", STAGES)
def test_random_scripts_are_answered_alike(stage: type[Stage], tmp_path: Path) -> None:
    """Whatever a script does, each step gets the same answer from the kernel and from the simulation."""
    assert not next(disagreements(tmp_path, stage, range(SCRIPTS)), "")


if __name__ == "__main__":
    first, last = map(int, sys.argv[1:3])
    with tempfile.TemporaryDirectory() as directory:
        for each in STAGES if len(sys.argv) < 4 else [stage for stage in STAGES if stage.__name__ in sys.argv[3:]]:
            for text in disagreements(Path(directory), each, range(first, last)):
                print(text, flush=True)
