"""A connection: when what goes out.

Requests are answered in the order in which they came, one at a time. What is short, a head with a small file or a page,
leaves in one write. A larger file is read piece by piece, as the client takes it. `Connection.work` is the only place that
answers: it goes on wherever the last call left off, and may be called whenever something has changed.

Names with a leading underscore belong to the library on a handler, so there are none here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum, auto

import attrs

from examples.http_lite.files import Elsewhere, File, Files, Folder
from examples.http_lite.listing import listing
from examples.http_lite.log import AccessLog
from examples.http_lite.request import Part, Request, Requests
from examples.http_lite.response import (
    CONTINUE,
    END,
    HTML,
    Dates,
    connection_field,
    extra_fields,
    head,
    status_for_method,
    status_page,
)
from reactor import CloseReason, Inet, NotConnected, Stream, Timer

#: A file is read and sent in pieces of this many bytes.
CHUNK_BYTES = 64 * 1024
#: Answers, or pieces of one, that a connection sends in one go, so that a fast client does not starve the others.
STEPS_PER_PASS = 16
#: With more requests than this waiting, a connection reads no further. One receive may bring many at once.
REQUESTS_WAITING_MAX = 8


class Phase(Enum):
    """What a connection is about."""

    IDLE = auto()  # everything that came is answered
    HEAD = auto()  # everything but a request whose head is incomplete
    BODY = auto()  # the same, but its head is complete
    SENDING = auto()  # answers are under way, or wait for the client to take what was sent before
    CLOSING = auto()  # the last answer was given


class Event(Enum):
    """What moves a connection from one phase to the next."""

    REST = auto()  # nothing is left to be done
    PART_OF_HEAD = auto()  # nothing but to wait for the rest of a head
    PART_OF_BODY = auto()  # nothing but to wait for the rest of a body
    SEND = auto()  # an answer takes longer
    LAST = auto()  # no answer will follow


_ONWARDS: Mapping[Event, Phase] = {
    Event.REST: Phase.IDLE,
    Event.PART_OF_HEAD: Phase.HEAD,
    Event.PART_OF_BODY: Phase.BODY,
    Event.SEND: Phase.SENDING,
    Event.LAST: Phase.CLOSING,
}
PHASES: Mapping[Phase, Mapping[Event, Phase]] = {
    Phase.IDLE: _ONWARDS,
    Phase.HEAD: _ONWARDS,
    Phase.BODY: _ONWARDS,  # its end, and the start of the next head, may come in one piece
    Phase.SENDING: _ONWARDS,
    Phase.CLOSING: {Event.LAST: Phase.CLOSING},
}

#: Seconds that a phase may last, whatever trickles in; counted anew whenever something was answered or sent.
#: nginx: keepalive 75, header 60, body 60, send 60 (the latter two between two reads or writes)
DEADLINES = {Phase.IDLE: 15.0, Phase.HEAD: 10.0, Phase.BODY: 30.0, Phase.SENDING: 60.0}

_EVENT_FOR = {Part.NOTHING: Event.REST, Part.HEAD: Event.PART_OF_HEAD, Part.BODY: Event.PART_OF_BODY}


@attrs.define(eq=False)
class Transfer:
    """A file on its way, the answer to `request`."""

    request: Request
    file: File
    #: Bytes that are still to be read and sent.
    left: int
    sent: int = 0


@attrs.define(eq=False)
class Site:
    """What all connections share."""

    files: Files
    log: AccessLog
    dates: Dates = attrs.field(init=False, factory=Dates)
    #: A dict, since sets of objects have another order in each process, and a recorded run shall be repeatable.
    connections: dict[Connection, None] = attrs.field(init=False, factory=dict)

    def drain(self) -> None:
        """Have every connection end when what has come is answered."""
        for connection in list(self.connections):
            connection.drain()


@attrs.define(eq=False)
class Connection(Stream):
    """One client."""

    site: Site

    requests: Requests = attrs.field(init=False, factory=Requests)
    phase: Phase = attrs.field(init=False, default=Phase.IDLE)
    transfer: Transfer | None = attrs.field(init=False, default=None)
    client: str = attrs.field(init=False, default="-")
    timer: Timer = attrs.field(init=False, repr=False)
    is_last: bool = attrs.field(init=False, default=False)  # nothing more is expected: answer what waits, then close
    is_pressed: bool = attrs.field(init=False, default=False)  # between `on_pause` and `on_drain`
    is_held: bool = attrs.field(init=False, default=False)  # reading is paused
    is_queued: bool = attrs.field(init=False, default=False)  # `work` runs again in the next pass

    # Hooks

    def on_connect(self) -> None:
        self.site.connections[self] = None
        self.timer = self.call_later(DEADLINES[self.phase], self.expired)
        with suppress(NotConnected):  # reset already
            self.client = self.peer.host if isinstance(self.peer, Inet) else "-"

    def on_data(self, data: bytes) -> None:
        self.requests.feed(data)
        self.work()

    def on_end(self) -> None:
        """The client has sent its last request; it may still wait for answers."""
        self.is_last = True
        self.work()

    def on_pause(self) -> None:
        self.is_pressed = True
        self.steer()

    def on_drain(self) -> None:
        self.is_pressed = False
        self.work()

    def on_close(self, reason: CloseReason) -> None:
        self.site.connections.pop(self, None)
        if self.transfer is not None:
            self.end_transfer(self.transfer)

    def drain(self) -> None:
        """Answer what has come, and close."""
        self.is_last = True
        self.work()

    # Going on

    @property
    def has_work(self) -> bool:
        return (self.transfer is not None or bool(self.requests.waiting)) and self.phase is not Phase.CLOSING

    def work(self) -> None:
        """Go on answering, until all is answered, the client must take some of it first, or others have their turn."""
        steps = 0
        while self.has_work and steps < STEPS_PER_PASS and self.buffered <= self.limits.high:
            steps += 1
            if self.transfer is None:
                self.answer(self.requests.waiting.popleft())
            else:
                self.send_piece(self.transfer)
        if self.has_work and self.buffered <= self.limits.high and not self.is_queued:  # else `on_drain` goes on
            self.is_queued = True
            self.call_soon(self.work_again)
        if self.phase is not Phase.CLOSING:
            self.settle(worked=steps > 0)

    def work_again(self) -> None:
        self.is_queued = False
        self.work()

    def settle(self, *, worked: bool) -> None:
        """Enter the phase that belongs to what is left, and set its deadline; hold or resume reading; or close."""
        has_work = self.has_work
        if self.is_last and not has_work:
            self.finish()
            return
        phase = PHASES[self.phase][Event.SEND if has_work else _EVENT_FOR[self.requests.part]]
        if worked or phase is not self.phase:
            self.phase = phase
            self.timer.restart(DEADLINES[phase])
        if self.requests.expects_continue and not has_work:
            self.requests.expects_continue = False
            self.send(CONTINUE)
        self.steer()

    def steer(self) -> None:
        """Hold reading while much waits, on either side; the kernel then holds the client."""
        is_full = self.is_pressed or len(self.requests.waiting) > REQUESTS_WAITING_MAX
        if is_full is not self.is_held:
            self.is_held = is_full
            if is_full:
                self.pause()
            else:
                self.resume()

    def expired(self) -> None:
        """The phase has lasted too long."""
        if self.phase is Phase.SENDING:
            self.abort()
            return
        if self.phase is not Phase.IDLE:
            self.requests.give_up(408)  # RFC 9110, 15.5.9
        self.is_last = True
        self.work()

    def finish(self) -> None:
        """Have sent what is written, and close. `close` lingers, so that unread input destroys nothing of it."""
        self.phase = PHASES[self.phase][Event.LAST]
        self.timer.cancel()
        self.close()

    # Answering

    def answer(self, request: Request) -> None:
        """Send the answer to *request*, or begin to."""
        status = request.refusal or status_for_method(request.method)
        if status:
            self.answer_page(request, status, status_page(status))
            return
        found = self.site.files.find(request.target)
        if isinstance(found, File):
            self.answer_file(request, found)
        elif isinstance(found, Folder):
            self.answer_page(request, 200, listing(found))
        elif isinstance(found, Elsewhere):
            self.answer_page(request, 301, status_page(301), found.location)
        else:
            self.answer_page(request, found.status, status_page(found.status))

    def answer_page(self, request: Request, status: int, body: bytes, location: str = "") -> None:
        """Send an answer that is in memory."""
        sent = b"" if request.method == "HEAD" else body
        self.send(self.head_for(request, status, HTML, len(body)) + extra_fields(status, location) + END + sent)
        self.end_answer(request, status, len(sent))

    def answer_file(self, request: Request, file: File) -> None:
        """Send the head of an answer, and as much of *file* as goes with it; the rest is left to `work`."""
        transfer = self.transfer = Transfer(request, file, 0 if request.method == "HEAD" else file.size)
        self.send_piece(transfer, self.head_for(request, 200, file.content_type, file.size) + END)

    def send_piece(self, transfer: Transfer, start: bytes = b"") -> None:
        """Send *start* and the next piece of a file. One that has grown is cut at the length that was announced; one that
        has shrunk, or fails, breaks the connection, since nothing else tells the client that it has not all of it.
        """
        size = min(transfer.left, CHUNK_BYTES)
        data = b""
        with suppress(OSError):
            data = os.read(transfer.file.fd, size) if size else b""
        if size and not data:
            self.phase = PHASES[self.phase][Event.LAST]
            self.abort()
            return
        transfer.left -= len(data)
        transfer.sent += len(data)
        self.send(start + data if start else data)
        if not transfer.left:
            self.end_transfer(transfer)

    def end_transfer(self, transfer: Transfer) -> None:
        self.transfer = None
        transfer.file.close()
        self.end_answer(transfer.request, 200, transfer.sent)

    def end_answer(self, request: Request, status: int, sent: int) -> None:
        """Note an answer that is given, whole or as far as it went."""
        self.site.log.note(self.client, request, status, sent)
        if not request.keep_alive and self.is_open:
            self.finish()

    def head_for(self, request: Request, status: int, content_type: bytes, length: int) -> bytes:
        return head(status, connection_field(request), self.site.dates.at(self.reactor.system.time()), content_type, length)

    def send(self, data: bytes) -> None:
        if not self.write(data):  # the client takes no more
            self.finish()
