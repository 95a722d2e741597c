"""The journal file: a header, then blocks of records, each with its length and checksum.

Knows how records are kept, not what they mean: see `recorder` and `replayer`. A record is one float, a reading of the
monotonic clock, or a tuple `(operation, fd, asked, answer)`; a fifth element, `(kind, arguments)`, is an exception.
The blocks are `marshal`, which is several times as fast as anything else in the stdlib and must not be fed by strangers:
open journals that you trust.
"""

from __future__ import annotations

import marshal
import os
import platform
import sys
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, TypeAlias

import attrs

from reactor.errors import JournalError

Record: TypeAlias = "float | tuple[Any, ...]"

MAGIC = b"reactor journal\n"
#: Changes whenever a journal of before can no longer be read.
FORMAT = 1
#: Of marshal; 4 is written and read by every Python from 3.4 on, and keeps a string that comes again as a reference.
_MARSHAL = 4
#: Records that make up a block.
BLOCK_RECORDS = 1000
_HEAD_BYTES = 8


@attrs.frozen(kw_only=True)
class Header:
    """What a journal says of itself."""

    python: str = attrs.field(factory=platform.python_version)
    platform: str = sys.platform
    library: str = ""
    argv: list[str] = attrs.field(factory=lambda: list(sys.argv))
    #: Records that were dropped before the first one that is here.
    lost: int = 0

    def __str__(self) -> str:
        lost = f"; the first {self.lost} records are lost" if self.lost else ""
        return f"Python {self.python} on {self.platform}, reactor {self.library}: {' '.join(self.argv)}{lost}"


def block(data: bytes) -> bytes:
    """Return *data* with its length and checksum."""
    return len(data).to_bytes(4, "little") + zlib.crc32(data).to_bytes(4, "little") + data


def pack(records: list[Record]) -> bytes:
    """Return a block of *records*."""
    try:
        return block(marshal.dumps(records, _MARSHAL))
    except ValueError:  # something among the arguments is of no plain type
        return block(marshal.dumps([_plain(record) for record in records], _MARSHAL))


def _plain(value: Any) -> Any:
    """Return *value* with whatever cannot be written replaced by its text."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, int):
        return int(value)
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else repr(value)


@attrs.define(eq=False)
class TapeWriter:
    """Writes a journal, or keeps the end of one in memory.

    Args:
        path: the file; written from the beginning.
        ring_bytes: keep no more than so many bytes, in memory, and write them on `dump`. None: write everything.

    Raises:
        OSError: the file cannot be written. Later errors end the journal, and nothing else; see `error`.
    """

    path: str
    ring_bytes: int | None = None
    header: Header = attrs.field(factory=Header)
    #: What is not in a block yet. Anybody appends.
    pending: list[Record] = attrs.field(init=False, factory=list)
    append: Callable[[Record], None] = attrs.field(init=False, repr=False)
    #: Why nothing is written any more, if so.
    error: OSError | None = attrs.field(init=False, default=None)
    _file: IO[bytes] | None = attrs.field(init=False, default=None)
    _pid: int = attrs.field(init=False, factory=os.getpid)
    _ring: deque[tuple[int, bytes]] = attrs.field(init=False, repr=False, factory=deque)
    _ring_size: int = attrs.field(init=False, default=0)
    _lost: int = attrs.field(init=False, default=0)
    _flushing: threading.Lock = attrs.field(init=False, repr=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self.append = self.pending.append
        if self.ring_bytes is None:
            self._file = open(self.path, "wb", buffering=0)  # noqa: SIM115  # open as long as this object
            try:
                self._file.write(self._beginning())
            except BaseException:
                self._file.close()
                raise

    def flush(self) -> None:
        """Make a block of what is pending, and write it, or keep it in the ring; unless that is under way already."""
        if self._flushing.acquire(blocking=False):  # else a signal handler has struck right here, or a thread is first
            try:
                self._flush()
            finally:
                self._flushing.release()

    def _flush(self) -> None:
        count = len(self.pending)
        # A copy, then a cut of just that: a thread or a signal handler may append in between.
        records = self.pending[:count]
        del self.pending[:count]
        if not count or os.getpid() != self._pid:  # a child of fork writes nothing into its parent's journal
            return
        if self.ring_bytes is not None:
            self._keep(count, pack(records), self.ring_bytes)
        elif self._file is not None:
            try:
                self._file.write(pack(records))
            except OSError as error:  # a full disk does not stop a server
                self.error = error
                self._file.close()
                self._file = None

    def dump(self) -> None:
        """Write the file, from what is in the ring; without one, what is pending. The file appears whole, or not at all."""
        self.flush()
        if self.ring_bytes is None:
            return
        part = f"{self.path}.part"
        with open(part, "wb") as file:
            file.write(self._beginning())
            file.writelines(data for _, data in list(self._ring))
        os.replace(part, self.path)

    def close(self) -> None:
        """Write what is pending; nothing is written any more. Closing twice is allowed."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _beginning(self) -> bytes:
        header = attrs.asdict(attrs.evolve(self.header, lost=self._lost))
        return MAGIC + bytes([FORMAT]) + block(marshal.dumps(header, _MARSHAL))

    def _keep(self, count: int, data: bytes, most: int) -> None:
        self._ring.append((count, data))
        self._ring_size += len(data)
        while self._ring_size > most and len(self._ring) > 1:
            lost, oldest = self._ring.popleft()
            self._lost += lost
            self._ring_size -= len(oldest)


