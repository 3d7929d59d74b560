"""The run folder: every file of one run, written atomically, read with care.

Everything in it is text, safetensors or a picture. Nothing is ever unpickled or evaluated, sizes are bounded and names
cannot leave the folder, so that a folder from a stranger is safe to open.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w

from nas.errors import UserError
from nas.fields import told
from nas.records import from_plain, plain
from nas.runs.files import Folder, refuse_vast, shallow
from nas.runs.locking import LOCK, owned, refuse_owned
from nas.runs.replaced import (
    ASIDE,
    FILES,
    FOLDERS,
    MOVING,
    discard,
    finish_discarding,
    finish_moving,
    is_own_temporary,
    put_back,
    remove_own_files,
    remove_temporaries,
    set_aside,
)
from nas.summary import FORMAT_VERSION, Summary

CONFIG_MARK = "# fusenas run, format 1"


class RunFolder(Folder):
    """The folder of one run.

    To write a run, `with RunFolder.created(…)` or `with RunFolder.claimed(…)`: both own the folder, so that no other
    command writes to it meanwhile. `open` is for reading; the constructor itself checks nothing.
    """

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    @contextmanager
    def created(cls, path: str | Path, *, overwrite: bool = False, resume: bool = False) -> Iterator[RunFolder]:
        """Owns the folder of a run to be written, see `create`, for as long as the block runs.

        Raises:
            UserError: As `create` does, before anything is touched; or if another command owns the folder.
        """
        run = cls(path)
        refuse_owned(run)
        run._refuse_to_create(overwrite=overwrite, resume=resume)
        with owned(run):
            yield cls.create(path, overwrite=overwrite, resume=resume)

    @classmethod
    @contextmanager
    def claimed(cls, path: str | Path) -> Iterator[RunFolder]:
        """Owns the folder of an earlier run for as long as the block runs.

        Raises:
            UserError: As `open` does, if another command owns the folder, or something in it is in the way of a file.
        """
        run = cls.open(path)
        with owned(run):
            run._refuse_obstacles()
            yield run

    @classmethod
    def create(cls, path: str | Path, *, overwrite: bool = False, resume: bool = False) -> RunFolder:
        """Makes an empty run folder, or opens the one of a run that was stopped. The caller owns it.

        Args:
            path: Where; parents are made as needed.
            overwrite: Whether an earlier run in it may be replaced. Only a run's own files are, and only if the folder
                bears our mark; whatever else lies there stays. The earlier run is set aside within the folder until
                `replacing` ends well.
            resume: Whether a run in it stays as it is, to be gone on with.

        Raises:
            UserError: If the folder holds something and both are off, or holds something that is no run.
        """
        run = cls(path)
        run._refuse_to_create(overwrite=overwrite, resume=resume)
        try:
            remove_temporaries(run)
            finish_discarding(run)
            finish_moving(run)
            if overwrite and run._holds_anything():
                set_aside(run)
            run._refuse_obstacles()
        except OSError as error:
            raise UserError(f"cannot write to {str(run.path)!r}: {error.strerror}; choose another --out") from error
        return run

    def _refuse_to_create(self, *, overwrite: bool, resume: bool) -> None:
        """Makes the folder if it is not there; whatever is in it stays untouched."""
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_dir()):
            raise UserError(f"{str(self.path)!r} is not a folder; choose another with --out")
        try:
            self.make()
            holds_anything = self._holds_anything()
        except OSError as error:
            raise UserError(f"cannot make {str(self.path)!r}: {error.strerror}; choose another with --out") from error
        if not holds_anything:
            return
        if not (overwrite or resume):
            raise UserError(
                f"{str(self.path)!r} is not empty; --resume goes on with a run that was stopped, --overwrite "
                "replaces an earlier run, --out names another folder"
            )
        if not self._bears_our_mark():
            given = "--overwrite" if overwrite else "--resume"
            raise UserError(
                f"{str(self.path)!r} holds files that are no fusenas run, so {given} leaves them alone; "
                "choose another folder with --out"
            )

    def _refuse_obstacles(self) -> None:
        """Refuses what no run of ours has, a link or a folder in the place of a file, before work is done in vain."""
        for names, is_ours, kind in ((FILES, self.is_file, "file"), (FOLDERS, self.is_folder, "folder")):
            for name in names:
                if self.exists(name) and not is_ours(name):
                    raise UserError(
                        f"{str(self.file(name))!r} is no {kind} of a run, but a link or the like; remove it"
                    )

    def _holds_anything(self) -> bool:
        """Whether there is anything but what a killed process left half written, and a lock."""
        return any(name != LOCK and not is_own_temporary(name) for name in self.names())

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Opens the folder of an earlier run, to read it.

        Raises:
            UserError: If it is not there or holds no run.
        """
        run = cls(path)
        if not run.path.is_dir():
            raise UserError(f"no run folder at {str(run.path)!r}; expected one that `fusenas search` made")
        try:
            if run.is_folder(MOVING):
                with owned(run):
                    finish_moving(run)
        except OSError as error:
            raise UserError(f"cannot put the run in {str(run.path)!r} back in its place: {error.strerror}") from error
        if not any(run.is_file(name) for name in ("config.toml", "summary.json", "metrics.jsonl")):
            raise UserError(f"{str(run.path)!r} is no run: it has no config.toml, summary.json or metrics.jsonl")
        return run

    @property
    def config(self) -> Path:
        """The resolved config, TOML."""
        return self.path / "config.toml"

    @property
    def architecture(self) -> Path:
        """The found architecture, JSON."""
        return self.path / "architecture.json"

    @property
    def weights(self) -> Path:
        """Weights of the retrained network, safetensors."""
        return self.path / "weights.safetensors"

    @property
    def summary(self) -> Path:
        """The results, JSON."""
        return self.path / "summary.json"

    @property
    def metrics(self) -> Path:
        """The course of search and training, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def report(self) -> Path:
        """The report, one self-contained HTML file."""
        return self.path / "report.html"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard events."""
        return self.path / "tensorboard"

    @property
    def figures(self) -> Path:
        """Folder of the report's figures and the numbers behind them."""
        return self.path / "figures"

    @property
    def checkpoints(self) -> Folder:
        """Folder of what a stopped run resumes from."""
        return self.inner("checkpoints")

    @property
    def exports(self) -> Path:
        """Folder of exported networks."""
        return self.path / "exports"

    def write_text(self, name: str, text: str) -> Path:
        """Writes UTF-8 text, whole or not at all."""
        return self.write_bytes(name, text.encode())

    def write_json(self, name: str, values: Any) -> Path:
        """Writes plain values as JSON, whole or not at all; a number that is not finite becomes null."""
        text = json.dumps(plain(values), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        # A name that is no valid Unicode, as from a file system, stays readable: JSON escapes it the same way.
        return self.write_bytes(name, text.encode(errors="backslashreplace"))

    def write_config(self, config: Mapping[str, Any]) -> Path:
        """Writes the resolved config as TOML, under the line that marks the folder as a run of ours."""
        return self.write_text("config.toml", f"{CONFIG_MARK}\n{tomli_w.dumps(config)}")

    def read_config(self) -> dict[str, Any]:
        """The resolved config.

        Raises:
            UserError: If it is missing, too large or not TOML.
        """
        text = self.read_text("config.toml")
        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{str(self.config)!r} is not TOML: {error}; was the file cut off?") from error

    def read_summary(self) -> Summary:
        """The results.

        Raises:
            UserError: If the file is missing, damaged or of another format version.
        """
        values = self._summary_values()
        try:
            return from_plain(Summary, values)
        except UserError as error:
            raise UserError(f"{str(self.summary)!r} is damaged: {error}; run the search again") from error

    def _summary_values(self) -> dict[str, Any]:
        """What is in `summary.json`, unchecked but for its format version."""
        values = self.read_json("summary.json")
        version = values.get("format_version") if isinstance(values, dict) else None
        if not isinstance(values, dict) or type(version) is not int or version != FORMAT_VERSION:
            raise UserError(
                f"{str(self.summary)!r} has format version {told(version)}, expected {FORMAT_VERSION}; "
                "run evaluate again"
            )
        return values

    def read_metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl in order.

        A last line that was cut off, as by a power cut, is left out.

        Raises:
            UserError: If the file is missing or too large, or another line is not a JSON object.
        """
        content = self.read_bytes("metrics.jsonl")
        refuse_vast(content, self.metrics)
        lines = content.split(b"\n")
        records: list[dict[str, Any]] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = shallow(json.loads(line))
                if not isinstance(record, dict):
                    raise ValueError(f"expected an object, got {type(record).__name__}")
            except (ValueError, RecursionError) as error:
                if number == len(lines):  # the writer ends every line, so only a cut one comes after the last newline
                    break
                raise UserError(f"{str(self.metrics)!r} line {number} is not a JSON object: {error}") from error
            records.append(record)
        return records

    def _bears_our_mark(self) -> bool:
        """Whether one of the three telling files is surely of our writing, here or in a run that was set aside."""
        for name in (ASIDE, MOVING):
            if self.is_folder(name) and RunFolder(self.path / name)._bears_our_mark():
                return True
        try:
            if self.is_file("config.toml") and self.read_bytes("config.toml").startswith(CONFIG_MARK.encode()):
                return True
            if self.is_file("summary.json") and {"architecture", "leaderboard"} <= self._summary_values().keys():
                return True
            return self.is_file("metrics.jsonl") and any("phase" in record for record in self.read_metrics()[:1])
        except UserError:
            return False

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Makes the block's end the end of an earlier run that `create` set aside.

        A mistake of the user's would come again however often one went on: then the earlier run comes back. Whatever
        else stops the block, a signal, a full disk, lost power, leaves both as they are: what has been done can be gone
        on with, and the earlier run goes when that ends well. Without an earlier run, what a failed block has written
        stays, for people to look at.
        """
        try:
            yield
        except UserError:
            put_back(self)
            raise
        discard(self)

    def clear(self) -> None:
        """Removes what a run has written so far; one that was set aside stays."""
        remove_own_files(self)


def write_atomically(path: Path, content: bytes) -> Path:
    """Writes a file whole or not at all; see `Folder.write_bytes`.

    Args:
        path: The file; its folder is made as needed.
        content: All of it.

    Returns:
        `path`.
    """
    Folder(path.parent).write_bytes(path.name, content)
    return path
