"""Programs bound to a core: compile, start, measure from /proc, stop. Linux only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Unusable(Exception):
    """Something that the benchmark needs is missing or does not start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What all processors together have done since boot, in seconds."""

    busy_s: float
    stolen_s: float  # by other guests of a virtual machine's host


@dataclass(slots=True)
class Program:
    """A process of the benchmark; its output goes to `log`."""

    name: str
    command: Sequence[str]
    core: int
    log: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, is_ready: Callable[[], bool], *, within_s: float = 60.0) -> None:
        """Start it and return once `is_ready` says so.

        Raises:
            Unusable: it ended, or was not ready in time.
        """
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                bound(self.command, self.core),
                cwd=ROOT,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + within_s
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Unusable(f"{self.name} does not come up. The end of its output:\n{self.last_words(1500)}")
            time.sleep(0.05)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it stand still meanwhile: what it does in the background would weigh on its neighbours."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def last_words(self, size: int = 300) -> str:
        """Return the end of its output."""
        return self.log.read_text(errors="replace").strip()[-size:]

    def stop(self, *, within_s: float = 40.0) -> None:
        """Ask it to end; kill it when it does not."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def bound(command: Sequence[str], core: int) -> list[str]:
    """Return the command bound to one core."""
    return ["taskset", "-c", str(core), *command]


def compile_programs(directory: Path) -> dict[str, str]:
    """Compile this directory's C programs; return their paths by name.

    Raises:
        Unusable: there is no compiler, or it refuses.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise Unusable(
            "There is no C compiler (cc); the mock provider and the load generator are written in C. "
            "On Debian or Ubuntu: apt-get install gcc libc6-dev"
        )
    built = {}
    for source in sorted(HERE.glob("*.c")):
        target = directory / source.stem
        done = subprocess.run(
            [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(target), str(source)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise Unusable(f"{source.name} does not compile:\n{done.stderr[-2000:]}")
        built[source.stem] = str(target)
    return built


def answers(url: str) -> Callable[[], bool]:
    """Return a check that is true once the URL is served, whatever the status."""

    def check() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    return check


def tree(pid: int) -> list[int]:
    """Return the process and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def cpu_s(pid: int) -> float:
    """Return the user and system time of a process tree, in seconds, to the clock's tick (10 ms)."""
    return sum(int(fields[11]) + int(fields[12]) for one in tree(pid) if (fields := _stat(one))) * _TICK_S


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process tree."""
    pages = 0
    for one in tree(pid):
        if fields := _stat(one):
            pages += int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def machine() -> Machine:
    """Return what the processors have done so far."""
    fields = [int(value) * _TICK_S for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, stolen = fields
    return Machine(busy_s=user + nice + system + irq + softirq, stolen_s=stolen)


def prefer_this_session() -> bool:
    """Ask the kernel to run this process and all that it starts before other work; return whether it agreed."""
    try:
        if os.getsid(0) != os.getpid():
            os.setsid()
        Path("/proc/self/autogroup").write_text("-20")
    except OSError:
        return False
    return True


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on, None when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
