"""The life cycles, each an `Enum` and a table of its legal moves.

`TABLE[state][event]` is the next state. Every state is a key; "allowed, and nothing changes" is a row like any
other; a missing row is a bug of ours. What a move brings about stands at the place that makes it, so these tables
stay data: tests walk them and the docs are drawn from them.

Only rare events go through here. What happens per byte or per readiness asks `state is …`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import TypeVar

from reactor.errors import IllegalMove

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


def move(table: Mapping[S, Mapping[E, S]], state: S, event: E) -> S:
    """Return the state that *event* leads to from *state*.

    Raises:
        IllegalMove: the table has no such row.
    """
    try:
        return table[state][event]
    except KeyError:
        raise IllegalMove(f"{type(state).__name__}.{state.name} has no move {event.name}") from None


class _Key(Enum):
    """Looked up in tables, for each move twice: by identity, in C, since `Enum` hashes its name, in Python."""

    __hash__ = object.__hash__


class Life(_Key):
    """A handler, from its construction to its last hook."""

    NEW = auto()  # made by the user; no descriptor
    CLAIMED = auto()  # given to `connect`; no descriptor yet
    LIVE = auto()  # has a descriptor and may be called
    CLOSED = auto()  # the descriptor is gone; `on_close` waits its turn
    OVER = auto()  # nothing is ever called again


class LifeEvent(_Key):
    """What moves a handler through its life."""

    CLAIM = auto()  # `connect` took it
    BIND = auto()  # it was given its socket
    CLOSE = auto()  # for whatever reason
    REFUSE = auto()  # its socket could not be registered
    DETACH = auto()  # its socket went to somebody else
    FORGET = auto()  # it gets no socket, and hears nothing
    TELL = auto()  # `on_close` is being called


LIFE: Mapping[Life, Mapping[LifeEvent, Life]] = {
    Life.NEW: {LifeEvent.CLAIM: Life.CLAIMED, LifeEvent.BIND: Life.LIVE, LifeEvent.CLOSE: Life.OVER},
    Life.CLAIMED: {LifeEvent.BIND: Life.LIVE, LifeEvent.CLOSE: Life.CLOSED, LifeEvent.FORGET: Life.OVER},
    Life.LIVE: {LifeEvent.CLOSE: Life.CLOSED, LifeEvent.REFUSE: Life.OVER, LifeEvent.DETACH: Life.OVER},
    Life.CLOSED: {LifeEvent.TELL: Life.OVER},
    Life.OVER: {},
}


class Reading(_Key):
    """The incoming half of a stream."""

    IDLE = auto()  # no connection yet
    FLOWING = auto()  # bytes go to `on_data`
    PAUSED = auto()  # the program asked for a rest
    DISCARDING = auto()  # we are closing: read and drop until the peer ends too
    ENDED = auto()  # the peer sent its last byte
    CLOSED = auto()


class ReadingEvent(_Key):
    """What moves the incoming half."""

    OPEN = auto()
    PAUSE = auto()
    RESUME = auto()
    DISCARD = auto()
    END = auto()
    CLOSE = auto()


READING: Mapping[Reading, Mapping[ReadingEvent, Reading]] = {
    Reading.IDLE: {ReadingEvent.OPEN: Reading.FLOWING, ReadingEvent.CLOSE: Reading.CLOSED},
    Reading.FLOWING: {
        ReadingEvent.PAUSE: Reading.PAUSED,
        ReadingEvent.RESUME: Reading.FLOWING,
        ReadingEvent.DISCARD: Reading.DISCARDING,
        ReadingEvent.END: Reading.ENDED,
        ReadingEvent.CLOSE: Reading.CLOSED,
    },
    Reading.PAUSED: {
        ReadingEvent.PAUSE: Reading.PAUSED,
        ReadingEvent.RESUME: Reading.FLOWING,
        ReadingEvent.DISCARD: Reading.DISCARDING,
        ReadingEvent.CLOSE: Reading.CLOSED,
    },
    Reading.DISCARDING: {
        ReadingEvent.DISCARD: Reading.DISCARDING,
        ReadingEvent.PAUSE: Reading.DISCARDING,
        ReadingEvent.RESUME: Reading.DISCARDING,
        ReadingEvent.END: Reading.ENDED,
        ReadingEvent.CLOSE: Reading.CLOSED,
    },
    Reading.ENDED: {
        ReadingEvent.PAUSE: Reading.ENDED,
        ReadingEvent.RESUME: Reading.ENDED,
        ReadingEvent.DISCARD: Reading.ENDED,
        ReadingEvent.CLOSE: Reading.CLOSED,
    },
    Reading.CLOSED: {ReadingEvent.PAUSE: Reading.CLOSED, ReadingEvent.RESUME: Reading.CLOSED},
}


class Writing(_Key):
    """The outgoing half of a stream."""

    IDLE = auto()  # no connection yet
    OPEN = auto()
    FINISHING = auto()  # `end` was called; queued bytes go first
    FINISHED = auto()  # the FIN is sent
    BROKEN = auto()  # the peer takes no more; what it sent before may still be read
    CLOSED = auto()


class WritingEvent(_Key):
    """What moves the outgoing half."""

    OPEN = auto()
    FINISH = auto()
    FLUSHED = auto()
    BREAK = auto()
    CLOSE = auto()


WRITING: Mapping[Writing, Mapping[WritingEvent, Writing]] = {
    Writing.IDLE: {WritingEvent.OPEN: Writing.OPEN, WritingEvent.CLOSE: Writing.CLOSED},
    Writing.OPEN: {
        WritingEvent.FINISH: Writing.FINISHING,
        WritingEvent.BREAK: Writing.BROKEN,
        WritingEvent.CLOSE: Writing.CLOSED,
    },
    Writing.FINISHING: {
        WritingEvent.FINISH: Writing.FINISHING,
        WritingEvent.FLUSHED: Writing.FINISHED,
        WritingEvent.BREAK: Writing.BROKEN,
        WritingEvent.CLOSE: Writing.CLOSED,
    },
    Writing.FINISHED: {
        WritingEvent.FINISH: Writing.FINISHED,
        WritingEvent.BREAK: Writing.BROKEN,
        WritingEvent.CLOSE: Writing.CLOSED,
    },
    Writing.BROKEN: {WritingEvent.FINISH: Writing.BROKEN, WritingEvent.CLOSE: Writing.CLOSED},
    Writing.CLOSED: {WritingEvent.FINISH: Writing.CLOSED},
}


class Pressure(_Key):
    """What the program has been told of a stream's write queue."""

    LOW = auto()  # go on
    RISING = auto()  # over the high mark; `on_pause` waits its turn
    HIGH = auto()  # `on_pause` was called


