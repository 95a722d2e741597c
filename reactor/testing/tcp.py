"""TCP as its users see it: states, buffers, windows, FIN and RST, and what each call says in each of them.

No sequence numbers and no congestion: bytes go out while the peer has room, in order, and arrive when the path says.
The order of the checks is that of Linux, net/ipv4/tcp.c and af_inet.c; RFC 9293 has the states.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from enum import Enum, auto
from typing import Any

import attrs

from reactor.testing.inet import InetEnd
from reactor.testing.kernel import ERR, HUP, IN, OUT, RDHUP, End, Kernel, failure, is_ipv6, unmapped
from reactor.testing.network import (
    GIVE_UP_SECONDS,
    RETRANSMIT_SECONDS_MAX,
    RETRANSMIT_SECONDS_MIN,
    SYN_GIVE_UP_SECONDS,
    SYN_SECONDS,
    UNREACHABLE_SECONDS,
    Path,
)

#: A reader tells of room again when there is at least this much: RFC 9293, 3.8.6.2.2.
_WINDOW_UPDATE_BYTES = 4096
#: Of the bytes of a connection, a reset by fault strikes after this many at most.
_RESET_BYTES_MAX = 4096


class State(Enum):
    """Of RFC 9293 what a caller can tell apart; which halves are shut stands beside it."""

    CLOSED = auto()
    LISTEN = auto()
    SYN_SENT = auto()
    ESTABLISHED = auto()


class Connecting(Enum):
    """What the socket, which is not the connection, knows of `connect`: enum socket_state."""

    NO = auto()  # SS_UNCONNECTED, or SS_CONNECTED: its state says which
    YES = auto()  # SS_CONNECTING: the outcome has not been told by a second call yet
    NEVER = auto()  # SS_DISCONNECTING: it failed, and was shut down before it was told


class Fin(Enum):
    """How far the end of one direction has come."""

    NO = auto()
    QUEUED = auto()
    SENT = auto()
    ACKNOWLEDGED = auto()


@attrs.define(eq=False)
class Flow:
    """One direction of a connection: what the sender's kernel still holds, what flies, what the receiver's kernel holds."""

    source: Tcp
    target: Tcp
    path: Path
    unsent: bytearray = attrs.field(factory=bytearray, init=False)
    flying: int = attrs.field(default=0, init=False)
    arrived: bytearray = attrs.field(factory=bytearray, init=False)
    fin: Fin = attrs.field(default=Fin.NO, init=False)
    #: Bytes until a reset strikes, -1 for never.
    reset_after: int = attrs.field(default=-1, init=False)
    _held: deque[tuple[Any, ...]] = attrs.field(factory=deque, init=False)  # while the path is cut
    _updating: bool = attrs.field(default=False, init=False)

    @property
    def room(self) -> int:
        """How many bytes more the sender's kernel takes."""
        return self.source.send_buffer - len(self.unsent) - self.flying

    def push(self) -> None:
        """Send what the receiver has room for, and the FIN behind the last byte."""
        window = self.target.receive_buffer - len(self.arrived) - self.flying
        if self.unsent and window > 0:
            data = bytes(self.unsent[:window])
            if 0 <= self.reset_after <= len(data):
                self._strike(data[: self.reset_after])
                return
            self.reset_after -= len(data) if self.reset_after >= 0 else 0
            del self.unsent[: len(data)]
            self.flying += len(data)
            self.carry(len(data), self._arrive, data)
        if self.fin is Fin.QUEUED and not self.unsent:
            self.fin = Fin.SENT
            self.carry(0, self._arrive_fin)

    def carry(self, size: int, then: Any, *args: Any) -> None:
        """Have *then* called when *size* bytes have made their way; nothing overtakes."""
        if self._held or self.path.is_cut:
            self._held.append((size, then, args))
            if len(self._held) == 1:
                self._try_again(RETRANSMIT_SECONDS_MIN, 0.0)
            return
        sim = self.source.kernel.sim
        sim.at(self.path.arrival(sim.now, size), then, *args)

    def read(self, size: int, *, peek: bool) -> bytes:
        """Take bytes for the receiver's program, and let the sender know that there is room again."""
        data = bytes(self.arrived[:size])
        if not peek:
            del self.arrived[:size]
            free = self.target.receive_buffer - len(self.arrived)
            if self.unsent and not self._updating and free >= min(self.target.receive_buffer // 2, _WINDOW_UPDATE_BYTES):
                self._updating = True
                self.source.kernel.sim.after(self.path.latency, self._update)
        return data

    def purge(self) -> None:
        """Forget what is not on its way yet; a listener whose handshake that was waits for it no longer."""
        self.unsent.clear()
        if any(then in (self.source.acknowledged, self.target.forget) for _, then, _ in self._held):
            self.target.forget()
        self._held.clear()

    def _update(self) -> None:
        self._updating = False
        self.push()

    def _try_again(self, delay: float, waited: float) -> None:
        self.source.kernel.sim.after(delay, self._retry, delay, waited + delay)

    def _retry(self, delay: float, waited: float) -> None:
        if self.path.is_cut and self._held:
            if waited > GIVE_UP_SECONDS - RETRANSMIT_SECONDS_MIN:  # a sum of floats may miss it by little
                self.source.give_up(errno.ETIMEDOUT)
            else:
                self._try_again(min(2 * delay, RETRANSMIT_SECONDS_MAX), waited)
            return
        held, self._held = self._held, deque()
        for size, then, args in held:
            self.carry(size, then, *args)

    def _arrive(self, data: bytes) -> None:
        self.flying -= len(data)
        target = self.target
        if target.state is not State.ESTABLISHED or target.is_closed:
            self.source.kernel.sim.after(self.path.latency, self.source.reset)  # nobody is there to take it
            return
        if target.read_shut and target.write_shut:  # RFC 1122, 4.2.2.13: data that nobody can read any more
            target.reset()
            self.source.kernel.sim.after(self.path.latency, self.source.reset)
            return
        self.arrived += data
        target.touch()
        self.source.touch()
        if self.unsent:
            self.push()

    def _arrive_fin(self) -> None:
        target = self.target
        target.fin_arrived()
        self.source.kernel.sim.after(self.path.latency, self._acknowledge_fin)

    def _acknowledge_fin(self) -> None:
        self.fin = Fin.ACKNOWLEDGED
        self.source.finish()

    def _strike(self, data: bytes) -> None:
        """The fault: after some bytes both ends are told of a reset that neither sent."""
        self.reset_after = -1
        self.unsent.clear()
        self.flying += len(data)
        self.carry(len(data), self._arrive, data)
        self.carry(0, self._struck)

    def _struck(self) -> None:
        # The source last: its end forgets what is held up on a path that is cut, and that may be the reset of the other.
        self.target.reset()
        self.source.kernel.sim.after(self.path.latency, self.source.reset)


@attrs.define(eq=False)
class Tcp(InetEnd):
    """One end."""

    state: State = attrs.field(default=State.CLOSED, init=False)
    incoming: Flow | None = attrs.field(default=None, init=False, repr=False)
    outgoing: Flow | None = attrs.field(default=None, init=False, repr=False)
    #: The FIN has come: SOCK_DONE.
    done: bool = attrs.field(default=False, init=False)
    _ended_first: bool = attrs.field(default=False, init=False)
    _connecting: Connecting = attrs.field(default=Connecting.NO, init=False)
    backlog: int = attrs.field(default=0, init=False)
    queue: deque[Tcp] = attrs.field(factory=deque, init=False, repr=False)
    _coming: dict[Tcp, None] = attrs.field(factory=dict, init=False, repr=False)  # between SYN and the accept queue
    _listener: Tcp | None = attrs.field(default=None, init=False, repr=False)
    #: Whether a reset by fault is to strike its connection, sooner or later.
    is_doomed: bool = attrs.field(default=False, init=False, repr=False)

    # Calls

    def listen(self, backlog: int) -> None:
        if self.state not in (State.CLOSED, State.LISTEN) or self.peer is not None:
            raise failure(errno.EINVAL)
        if not self.port:
            self.occupy(self.host or self.wildcard, 0)
        self.kernel.check_listen(self)
        self.state, self.backlog = State.LISTEN, max(0, backlog)

    def connect(self, address: Any) -> int:
        self.resolve(address)
        if self._connecting is Connecting.YES:
            return self._connect_again()
        if self._connecting is Connecting.NEVER:
            return errno.EINVAL
        if self.state is not State.CLOSED or self.peer is not None:
            return errno.EISCONN
        target = self.aim(address)
        others = self.kernel.ports.get((self.type, self.port), ())
        if any(other is not self and (other.peer, other.host) == (target, self.host) for other in others):
            return errno.EADDRNOTAVAIL
        self.peer = target
        self.state, self._connecting = State.SYN_SENT, Connecting.YES
        self.kernel.progress += 1
        self._syn(0, target)
        return errno.EINPROGRESS

    def accept(self) -> tuple[End, Any]:
        if self.state is not State.LISTEN:
            raise failure(errno.EINVAL)
        if not self.queue:
            raise failure(errno.EAGAIN)
        self.kernel.check_room()
        self.kernel.progress += 1
        child = self.queue.popleft()
        child._listener = None
        assert child.peer is not None
        return child, self.shown(child.peer)

    def send(self, data: bytes, address: Any = None) -> int:
        if self.error and self.state is not State.LISTEN:
            raise failure(self.take_error())
        if self.state is State.SYN_SENT:
            raise failure(errno.EAGAIN)
        flow = self.outgoing
        if self.state is not State.ESTABLISHED or self.write_shut or flow is None:
            raise failure(errno.EPIPE)
        if not data:
            return 0
        room = flow.room
        if room <= 0:
            raise failure(errno.EAGAIN)
        taken = data[:room]
        flow.unsent += taken
        self.kernel.progress += 1
        flow.push()
        return len(taken)

    def receive(self, size: int, *, peek: bool = False) -> tuple[bytes, Any]:
        if self.state is State.LISTEN:
            raise failure(errno.ENOTCONN)
        flow = self.incoming
        if flow is not None and flow.arrived:
            self.kernel.progress += 1
            return flow.read(size, peek=peek), None
        if self.done:
            self.kernel.progress += 1
            return b"", None
        if self.error:
            self.kernel.progress += 1
            raise failure(self.take_error())
        if self.read_shut:
            self.kernel.progress += 1
            return b"", None
        raise failure(errno.ENOTCONN if self.state is State.CLOSED else errno.EAGAIN)

    def shutdown(self, *, read: bool, write: bool) -> None:
        if self.state is State.LISTEN:
            if read:
                self._stop_listening()
            return
        if self.state is State.SYN_SENT:
            self._disconnect()
            self.error = errno.ECONNRESET
            return
        was_closed = self.state is State.CLOSED
        if self._connecting is Connecting.YES:  # inet_shutdown
            self._connecting = Connecting.NEVER if was_closed else Connecting.NO
        self.read_shut |= read
        self.write_shut |= write
        self.kernel.progress += 1
        if was_closed:
            self.touch()
            raise failure(errno.ENOTCONN)
        if write:
            self._send_fin()
        self.touch()

    def peer_name(self) -> Any:
        if self.peer is None or self.state in (State.CLOSED, State.SYN_SENT, State.LISTEN):
            raise failure(errno.ENOTCONN)
        return self.shown(self.peer)

    def poll(self) -> int:
        state = self.state
        if state is State.LISTEN:
            return IN if self.queue else 0
        events = ERR if self.error else 0
        if state is State.CLOSED or (self.read_shut and self.write_shut):
            events |= HUP
        if self.read_shut:
            events |= IN | RDHUP
        if state is not State.SYN_SENT:
            if self.incoming is not None and self.incoming.arrived:
                events |= IN
            if self.write_shut or self.outgoing is None or 3 * self.outgoing.room >= self.send_buffer:
                events |= OUT  # sk_stream_is_writeable: as much free as half of what is used
        return events

    def release(self) -> None:
        """tcp_close: RST if there is unread input or if asked for, else FIN behind what is queued."""
        self.is_closed = True
        if self.state is State.LISTEN:
            self._stop_listening()
        elif self.state is State.ESTABLISHED:
            assert self.incoming is not None
            if self.lingers_zero or self.incoming.arrived:
                self.abort()
            else:
                self.read_shut = self.write_shut = True
                self._send_fin()
        else:
            self.state = State.CLOSED
            self.kernel.leave_port(self)

    @property
    def is_listening(self) -> bool:
        return self.state is State.LISTEN

    # Opening

    def _is_calling(self, peer: tuple[str, int]) -> bool:
        """Whether the connect to this very *peer* goes on; another one may have begun meanwhile."""
        return self.state is State.SYN_SENT and self.peer is peer

    def _syn(self, tries: int, peer: tuple[str, int]) -> None:
        """Send the first packet, and again while nobody answers."""
        if not self._is_calling(peer):
            return
        sim, target = self.kernel.sim, unmapped(peer[0])
        kernel = self.kernel if self.kernel.is_own(target) else sim.kernel_at(target)
        if target in sim.swallowed:
            pass
        elif kernel is None:
            sim.after(UNREACHABLE_SECONDS, self._fail, peer, errno.EHOSTUNREACH)
            return
        elif not (path := sim.path(self.kernel.host, kernel.host)).is_cut:
            sim.at(path.arrival(sim.now), self._arrive_at, kernel, peer, path)
        before = SYN_SECONDS[tries - 1] if tries else 0.0
        if tries < len(SYN_SECONDS):
            sim.after(SYN_SECONDS[tries] - before, self._syn, tries + 1, peer)
        else:
            sim.after(SYN_GIVE_UP_SECONDS - before, self._fail, peer, errno.ETIMEDOUT)

    def _arrive_at(self, kernel: Kernel, peer: tuple[str, int], path: Path) -> None:
        """The SYN is there: a listener takes it, or drops it if its queue is full; nobody there means RST."""
        if not self._is_calling(peer) or self.outgoing is not None:
            return
        sim = self.kernel.sim
        ends = list(kernel.bound_to(socket.SOCK_STREAM, unmapped(peer[0]), peer[1]))
        listeners = [end for end in ends if end.state is State.LISTEN]
        if listeners:
            reuse = len(listeners) > 1 and listeners[1].host == listeners[0].host
            listener = listeners[sim.ports.below(len(listeners))] if reuse else listeners[0]
            if len(listener.queue) + len(listener._coming) <= listener.backlog:
                self._meet(kernel, listener, path)
        elif self in ends:  # the simultaneous open with oneself: RFC 9293, 3.5
            self._join(self, path, path)
            self._established()
        else:
            sim.after(path.latency, self._fail, peer, errno.ECONNREFUSED)

    def _meet(self, kernel: Kernel, listener: Tcp, path: Path) -> None:
        """The listener's kernel makes the other end, and answers."""
        sim = self.kernel.sim
        assert self.peer is not None
        child = Tcp(kernel, listener.family, listener.type)
        child.host, child.port, child.peer = self.peer[0], self.peer[1], (unmapped(self.host), self.port)
        if is_ipv6(self.host) and not self.host.startswith("::ffff:"):
            child.peer = (self.host, self.port)
        child.options.update(listener.options)
        child.send_buffer, child.receive_buffer = listener.send_buffer, listener.receive_buffer
        child.state, child._listener = State.ESTABLISHED, listener
        listener._coming[child] = None
        kernel.take_name(child)
        back = sim.path(kernel.host, self.kernel.host)
        self._join(child, path, back)
        assert child.outgoing is not None
        child.outgoing.carry(0, self._answered, listener, child)

    def _join(self, other: Tcp, path: Path, back: Path) -> None:
        self.outgoing = other.incoming = Flow(self, other, path)
        other.outgoing = self.incoming = self.outgoing if other is self else Flow(other, self, back)
        strike = self.kernel.sim.dice_of.reset
        if strike.roll():
            self.is_doomed = other.is_doomed = True
            details = strike.details()
            flow = self.outgoing if details.below(2) else other.outgoing
            flow.reset_after = details.below(_RESET_BYTES_MAX)

    def _answered(self, listener: Tcp, child: Tcp) -> None:
        """SYN and ACK have come back: this side is connected, and says so."""
        flow = child.incoming
        assert flow is not None
        if self.outgoing is not flow or self.state is not State.SYN_SENT:
            flow.carry(0, child.forget)
            return
        self._established()
        flow.carry(0, self.acknowledged, listener, child)

    def _established(self) -> None:
        self.state = State.ESTABLISHED
        self.touch()

    def acknowledged(self, listener: Tcp, child: Tcp) -> None:
        """The listener's side has the ACK: its program may accept."""
        late = listener.kernel.sim.dice_of.slow_accept
        if late.roll():
            seconds = late.details().between(0.0, listener.kernel.sim.faults.stall_seconds_max)
            listener.kernel.sim.after(seconds, self._enter_queue, listener, child)
        else:
            self._enter_queue(listener, child)

    def _enter_queue(self, listener: Tcp, child: Tcp) -> None:
        child.leave_listener()
        if listener.state is not State.LISTEN:
            child.is_closed = True
            if child.state is State.ESTABLISHED:
                child.abort()
            return
        listener.queue.append(child)
        listener.touch()

    def forget(self) -> None:
        """Be gone before anybody has accepted: who connected has given up, or his answer will never come."""
        self.state = State.CLOSED
        self.leave_listener()
        self.kernel.free_name(self)

    def leave_listener(self) -> None:
        """Count no longer among those that come to a listener."""
        if self._listener is not None:
            self._listener._coming.pop(self, None)
            self._listener = None

    def _fail(self, peer: tuple[str, int], number: int) -> None:
        """The connect to *peer* has failed, if it still goes on."""
        if self._is_calling(peer):
            self.give_up(number)

    def _connect_again(self) -> int:
        """inet_stream_connect, in SS_CONNECTING."""
        if self.state is State.SYN_SENT:
            return errno.EALREADY
        self._connecting = Connecting.NO
        if self.state is State.CLOSED:
            number = self.take_error() or errno.ECONNABORTED
            self._disconnect()
            return number
        return 0

    def _disconnect(self) -> None:
        """tcp_disconnect: as good as new, but for a port that the program has chosen."""
        self.state, self.peer, self._connecting = State.CLOSED, None, Connecting.NO
        self.read_shut = self.write_shut = self.done = False
        self.incoming = self.outgoing = None
        self.touch()

    # Ending

    def _send_fin(self) -> None:
        assert self.outgoing is not None
        if self.outgoing.fin is Fin.NO:
            self.outgoing.fin = Fin.QUEUED
            self.outgoing.push()

    def fin_arrived(self) -> None:
        """The peer's FIN is here."""
        if self.state is State.ESTABLISHED:
            self.read_shut = self.done = True
            self._ended_first = self.outgoing is not None and self.outgoing.fin is Fin.ACKNOWLEDGED
            self.finish()
            self.touch()

    def finish(self) -> None:
        """Be closed if both directions have ended: TIME_WAIT is not the socket's any more."""
        if self.done and self.outgoing is not None and self.outgoing.fin is Fin.ACKNOWLEDGED:
            self._done()
            if self._ended_first:
                self.kernel.wait_with_name(self)

    def _done(self) -> None:
        """tcp_done."""
        self.state = State.CLOSED
        self.leave_listener()
        self.read_shut = self.write_shut = True
        self.kernel.leave_port(self)
        self.kernel.free_name(self)
        self.touch()

    def give_up(self, number: int) -> None:
        """Nobody answers, or there is no way: *number* is what the program hears."""
        if self.state not in (State.SYN_SENT, State.ESTABLISHED):
            return
        self.error = number
        if self.outgoing is not None:
            self.outgoing.purge()
        self._done()

    def reset(self) -> None:
        """An RST is here: tcp_reset."""
        if self.state is State.ESTABLISHED:
            self.give_up(errno.EPIPE if self.done else errno.ECONNRESET)

    def abort(self) -> None:
        """Send an RST, and be gone."""
        flow = self.outgoing
        assert flow is not None
        flow.purge()
        flow.carry(0, flow.target.reset)
        self._done()

    def _stop_listening(self) -> None:
        self.state = State.CLOSED
        while self.queue:
            child = self.queue.popleft()
            child.is_closed = True
            if child.state is State.ESTABLISHED:
                child.abort()
        self.kernel.leave_port(self)
        self.touch()
