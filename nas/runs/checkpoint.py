"""Where a run keeps what it has trained, so that a stopped one goes on where it was.

Config, data and seed decide a run: it is a fixed sequence of trainings with arithmetic between them. So to resume is to
do the same again, while every training that had ended comes back at once from its file, and the one that was under way
goes on from its last epoch. Nothing else is kept. See `docs/decisions/0005-a-run-resumes-by-doing-it-again.md`.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from nas.config import OutputConfig
from nas.errors import UserError, one_line
from nas.records import plain
from nas.runs.files import Folder
from nas.runs.serialization import pack, unpack

FORMAT_VERSION = 1
EVERY_SECONDS: float = OutputConfig.checkpoint_seconds

MAX_STATE_BYTES = 16 * 1024**3
"""Largest state that is read: that of a network of 1.3 billion weights with its optimizer."""

_RUN_FILE = "run.json"
_MARK = b"fusenas checkpoint 1 "
_END_OF_SEAL = len(_MARK) + 64 + 1


class Checkpoints:
    """The states of a run's trainings, one file each: `with Checkpoints(folder, run) as checkpoints: …`.

    Where the block ends well, the states are removed and the run is noted as finished. Where it is stopped, the newest
    state is written; where the user made a mistake that would come again, it is not.

    Args:
        folder: Of the states; None keeps nothing. Whoever writes them owns it, or the run that it lies in.
        run: All that decides the run, in plain values, to tell it from others; noted in the folder.
        every_seconds: Shortest time between two states of a training that are written; 0 writes each.
        finished: Whether the run has ended well, so that there is nothing to do.

    Attributes:
        ends_at: When trainings have to end, by `now`; infinite without a limit.
        left_out: What was left out to keep the limit, for people.
        control_seconds: That each control without a network may take; infinite without a limit.
    """

    def __init__(
        self,
        folder: Folder | Path | None = None,
        run: Mapping[str, Any] | None = None,
        *,
        every_seconds: float = EVERY_SECONDS,
        finished: bool = False,
    ) -> None:
        self.folder = Folder(folder) if isinstance(folder, Path) else folder
        self.run = dict(run or {})
        self.every_seconds = every_seconds
        self.finished = finished
        self.ends_at = math.inf
        self.left_out: list[str] = []
        self.control_seconds = math.inf
        self._unwritten: tuple[str, bytes] | None = None
        self._written_at = time.monotonic()
        self._seconds_before = 0.0

    def __enter__(self) -> Checkpoints:
        if self.folder is not None:
            self.folder.make()
            self.folder.remove_temporaries()
            self._note(finished=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._unwritten = None
            self._note(finished=True)
            self.remove_states()
        elif not isinstance(error, UserError):
            with suppress(OSError):  # a full disk, say, which is what the error tells already
                self.flush()

    def slot(self, kind: str, *identity: Any) -> Slot:
        """Where one training keeps its state.

        Args:
            kind: Begins the file's name, for people.
            identity: Plain values which, with the run, decide all that comes of it; two trainings of one identity are
                one training.
        """
        if self.folder is None:
            return Slot(self, None, [])
        known = json.loads(json.dumps([kind, *plain(identity)]))
        digest = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
        return Slot(self, f"{kind}-{digest}.state", known)

    def kept(self) -> int:
        """How many trainings have a state on disk."""
        return sum(name.endswith(".state") for name in self.folder.names()) if self.folder is not None else 0

    def now(self) -> float:
        """A clock in seconds that has gone on from where the states that came back were written."""
        return time.perf_counter() + self._seconds_before

    def time_left(self) -> float:
        """Seconds until trainings have to end; infinite without a limit."""
        return self.ends_at - self.now()

    def time_is_up(self) -> bool:
        """Whether trainings have to end."""
        return self.now() >= self.ends_at

    def leave_out(self, words: str) -> None:
        """Notes what was left out to keep the limit."""
        if words not in self.left_out:
            self.left_out.append(words)

    def flush(self) -> None:
        """Writes the newest state, if it is not on disk yet.

        Raises:
            OSError: If it cannot be written, as on a full disk; the state before it stays whole.
        """
        if self._unwritten is not None:
            name, content = self._unwritten
            assert self.folder is not None
            self.folder.write_bytes(name, _seal(content))
            self._unwritten = None
            self._written_at = time.monotonic()

    def put(self, name: str, content: bytes, *, at_once: bool) -> None:
        """Keeps a state in memory, and writes it at once or when its time has come."""
        self._unwritten = (name, content)
        if at_once or time.monotonic() - self._written_at >= self.every_seconds:
            self.flush()

    def count_in(self, seconds: float) -> None:
        """Lets the clock count time that was spent before."""
        self._seconds_before += seconds

    def _note(self, *, finished: bool) -> None:
        if self.folder is not None:
            noted = {"format_version": FORMAT_VERSION, "finished": finished, "run": self.run}
            text = json.dumps(noted, indent=2, allow_nan=False) + "\n"
            self.folder.write_bytes(_RUN_FILE, text.encode())

    def remove_states(self) -> None:
        """Removes what a finished run no longer needs."""
        if self.folder is not None:
            for name in self.folder.names():
                if name != _RUN_FILE and self.folder.is_file(name):
                    self.folder.remove(name)


class Slot:
    """Where one training keeps its state: `restore` before it, `offer` after every epoch, `finish` or `cut` at its end.

    Its records are part of its state, and come again when it does: a log that begins anew holds each record once.

    Attributes:
        finished: Whether the training had ended when what was restored was written.
    """

    def __init__(self, owner: Checkpoints, name: str | None, identity: list[Any]) -> None:
        self.finished = False
        self._owner = owner
        self._name = name
        self._identity = identity
        self._records: list[Mapping[str, Any]] = []
        self._log: Callable[[Mapping[str, Any]], None] = lambda _record: None
        self._began = owner.now()

    def keep(self, log: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
        """The log to use instead of a log, so that its records are kept."""
        self._log = log
        return self._keep

    def _keep(self, record: Mapping[str, Any]) -> None:
        if self._name is not None:
            self._records.append(dict(record))
        self._log(record)

    def seconds(self) -> float:
        """Wall time of the training so far, with that before it was stopped."""
        return self._owner.now() - self._began

    def time_is_up(self) -> bool:
        """See `Checkpoints.time_is_up`."""
        return self._owner.time_is_up()

    def restore(self) -> Mapping[str, Any] | None:
        """The newest state, or None if there is none; its records are logged again, its time is counted in.

        Raises:
            UserError: If the file cannot be read, is too large, or is not whole.
        """
        folder = self._owner.folder
        if folder is None or self._name is None or not folder.exists(self._name):
            return None
        with self.fitting(), folder.reading(self._name, max_bytes=MAX_STATE_BYTES) as file:
            found = unpack(_unseal(file))
            if found["identity"] != self._identity:
                raise ValueError("it belongs to another training")
            for record in found["records"]:
                self._keep(record)
            self.finished = bool(found["finished"])
            self._owner.count_in(float(found["seconds"]) - self.seconds())
            return dict(found["state"])

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Turns what goes wrong inside, where a state is taken over, into one line for the user.

        Raises:
            UserError: If it does.
        """
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            assert self._owner.folder is not None
            assert self._name is not None
            raise UserError(
                f"{str(self._owner.folder.file(self._name))!r} cannot be gone on with: {one_line(error)}. Remove this "
                "file, and what it holds is trained again"
            ) from error

    def offer(self, make_state: Callable[[], Mapping[str, Any]]) -> None:
        """Keeps the state after an epoch: on disk if its time has come, else in memory until the run is stopped."""
        if self._name is not None:
            self._owner.put(self._name, self._content(make_state(), finished=False), at_once=False)

    def cut(self, make_state: Callable[[], Mapping[str, Any]]) -> None:
        """Keeps the state of a training whose time is up, on disk; it is not finished."""
        if self._name is not None:
            self._owner.put(self._name, self._content(make_state(), finished=False), at_once=True)

    def finish(self, make_state: Callable[[], Mapping[str, Any]]) -> None:
        """Keeps what the training came to, on disk, unless it came from there."""
        if self._name is not None and not self.finished:
            self._owner.put(self._name, self._content(make_state(), finished=True), at_once=True)

    def _content(self, state: Mapping[str, Any], *, finished: bool) -> bytes:
        return pack(
            {
                "identity": self._identity,
                "finished": finished,
                "seconds": self.seconds(),
                "records": self._records,
                "state": state,
            }
        )


