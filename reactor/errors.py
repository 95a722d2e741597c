"""Every error of the library, and the reason that a connection ended.

Each class says whose fault it is and what to do::

    ReactorError
    ├── UsageError               the calling program: mend the call
    │   ├── AddressError         an address that does not parse            (also ValueError)
    │   ├── BadMessage           a message that its codec cannot send      (also ValueError)
    │   ├── DelayError           a delay or deadline that is not a time    (also ValueError)
    │   ├── HandlerReused        a handler serves one connection, once     (also RuntimeError)
    │   ├── NotConnected         used before there was a connection        (also RuntimeError)
    │   ├── StreamClosed         written to after close() or end()         (also RuntimeError)
    │   ├── StreamBusy           detached with bytes still queued          (also RuntimeError)
    │   ├── AlreadyRunning       run() inside run()                        (also RuntimeError)
    │   ├── ReactorClosed        used after close()                        (also RuntimeError)
    │   ├── WrongThread          called from a thread that does not run it (also RuntimeError)
    │   ├── ForkedReactor        used in a child process of its own's      (also RuntimeError)
    │   └── Unsupported          this platform or selector cannot do that  (also RuntimeError)
    ├── ListenError              the machine: address in use, no permission…  (also OSError)
    │   └── AddressInUse         somebody is alive behind that address
    ├── ConnectError             the network or the peer: retry, or give up   (also OSError)
    │   ├── ConnectTimeout       nobody answered in time                      (also TimeoutError)
    │   ├── LookupFailed         the resolver: no answer, or a useless one
    │   │   └── NameNotFound     the name: nobody knows it
    │   └── ProxyError           the proxy: it refuses, or speaks another protocol
    ├── PoolFull                 the load: more jobs than the threads' queue holds
    ├── BufferOverflow           the peer: it reads more slowly than we write
    ├── FileShrank               whoever changed a file while it was being sent
    ├── NotSent                  nobody: the connection ended before the bytes had gone
    ├── JournalError             the file: no journal, damaged, or its beginning is lost  (also ValueError)
    ├── FramingError             the peer: its bytes are no messages; refuse them, hang up
    │   ├── FrameTooLong         a message beyond the maximum, or without end
    │   └── FrameTruncated       the end of the input in the middle of a message
    └── IllegalMove              this library: please report it

`ReplayOver` is no `Exception`, so that no `except Exception` of the program that is replayed keeps it: `Divergence`, the
program is not the one that was recorded; `JournalEnded`, what was recorded ends here.

Children of `OSError` keep `errno`. Plain `OSError` never comes out of a hook of the library; it stands in
`CloseReason.error` where the kernel ended a connection.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from reactor.addresses import Address


class ReactorError(Exception):
    """Root of all that this library raises of its own."""


class UsageError(ReactorError):
    """The calling program asked for something that cannot be; the message says what would be right."""


class AddressError(UsageError, ValueError):
    """An address that does not parse, or cannot be used here."""


class BadMessage(UsageError, ValueError):
    """A message that a codec cannot encode: too long, or the peer would take it for something else."""


class DelayError(UsageError, ValueError):
    """A delay, deadline or period that is not a finite number of seconds."""


class HandlerReused(UsageError, RuntimeError):
    """A handler was given a second connection; make a new one for each."""


class NotConnected(UsageError, RuntimeError):
    """A handler was used before it had a connection; wait for `on_connect`."""


class StreamClosed(UsageError, RuntimeError):
    """A stream was written to after the program itself had called `close`, `abort` or `end`."""


class StreamBusy(UsageError, RuntimeError):
    """A stream with queued bytes was detached; wait until `buffered` is 0."""


class AlreadyRunning(UsageError, RuntimeError):
    """`run`, `run_once` or `run_until` was called while the reactor runs."""


class ReactorClosed(UsageError, RuntimeError):
    """The reactor was used after its `close`."""


class WrongThread(UsageError, RuntimeError):
    """A call came from a thread that does not run the reactor; go through `call_threadsafe`."""


class ForkedReactor(UsageError, RuntimeError):
    """A reactor was used in a forked child of the process that made it; `close` it there, or `reinit_after_fork`."""


class Unsupported(UsageError, RuntimeError):
    """This platform, or the chosen selector, cannot do what was asked."""


class ListenError(ReactorError, OSError):
    """A listening socket could not be made; `errno` says why."""


class AddressInUse(ListenError):
    """Another socket is alive behind the address that was asked for."""


def as_os_error(error: Exception) -> OSError:
    """Return *error*, or an `OSError` that says the same."""
    return error if isinstance(error, OSError) and error.strerror else OSError(None, str(error))


@attrs.frozen
class Attempt:
    """One address that was tried, or one name that was looked up: what was answered, and after how many seconds."""

    address: Address
    error: OSError
    elapsed: float


class ConnectError(ReactorError, OSError):
    """No connection came about; `attempts` holds each address that was tried, in the order in which they were begun."""

    attempts: tuple[Attempt, ...] = ()
    #: Addresses whose turn had not come before the deadline.
    untried: tuple[Address, ...] = ()
    #: What it was busy with when it ended: "lookup", "connect" or "proxy".
    phase: str = "connect"


class ConnectTimeout(ConnectError, TimeoutError):
    """No connection came about before the deadline."""


class LookupFailed(ConnectError):
    """A name could not be looked up: the resolver did not answer, or could not; trying again later may help."""

    phase = "lookup"


class NameNotFound(LookupFailed):
    """There is no such name, or it has no address of the family that was asked for."""


class ProxyError(ConnectError):
    """A proxy was reached and did not connect; `reply` is what it said: an HTTP status, a SOCKS reply code, or None."""

    phase = "proxy"
    reply: int | None = None


class PoolFull(ReactorError):
    """Threads have more to do than their queue may hold; start less at once, or allow a longer queue."""


class BufferOverflow(ReactorError):
    """More was queued for a slow peer than `Limits.hard` allows; the connection was aborted."""


class FileShrank(ReactorError):
    """A file that was being sent has become shorter than it was; the connection was aborted, since the rest cannot come."""


class NotSent(ReactorError):
    """What `on_sent` hears when the bytes will never be sent, and no other error says why."""


class JournalError(ReactorError, ValueError):
    """A file that is no journal, is damaged, or has lost its beginning, so that it cannot be replayed."""


class FramingError(ReactorError):
    """What the peer sent cannot be cut into messages; there is no telling where the next one would begin."""


class FrameTooLong(FramingError):
    """The peer's message is longer than the codec's `maximum`. If the peer is right, raise that."""


class FrameTruncated(FramingError):
    """The peer ended in the middle of a message; so what it sent last is not known."""


class IllegalMove(ReactorError):
    """A life cycle was asked for a move that its table does not have: a bug in this library."""


class ReplayOver(BaseException):
    """A replay cannot go on; it leaves the program as `SystemExit` would."""


class Divergence(ReplayOver):
    """The program did something else than what was recorded; the message says where, and what it should have been."""


class JournalEnded(ReplayOver):
    """The journal ends before the program does: the recorded process was killed, or is running still."""


class CloseKind(Enum):
    """How a connection ended."""

    LOCAL_CLOSE = "closed by this side; everything that was queued has been sent"
    LOCAL_ABORT = "aborted by this side"
    PEER_END = "ended by the peer first, then closed; everything that was queued has been sent"
    RESET = "reset by the peer"
    TIMEOUT = "a deadline passed"
    ERROR = "the kernel, the connect attempt or the peer failed"
    HANDLER_ERROR = "a hook of this handler raised"
    SHUTDOWN = "the reactor was closed or shut down"


@attrs.frozen
class CloseReason:
    """Why a handler was closed: its `kind`, and the `error` behind it where there is one."""

    kind: CloseKind
    error: BaseException | None = None

    def __str__(self) -> str:
        return self.kind.value if self.error is None else f"{self.kind.value}: {self.error}"


LOCAL_CLOSE = CloseReason(CloseKind.LOCAL_CLOSE)
LOCAL_ABORT = CloseReason(CloseKind.LOCAL_ABORT)
PEER_END = CloseReason(CloseKind.PEER_END)
SHUTDOWN = CloseReason(CloseKind.SHUTDOWN)
