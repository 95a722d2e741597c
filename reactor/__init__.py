"""The Reactor pattern: one thread, one selector, and handler classes that you subclass.

A module is loaded when one of its names is first asked for, so that a program pays for what it uses. What type checkers
read stands in `__init__.pyi`.
"""

from importlib import import_module

_MODULES = {
    "acceptor": "Acceptor",
    "addresses": "Address AddressLike Inet Unix parse_address",
    "budget": "MemoryBudget",
    "codecs": "Chunks Codec Mapped",
    "connector": "Connector",
    "counted": "Fixed LengthPrefixed Netstring Varint",
    "delimited": "Lines Until",
    "dialer": "Dial",
    "errors": (
        "AddressError AddressInUse AlreadyRunning Attempt BadMessage BufferOverflow CloseKind CloseReason "
        "ConnectError ConnectTimeout DelayError FileShrank ForkedReactor FrameTooLong FrameTruncated FramingError "
        "HandlerReused IllegalMove ListenError LookupFailed NameNotFound NotConnected NotSent PoolFull ProxyError "
        "ReactorClosed ReactorError StreamBusy StreamClosed Unsupported UsageError WrongThread"
    ),
    "handler": "Cancellable Handler",
    "hosting": "Hosted hosted",
    "instruments": "Instrument",
    "loop": "ErrorContext Loop",
    "messages": "MessageStream",
    "options": "ConnectOptions Keepalive Limits ListenOptions SocketOptions ThreadOptions",
    "overrides": "OverrideResolver",
    "pipes": "Feed Pipe",
    "poller": "READ WRITE",
    "pool": "Pool",
    "proxies": "HttpConnect Proxy",
    "rates": "RateGroup RateLimit",
    "reactor": "Reactor",
    "reconnector": "Backoff Reconnector",
    "report": "Stats",
    "resolver": "Resolver SystemResolver",
    "signals": "SignalHandle",
    "socks5": "Socks5",
    "stream": "Stream",
    "system": "System",
    "threads": "ThreadCall",
    "timers": "Timer",
    "watchdog": "Stall Watchdog",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # the stub has it written out


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
