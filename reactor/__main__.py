"""Record a program, replay it without a network, show what was recorded; or trace it.

    python -m reactor record [--ring MB] [--dump-on SIGNAL] JOURNAL PROGRAM [ARGUMENT...]
    python -m reactor replay [--stop-at RECORD] JOURNAL PROGRAM [ARGUMENT...]
    python -m reactor show JOURNAL
    python -m reactor trace [--out FILE] PROGRAM [ARGUMENT...]

PROGRAM is a file, or -m MODULE. It is run in this process, as `python PROGRAM` would run it.
"""

from __future__ import annotations

import argparse
import bdb
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

from reactor import tracing
from reactor.errors import JournalEnded, JournalError, ReplayOver
from reactor.program import run_program
from reactor.system import System
from reactor.testing.recorder import Recorder
from reactor.testing.replayer import Replayer
from reactor.testing.tape import lines, read_header, read_records

MEGABYTE = 1024 * 1024


def signal_number(text: str) -> int:
    """Return a signal's number, given that or a name, with SIG or without.

    Raises:
        ValueError: no such signal.
    """
    if text.isdecimal():
        return signal.Signals(int(text))
    name = text.upper()
    found = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
    if not isinstance(found, signal.Signals):
        raise ValueError(f"no signal {text}")  # noqa: TRY004  # argparse wants this one
    return found


def megabytes(text: str) -> int:
    """Return *text*, a number of megabytes above 0, in bytes.

    Raises:
        ValueError: it is none.
    """
    size = int(float(text) * MEGABYTE)
    if size <= 0:
        raise ValueError("not above 0")
    return size


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return what is to be done."""
    parser = argparse.ArgumentParser(
        prog="python -m reactor", description="Record a program, and replay it under a debugger; or trace it."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="run a program, and write what the operating system answers to a journal")
    record.add_argument(
        "--ring",
        type=megabytes,
        metavar="MB",
        help="keep only the end, in memory; it is written when user code raises, on a signal, or when the program fails",
    )
    record.add_argument(
        "--dump-on", type=signal_number, metavar="SIGNAL", help="with --ring: write the journal on this signal"
    )
    replay = commands.add_parser("replay", help="run a program again, with no network, on what a journal says")
    replay.add_argument("--stop-at", type=int, metavar="RECORD", help="enter the debugger when this record has been taken")
    show = commands.add_parser("show", help="print a journal, a line for each record")
    trace = commands.add_parser("trace", help="run a program, and write what its reactors do to a file for ui.perfetto.dev")
    tracing.add_arguments(trace)
    for command in (record, replay, show):
        command.add_argument("journal", metavar="JOURNAL")
    for command in (record, replay, trace):
        command.add_argument(
            "program", nargs=argparse.REMAINDER, metavar="PROGRAM", help="a file, or -m MODULE; and arguments"
        )
    options = parser.parse_args(arguments)
    if options.command != "show":
        if not options.program or options.program == ["-m"]:
            parser.error("which program? a file, or -m MODULE")
        if options.program[0] != "-m" and not os.path.exists(options.program[0]):
            parser.error(f"{options.program[0]}: no such program")
    return options


@contextlib.contextmanager
def default_system(system: System) -> Iterator[None]:
    """Give *system* to every reactor that is given none."""
    before = System.default
    System.default = lambda: system
    try:
        yield
    finally:
        System.default = before


def record(options: argparse.Namespace) -> int:
    """Run the program on a recorder."""
    with complaints():
        recorder = Recorder(options.journal, ring_bytes=options.ring, dump_on=options.dump_on)
    with recorder:
        try:
            with default_system(recorder):
                return run_program(options.program)
        except BaseException:
            recorder.dump()
            raise
        finally:
            if recorder.tape.error is not None:
                print(f"reactor: the journal ends early: {recorder.tape.error}", file=sys.stderr)


def replay(options: argparse.Namespace) -> int:
    """Run the program on a replayer; return its exit status, or 1 if it does not do what was recorded."""
    with complaints():
        replayer = Replayer(options.journal, stop_at=options.stop_at, on_stop=debugger)
    with replayer:
        try:
            with default_system(replayer):
                status = run_program(options.program)
            replayer.finish()
        except JournalEnded as ended:
            print(f"reactor: {ended}", file=sys.stderr)
            return 0
        except ReplayOver as over:
            if was_quit(over):
                return 1
            print(f"reactor: {over}\nrecorded with {replayer.header}", file=sys.stderr)
            return 1
        return status


def was_quit(error: BaseException | None) -> bool:
    """Tell whether somebody has quit the debugger, which is an exception to the program and makes it leave the journal."""
    while error is not None:
        if isinstance(error, bdb.BdbQuit):
            return True
        error = error.__context__
    return False


def debugger() -> None:
    """Enter the debugger in the nearest caller that is not the replay's own, as soon as that goes on."""
    import pdb  # noqa: T100  # the debugger is what was asked for

    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("reactor.testing"):
        frame = frame.f_back
    pdb.Pdb(skip=["reactor.testing.*"]).set_trace(frame)


def show(options: argparse.Namespace) -> int:
    """Print the journal."""
    with contextlib.ExitStack() as opened:
        with complaints():
            file = opened.enter_context(open(options.journal, "rb"))
            header = read_header(file, options.journal)
        try:
            print(header)
            for line in lines(read_records(file), header.lost):
                print(line)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads has seen enough; nor shall Python complain of it at exit
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
    return 0


@contextlib.contextmanager
def complaints() -> Iterator[None]:
    """End with status 2 if a journal cannot be opened."""
    try:
        yield
    except (JournalError, OSError) as error:
        print(f"reactor: {error}", file=sys.stderr)
        raise SystemExit(2) from None


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "record": record,
    "replay": replay,
    "show": show,
    "trace": tracing.trace,
}


def main(arguments: list[str] | None = None) -> int:
    """Do what is asked; return the exit status."""
    options = parse(arguments)
    return COMMANDS[options.command](options)


if __name__ == "__main__":
    sys.exit(main())