def read_header(file: IO[bytes], path: str) -> Header:
    """Return the header of a journal; *file* is then at its first block.

    Raises:
        JournalError: it is no journal, or none that this version can read.
    """
    if file.read(len(MAGIC)) != MAGIC:
        raise JournalError(f"{path} is no journal")
    version = file.read(1)
    if version != bytes([FORMAT]):
        raise JournalError(f"{path} has format {version.hex() or 'none'}; this version reads {FORMAT:02x}")
    data = _read_block(file)
    if data is None:
        raise JournalError(f"{path} ends within its header")
    return Header(**marshal.loads(data))  # noqa: S302  # see the module's docstring


def read_records(file: IO[bytes]) -> Iterator[Record]:
    """Iterate over the records up to the end, or to the first block that is not whole."""
    while (data := _read_block(file)) is not None:
        yield from marshal.loads(data)  # noqa: S302


def _read_block(file: IO[bytes]) -> bytes | None:
    head = file.read(_HEAD_BYTES)
    size, checksum = int.from_bytes(head[:4], "little"), int.from_bytes(head[4:], "little")
    data = file.read(size) if len(head) == _HEAD_BYTES else b""
    return data if len(data) == size and data and zlib.crc32(data) == checksum else None


# Records as text


def describe(record: Record) -> str:
    """Return one record as a line for people."""
    if isinstance(record, float):
        return f"monotonic -> {record!r}"
    operation, fd, asked, answer, *error = record
    line = str(operation)
    if fd is not None:
        line += f" fd {fd}"
    if asked is not None:
        line += f" {_short(asked)}"
    if error:
        kind, arguments = error[0]
        return f"{line} -> {kind}: {', '.join(map(str, arguments))}"
    return line if answer is None else f"{line} -> {_answer_text(operation, answer)}"


def _answer_text(operation: str, answer: Any) -> str:
    if operation == "select":
        words = {1: "read", 2: "write", 3: "read+write"}
        return ", ".join(f"{ready >> 2} {words[ready & 3]}" for ready in answer) or "nothing"
    return _short(answer)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:80]}... ({len(value) if isinstance(value, bytes) else len(text)})"


def lines(records: Iterable[Record], first: int = 0) -> Iterator[str]:
    """Iterate over lines for people: each record's number, its moment since the first reading of the clock, what it says."""
    began: float | None = None
    now = 0.0
    for number, record in enumerate(records, first):
        if isinstance(record, float):
            began = record if began is None else began
            now = record - began
        yield f"{number:8} {now:12.6f} {describe(record)}"
