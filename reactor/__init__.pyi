from reactor.acceptor import Acceptor
from reactor.addresses import Address, AddressLike, Inet, Unix, parse_address
from reactor.budget import MemoryBudget
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
    FileShrank,
    ForkedReactor,
    FrameTooLong,
    FrameTruncated,
    FramingError,
    HandlerReused,
    IllegalMove,
    ListenError,
    LookupFailed,
    NameNotFound,
    NotConnected,
    NotSent,
    PoolFull,
    ProxyError,
    ReactorClosed,
    ReactorError,
    StreamBusy,
    StreamClosed,
    Unsupported,
    UsageError,
    WrongThread,
)
from reactor.handler import Cancellable, Handler
from reactor.hosting import Hosted, hosted
from reactor.instruments import Instrument
from reactor.loop import ErrorContext, Loop
from reactor.messages import MessageStream
from reactor.options import ConnectOptions, Keepalive, Limits, ListenOptions, SocketOptions, ThreadOptions
from reactor.overrides import OverrideResolver
from reactor.pipes import Feed, Pipe
from reactor.poller import READ, WRITE
from reactor.pool import Pool
from reactor.proxies import HttpConnect, Proxy
from reactor.rates import RateGroup, RateLimit
from reactor.reactor import Reactor
from reactor.reconnector import Backoff, Reconnector
from reactor.report import Stats
from reactor.resolver import Resolver, SystemResolver
from reactor.signals import SignalHandle
from reactor.socks5 import Socks5
from reactor.stream import Stream
from reactor.system import System
from reactor.threads import ThreadCall
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
    "Backoff",
    "BadMessage",
    "BufferOverflow",
    "Cancellable",
    "Chunks",
    "CloseKind",
    "CloseReason",
    "Codec",
    "ConnectError",
    "ConnectOptions",
    "ConnectTimeout",
    "Connector",
    "DelayError",
    "Dial",
    "ErrorContext",
    "Feed",
    "FileShrank",
    "Fixed",
    "ForkedReactor",
    "FrameTooLong",
    "FrameTruncated",
    "FramingError",
    "Handler",
    "HandlerReused",
    "Hosted",
    "HttpConnect",
    "IllegalMove",
    "Inet",
    "Instrument",
    "Keepalive",
    "LengthPrefixed",
    "Limits",
    "Lines",
    "ListenError",
    "ListenOptions",
    "LookupFailed",
    "Loop",
    "Mapped",
    "MemoryBudget",
    "MessageStream",
    "NameNotFound",
    "Netstring",
    "NotConnected",
    "NotSent",
    "OverrideResolver",
    "Pipe",
    "Pool",
    "PoolFull",
    "Proxy",
    "ProxyError",
    "RateGroup",
    "RateLimit",
    "Reactor",
    "ReactorClosed",
    "ReactorError",
    "Reconnector",
    "Resolver",
    "SignalHandle",
    "SocketOptions",
    "Socks5",
    "Stall",
    "Stats",
    "Stream",
    "StreamBusy",
    "StreamClosed",
    "System",
    "SystemResolver",
    "ThreadCall",
    "ThreadOptions",
    "Timer",
    "Unix",
    "Unsupported",
    "Until",
    "UsageError",
    "Varint",
    "Watchdog",
    "WrongThread",
    "hosted",
    "parse_address",
]