NOWHERE = Checkpoints()
"""Keeps nothing."""


def status(folder: Folder | Path) -> Literal["absent", "stopped", "finished"]:
    """What is to be gone on with in a folder of states.

    Raises:
        UserError: If it cannot be read.
    """
    there = read_run(folder)
    if there is None:
        return "absent"
    return "finished" if there["finished"] else "stopped"


def read_run(folder: Folder | Path) -> dict[str, Any] | None:
    """What a folder of states says of its run: `run` and whether it is `finished`; None if it says nothing.

    Raises:
        UserError: If it cannot be read.
    """
    folder = Folder(folder) if isinstance(folder, Path) else folder
    if not folder.exists(_RUN_FILE):
        return None
    found = folder.read_json(_RUN_FILE)
    form = {"format_version": int, "finished": bool, "run": dict}
    if not isinstance(found, dict) or {key: type(found.get(key)) for key in form} != form:
        raise UserError(f"{str(folder.file(_RUN_FILE))!r} is none of ours; --overwrite begins anew")
    if found["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"{str(folder.file(_RUN_FILE))!r} has format version {found['format_version']}, expected {FORMAT_VERSION}; "
            "--overwrite begins anew"
        )
    return found


def _seal(content: bytes) -> bytes:
    """Content under a line with its hash, by which a file that is not whole is told."""
    return _MARK + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def _unseal(file: BufferedReader) -> bytes:
    """The content of a sealed file, which takes memory only if it is whole."""
    seal = file.read(_END_OF_SEAL)
    digest = hashlib.file_digest(file, hashlib.sha256).hexdigest()
    if seal != _MARK + digest.encode() + b"\n":
        raise ValueError("it is not whole, or of another format")
    file.seek(_END_OF_SEAL)
    return file.read()


__all__ = ["EVERY_SECONDS", "NOWHERE", "Checkpoints", "Slot", "read_run", "status"]
