"""A connection: how an exchange moves through it, from the first byte of a request to its answer's last one.

Requests are answered in the order in which they came, one at a time; the others wait, and the client with them. `look`
begins what can be begun, `work` is the only place that has a request answered, `give` the only one that answers, `done` the
only one that ends, and `tick` the only one that knows of time.

Names with a leading underscore belong to the library on a handler, so there are none here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import Any

import attrs

from examples.http_lite.app import App
from examples.http_lite.log import AccessLog
from examples.http_lite.options import OPTIONS, Options
from examples.http_lite.request import Part, Request, Requests, Spool
from examples.http_lite.response import BODILESS, TEXT, Answer, Heads, Pieces, as_answer, status_page
from reactor import CloseReason, Inet, Limits, NotConnected, PoolFull, Stream, Timer

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


class Event(Enum):
    """What moves it on."""

    BEGIN = auto()  # the first byte came
    BODY = auto()  # its head is complete, its body is not
    REQUEST = auto()  # it has its turn
    ANSWER = auto()  # the answer is there
    SENT = auto()  # the answer is given; another request may follow
    LAST = auto()  # none will follow


PHASES: Mapping[Phase, Mapping[Event, Phase]] = {
    Phase.IDLE: {Event.BEGIN: Phase.HEAD, Event.BODY: Phase.BODY, Event.REQUEST: Phase.WORKING, Event.LAST: Phase.CLOSING},
    Phase.HEAD: {Event.BODY: Phase.BODY, Event.REQUEST: Phase.WORKING, Event.LAST: Phase.CLOSING},
    Phase.BODY: {Event.REQUEST: Phase.WORKING, Event.LAST: Phase.CLOSING},
    Phase.WORKING: {Event.ANSWER: Phase.SENDING},
    Phase.SENDING: {Event.SENT: Phase.IDLE, Event.LAST: Phase.CLOSING},
    Phase.CLOSING: {},
}
_IDLE, _WORKING, _SENDING = Phase.IDLE, Phase.WORKING, Phase.SENDING
_OPEN = (Phase.IDLE, Phase.HEAD, Phase.BODY)  # between two exchanges


@attrs.define(eq=False)
class Site:
    """What all connections share: what answers, where that is noted, and the limits."""

    app: App
    log: AccessLog
    options: Options = OPTIONS
    is_draining: bool = attrs.field(init=False, default=False)  # the server is about to end
    served: int = attrs.field(init=False, default=0)  # requests of connections that have ended
    known: dict[bytes, Request] = attrs.field(init=False, repr=False, factory=dict)
    heads: Heads = attrs.field(init=False)
    limits: Limits = attrs.field(init=False)  # of a connection; less is queued of what is made while it is sent
    slow_limits: Limits = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        most, seconds, self.heads = 16384 + self.options.memory_bytes, self.options.answer_seconds, Heads(self.log.clock)
        self.limits = Limits(low=most // 4, high=most, hard=8 * most + 2**24, close_timeout=seconds)
        self.slow_limits = Limits(low=4096, high=16384, close_timeout=seconds)


@attrs.define(eq=False)
class Flow:
    """A body that comes as it comes: events, or the work of a thread. The function that is an answer's body is given one.

    In the loop, *on_room* is called when `write` has returned False, and there is room again; *on_over* once, when nothing
    more is taken, whoever ended it. If it is *endless*, the server ends it when it is to end itself.
    """

    #: None when it is over.
    connection: Connection | None
    on_room: Callable[[], object] = lambda: None
    on_over: Callable[[], object] = lambda: None
    endless: bool = False

    def write(self, data: bytes) -> bool:
        """Send *data*; False: send no more until `on_room`, or ever if it is over."""
        return self.connection is not None and (not data or self.connection.push(data))

    def end(self) -> None:
        """That was all. Ending twice is allowed."""
        if self.connection is not None:
            self.connection.push(None)

    def cut(self) -> None:
        """It cannot be finished: break the connection, so that the client does not take what it has for all."""
        if self.connection is not None:
            self.connection.abort()


@attrs.define(eq=False)
class Connection(Stream):
    """One client."""

    site: Site

    requests: Requests = attrs.field(init=False)
    phase: Phase = attrs.field(init=False, default=Phase.IDLE)
    client: str = attrs.field(init=False, default="-")
    timer: Timer = attrs.field(init=False, repr=False)
    since: float = attrs.field(init=False, default=0.0)  # when the phase began
    began: float = attrs.field(init=False, default=0.0)  # when the last exchange did
    #: The exchange under way: its request, its answer, the bytes of that answer's body, and how those come and are framed.
    request: Request | None = attrs.field(init=False, default=None)
    answer: Answer | None = attrs.field(init=False, default=None)
    body: Any = attrs.field(init=False, default=None)  # a flow, or what is sent
    sent: int = attrs.field(init=False, default=0)
    length: int | None = attrs.field(init=False, default=None)
    is_chunked: bool = attrs.field(init=False, default=False)
    is_closing: bool = attrs.field(init=False, default=False)  # close after the answer under way
    served: int = attrs.field(init=False, default=0)
    is_last: bool = attrs.field(init=False, default=False)  # answer what waits, then close
    is_held: bool = attrs.field(init=False, default=False)  # reading is paused
    is_watched: bool = attrs.field(init=False, default=False)  # the library sees to it that the client takes something

    def __attrs_post_init__(self) -> None:
        self.limits = self.site.limits
        self.requests = Requests(self.site.options, self.site.known)

    # Hooks

    def on_connect(self) -> None:
        with suppress(NotConnected):  # reset already
            self.client = self.peer.host if isinstance(self.peer, Inet) else "-"
        self.since = self.reactor.now
        self.timer = self.call_later(self.site.options.idle_seconds, self.tick)

    def on_data(self, data: bytes) -> None:
        if self.phase is _IDLE and (request := self.site.known.get(data)) is not None:
            self.work(request)
        else:
            self.requests.feed(data)
            self.look()

    def on_end(self) -> None:
        """The client has sent its last request; it may still wait for answers."""
        self.requests.end()
        self.is_last = True
        self.look()

    def on_drain(self) -> None:
        if isinstance(self.body, Flow):
            self.call(self.body.on_room)
        self.look()

    def on_shutdown(self, grace: float) -> None:
        """Answer what has come, and close; a request that has begun to come is waited for."""
        self.is_last = True
        if isinstance(self.body, Flow) and self.body.endless:
            self.body.end()
        self.look()

    def on_close(self, reason: CloseReason) -> None:
        if self.request is not None:
            self.end_exchange(reason.kind.name)
        self.requests.end()
        self.site.served += self.served

    # The exchange's life

    def look(self) -> None:
        """Begin what can be begun; then wait for the right thing, for as long as it may take."""
        waiting, steps = self.requests.waiting, EXCHANGES_PER_PASS
        with self.corked():
            while waiting and steps and self.phase in _OPEN and self.buffered <= self.limits.high:  # else `on_drain` goes on
                steps -= 1
                self.work(waiting.popleft())
        if not steps and waiting:
            self.call_soon(self.look)
        if self.phase in _OPEN and not waiting:
            self.wait()
        if bool(waiting) is not self.is_held and self.is_writable:  # the kernel then holds the client
            self.is_held = bool(waiting)
            (self.pause if self.is_held else self.resume)()

    def wait(self) -> None:
        """Nothing is to be answered: note what has begun to come, or close."""
        part, options = self.requests.part, self.site.options
        if part is Part.NOTHING:
            if self.is_last:
                self.finish()
        elif part is Part.BODY and self.phase is not Phase.BODY:
            self.enter(Event.BODY, options.body_seconds)
            if self.requests.expects_continue:
                self.requests.expects_continue = False
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # RFC 9110, 15.2.1
        elif part is not Part.BODY and self.phase is _IDLE:
            self.enter(Event.BEGIN, options.head_seconds)

    def work(self, request: Request) -> None:
        """Have *request* answered."""
        self.phase = _WORKING if self.phase is _IDLE else PHASES[self.phase][Event.REQUEST]
        self.request, self.began = request, self.reactor.now
        self.served += 1
        app = self.site.app
        app.client = self.client
        try:
            if request.action is None:
                request.action = app.find(request)
            given = request.action(request)
            if callable(given):
                given(self.give_late)
                return
        except Exception as error:
            if self.phase is not _WORKING:  # it has answered before
                self.understood(error)
                return
            given = error
        self.give(given)

    def give_late(self, given: Any) -> bool:
        """Answer the request under way; False if the client has gone, or takes no body."""
        answer = self.understood(given)
        if self.phase is not _WORKING or not self.is_open:
            return False
        with self.corked():
            self.give(answer)
        self.call_soon(self.look)
        return self.answer is answer

    def give(self, given: Any) -> None:
        """Answer the request under way, or begin to. What most answers cost is what stands in here, for speed."""
        site, request = self.site, self.request
        assert request is not None
        body: Any
        answer = None
        if type(given) is str:
            status, kind, more, body = 200, TEXT, b"", given.encode()
        else:
            answer = self.answer = given if type(given) is Answer else self.understood(given)
            status, kind, more, body = answer.status, answer.content_type, answer.more, answer.body
        heads, now = site.heads, self.reactor.now
        start = (now < heads.stale_at and heads.starts.get((status, kind))) or heads.start(status, kind, now)
        self.is_closing = (
            not request.keep_alive or self.served >= site.options.requests or (self.is_last and not self.requests.waiting)
        )
        is_plain = request.is_plain and not self.is_closing and status not in BODILESS
        if is_plain and type(body) is bytes and len(body) <= site.options.memory_bytes:
            self.write(b"%bContent-Length: %d\r\n%b\r\n%b" % (start, len(body), more, body))
            self.sent = len(body)
            if site.log.stream is not None:
                self.note(status)
            self.phase, self.request, self.answer = _IDLE, None, None
        else:
            self.answer = answer or Answer(200, body)
            self.begin(request, self.answer, start)

    def begin(self, request: Request, answer: Answer, start: bytes) -> None:
        """Send a head that begins with *start*, and begin to send the body, whatever it is."""
        self.enter(Event.ANSWER)
        body, length, is_old = answer.body, answer.length, request.version == "1.0"
        has_body = request.method != "HEAD" and answer.status not in BODILESS
        if isinstance(body, bytes) and (has_body or length is None):
            length = len(body)
        elif isinstance(body, Pieces):
            length = body.size
        self.length, self.sent, self.is_chunked = length, 0, length is None and not is_old
        self.is_closing = self.is_closing or (length is None and is_old)
        framing = b"Transfer-Encoding: chunked\r\n" if self.is_chunked else b""
        if length is not None:
            framing = b"Content-Length: %d\r\n" % length
        # the default is not stated (RFC 9112, 9.3)
        going = b"Connection: close\r\n" if self.is_closing else b"Connection: keep-alive\r\n" if is_old else b""
        self.write(b"%b%b%b%b\r\n" % (start, b"" if answer.status in BODILESS else framing, going, answer.more))
        if has_body:
            self.send(answer, answer.body)
        else:
            self.done()

    def send(self, answer: Answer, body: Any) -> None:
        """Begin to send the *body* of *answer*."""
        options = self.site.options
        if isinstance(body, bytes) and len(body) <= options.memory_bytes:
            self.sent = len(body)
            self.write(body)
            self.done()
            return
        self.watch()
        if isinstance(body, bytes):
            body = in_file(body)
            self.answer = attrs.evolve(answer, body=body)  # or else its bytes would stay
        self.body = body
        if isinstance(body, Pieces):
            self.sent = body.size
            for piece in body.pieces:
                if isinstance(piece, bytes):
                    self.write(piece)
                else:
                    self.send_file(body.file, *piece)
            self.write(b"", self.on_gone)
            return
        self.limits = self.site.slow_limits
        if callable(body):
            self.body = Flow(self)
            self.call(body, self.body)
        elif self.is_writable:
            self.send_from(self.framed(body), self.on_gone)

    def framed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Return *chunks*, each as it is sent, and what ends them."""
        yield from map(self.frame, chunks)
        yield self.frame(b"", is_end=True)

    def frame(self, data: bytes, *, is_end: bool = False) -> bytes:
        """Return *data* as it is sent (RFC 9112, 7.1); ValueError: it is the end, and less than was announced."""
        if self.length is not None:
            data = data[: self.length - self.sent]
            if is_end and self.sent != self.length:
                raise ValueError(f"{self.length - self.sent} bytes are missing of the length that was announced")
        self.sent += len(data)
        return b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked and (data or is_end) else data

    def push(self, data: bytes | None) -> bool:
        """Send *data* of a flow, or, for None, its end; False: take no more for now."""
        if self.phase is not _SENDING or not self.is_writable:
            return False
        try:
            goes_on = self.write(self.frame(data or b"", is_end=data is None))
        except ValueError as error:
            self.understood(error)
            self.abort()  # nothing else tells the client that this is not all
            return False
        if data is None:
            self.done()
            self.call_soon(self.look)
            return False
        return goes_on and self.buffered <= self.limits.high

    def on_gone(self, error: BaseException | None) -> None:
        """The last byte of an answer has gone out; or it never will, and `on_close` follows."""
        if error is None and self.phase is _SENDING:
            self.done()
            self.look()

    def done(self) -> None:
        """The answer is given: another may follow, or the connection ends."""
        self.end_exchange("")
        if self.is_closing:
            self.finish()
        else:
            self.enter(Event.SENT)

    def end_exchange(self, cut: str) -> None:
        """Note an answer that is given, whole or as far as it went, and let go what belongs to it."""
        answer, body = self.answer, self.body
        self.note(0 if answer is None else answer.status, cut)
        self.request = self.answer = self.body = None
        if isinstance(body, Flow):
            body.connection = None
            self.call(body.on_over)
        elif answer is not None:
            self.call(getattr(answer.body, "close", bool))

    def finish(self) -> None:
        """Have sent what is written, and close. `close` lingers, so that unread input destroys nothing of it."""
        self.enter(Event.LAST)
        self.timer.cancel()
        self.requests.end()
        self.close()

    def enter(self, event: Event, seconds: float | None = None) -> None:
        """Go on to the next phase, which is looked at no later than in so many *seconds*."""
        self.phase, self.since = PHASES[self.phase][event], self.reactor.now
        if seconds is not None:
            self.timer.restart(seconds)

    def watch(self) -> None:
        """Have the client be cut when it takes nothing; most connections never need that, and it is not free."""
        if not self.is_watched:
            self.is_watched = True
            self.deadline("write", self.site.options.write_seconds)

    def tick(self) -> None:
        """End what has lasted too long; else look again when it may have."""
        options, phase, since = self.site.options, self.phase, max(self.since, self.began)
        now = self.reactor.time()
        if self.is_sending:
            self.watch()
        elif phase is _SENDING:
            self.since = now  # it is the application that is slow
        patience = {
            Phase.IDLE: options.idle_seconds,
            Phase.HEAD: options.head_seconds,
            Phase.BODY: options.body_seconds + self.requests.body_size / options.rate_bytes,
            Phase.SENDING: options.answer_seconds + self.sent / options.rate_bytes,
        }.get(phase, options.idle_seconds)
        is_busy = phase is _WORKING or (phase is _IDLE and self.is_sending) or (phase is _SENDING and not self.is_sending)
        if is_busy or now < since + patience:
            self.timer.restart(min(max(since + patience - now, 1.0), options.idle_seconds))
        elif phase is _SENDING:
            self.on_timeout("answer")
        elif phase is _IDLE or self.requests.part is Part.BLANK:
            self.finish()
        else:
            self.requests.refuse(408)  # RFC 9110, 15.5.9
            self.look()

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call what others have written; what it raises is reported, and breaks the connection."""
        try:
            function(*arguments)
        except Exception as error:
            self.understood(error)
            self.abort()

    def understood(self, given: Any) -> Answer:
        """Return what *given* means as an answer; an error means 500, and is reported."""
        if not isinstance(given, Exception):
            try:
                return as_answer(given)
            except Exception as error:
                given = error
        self.reactor.report(self.request.line if self.request else "an answer", given)
        return status_page(503 if isinstance(given, PoolFull) else 500)

    def note(self, status: int, cut: str = "") -> None:
        """Write the log."""
        if self.site.log.stream is not None and self.request is not None:
            self.site.log.note(self.client, self.request, status, self.sent, self.reactor.time() - self.began, cut)


def in_file(body: bytes) -> Pieces:
    """Return *body*, on the disk: a slow client holds no memory."""
    file = Spool(1)
    file.write(body)
    file.flush()
    return Pieces(file, [(0, len(body))])