class PressureEvent(_Key):
    """What moves the pressure."""

    RISE = auto()  # over the high mark
    TELL = auto()
    FALL = auto()  # at or below the low mark


PRESSURE: Mapping[Pressure, Mapping[PressureEvent, Pressure]] = {
    Pressure.LOW: {PressureEvent.RISE: Pressure.RISING},
    Pressure.RISING: {PressureEvent.TELL: Pressure.HIGH, PressureEvent.FALL: Pressure.LOW},
    Pressure.HIGH: {PressureEvent.FALL: Pressure.LOW},
}


class Connecting(_Key):
    """One attempt to connect one socket."""

    NEW = auto()
    WAITING = auto()  # writability will tell
    RETRYING = auto()  # a Unix socket's backlog is full; a timer will tell
    DONE = auto()  # connected, failed or given up


class ConnectingEvent(_Key):
    """What moves an attempt."""

    PEND = auto()
    RETRY = auto()
    FINISH = auto()


CONNECTING: Mapping[Connecting, Mapping[ConnectingEvent, Connecting]] = {
    Connecting.NEW: {
        ConnectingEvent.PEND: Connecting.WAITING,
        ConnectingEvent.RETRY: Connecting.RETRYING,
        ConnectingEvent.FINISH: Connecting.DONE,
    },
    Connecting.WAITING: {ConnectingEvent.FINISH: Connecting.DONE},
    Connecting.RETRYING: {
        ConnectingEvent.PEND: Connecting.WAITING,
        ConnectingEvent.RETRY: Connecting.RETRYING,
        ConnectingEvent.FINISH: Connecting.DONE,
    },
    Connecting.DONE: {ConnectingEvent.FINISH: Connecting.DONE},
}


