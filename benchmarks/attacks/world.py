"""The place of one trial: what a command may write, what it must leave alone, and what went wrong in it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.attacks.processes import BYTES, Ended, Watched, command, fresh
from benchmarks.attacks.targets import Targets

CATEGORIES = ("code run", "writes outside", "tracebacks", "hangs", "memory", "lost or differing")

RESULTS = ("config.toml", "architecture.json", "weights.safetensors", "summary.json")
"""What must outlive every command that fails."""

_LONGEST_LINE = 11_000
"""Characters of an error that may repeat a long name twice."""

Fault = tuple[str, str]
"""A category and what was seen."""


@dataclass(eq=False)
class World:
    """A folder with all that one trial needs.

    Attributes:
        root: The folder.
        targets: What is attacked, to copy from.
        notes: What was done, in words.
        faults: What went wrong.
    """

    root: Path
    targets: Targets
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.cwd, self.home, self.root / "tmp", self.logs, self.outside / "folder" / "inner"):
            folder.mkdir(parents=True)
        for name in ("secret.txt", "folder/first.txt", "folder/inner/second.txt"):
            (self.outside / name).write_text(f"canary {name}\n")
        shutil.copy(self.targets.data, self.cwd / "tiny.npz")

    @property
    def cwd(self) -> Path:
        """Where commands run."""
        return self.root / "cwd"

    @property
    def run(self) -> Path:
        """The run folder that is attacked."""
        return self.cwd / "run"

    @property
    def outside(self) -> Path:
        """What no command may change."""
        return self.root / "outside"

    @property
    def home(self) -> Path:
        """The home folder of commands."""
        return self.root / "home"

    @property
    def logs(self) -> Path:
        """What commands print."""
        return self.root / "logs"

    @property
    def marker(self) -> Path:
        """A file that exists once planted code was run."""
        return self.root / "ran"

    def environment(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """Of commands; None takes a variable away."""
        given: dict[str, str | None] = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "TMPDIR": str(self.root / "tmp"),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "MPLCONFIGDIR": str(self.targets.matplotlib),  # or else fonts are looked for, for seconds
            **(changes or {}),
        }
        return {name: value for name, value in given.items() if value is not None}

    def start(
        self,
        arguments: Sequence[str] | Callable[[], int | None],
        *,
        is_fresh: bool = False,
        figures: bool = True,
        changes: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        **options: Any,
    ) -> Watched:
        """Starts a command: a command line or a function, forked or in an interpreter of its own."""
        environment = self.environment(changes)
        if callable(arguments):
            body = arguments
        elif is_fresh:
            body = fresh(arguments, environment)
        else:
            body = command(arguments, figures=figures)
        return Watched(body, cwd=cwd or self.cwd, logs=self.logs, environment=environment, **options)

    def note(self, words: str) -> None:
        """Tells what was done."""
        self.notes.append(words)

    def fault(self, category: str, words: str) -> None:
        """Tells what went wrong."""
        assert category in CATEGORIES
        self.faults.append((category, " ".join(words.split()).replace(str(self.root), "…")[:400]))

    def judge(self, ended: Ended, *, codes: Sequence[int] = (0, 2)) -> Ended:
        """Notes what is wrong in the end of a process itself.

        Args:
            ended: Of the process.
            codes: How it may end.
        """
        if ended.hung:
            self.fault("hangs", f"more than {ended.seconds:.0f} s: {_last(ended.err)}")
        elif ended.bloated or ended.peak > BYTES:
            self.fault("memory", f"{ended.peak / 1024**3:.1f} GB, exit code {ended.code}: {_last(ended.err)}")
        elif odd := oddity(ended, codes):
            self.fault("tracebacks", odd)
        return ended

    def look_for_code(self) -> None:
        """Notes planted code that was run."""
        if self.marker.exists():
            names = " ".join(sorted(set(self.marker.read_text(errors="replace").split())))
            self.fault("code run", names)
            self.marker.unlink()

    def planted(self, name: str) -> str:
        """Python code that tells that it was run."""
        return f"with open({str(self.marker)!r}, 'a') as file:\n    file.write({name!r} + '\\n')\n"

    def snapshot(self, *may_write: Path) -> dict[str, tuple[Any, ...]]:
        """All that lies here, but for what a command may write."""
        left_out = {str(path) for path in (self.logs, self.home, self.root / "tmp", self.marker, *may_write)}
        return dict(_entries(str(self.root), left_out))

    def compare(self, before: Mapping[str, tuple[Any, ...]], *may_write: Path) -> None:
        """Notes what was written elsewhere since a snapshot."""
        after = self.snapshot(*may_write)
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                kind = "created" if name not in before else "deleted" if name not in after else "changed"
                self.fault("writes outside", f"{kind} {Path(name).relative_to(self.root)}")
                return

    def results(self, folder: Path | None = None) -> dict[str, bytes]:
        """The files of a run that must outlive a command that fails, those that are there."""
        folder = folder or self.run
        found = {}
        for name in RESULTS:
            path = folder / name
            if not path.is_symlink() and path.is_file() and path.stat().st_size < 10_000_000:
                found[name] = path.read_bytes()
        return found


def oddity(ended: Ended, codes: Sequence[int]) -> str:
    """What is odd about the end of a process; "" if nothing is."""
    told = f"exit code {ended.code}: {_last(ended.err)}"
    for sign in ("Traceback (most recent call last)", "Exception ignored", "Fatal Python error", "Segmentation fault"):
        if sign in ended.err:
            return f"{sign.split(' (')[0]}, {told}; {_where(ended.err)}"
    if ended.code not in codes:
        return told
    if ended.code == 2:
        lines = ended.err.splitlines()
        if not lines or not lines[-1].startswith("fusenas: "):
            return f"no line of ours is the last one, {told}"
        if sum(line.startswith("fusenas: ") for line in lines) > 1:
            return f"several lines of ours, {told}"
        if len(lines[-1]) > _LONGEST_LINE:
            return f"a line of {len(lines[-1])} characters, {told}"
    return ""


def _where(err: str) -> str:
    """The last place of our own code in a traceback."""
    places = re.findall(r'/((?:nas|search_spaces)/[\w/]+|cli)\.py", line (\d+)', err)
    return " line ".join(places[-1]) if places else "none of our lines"


def _last(err: str) -> str:
    return (err.strip().splitlines() or ["nothing said"])[-1][:200]


def _entries(root: str, left_out: set[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for entry in os.scandir(root):
        if entry.path in left_out:
            continue
        about = entry.stat(follow_symlinks=False)
        if entry.is_symlink():
            yield entry.path, ("link", str(Path(entry.path).readlink()))
        elif stat.S_ISDIR(about.st_mode):
            # Times of a folder tell files that came and went; where one of ours lies in it, they must change.
            inside = any(path.startswith(entry.path + os.sep) for path in left_out)
            yield entry.path, ("folder", stat.S_IMODE(about.st_mode), None if inside else about.st_mtime_ns)
            yield from _entries(entry.path, left_out)
        elif stat.S_ISREG(about.st_mode):
            told = hashlib.sha256(Path(entry.path).read_bytes()).hexdigest() if about.st_size < 10_000_000 else ""
            yield entry.path, ("file", stat.S_IMODE(about.st_mode), about.st_size, about.st_mtime_ns, told)
        else:
            yield entry.path, ("other", stat.S_IFMT(about.st_mode))
