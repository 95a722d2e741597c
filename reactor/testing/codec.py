"""Codec: bytes in, messages out, without sockets; and `check_codec`, which finds out whether one keeps its promises.

What a user's codec does with its bytes is not known here: it is made, fed, and watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Protocol, TypeVar

import attrs

from reactor.errors import UsageError
from reactor.testing.splits import BYTE_BY_BYTE, EFFORT, Cuts, Effort, name_of, named, pieces, splits
from reactor.testing.verdicts import BrokenContract

Message = TypeVar("Message")
Message_co = TypeVar("Message_co", covariant=True)

#: An endless message is fed until it is so many times as long as the codec's limit.
ENDLESS_LIMITS = 4
#: Of the messages so far, a failure shows these.
SHOWN_MESSAGES_MAX = 8


class Codec(Protocol[Message_co]):
    """What `check_codec` takes, and a handler feeds from `on_data`.

    A codec may have two attributes more. `limit`: how many bytes of an unfinished message it holds at most; what is longer
    is an error. `buffered`: how many it holds now; where there is none, the bytes in its fields are counted.
    """

    def feed(self, data: bytes, /) -> Iterable[Message_co]:
        """Take *data*, at least one byte, cut anywhere; return the messages that are whole now, or yield them one by one.

        Where the input is wrong it raises, after the messages before that place, and gives no more for whatever it is fed.
        """
        ...


def check_codec(
    make: Callable[[], Codec[Message]],
    stream: bytes,
    *,
    merge: Callable[[list[Message]], object] | None = None,
    endless: bytes = b"",
    effort: Effort = EFFORT,
) -> list[Message]:
    """Feed codecs from *make* with *stream*, cut in every way, and compare what they give, and when.

    - After so many bytes the same messages have come, however these were cut; none comes late.
    - An error comes with the same byte, and after the same messages; after it comes nothing.
    - A message that was given does not change any more.
    - No more than `limit` bytes are held, if the codec has a limit.

    Args:
        make: a class, a partial, any callable that returns a new codec.
        stream: some messages; may end in the middle of one, or in what is wrong.
        merge: for messages that are themselves cut where the input is, such as pieces of a body: turns those so far into
            something that can be compared.
        endless: bytes that, repeated, are one message without end.
        effort: how much is tried.

    Returns:
        the messages.

    Raises:
        BrokenContract: a promise is not kept.
        UsageError: *endless* is given, and the codec has no limit.
    """
    __tracebackhide__ = True
    check = _Check(make, stream, merge)
    reference = check.reference()
    wanted = splits(len(stream), effort) if effort.only is None else [named(effort.only, len(stream))]
    for cuts in [(), *wanted]:
        check.try_split(cuts)
    if endless:
        check.try_endless(endless)
    return reference


@attrs.define(eq=False)
class _Fed:
    """A codec, what it has given so far, and what it has raised."""

    codec: Codec[Any]
    empty: int
    messages: list[Any] = attrs.field(factory=list, init=False)
    error: Exception | None = attrs.field(default=None, init=False)
    _copies: list[tuple[int, bytes]] = attrs.field(factory=list, init=False)  # of what can be changed

    def feed(self, data: bytes) -> None:
        try:
            for message in self.codec.feed(data):
                if isinstance(message, (bytearray, memoryview)):
                    self._copies.append((len(self.messages), bytes(message)))
                self.messages.append(message)
        except Exception as error:
            self.error = self.error or error

    @property
    def changed(self) -> str | None:
        """What has become of a message that is not as it was given."""
        for number, copy in self._copies:
            if self.messages[number] != copy:  # a view that was released is equal to nothing
                return f"it gave {copy!r}, which has become {self.messages[number]!r}"
        return None

    @property
    def held(self) -> int:
        """How many bytes it holds."""
        buffered = getattr(self.codec, "buffered", None)
        return buffered if isinstance(buffered, int) else held_bytes(self.codec) - self.empty

    @property
    def limit(self) -> int | None:
        limit: int | None = getattr(self.codec, "limit", None)
        return limit


@attrs.define(eq=False)
class _Check:
    make: Callable[[], Codec[Any]]
    stream: bytes
    merge: Callable[[list[Any]], object] | None
    #: Fed byte by byte, it has given these.
    _messages: list[Any] = attrs.field(factory=list, init=False)
    #: How many of them had come after so many bytes, and the class of the error.
    _after: list[tuple[int, type[Exception] | None]] = attrs.field(factory=list, init=False)

    def reference(self) -> list[Any]:
        """Feed byte by byte, and remember what came when."""
        __tracebackhide__ = True
        fed = self._new()
        self._after.append((0, None))
        for place in range(len(self.stream)):
            self._feed(fed, self.stream[place : place + 1], BYTE_BY_BYTE)
            self._after.append((len(fed.messages), _kind(fed)))
        self._check_end(fed, BYTE_BY_BYTE)
        self._messages = fed.messages[: self._after[-1][0]]
        return self._messages

    def try_split(self, cuts: Cuts) -> None:
        """Feed the stream, cut at *cuts*."""
        __tracebackhide__ = True
        fed, name = self._new(), name_of(cuts, len(self.stream))
        place = 0
        for piece in pieces(self.stream, cuts):
            before = len(fed.messages)
            self._feed(fed, piece, name)
            place += len(piece)
            count, error = self._after[place]
            if (len(fed.messages), _kind(fed)) != (count, error) or fed.messages[before:] != self._messages[before:count]:
                wanted = self._messages[:count]
                if self.merge is None or _kind(fed) is not error or self.merge(fed.messages[:]) != self.merge(wanted[:]):
                    self._fail(
                        name,
                        f"after {place} bytes, the last of which are {piece[-24:]!r}, there were "
                        f"{_shown(fed.messages, _kind(fed))}; {BYTE_BY_BYTE} there were {_shown(wanted, error)}",
                        fed.error,
                    )
        self._check_end(fed, name)

    def try_endless(self, endless: bytes) -> None:
        """Feed a message that never ends, in small pieces and in one."""
        __tracebackhide__ = True
        limit = self._new().limit
        if limit is None:
            raise UsageError("an endless message is for codecs that have a limit")
        times = -(-ENDLESS_LIMITS * (limit + 1) // len(endless))
        for size in (1, times):
            fed, name = self._new(), f"endless, {size * len(endless)} bytes at a time"
            for _ in range(-(-times // size)):
                self._feed(fed, endless * size, name)
                if fed.error is not None:
                    break
            if fed.messages:
                self._fail(name, f"it gave {fed.messages[0]!r}, so the message has an end", fed.error)

    def _new(self) -> _Fed:
        codec = self.make()
        return _Fed(codec, held_bytes(codec))

    def _feed(self, fed: _Fed, data: bytes, name: str) -> None:
        """Feed some more, and see that whoever has raised gives nothing, and that not too much is held."""
        __tracebackhide__ = True
        before, was = len(fed.messages), fed.error
        fed.feed(data)
        if was is not None and len(fed.messages) > before:
            self._fail(name, f"it raised {was!r}, and gave {fed.messages[before]!r} after that", was)
        if fed.limit is not None and fed.held > fed.limit:
            self._fail(name, f"it holds {fed.held} bytes; its limit is {fed.limit}", fed.error)

    def _check_end(self, fed: _Fed, name: str) -> None:
        """Whoever has raised gives nothing more, also for what would be right by itself; and what was given has stayed."""
        __tracebackhide__ = True
        if fed.changed is not None:
            self._fail(name, fed.changed, None)
        if fed.error is not None:
            self._feed(fed, self.stream, name)

    def _fail(self, name: str, message: str, cause: Exception | None) -> None:
        __tracebackhide__ = True
        make = getattr(self.make, "__name__", repr(self.make))
        again = "" if name.startswith("endless") else f"\nto rerun: check_codec({make}, …, effort=Effort(only={name!r}))"
        raise BrokenContract(f"{make}, {name}: {message}{again}") from cause


def _kind(fed: _Fed) -> type[Exception] | None:
    return None if fed.error is None else type(fed.error)


def _shown(messages: list[Any], error: type[Exception] | None) -> str:
    text = repr(messages[-SHOWN_MESSAGES_MAX:])
    more = f"{len(messages)} messages, the last of which are " if len(messages) > SHOWN_MESSAGES_MAX else ""
    return f"{more}{text}{'' if error is None else f' and {error.__name__}'}"


_NO_FIELDS = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)


def held_bytes(thing: object) -> int:
    """Return how many bytes are in *thing*: in what it is, has in its fields, or contains, each object once."""
    found, stack, seen = 0, [thing], set()
    while stack:
        each = stack.pop()
        if id(each) in seen or isinstance(each, _NO_FIELDS):
            continue
        seen.add(id(each))
        if isinstance(each, (bytes, bytearray)):
            found += len(each)
        elif isinstance(each, memoryview):
            found += each.nbytes
        elif isinstance(each, Mapping):
            stack += [*each.keys(), *each.values()]
        elif isinstance(each, Iterable) and not isinstance(each, (str, Iterator)):
            stack += list(each)
        else:
            stack += _fields(each)
    return found


def _fields(thing: object) -> list[object]:
    names = {*getattr(thing, "__dict__", ())}
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        names.update([slots] if isinstance(slots, str) else slots)
    return [getattr(thing, name) for name in names if hasattr(thing, name)]
