"""The journal file: what goes in comes out, whatever happens to the file in between."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from reactor.testing import JournalError
from reactor.testing.tape import BLOCK_RECORDS, Header, Record, TapeWriter, describe, lines, read_header, read_records


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run.journal")


def contents(path: str) -> tuple[Header, list[Record]]:
    with open(path, "rb") as file:
        return read_header(file, path), list(read_records(file))


RECORDS: list[Record] = [1.5, ("recv", 5, 65536, b"x"), ("send", 5, 1, None, ("OSError", (11, "later")))]


def test_what_is_written_is_read(path: str) -> None:
    """Header and records come back equal, in order; a journal may be closed twice."""
    tape = TapeWriter(path, None, Header(library="1", argv=["program", "argument"]))
    for record in RECORDS:
        tape.append(record)
    tape.flush()
    tape.flush()
    tape.append(2.5)
    tape.close()
    tape.close()
    header, records = contents(path)
    assert records == [*RECORDS, 2.5]
    assert header == tape.header
    assert str(header).endswith("reactor 1: program argument")


@pytest.mark.parametrize("missing", [1, 10])
def test_a_block_that_is_not_whole_ends_the_journal(path: str, missing: int) -> None:
    """The process was killed while it wrote: everything before that block is there."""
    tape = TapeWriter(path)
    tape.append(1.0)
    tape.flush()
    tape.append(2.0)
    tape.close()
    os.truncate(path, os.path.getsize(path) - missing)
    assert contents(path)[1] == [1.0]


def test_a_damaged_block_ends_the_journal(path: str) -> None:
    """A byte that has changed is found by the checksum, and nothing is made of it."""
    tape = TapeWriter(path)
    tape.append(1.0)
    tape.close()
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    assert contents(path)[1] == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no journal"),
        (b"#!/usr/bin/python\n", "is no journal"),
        (b"reactor journal\n", "has format none"),
        (b"reactor journal\n\x63", "has format 63"),
        (b"reactor journal\n\x01\x05\0\0\0", "ends within its header"),
    ],
)
def test_other_files_are_refused(path: str, data: bytes, message: str) -> None:
    """What is no journal, or one of another format, is said to be that."""
    Path(path).write_bytes(data)
    with pytest.raises(JournalError, match=message):
        contents(path)


def test_a_ring_keeps_the_end(path: str) -> None:
    """Only the last bytes are kept, nothing is written before the dump, and the header says how much is lost."""
    tape = TapeWriter(path, ring_bytes=20_000)
    for number in range(20):
        for _ in range(BLOCK_RECORDS):
            tape.append(float(number))
        tape.flush()
    assert not os.path.exists(path)
    tape.dump()
    header, records = contents(path)
    assert records[-1] == 19.0
    assert 0 < len(records) < 20 * BLOCK_RECORDS
    assert header.lost + len(records) == 20 * BLOCK_RECORDS
    assert f"the first {header.lost} records are lost" in str(header)
    tape.append(20.0)
    tape.dump()
    assert contents(path)[1][-1] == 20.0
    assert os.listdir(os.path.dirname(path)) == ["run.journal"]


def test_a_ring_that_was_never_full_has_lost_nothing(path: str) -> None:
    """Such a journal is whole."""
    tape = TapeWriter(path, ring_bytes=1_000_000)
    tape.append(1.0)
    tape.close()
    assert not os.path.exists(path)
    tape.dump()
    assert contents(path) == (tape.header, [1.0])


def test_a_dump_without_a_ring_writes_what_is_pending(path: str) -> None:
    """After it, the file has everything."""
    tape = TapeWriter(path)
    tape.append(1.0)
    tape.dump()
    assert contents(path)[1] == [1.0]
    tape.close()


class Odd:
    """An argument of no plain type, whose text is asked for in the middle of a flush."""

    def __init__(self, tape: TapeWriter) -> None:
        self.tape = tape

    def __repr__(self) -> str:
        self.tape.append(9.0)
        self.tape.flush()
        return "<odd>"


def test_arguments_of_any_type_can_be_written(path: str) -> None:
    """Enums become numbers, buffers bytes, anything else its text; and what comes during a flush waits for the next one."""
    tape = TapeWriter(path)
    tape.append(1.0)
    tape.append(("socket", None, (socket.AF_INET, bytearray(b"x"), memoryview(b"y"), None, Odd(tape)), True))
    tape.flush()
    tape.close()
    assert contents(path)[1] == [1.0, ("socket", None, (2, b"x", b"y", None, "<odd>"), True), 9.0]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_journal_that_cannot_be_begun_is_an_error() -> None:
    """On a full disk nothing starts that would not be recorded."""
    with pytest.raises(OSError, match="No space"):
        TapeWriter("/dev/full")


def test_a_disk_that_fills_up_ends_the_recording_and_nothing_else(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that is recorded goes on; the recorder knows why there is no more."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    tape = TapeWriter(path)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path), before[1]))
        tape.append(1.0)
        tape.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert tape.error is not None
    assert tape.error.errno == errno.EFBIG
    tape.append(2.0)
    tape.flush()
    tape.close()
    assert contents(path)[1] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_writes_nothing_into_its_parents_journal(path: str) -> None:
    """What was pending when the process forked is written once, by the one who has recorded it."""
    tape = TapeWriter(path)
    tape.append(1.0)
    child = os.fork()
    if not child:  # pragma: no cover
        tape.flush()
        os._exit(0)
    os.waitpid(child, 0)
    tape.close()
    assert contents(path)[1] == [1.0]


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (1.5, "monotonic -> 1.5"),
        (("enter", None, None, None), "enter"),
        (("close", 5, None, None), "close fd 5"),
        (("recv", 5, 65536, b"x"), "recv fd 5 65536 -> b'x'"),
        (("recv", 5, 65536, b"x" * 65536), f"recv fd 5 65536 -> b'{'x' * 78}... (65536)"),
        (("unlink", None, "/" + "p" * 200, None), f"unlink '/{'p' * 78}... (203)"),
        (("send", 5, 1, None, ("OSError", (32, "Broken pipe"))), "send fd 5 1 -> OSError: 32, Broken pipe"),
        (("select", None, 2.5, (5 << 2 | 1, 6 << 2 | 2, 7 << 2 | 3)), "select 2.5 -> 5 read, 6 write, 7 read+write"),
        (("select", None, 0.0, ()), "select 0.0 -> nothing"),
    ],
)
def test_records_as_text(record: Any, text: str) -> None:
    """A record reads as what was called and what came of it."""
    assert describe(record) == text


def test_lines_have_numbers_and_moments() -> None:
    """Each line begins with the record's number and the seconds since the first reading of the clock."""
    assert [line.split(maxsplit=2) for line in lines([10.0, ("enter", None, None, None), 11.5], first=7)] == [
        ["7", "0.000000", "monotonic -> 10.0"],
        ["8", "0.000000", "enter"],
        ["9", "1.500000", "monotonic -> 11.5"],
    ]
