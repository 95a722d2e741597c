"""What some streams have beside what every stream has: deadlines, rates, a pipe, and those who wait for their bytes to go.

A stream makes its `Extras` when one of these is first asked for; until then it costs one test for each event. The stream
owns everything; the decisions are those of `deadlines`, `rates` and `pipes`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Protocol

import attrs

from reactor.buffers import OnSent
from reactor.deadlines import Deadlines
from reactor.poller import READ, WRITE

if TYPE_CHECKING:
    from reactor.pipes import Pipe
    from reactor.rates import RateGroup
    from reactor.stream import Stream
    from reactor.timers import Timer


#: Who may hold a stream's reading, beside its user: the reactor's budget, and a pipe whose target is full.
BUDGET, PIPE = 1, 2


class Source(Protocol):
    """Something that writes to a stream, and is to write no faster than that can send."""

    def hold(self) -> None:
        """More than `limits.high` bytes are queued."""

    def go(self) -> None:
        """No more than `limits.low` are left."""

    def lost(self, error: BaseException | None) -> None:
        """The stream is closed."""


@attrs.define(eq=False)
class Extras:
    """Of one stream."""

    deadlines: Deadlines
    #: What the rates leave of the stream's interest.
    allowed: int = attrs.field(default=READ | WRITE, init=False)
    #: Who wants that nothing be read: `BUDGET`, `PIPE`, both or nobody.
    holders: int = attrs.field(default=0, init=False)
    #: Whether instruments are told of each read and write.
    is_watched: bool = attrs.field(default=False, init=False)
    #: Where bytes that come go, instead of `on_data`.
    pipe: Pipe | None = attrs.field(default=None, init=False)
    sources: list[Source] = attrs.field(factory=list, init=False)
    #: Whom to tell what became of their bytes, before anything else is told.
    telling: deque[tuple[OnSent, BaseException | None]] = attrs.field(factory=deque, init=False)
    _timer: Timer | None = attrs.field(default=None, init=False)
    _reads: RateGroup | None = attrs.field(default=None, init=False)
    _writes: RateGroup | None = attrs.field(default=None, init=False)
    #: The directions in which a share has been waited for, and may now be moved.
    _granted: int = attrs.field(default=0, init=False)
    #: By direction, what waits for a share that is reserved.
    _waits: dict[int, Timer] = attrs.field(factory=dict, init=False)

    @classmethod
    def begin(cls, now: float) -> Extras:
        """Return new ones, of a stream on which nothing has moved since *now*."""
        return cls(Deadlines(now, now))

    @property
    def is_plain(self) -> bool:
        """Whether there are deadlines at most, which have only to know when bytes moved: no rate, no pipe, no instrument."""
        return self.pipe is None and self._reads is None and self._writes is None and not self.is_watched

    @property
    def sends_freely(self) -> bool:
        """The same of what goes out, on which a pipe has no bearing."""
        return self._writes is None and not self.is_watched

    # Deadlines

    def arm(self, stream: Stream) -> None:
        """See to it that the timer fires no later than the next deadline. It may fire earlier, and is then set anew."""
        due, _ = self.next_deadline(stream)
        if due == inf:
            return
        if self._timer is None:
            self._timer = stream.call_at(due, self._look, stream)
        elif self._timer.due is None or due < self._timer.due:
            self._timer.restart_at(due)

    def next_deadline(self, stream: Stream) -> tuple[float, str]:
        """Return the next moment at which something is late, and what. Waiting for our own rate is not the peer's fault."""
        return self.deadlines.next(is_sending=stream.is_sending and bool(self.allowed & WRITE))

    def _look(self, stream: Stream) -> None:
        """The timer fired: something is late, or will be."""
        due, late = self.next_deadline(stream)
        if due <= stream.reactor.now:
            self.deadlines.drop(late)
            stream.on_timeout(late)
        if stream.is_open:
            self.arm(stream)

    # Rates

    def limit(self, reads: RateGroup | None, writes: RateGroup | None) -> None:
        """Keep to these from now on."""
        self._give_back()
        self._reads, self._writes = reads, writes

    def receive_size(self, stream: Stream, most: int) -> int:
        """Return how many bytes to ask the kernel for; if none, the stream will be called again when some may come."""
        return most if self._reads is None else self._share(stream, READ, self._reads, most)

    def received(self, stream: Stream, data: bytes) -> bool:
        """Note that *data* came; True if it is somebody else's than `on_data`'s."""
        now = self.deadlines.heard = stream.reactor.now
        if self.is_watched:
            stream.reactor.tell("on_read", stream, len(data))
        if self._reads is not None:
            self._take(READ, self._reads, len(data), now)
        if self.pipe is None:
            return False
        self.pipe.take(data)
        return True

    def send_size(self, stream: Stream, most: int) -> int:
        """Return how many bytes may be sent now; if none, the stream will try again when some may."""
        return most if self._writes is None else self._share(stream, WRITE, self._writes, most)

    def begin_sending(self, stream: Stream) -> None:
        """Something is queued, and nothing was: its time begins."""
        self.deadlines.moved = stream.reactor.time()
        self.arm(stream)

    def sent(self, count: int, now: float) -> None:
        """Note that the kernel took *count* bytes."""
        self.deadlines.moved = now
        if self._writes is not None:
            self._take(WRITE, self._writes, count, now)

    def _share(self, stream: Stream, bit: int, group: RateGroup, most: int) -> int:
        """How many bytes may move that way; if none, take it out of the stream's interest until some may."""
        if self._granted & bit:
            return min(most, group.share)
        now = stream.reactor.time()
        allowance = group.allowance(now)
        if not allowance and self.allowed & bit:
            self.allowed &= ~bit
            self._waits[bit] = stream.call_later(group.reserve(now), self._grant, stream, bit)
            stream.refresh()
        return min(most, allowance)

    def _grant(self, stream: Stream, bit: int) -> None:
        del self._waits[bit]
        self.allowed |= bit
        self._granted |= bit
        if bit == WRITE:
            self.begin_sending(stream)
        stream.refresh()

    def _take(self, bit: int, group: RateGroup, count: int, now: float) -> None:
        if self._granted & bit:
            self._granted &= ~bit
            group.give_back(group.share)
        group.take(count, now)

    def _give_back(self) -> None:
        """Return the shares that are reserved and not used: others of the group wait behind them."""
        for bit, group in ((READ, self._reads), (WRITE, self._writes)):
            timer = self._waits.pop(bit, None)
            if timer is not None:
                timer.cancel()
            if group is not None and (timer is not None or self._granted & bit):
                group.give_back(group.share)
        self.allowed, self._granted = READ | WRITE, 0

    # Who waits

    def press(self) -> None:
        """The queue is over its high mark."""
        for source in list(self.sources):
            source.hold()

    def relieve(self) -> None:
        """The queue is down to its low mark again."""
        for source in list(self.sources):
            source.go()

    def tell_sent(self, callbacks: list[OnSent]) -> None:
        """Have *callbacks* be called before `on_close`: their bytes have been sent."""
        self.telling += [(callback, None) for callback in callbacks]

    def tell_unsent(self, callbacks: list[OnSent], error: BaseException) -> None:
        """Have *callbacks* be called before `on_close`: their bytes will never be sent."""
        self.telling += [(callback, error) for callback in callbacks]

    def last_calls(self) -> list[Callable[[], object]]:
        """Remove and return what is to be called before `on_close`."""
        telling, self.telling = self.telling, deque()
        return [lambda callback=callback, error=error: callback(error) for callback, error in telling]  # type: ignore[misc]

    def _tell(self) -> None:
        while self.telling:
            callback, error = self.telling.popleft()
            callback(error)

    # The end

    def ended(self) -> bool:
        """The peer has ended; True if that is somebody else's than `on_end`'s."""
        if self.pipe is None:
            return False
        self.pipe.end()
        return True

    def forked(self) -> None:
        """In a child process: nobody writes to the stream by himself, or waits for bytes to go."""
        self.pipe = None
        self.sources, self.telling = [], deque()

    def closed(self, error: BaseException | None) -> None:
        """The stream is closed: those who are joined to it are told."""
        self._give_back()
        if self.pipe is not None:
            self.pipe.source_closed()
        sources, self.sources = self.sources, []
        for source in sources:
            source.lost(error)
