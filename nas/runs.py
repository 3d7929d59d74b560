"""The run folder: every file of one run, written atomically, read with care.

Everything in it is text, safetensors or a picture. Nothing is ever unpickled or evaluated, sizes are bounded and names
cannot leave the folder, so that a folder from a stranger is safe to open.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from nas.errors import UserError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FORMAT_VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
CONFIG_MARK = "# fusenas run, format 1"

_FILES = ("config.toml", "architecture.json", "weights.safetensors", "summary.json", "metrics.jsonl", "report.html")
_FOLDERS = ("tensorboard", "figures", "checkpoints", "exports")


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
    def create(cls, path: str | Path, *, overwrite: bool = False) -> RunFolder:
        """Makes an empty run folder.

        Args:
            path: Where; parents are made as needed.
            overwrite: Whether an earlier run in it may be removed. Only a run's own files are, and only if the folder
                bears our mark; whatever else lies there stays.

        Raises:
            UserError: If the folder holds something and `overwrite` is off, or holds something that is no run.
        """
        run = cls(path)
        if run.path.is_symlink() or (run.path.exists() and not run.path.is_dir()):
            raise UserError(f"{str(run.path)!r} is not a folder; choose another with --out")
        try:
            if run.path.is_dir() and any(run.path.iterdir()):
                if not overwrite:
                    raise UserError(
                        f"{str(run.path)!r} is not empty; --overwrite replaces an earlier run, "
                        "--out names another folder"
                    )
                if not run._bears_our_mark():
                    raise UserError(
                        f"{str(run.path)!r} holds files that are no fusenas run, so --overwrite leaves them alone; "
                        "choose another folder with --out"
                    )
                run._remove_own_files()
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
        return self.write_text("config.toml", f"{CONFIG_MARK}\n{to_toml(config)}")

    def read_bytes(self, name: str, *, max_bytes: int = MAX_BYTES) -> bytes:
        """Content of a file.

        Raises:
            UserError: If it is missing, unreadable, or larger than `max_bytes`.
        """
        path = self.file(name)
        try:
            with path.open("rb") as file:
                content = file.read(max_bytes + 1)
        except FileNotFoundError as error:
            raise UserError(f"{str(path)!r} is missing; was the run finished?") from error
        except OSError as error:
            raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from error
        if len(content) > max_bytes:
            raise UserError(f"{str(path)!r} is larger than {max_bytes} bytes, which no run of ours writes")
        return content

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
        lines = self.read_bytes("metrics.jsonl").split(b"\n")
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
        """Whether one of the three telling files is surely of our writing."""
        try:
            if self.config.is_file() and self.read_bytes("config.toml").startswith(CONFIG_MARK.encode()):
                return True
            if self.summary.is_file() and {"architecture", "leaderboard"} <= self.read_summary().keys():
                return True
            return self.metrics.is_file() and any("phase" in record for record in self.read_metrics()[:1])
        except UserError:
            return False

    def _remove_own_files(self) -> None:
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)
        for name in _FOLDERS:
            folder = self.path / name
            if folder.is_symlink():
                folder.unlink()
            elif folder.is_dir():
                shutil.rmtree(folder)


def write_atomically(path: Path, content: bytes) -> Path:
    """Writes a file whole or not at all: to a temporary one beside it, flushed to disk, then renamed over the old.

    Args:
        path: The file; its folder is made as needed.
        content: All of it.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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
    return path


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


class MetricsLog:
    """Appends records to metrics.jsonl and to TensorBoard: `with MetricsLog(run) as log: log({"phase": "search", …})`.

    Every line is flushed, so that a stopped run loses one line at most.

    Args:
        run: Where to write.
        labels: Node to a name for each of its choices, for TensorBoard; without, choices bear their index.
    """

    def __init__(self, run: RunFolder, labels: Mapping[str, Sequence[str]] | None = None) -> None:
        self.run = run
        self.labels = labels or {}
        self._file: IO[str] | None = None
        self._board: SummaryWriter | None = None
        self._steps: dict[str, int] = {}

    def __enter__(self) -> MetricsLog:
        # Imported here, for TensorBoard takes a second to import and most commands do without.
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

        self.run.path.mkdir(parents=True, exist_ok=True)
        _end_last_line(self.run.metrics)
        self._file = self.run.metrics.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self.run.tensorboard))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
        self._file = self._board = None

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Appends one record; a number in it that is not finite becomes null.

        Raises:
            RuntimeError: If the log is not open.
        """
        if self._file is None or self._board is None:
            raise RuntimeError("MetricsLog is not open; use it in a `with` statement")
        values = plain(record)
        self._file.write(json.dumps(values, allow_nan=False, ensure_ascii=False) + "\n")
        self._file.flush()
        curve = "/".join(
            str(values[key]) for key in ("phase", "row", "modality", "seed") if values.get(key) is not None
        )
        step = values.get("step", values.get("epoch"))
        step = self._steps.get(curve, 0) if step is None else int(step)
        self._steps[curve] = step + 1
        for tag, value in self._scalars(curve, values):
            self._board.add_scalar(tag, value, step)
        self._board.flush()

    def _scalars(self, curve: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        """Tag and value of everything in a record that TensorBoard can plot."""
        for key in ("train_loss", "architecture_loss", "architecture_score"):
            if values.get(key) is not None:
                yield f"{curve}/{key}", values[key]
        for node, weights in (values.get("mixing_weights") or {}).items():
            labels = self.labels.get(node, ())
            for index, weight in enumerate(weights):
                if weight is not None:
                    yield f"mixing_weights/{node}/{labels[index] if index < len(labels) else index}", weight
        for node, nats in (values.get("entropy") or {}).items():
            if nats is not None:
                yield f"entropy/{node}", nats


def _end_last_line(path: Path) -> None:
    """Drops a last line that was cut off, so that a resumed log stays readable."""
    if path.is_file():
        with path.open("rb+") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)


def to_toml(values: Mapping[str, Any]) -> str:
    """Nested mappings of strings, numbers, booleans and lists as TOML that `tomllib` reads back to an equal value.

    Raises:
        TypeError: If it holds something that TOML cannot say, such as None.
    """
    return "".join(_table((), values)).lstrip("\n")


def _table(path: tuple[str, ...], values: Mapping[str, Any]) -> Iterator[str]:
    if path:
        yield f"\n[{'.'.join(map(_key, path))}]\n"
    for key, value in values.items():
        if not isinstance(value, Mapping):
            yield f"{_key(key)} = {_value(value)}\n"
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _table((*path, key), value)


def _key(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"TOML keys are strings, got {key!r}")
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):  # repr of a float is TOML too, inf and nan included
        return repr(value)
    if isinstance(value, str | Path):
        return _string(str(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)} = {_value(item)}' for key, item in value.items())}}}"
    raise TypeError(f"TOML cannot hold {value!r}, a {type(value).__name__}; leave the key out")


def _string(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
    plain_or_escaped = (escapes.get(c) or (f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7F else c) for c in text)
    return f'"{"".join(plain_or_escaped)}"'
