"""The Reactor pattern: one thread, one selector, and handler classes that you subclass."""

from reactor.acceptor import Acceptor
from reactor.addresses import Address, AddressLike, Inet, Unix
from reactor.addresses import parse as parse_address
from reactor.connector import Connector
from reactor.dialer import Dial
from reactor.errors import (
    AddressError,
    AddressInUse,
    AlreadyRunning,
    Attempt,
    BufferOverflow,
    CloseKind,
    CloseReason,
    ConnectError,
    ConnectTimeout,
    DelayError,
    FileShrank,
    HandlerReused,
    IllegalMove,
    ListenError,
    NotConnected,
    NotSent,
    ReactorClosed,
    ReactorError,
    StreamBusy,
    StreamClosed,
    Unsupported,
    UsageError,
    WrongThread,
)
from reactor.handler import Handler
from reactor.instruments import Instrument
from reactor.loop import ErrorContext, Loop
from reactor.options import Limits, ListenOptions
from reactor.pipes import Feed, Pipe
from reactor.poller import READ, WRITE
from reactor.rates import RateGroup, RateLimit
from reactor.reactor import Reactor
from reactor.report import Stats
from reactor.signals import SignalHandle
from reactor.stream import Stream
from reactor.system import System
from reactor.timers import Timer
from reactor.watchdog import Stall, Watchdog

__all__ = [
    "READ",
    "WRITE",
    "Acceptor",
    "Address",
    "AddressError",
    "AddressInUse",
    "AddressLike",
    "AlreadyRunning",
    "Attempt",
    "BufferOverflow",
    "CloseKind",
    "CloseReason",
    "ConnectError",
    "ConnectTimeout",
    "Connector",
    "DelayError",
    "Dial",
    "ErrorContext",
    "Feed",
    "FileShrank",
    "Handler",
    "HandlerReused",
    "IllegalMove",
    "Inet",
    "Instrument",
    "Limits",
    "ListenError",
    "ListenOptions",
    "Loop",
    "NotConnected",
    "NotSent",
    "Pipe",
    "RateGroup",
    "RateLimit",
    "Reactor",
    "ReactorClosed",
    "ReactorError",
    "SignalHandle",
    "Stall",
    "Stats",
    "Stream",
    "StreamBusy",
    "StreamClosed",
    "System",
    "Timer",
    "Unix",
    "Unsupported",
    "UsageError",
    "Watchdog",
    "WrongThread",
    "parse_address",
]
