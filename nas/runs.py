"""The run folder: every file of one run, written atomically, read with care.

Everything in it is text, safetensors or a picture. Nothing is ever unpickled or evaluated, sizes are bounded and names
cannot leave the folder, so that a folder from a stranger is safe to open.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import tomli_w

from nas.earlier import (
    ASIDE,
    MOVING,
    discard,
    finish_discarding,
    finish_moving,
    is_folder,
    put_back,
    remove_own_files,
    remove_temporaries,
    set_aside,
)
from nas.errors import UserError

FORMAT_VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
MAX_JSON_BYTES = 700_000_000
CONFIG_MARK = "# fusenas run, format 1"


class RunFolder:
    """The folder of one run.

    Made by `create` or `open`; the constructor itself checks nothing.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def create(cls, path: str | Path, *, overwrite: bool = False, resume: bool = False) -> RunFolder:
        """Makes an empty run folder, or opens the one of a run that was stopped.

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
        if run.path.is_symlink() or (run.path.exists() and not run.path.is_dir()):
            raise UserError(f"{str(run.path)!r} is not a folder; choose another with --out")
        try:
            if run.path.is_dir():
                remove_temporaries(run.path)
            if run.path.is_dir() and any(run.path.iterdir()):
                if not (overwrite or resume):
                    raise UserError(
                        f"{str(run.path)!r} is not empty; --resume goes on with a run that was stopped, --overwrite "
                        "replaces an earlier run, --out names another folder"
                    )
                if not run._bears_our_mark():
                    given = "--overwrite" if overwrite else "--resume"
                    raise UserError(
                        f"{str(run.path)!r} holds files that are no fusenas run, so {given} leaves them alone; "
                        "choose another folder with --out"
                    )
                finish_discarding(run.path)
                finish_moving(run.path)
                if overwrite:
                    set_aside(run.path)
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make {str(run.path)!r}: {error.strerror}; choose another with --out") from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Opens the folder of an earlier run.

        Raises:
            UserError: If it is not there or holds no run.
        """
        run = cls(path)
        if not run.path.is_dir():
            raise UserError(f"no run folder at {str(run.path)!r}; expected one that `fusenas search` made")
        try:
            finish_moving(run.path)
        except OSError as error:
            raise UserError(f"cannot put the run in {str(run.path)!r} back in its place: {error.strerror}") from error
        if not any(file.is_file() for file in (run.config, run.summary, run.metrics)):
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
    def checkpoints(self) -> Path:
        """Folder of what a stopped run resumes from."""
        return self.path / "checkpoints"

    @property
    def exports(self) -> Path:
        """Folder of exported networks."""
        return self.path / "exports"

    def file(self, name: str) -> Path:
        """Path of a file in the folder, such as "figures/mixing.svg".

        Raises:
            UserError: If the name leads out of the folder, also by way of a symbolic link.
        """
        parts = PurePosixPath(name).parts
        path = self.path.joinpath(*parts) if parts else self.path
        if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name or "\0" in name:
            raise UserError(f"file name {name!r} leads out of the run folder; expected a name such as 'summary.json'")
        if not path.parent.resolve().is_relative_to(self.path.resolve()):
            raise UserError(f"file name {name!r} leads out of the run folder through a link; remove the link")
        return path

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Writes a file whole or not at all; see `write_atomically`."""
        return write_atomically(self.file(name), content)

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

    def read_bytes(self, name: str, *, max_bytes: int = MAX_BYTES) -> bytes:
        """Content of a file.

        Raises:
            UserError: If it is missing, unreadable, no regular file, a link out of the folder, or larger than
                `max_bytes`.
        """
        with self._opened(name) as file:
            content = b"" if _size(file) > max_bytes else file.read(max_bytes + 1)
            if len(content) > max_bytes or _size(file) > max_bytes:
                raise UserError(
                    f"{str(self.file(name))!r} is larger than {max_bytes} bytes, which no run of ours writes"
                )
        return content

    def read_start(self, name: str, num_bytes: int) -> tuple[bytes, int]:
        """The first bytes of a file, and how many it has in all; see `read_bytes` for errors."""
        with self._opened(name) as file:
            return file.read(num_bytes), _size(file)

    @contextmanager
    def _opened(self, name: str) -> Iterator[BinaryIO]:
        """A file, open for reading."""
        path = self.file(name)
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise UserError(f"{str(path)!r} is a link out of the run folder; put a copy in its place")
        if path.exists() and not path.is_file():  # to open a pipe would wait for whoever writes into it
            raise UserError(f"{str(path)!r} is no regular file, which no run of ours writes")
        try:
            with path.open("rb") as file:
                yield file
        except FileNotFoundError as error:
            raise UserError(f"{str(path)!r} is missing; was the run finished?") from error
        except OSError as error:
            raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from error

    def read_text(self, name: str, *, max_bytes: int = MAX_BYTES) -> str:
        """Content of a UTF-8 text file; see `read_bytes` for errors."""
        try:
            return self.read_bytes(name, max_bytes=max_bytes).decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{str(self.file(name))!r} is not UTF-8 text; was the file damaged?") from error

    def read_json(self, name: str) -> Any:
        """Values of a JSON file.

        Raises:
            UserError: If it is missing, too large, cut off or not JSON.
        """
        text = self.read_text(name)
        _refuse_vast(text.encode(), self.file(name))
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{str(self.file(name))!r} is not JSON: {error}; was the file cut off?") from error

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

    def read_summary(self) -> dict[str, Any]:
        """The results.

        Raises:
            UserError: If the file is missing, damaged or of another format version.
        """
        summary = self.read_json("summary.json")
        version = summary.get("format_version") if isinstance(summary, dict) else None
        if not isinstance(summary, dict) or type(version) is not int or version != FORMAT_VERSION:
            raise UserError(
                f"{str(self.summary)!r} has format version {version!r}, expected {FORMAT_VERSION}; run evaluate again"
            )
        return summary

    def read_metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl in order.

        A last line that was cut off, as by a power cut, is left out.

        Raises:
            UserError: If the file is missing or too large, or another line is not a JSON object.
        """
        content = self.read_bytes("metrics.jsonl")
        _refuse_vast(content, self.metrics)
        lines = content.split(b"\n")
        records: list[dict[str, Any]] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
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
            if is_folder(self.path / name) and RunFolder(self.path / name)._bears_our_mark():
                return True
        try:
            if self.config.is_file() and self.read_bytes("config.toml").startswith(CONFIG_MARK.encode()):
                return True
            if self.summary.is_file() and {"architecture", "leaderboard"} <= self.read_summary().keys():
                return True
            return self.metrics.is_file() and any("phase" in record for record in self.read_metrics()[:1])
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
            put_back(self.path)
            raise
        discard(self.path)

    def clear(self) -> None:
        """Removes what a run has written so far; one that was set aside stays."""
        remove_own_files(self.path)