class Dialing(_Key):
    """A dial, from `connect` to its end."""

    NEW = auto()
    RACING = auto()  # names are looked up, and addresses are tried, until one is connected
    NEGOTIATING = auto()  # that was a proxy, which is to connect in turn
    DONE = auto()  # connected, failed or given up


class DialingEvent(_Key):
    """What moves a dial."""

    START = auto()
    REACH = auto()  # connected to the proxy
    FINISH = auto()


DIALING: Mapping[Dialing, Mapping[DialingEvent, Dialing]] = {
    Dialing.NEW: {DialingEvent.START: Dialing.RACING},
    Dialing.RACING: {DialingEvent.REACH: Dialing.NEGOTIATING, DialingEvent.FINISH: Dialing.DONE},
    Dialing.NEGOTIATING: {DialingEvent.FINISH: Dialing.DONE},
    Dialing.DONE: {DialingEvent.FINISH: Dialing.DONE},
}


class Socks(_Key):
    """A conversation with a SOCKS5 proxy (RFC 1928): for which answer of its it waits."""

    METHOD = auto()  # how we are to say who we are
    ADMISSION = auto()  # whether it believes us
    REPLY = auto()  # whether it is connected
    OPEN = auto()  # what comes now is the target's


class SocksEvent(_Key):
    """What a SOCKS5 proxy says."""

    ASK_NOTHING = auto()
    ASK_PASSWORD = auto()
    ADMIT = auto()
    CONNECT = auto()


SOCKS: Mapping[Socks, Mapping[SocksEvent, Socks]] = {
    Socks.METHOD: {SocksEvent.ASK_NOTHING: Socks.REPLY, SocksEvent.ASK_PASSWORD: Socks.ADMISSION},
    Socks.ADMISSION: {SocksEvent.ADMIT: Socks.REPLY},
    Socks.REPLY: {SocksEvent.CONNECT: Socks.OPEN},
    Socks.OPEN: {},
}


class Reconnecting(_Key):
    """A client that stays connected."""

    NEW = auto()
    CONNECTING = auto()
    PREPARING = auto()  # connected, and not yet fit for use
    UP = auto()
    WAITING = auto()  # for the next try
    STOPPED = auto()  # by its user, by an error that will not go away, or with the reactor


class ReconnectingEvent(_Key):
    """What moves a client that stays connected."""

    TRY = auto()
    CONNECT = auto()
    READY = auto()
    LOSE = auto()  # or could not connect
    STOP = auto()


RECONNECTING: Mapping[Reconnecting, Mapping[ReconnectingEvent, Reconnecting]] = {
    Reconnecting.NEW: {ReconnectingEvent.TRY: Reconnecting.CONNECTING, ReconnectingEvent.STOP: Reconnecting.STOPPED},
    Reconnecting.CONNECTING: {
        ReconnectingEvent.CONNECT: Reconnecting.PREPARING,
        ReconnectingEvent.LOSE: Reconnecting.WAITING,
        ReconnectingEvent.STOP: Reconnecting.STOPPED,
    },
    Reconnecting.PREPARING: {
        ReconnectingEvent.READY: Reconnecting.UP,
        ReconnectingEvent.LOSE: Reconnecting.WAITING,
        ReconnectingEvent.STOP: Reconnecting.STOPPED,
    },
    Reconnecting.UP: {ReconnectingEvent.LOSE: Reconnecting.WAITING, ReconnectingEvent.STOP: Reconnecting.STOPPED},
    Reconnecting.WAITING: {ReconnectingEvent.TRY: Reconnecting.CONNECTING, ReconnectingEvent.STOP: Reconnecting.STOPPED},
    Reconnecting.STOPPED: {ReconnectingEvent.STOP: Reconnecting.STOPPED},
}
