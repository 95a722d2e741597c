"""The Reactor pattern: one thread, one selector, and handler classes that you subclass."""

from reactor.acceptor import Acceptor
from reactor.addresses import Address, AddressLike, Inet, Unix
from reactor.addresses import parse as parse_address
from reactor.budget import MemoryBudget
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
    ForkedReactor,
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
from reactor.loop import ErrorContext, Loop, Stats
from reactor.options import ConnectOptions, Keepalive, Limits, ListenOptions, ThreadOptions
from reactor.overrides import OverrideResolver
from reactor.pipes import Feed, Pipe
from reactor.poller import READ, WRITE
from reactor.pool import Pool
from reactor.proxies import HttpConnect, Proxy
from reactor.rates import RateGroup, RateLimit
from reactor.reactor import Reactor
from reactor.reconnector import Backoff, Reconnector
from reactor.resolver import Resolver, SystemResolver
from reactor.signals import SignalHandle
from reactor.socks5 import Socks5
from reactor.stream import Stream
from reactor.system import System
from reactor.threads import ThreadCall
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
    "Backoff",
    "BufferOverflow",
    "Cancellable",
    "CloseKind",
    "CloseReason",
    "ConnectError",
    "ConnectOptions",
    "ConnectTimeout",
    "Connector",
    "DelayError",
    "Dial",
    "ErrorContext",
    "Feed",
    "FileShrank",
    "ForkedReactor",
    "Handler",
    "HandlerReused",
    "Hosted",
    "HttpConnect",
    "IllegalMove",
    "Inet",
    "Keepalive",
    "Limits",
    "ListenError",
    "ListenOptions",
    "LookupFailed",
    "Loop",
    "MemoryBudget",
    "NameNotFound",
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
    "Socks5",
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
    "UsageError",
    "WrongThread",
    "hosted",
    "parse_address",
]
