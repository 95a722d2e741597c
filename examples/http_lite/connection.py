"""A connection: how an exchange moves through it, from the first byte of a request to its answer's last one.

Requests are answered in the order in which they came, one at a time; the others wait, and the client with them. `look` is
the only place that begins an exchange, `give` the only one that answers, `done` the only one that ends.

Names with a leading underscore belong to the library on a handler, so there are none here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import Any

import attrs

from examples.http_lite.log import AccessLog
from examples.http_lite.options import OPTIONS, Options
from examples.http_lite.request import Part, Request, Requests
from examples.http_lite.response import (
    BODILESS,
    CONTINUE,
    Answer,
    Dates,
    Flow,
    Later,
    Pieces,
    as_answer,
    chunk,
    framed,
    head,
    status_page,
)
from reactor import CloseReason, Inet, Limits, NotConnected, Stream

#: Exchanges that a connection begins in one go, so that a client with many requests does not starve the others.
EXCHANGES_PER_PASS = 16


class Phase(Enum):
    """Where the exchange is that is next to be answered."""

    IDLE = auto()  # nothing has come of a request
    HEAD = auto()  # its head is not complete
    BODY = auto()  # its body is not
    WORKING = auto()  # it is complete, or refused; somebody is to answer it
    SENDING = auto()  # the answer is on its way
    CLOSING = auto()  # the last answer was given, and what still comes is dropped

    __hash__ = object.__hash__  # Enum's own one is a call of Python


class Event(Enum):
    """What moves it on."""

    BEGIN = auto()  # the first byte came
    BODY = auto()  # its head is complete, its body is not
    REQUEST = auto()  # it has its turn
    ANSWER = auto()  # the answer is there
    SENT = auto()  # the answer is given; another request may follow
    LAST = auto()  # none will follow

    __hash__ = object.__hash__


PHASES: Mapping[Phase, Mapping[Event, Phase]] = {
    Phase.IDLE: {
        Event.BEGIN: Phase.HEAD,
        Event.BODY: Phase.BODY,
        Event.REQUEST: Phase.WORKING,
        Event.LAST: Phase.CLOSING,
    },
    Phase.HEAD: {Event.BODY: Phase.BODY, Event.REQUEST: Phase.WORKING, Event.LAST: Phase.CLOSING},
    Phase.BODY: {Event.REQUEST: Phase.WORKING, Event.LAST: Phase.CLOSING},
    Phase.WORKING: {Event.ANSWER: Phase.SENDING},
    Phase.SENDING: {Event.SENT: Phase.IDLE, Event.LAST: Phase.CLOSING},
    Phase.CLOSING: {},
}
#: Between two exchanges.
_OPEN = frozenset((Phase.IDLE, Phase.HEAD, Phase.BODY))


@attrs.define(eq=False)
class Site:
    """What all connections share.

    Args:
        answer: called for each request that is not refused; what it returns is what a handler may: see `as_answer`.
        log: what was answered.
        options: the limits.
    """

    answer: Callable[[Request], Any]
    log: AccessLog
    options: Options = OPTIONS
    #: Whether the server is about to end.
    is_draining: bool = attrs.field(init=False, default=False)
    known: dict[bytes, Request] = attrs.field(init=False, repr=False, factory=dict)
    dates: Dates = attrs.field(init=False, factory=Dates)
    limits: Limits = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        options = self.options
        self.limits = Limits(
            idle_timeout=options.idle_seconds, write_timeout=options.write_seconds, close_timeout=options.answer_seconds
        )


@attrs.define(eq=False)
class Connection(Stream):
    """One client."""

    site: Site

    requests: Requests = attrs.field(init=False)
    phase: Phase = attrs.field(init=False, default=Phase.IDLE)
    client: str = attrs.field(init=False, default="-")
    #: The exchange under way: its request, when it began, its answer, and the bytes of that answer's body.
    request: Request | None = attrs.field(init=False, default=None)
    began: float = attrs.field(init=False, default=0.0)
    answer: Answer | None = attrs.field(init=False, default=None)
    sent: int = attrs.field(init=False, default=0)
    served: int = attrs.field(init=False, default=0)
    is_last: bool = attrs.field(init=False, default=False)  # answer what waits, then close
    is_closing: bool = attrs.field(init=False, default=False)  # the same, after the answer under way
    is_held: bool = attrs.field(init=False, default=False)  # reading is paused
    is_looking: bool = attrs.field(init=False, default=False)
    is_queued: bool = attrs.field(init=False, default=False)  # `look` runs again in the next pass
    body_due: float = attrs.field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self.limits = self.site.limits
        self.requests = Requests(self.site.options, self.site.known)

    # Hooks

    def on_connect(self) -> None:
        with suppress(NotConnected):  # reset already
            self.client = self.peer.host if isinstance(self.peer, Inet) else "-"

    def on_data(self, data: bytes) -> None:
        self.requests.feed(data)
        self.look()

    def on_end(self) -> None:
        """The client has sent its last request; it may still wait for answers."""
        self.requests.end()
        self.is_last = True
        self.look()

    def on_drain(self) -> None:
        if self.answer is not None and isinstance(self.answer.body, Flow):
            self.call_user(self.answer.body.on_room)
        self.look()

    def on_shutdown(self, grace: float) -> None:
        """Answer what has come, and close; a request that has begun to come is waited for."""
        self.is_last = True
        answer = self.answer
        if answer is not None and isinstance(answer.body, Flow) and answer.body.endless:
            answer.body.end()
        self.look()

    def on_timeout(self, kind: str) -> None:
        if kind == "idle" and self.phase is Phase.IDLE and not self.is_sending:
            self.finish()
        elif kind == "idle":  # an exchange has its own deadlines; look again later, not at once: the silence lasts already
            self.deadline("look", self.site.options.idle_seconds)
        elif kind == "look":
            self.deadline("idle", self.site.options.idle_seconds)
        elif kind == "body" and (more := self.body_left()) >= 1:  # less is not worth it
            self.deadline("body", more)
        elif kind == "head" and self.requests.part is Part.BLANK:
            self.finish()
        elif kind in ("head", "body"):
            self.requests.refuse(408)  # RFC 9110, 15.5.9
            self.look()
        else:
            super().on_timeout(kind)

    def on_close(self, reason: CloseReason) -> None:
        if self.request is not None:
            self.end_exchange(str(reason.kind.name))

    # The exchange's life

    def look(self) -> None:
        """Begin what can be begun; then wait for the right thing, for as long as it may take."""
        if self.is_looking or self.phase is Phase.CLOSING:
            return
        waiting, steps = self.requests.waiting, EXCHANGES_PER_PASS
        if self.buffered <= self.limits.high:  # else `on_drain` goes on
            self.is_looking = True
            while waiting and steps and self.phase in _OPEN:
                steps -= 1
                self.work(waiting.popleft())
            self.is_looking = False
            if not steps and waiting and not self.is_queued:
                self.is_queued = True
                self.call_soon(self.look_again)
        if self.phase in _OPEN and not waiting:
            self.wait()
        if bool(waiting) is not self.is_held:  # the kernel then holds the client
            self.is_held = bool(waiting)
            if self.is_open and self.is_writable:
                (self.pause if self.is_held else self.resume)()

    def look_again(self) -> None:
        self.is_queued = False
        self.look()

    def wait(self) -> None:
        """Nothing is to be answered: set the deadline of what has begun to come, or close."""
        part, options = self.requests.part, self.site.options
        if part is Part.NOTHING:
            if self.is_last:
                self.finish()
        elif part is not Part.BODY:
            if self.phase is Phase.IDLE:
                self.move(Event.BEGIN)
                self.deadline("head", options.head_seconds)
        elif self.phase is not Phase.BODY:
            self.move(Event.BODY)
            self.deadline("head", None)
            self.deadline("body", options.body_seconds)
            self.body_due = self.reactor.time() + options.body_seconds
            if self.requests.expects_continue:
                self.requests.expects_continue = False
                self.write(CONTINUE)

    def body_left(self) -> float:
        """Return how many seconds more a body has, for what has come of it."""
        return self.body_due + self.requests.body_size / self.site.options.rate_bytes - self.reactor.time()

    def work(self, request: Request) -> None:
        """Have *request* answered."""
        if self.phase is not Phase.IDLE:
            self.deadline("head", None)
            self.deadline("body", None)
        self.move(Event.REQUEST)
        self.request, self.began = request, self.reactor.now
        self.served += 1
        given = status_page(request.refusal) if request.refusal else self.call_user(self.site.answer, request)
        if isinstance(given, Later):
            given.take(self.give)
        else:
            self.give(given)

    def give(self, given: Any) -> None:
        """Send the answer to the request under way, or begin to."""
        request = self.request
        answer: Answer = given if type(given) is Answer else self.call_user(as_answer, given)
        if request is None or not self.is_open or self.phase is not Phase.WORKING:
            self.call_user(answer.close)  # the client has gone
            return
        self.move(Event.ANSWER)
        self.answer, body, length = answer, answer.body, answer.length
        if isinstance(body, bytes):
            if length is None or request.method != "HEAD":
                length = len(body)
        elif isinstance(body, Pieces):
            length = body.size
        self.is_closing = (
            not request.keep_alive
            or (self.is_last and not self.requests.waiting)
            or self.served >= self.site.options.requests
            or (length is None and request.version == "1.0")
        )
        date = self.site.dates.at(self.reactor.system.time())
        start = head(answer, request, date, length, last=self.is_closing)
        if request.method == "HEAD" or answer.status in BODILESS:
            self.write(start)
            self.done()
        elif isinstance(body, bytes):
            self.sent = len(body)
            if len(body) <= self.limits.high:
                self.write(start + body)
                self.done()
            else:
                self.write(start)
                self.write(body, self.on_gone)
                self.be_quick(len(body))
        elif isinstance(body, Pieces):
            self.give_pieces(start, body)
        else:
            self.write(start)
            self.give_stream(body, length, chunked=length is None and request.version == "1.1")
        self.look()

    def give_pieces(self, start: bytes, body: Pieces) -> None:
        """Send a head and the pieces of a file; one that turns out to be shorter breaks the connection."""
        self.sent = body.size
        with self.corked():
            self.write(start)
            for piece in body.pieces:
                if isinstance(piece, bytes):
                    self.write(piece)
                else:
                    self.send_file(body.fd, *piece)
            self.write(b"", self.on_gone)
        if self.is_open:
            self.be_quick(body.size)

    def give_stream(self, body: Flow | Iterable[bytes], length: int | None, *, chunked: bool) -> None:
        """Send a body as it comes, no faster than the client takes it."""
        if not isinstance(body, Flow):
            if self.is_writable:
                self.send_from(framed(self.counted(body), length, chunked=chunked), self.on_gone)
            return

        def out(data: bytes | None) -> bool:
            if self.phase is not Phase.SENDING or not self.is_writable:
                return False
            if data is None:
                if chunked:
                    self.write(chunk(b""))
                if length is not None and self.sent != length:
                    self.abort()  # nothing else tells the client that this is not all
                    return False
                self.done()
                self.look()
                return False
            data = data if length is None else data[: length - self.sent]
            self.sent += len(data)
            return not data or (self.write(chunk(data) if chunked else data) and self.buffered <= self.limits.high)

        self.call_user(body.start, out, self.abort)

    def counted(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """Return *chunks*, noting how many bytes they are."""
        try:
            for data in chunks:
                self.sent += len(data)
                yield data
        finally:
            getattr(chunks, "close", lambda: None)()

    def be_quick(self, size: int) -> None:
        """Have an answer of *size* bytes be taken in the time that it may take."""
        options = self.site.options
        if self.phase is Phase.SENDING:
            self.deadline("answer", options.answer_seconds + size / options.rate_bytes)

    def on_gone(self, error: BaseException | None) -> None:
        """The last byte of an answer has gone out; or it never will, and `on_close` follows."""
        if error is None and self.phase is Phase.SENDING:
            self.deadline("answer", None)
            self.done()
            self.look()

    def done(self) -> None:
        """The answer is given: another may follow, or the connection ends."""
        self.end_exchange("")
        if self.is_closing:
            self.finish()
        else:
            self.move(Event.SENT)

    def end_exchange(self, cut: str) -> None:
        """Note an answer that is given, whole or as far as it went, and let go what belongs to it."""
        request, answer, self.request, self.answer = self.request, self.answer, None, None
        sent, self.sent = self.sent, 0
        assert request is not None
        if answer is not None and not isinstance(answer.body, bytes):
            self.call_user(answer.close)
        if self.site.log.is_on:
            status = 0 if answer is None else answer.status
            self.site.log.note(self.client, request, status, sent, self.reactor.time() - self.began, cut)

    def finish(self) -> None:
        """Have sent what is written, and close. `close` lingers, so that unread input destroys nothing of it."""
        self.move(Event.LAST)
        self.requests.end()
        self.close()

    def call_user(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call what others have written; what it raises is reported, and answered with 500."""
        try:
            return function(*arguments)
        except Exception as error:
            self.reactor.report(f"{self.request.line if self.request else 'an answer'}", error)
            return status_page(500)

    def move(self, event: Event) -> None:
        self.phase = PHASES[self.phase][event]