def write_atomically(path: Path, content: bytes) -> Path:
    """Writes a file whole or not at all: to a temporary one beside it, flushed to disk, then renamed over the old.

    Args:
        path: The file; its folder is made as needed.
        content: All of it.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)  # mkstemp gives 0600; a result should be as readable as any other file of the user
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return path


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _sync_folder(path: Path) -> None:
    """Flushes a folder's entries to disk: a rename, too, is lost with the power until then."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refuse_vast(text: bytes, path: Path) -> None:
    """Refuses JSON that would take far more memory than its text does, such as millions of empty lists."""
    needed = 232 * text.count(b"{") + 64 * text.count(b"[") + 36 * text.count(b",")  # bytes, about
    if needed > MAX_JSON_BYTES:
        raise UserError(f"{str(path)!r} would take {needed / 1e9:.1f} GB of memory, which no run of ours does")


def plain(values: Any) -> Any:
    """A copy that strict JSON can hold: tuples as lists, paths as text, numpy scalars as numbers, NaN and ∞ as None.

    Raises:
        TypeError: If something in it is none of these.
    """
    if values is None or isinstance(values, str | bool | int):
        return values
    if isinstance(values, float):
        return float(values) if math.isfinite(values) else None
    if isinstance(values, Mapping):
        return {str(key): plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    if isinstance(values, Path):
        return str(values)
    if hasattr(values, "tolist"):  # numpy and torch
        return plain(values.tolist())
    raise TypeError(f"{type(values).__name__} cannot be written as JSON: {values!r}")
