"""The Reactor pattern: one thread, one selector, and handler classes that you subclass."""

from reactor.acceptor import Acceptor
from reactor.addresses import Address, AddressLike, Inet, Unix
from reactor.addresses import parse as parse_address
from reactor.codecs import Chunks, Codec, Mapped
from reactor.connector import Connector
from reactor.counted import Fixed, LengthPrefixed, Netstring, Varint
from reactor.delimited import Lines, Until
from reactor.dialer import Dial
from reactor.errors import (
    AddressError,
    AddressInUse,
    AlreadyRunning,
    Attempt,
    BadMessage,
    BufferOverflow,
    CloseKind,
    CloseReason,
    ConnectError,
    ConnectTimeout,
    DelayError,
    FrameTooLong,
    FrameTruncated,
    FramingError,
    HandlerReused,
    IllegalMove,
    ListenError,
    NotConnected,
    ReactorClosed,
    ReactorError,
    StreamBusy,
    StreamClosed,
    Unsupported,
    UsageError,
    WrongThread,
)
from reactor.handler import Handler
from reactor.loop import ErrorContext, Loop, Stats
from reactor.messages import MessageStream
from reactor.options import Limits, ListenOptions
from reactor.poller import READ, WRITE
from reactor.reactor import Reactor
from reactor.signals import SignalHandle
from reactor.stream import Stream
from reactor.system import System
from reactor.timers import Timer

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
    "BadMessage",
    "BufferOverflow",
    "Chunks",
    "CloseKind",
    "CloseReason",
    "Codec",
    "ConnectError",
    "ConnectTimeout",
    "Connector",
    "DelayError",
    "Dial",
    "ErrorContext",
    "Fixed",
    "FrameTooLong",
    "FrameTruncated",
    "FramingError",
    "Handler",
    "HandlerReused",
    "IllegalMove",
    "Inet",
    "LengthPrefixed",
    "Limits",
    "Lines",
    "ListenError",
    "ListenOptions",
    "Loop",
    "Mapped",
    "MessageStream",
    "Netstring",
    "NotConnected",
    "Reactor",
    "ReactorClosed",
    "ReactorError",
    "SignalHandle",
    "Stats",
    "Stream",
    "StreamBusy",
    "StreamClosed",
    "System",
    "Timer",
    "Unix",
    "Unsupported",
    "Until",
    "UsageError",
    "Varint",
    "WrongThread",
    "parse_address",
]
