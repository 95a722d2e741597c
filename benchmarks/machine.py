"""What the machine is asked: cores to stay on, processor time and memory of a process, how many descriptors there may be."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import resource
from contextlib import suppress
from pathlib import Path

#: Those whose versions a reader wants to know.
PACKAGES = (
    *("attrs", "uvloop", "Twisted", "tornado", "gevent", "trio", "pyasyncore"),
    *("uvicorn", "granian", "waitress", "gunicorn", "aiohttp"),
)
#: Descriptors that are not for connections.
SPARE_DESCRIPTORS = 100


def cores() -> list[int]:
    """Return the cores that there are for us."""
    return sorted(os.sched_getaffinity(0))


#: Asked before anything is pinned.
CORES = cores()


def pin_server(pid: int = 0) -> None:
    """Have a server stay on the first core. Before it starts: it would see only the core that the load stays on."""
    os.sched_setaffinity(pid, {CORES[0]})


def pin_load() -> None:
    """Stay on the last core, which is another one if there is one."""
    os.sched_setaffinity(0, {CORES[-1]})


def _group(leader: int) -> list[int]:
    """Return the processes of the group that *leader* leads: proc(5), stat, field 5."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[2]) == leader:
                found.append(int(stat.parent.name))
    return found


def cpu_seconds(pid: int, *, group: bool = False) -> float:
    """Return the processor time that a process and its threads have used; with *group*, also its whole process group.

    From schedstat, which counts nanoseconds, where the kernel has it; else from stat, which counts ticks: proc(5).
    """
    used = 0.0
    for one in _group(pid) if group else [pid]:
        for task in Path(f"/proc/{one}/task").glob("*"):
            with suppress(OSError):
                try:
                    used += int((task / "schedstat").read_text().split()[0]) / 1e9
                except FileNotFoundError:
                    fields = (task / "stat").read_text().rpartition(")")[2].split()
                    used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def connections_max(wanted: int) -> int:
    """Return *wanted*, or as many connections as one process may have; the soft limit is raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = soft if hard == resource.RLIM_INFINITY else hard
    return max(1, min(wanted, most - SPARE_DESCRIPTORS))


def is_there(module: str) -> bool:
    """Tell whether a module is installed."""
    return not module or importlib.util.find_spec(module) is not None


def described() -> dict[str, object]:
    """Return what a reader wants to know of the machine."""
    versions = {}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    model = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.platform(),
        "cpu": model[0] if model else platform.processor(),
        "cores": CORES,
        "load_average": os.getloadavg(),
        "packages": versions,
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
