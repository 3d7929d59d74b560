"""Data from a file, a folder of three, a `data.toml`, an embedded set, or memory.

Nothing is guessed: arrays are modalities only if the call, a `data.toml` or the keys inside the file say so. Nothing is
unpickled either.
"""

from __future__ import annotations

import tomllib
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.data.digits import digits_halves, digits_mixed, digits_sum
from nas.data.dynamic_tasks import dynamic_corrupted, dynamic_half, dynamic_one_of_three
from nas.data.emoji import emoji
from nas.data.from_arrays import check_name
from nas.data.fusion_data import FusionData, Split
from nas.errors import UserError, unknown_name

EMBEDDED: Mapping[str, Callable[[int], FusionData]] = {
    "emoji": emoji,
    "digits_halves": digits_halves,
    "digits_mixed": digits_mixed,
    "digits_sum": digits_sum,
    "dynamic_half": dynamic_half,
    "dynamic_corrupted": dynamic_corrupted,
    "dynamic_one_of_three": dynamic_one_of_three,
}
"""Embedded and made data sets: name to a function of the seed of all that is drawn, splits and pairs or the samples."""

DESCRIPTION = "data.toml"

_PARTS: Mapping[Split, tuple[str, ...]] = {
    "weights": ("train.npz",),
    "architecture": ("val.npz", "valid.npz", "validation.npz"),
    "test": ("test.npz",),
}
"""Files of a folder of three, by split."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """Which arrays of a file are what. The fields bear the names of the keys of a `data.toml`.

    Attributes:
        modalities: Modality to the keys of its arrays: one, or one per depth for ready-made features.
        kinds: Modality to kind, where it cannot be read off its array.
        target: Key of the target.
        split: Key of the split; None if there is none.
        task: classification, multilabel or regression; None to read it off the target.
        present: Modality to the key of its presence mask.
        class_names: Key of the names of the classes; None to name them after their labels.
    """

    modalities: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, str]
    target: str
    split: str | None = None
    task: str | None = None
    present: Mapping[str, str]
    class_names: str | None = None


def load_data(
    source: FusionData | str | Path,
    *,
    modalities: str | Sequence[str] | Mapping[str, str] | None = None,
    target: str | None = None,
    split: str | None = None,
    task: str | None = None,
    seed: int = 0,
) -> FusionData:
    """Reads a data set.

    What is named here comes first, then a `data.toml`, then the keys `x/<modality>[/<depth>]`, `y`, `split` and
    `present/<modality>` inside the file. A `data.toml` holds the same names and lies in the folder of the `.npz`:

        file = "sensors.npz"                      # left out for a folder of three
        modalities = ["audio:sequence", "image"]
        target = "label"
        split = "split"
        task = "classification"
        class_names = "label_names"
        [present]
        audio = "has_audio"
        [features]                                # ready-made features, one array per depth
        text = ["text_layer1", "text_layer6", "text_layer12"]

    Args:
        source: The name of an embedded set; an `.npz`; a folder with `train.npz`, `test.npz` and, if there is one,
            `val.npz`; a `data.toml`; or a `FusionData`, which is returned as it is.
        modalities: Keys of the modalities, each with its kind where that cannot be read off the array, such as
            "skeleton:sequence,words:tokens", a list of such, or a mapping from key to kind ("" to read it off).
        target: Key of the target.
        split: Key of the split, (n,) of 0/1/2 or train/val/test. Without one, splits are drawn from the seed.
        task: classification, multilabel or regression.
        seed: Of splits and pairs that are drawn.

    Raises:
        UserError: If the source is not there or is malformed; the message names the key and says how to mend it.
    """
    given = any(value is not None for value in (modalities, target, split, task))
    if isinstance(source, FusionData):
        if given:
            raise UserError("modalities, target, split and task belong to a file; this data set has its own: drop them")
        return source
    path = Path(source)
    if str(source) in EMBEDDED and not path.exists():
        if given:
            raise UserError(f"the embedded set {str(source)!r} has modalities and target of its own; drop the options")
        return EMBEDDED[str(source)](seed)
    if not path.exists():
        if path.suffix or len(path.parts) > 1:
            raise UserError(f"no file or folder at {str(source)!r}; expected an .npz, a folder of three or a data.toml")
        raise unknown_name("data set", str(source), EMBEDDED)
    settings, path = _settings(path)
    files = _Files(path)
    description = _describe(settings, files, modalities=modalities, target=target, split=split, task=task)
    return _build(files, description, seed)


Arrays = Mapping[str, Callable[[], NDArray[Any]]]
"""Key to a function that reads its array: what no name asks for is never read."""


def _settings(path: Path) -> tuple[dict[str, Any], Path]:
    """The `data.toml` that belongs to a source, empty if there is none, and the file or folder with the arrays."""
    if path.suffix == ".toml":
        settings = _read_toml(path)
        named = path.parent / settings["file"] if "file" in settings else path.parent
        if not named.exists():
            raise UserError(f"{str(path)!r} names file {settings['file']!r}, which is not beside it")
        return settings, named
    beside = (path if path.is_dir() else path.parent) / DESCRIPTION
    if not beside.is_file():
        return {}, path
    settings = _read_toml(beside)
    if path.is_dir():
        return settings, path / settings["file"] if "file" in settings else path
    # A folder may hold several files; a description that names another one is not about this one.
    return (settings if settings.get("file", path.name) == path.name else {}), path


_SETTINGS: Mapping[str, type | tuple[type, ...]] = {
    "file": str,
    "modalities": (str, list, dict),
    "target": str,
    "split": str,
    "task": str,
    "class_names": str,
    "present": dict,
    "features": dict,
}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{str(path)!r} is not TOML: {_one_line(error)}") from error
    for key, value in settings.items():
        if key not in _SETTINGS:
            raise unknown_name(f"key in {str(path)!r}:", key, _SETTINGS)
        if not isinstance(value, _SETTINGS[key]):
            raise UserError(f"{key} in {str(path)!r} is a {type(value).__name__}; see `nas.load_data` for its form")
    name = settings.get("file", DESCRIPTION)
    if Path(name).name != name or name in ("", ".."):
        raise UserError(f"file in {str(path)!r} is {name!r}; expected the name of a file beside it")
    return settings


class _Files:
    """One `.npz`, or a folder of three whose arrays are joined sample by sample.

    Args:
        path: Of the file or folder.

    Raises:
        UserError: If it cannot be read, or the files of a folder differ in their keys.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: dict[Split, Arrays] = {}
        self._counted: tuple[str, list[int]] | None = None  # a key and its samples in each file
        if not path.is_dir():
            self.parts["weights"] = _open_npz(path)
        else:
            for part, names in _PARTS.items():
                if found := [path / name for name in names if (path / name).is_file()]:
                    self.parts[part] = _open_npz(found[0])
                elif part != "architecture":
                    raise UserError(
                        f"folder {str(path)!r} has no {names[0]}; expected train.npz, val.npz and test.npz: for a "
                        "single .npz give its path, or name it as file in the data.toml"
                    )
        self.keys = sorted(self.parts["weights"])
        for part, arrays in self.parts.items():
            if differing := set(self.keys).symmetric_difference(arrays):
                raise UserError(
                    f"the {part} file of {str(path)!r} differs from train.npz in key {sorted(differing)[0]!r}; "
                    "give all files the same keys"
                )

    @property
    def is_folder(self) -> bool:
        """Whether the files themselves are the splits."""
        return self.path.is_dir()

    def first(self, key: str) -> NDArray[Any]:
        """An array that is not one row per sample, such as the names of classes: that of the first file."""
        self._check(key)
        return self.parts["weights"][key]()

    def samples(self, key: str) -> NDArray[Any]:
        """An array with one row per sample: the files' one after the other.

        Raises:
            UserError: If it is not in the files, is a single value, or differs between the files in the shape of a
                sample, or from an array read before in the number of samples of a file.
        """
        self._check(key)
        read = [arrays[key]() for arrays in self.parts.values()]
        if not all(array.ndim for array in read):
            raise UserError(f"key {key!r} of {str(self.path)!r} is a single value; expected one row per sample")
        if len({array.shape[1:] for array in read}) > 1:
            shapes = ", ".join(str(array.shape) for array in read)
            raise UserError(
                f"key {key!r} has samples of different shape in the files: {shapes}; pad or crop them alike"
            )
        if not self.is_folder:
            return read[0]
        counts = [len(array) for array in read]
        first, expected = self._counted = self._counted or (key, counts)
        if counts != expected:  # equal sums would join samples of different files unnoticed
            raise UserError(
                f"key {key!r} has {counts} samples in the files {', '.join(self.parts)}, but {first!r} has {expected}; "
                "align them"
            )
        return np.concatenate(read)

    def splits(self) -> dict[Split, NDArray[np.int64]]:
        """Indices of the samples of each file of a folder, once an array was read."""
        assert self._counted is not None
        ends = np.cumsum(self._counted[1]).tolist()
        return {part: np.arange(start, end) for part, start, end in zip(self.parts, [0, *ends[:-1]], ends, strict=True)}

    def _check(self, key: str) -> None:
        if key not in self.keys:
            raise unknown_name(f"key in {str(self.path)!r}:", key, self.keys)


def _open_npz(path: Path) -> Arrays:
    if not path.is_file():
        raise UserError(f"{str(path)!r} is no file; expected an .npz")
    try:
        with path.open("rb") as file:
            start = file.read(len(_BARE_ARRAY))
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {_one_line(error)}") from error
    if not start:
        raise UserError(f"{str(path)!r} is empty; write it again with numpy.savez")
    if start == _BARE_ARRAY:
        raise UserError(f"{str(path)!r} holds one bare array; expected an .npz with named arrays: use numpy.savez")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (OSError, ValueError, *_DAMAGED) as error:
        raise UserError(
            f"{str(path)!r} is no .npz, or is damaged: {_one_line(error)}; write it again with numpy.savez"
        ) from error
    keys = [member.removesuffix(".npy") for member in members if member.endswith(".npy")]
    if not keys:
        raise UserError(f"{str(path)!r} holds no arrays; write it again with numpy.savez")
    if len(set(keys)) < len(keys):
        raise UserError(f"{str(path)!r} holds an array twice under one name; write it again with numpy.savez")
    return {key: partial(_read_array, path, key) for key in keys}


_BARE_ARRAY = b"\x93NUMPY"
"""How an `.npy` begins."""

_DAMAGED = (EOFError, MemoryError, NotImplementedError, OverflowError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What zipfile, zlib and numpy raise on damaged or encrypted archives, besides OSError and ValueError."""


def _read_array(path: Path, key: str) -> NDArray[Any]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)
    except (OSError, ValueError, KeyError, *_DAMAGED) as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise UserError(
                f"key {key!r} of {str(path)!r} holds Python objects, which would have to be unpickled; "
                "store numbers or fixed-width words, as with astype(str)"
            ) from error
        raise UserError(
            f"key {key!r} of {str(path)!r} cannot be read: {_one_line(error)}; write it again with numpy.savez"
        ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _describe(
    settings: Mapping[str, Any],
    files: _Files,
    *,
    modalities: str | Sequence[str] | Mapping[str, str] | None,
    target: str | None,
    split: str | None,
    task: str | None,
) -> Description:
    """What is what: named in the call, else in the settings, else by the keys of the file."""
    keys = files.keys
    inside = _keyed(keys)
    features = {name: _key_list(f"features.{name}", value) for name, value in settings.get("features", {}).items()}
    named = modalities if modalities is not None else settings.get("modalities")
    if named is not None:
        kinds = parse_modalities(named)
        columns = {name: features.get(name, inside.get(name, (name,))) for name in kinds}
    else:
        columns, kinds = (features or inside), {}
    if modalities is None and named is not None:  # a data.toml may list ready-made features beside the others
        columns = {**columns, **features}
    kinds = {**{name: "features" for name in columns if name in features}, **{n: k for n, k in kinds.items() if k}}
    target = target or settings.get("target") or ("y" if "y" in keys else None)
    if not columns or target is None:
        missing = {} if columns else {"modalities": "--modalities A,B"}
        missing |= {"target": "--target T"} if target is None else {}
        raise UserError(
            f"{str(files.path)!r} does not say which arrays are {' and '.join(missing)}; add "
            f"{' '.join(missing.values())}. It holds: {', '.join(keys)}"
        )
    if files.is_folder and split is not None:
        raise UserError(f"folder {str(files.path)!r} has its splits by file; drop the split {split!r}")
    split = split or settings.get("split") or ("split" if "split" in keys else None)
    present = {name: f"present/{name}" for name in columns if f"present/{name}" in keys}
    for name, key in settings.get("present", {}).items():
        if name not in columns:
            raise unknown_name("modality in present:", str(name), columns)
        present[name] = str(key)
    for name, wanted in columns.items():
        if target in wanted:
            raise UserError(f"key {target!r} is the target and among the modalities ({name}); leave it out of them")
        if split is not None and split in wanted:
            raise UserError(f"key {split!r} is the split and among the modalities ({name}); leave it out of them")
    return Description(
        modalities=columns,
        kinds=kinds,
        target=target,
        split=None if files.is_folder else split,
        task=task or settings.get("task"),
        present=present,
        class_names=settings.get("class_names"),
    )


def parse_modalities(named: str | Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Modality to kind from "image,words:tokens", a list of such parts, or a mapping; "" where it is not told.

    Raises:
        UserError: If a name is empty, given twice, or no name at all.
    """
    if isinstance(named, Mapping):
        return {str(name): str(kind or "") for name, kind in named.items()}
    kinds: dict[str, str] = {}
    for part in named.split(",") if isinstance(named, str) else named:
        if not isinstance(part, str):
            raise UserError(f"modalities {named!r} hold {part!r}; expected names, such as image,words:tokens")
        name, _, kind = part.strip().partition(":")
        if not name:
            raise UserError(f"modalities {named!r} hold an empty name; expected such as image,words:tokens")
        if name in kinds:
            raise UserError(f"modality {name!r} is named twice; name it once")
        kinds[name] = kind
    return kinds


def _keyed(keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Modality to its keys `x/<modality>` or `x/<modality>/<depth>`, depths in order."""
    found: dict[str, dict[int, str]] = {}
    for key in keys:
        head, _, rest = key.partition("/")
        name, _, depth = rest.partition("/")
        if head != "x" or not name:
            continue
        if depth and not depth.isdecimal():
            raise UserError(f"key {key!r} is of no known form; expected x/<modality> or x/<modality>/<depth number>")
        depths = found.setdefault(name, {})
        number = int(depth) if depth else -1
        if number in depths or (depths and (number == -1 or -1 in depths)):
            raise UserError(f"key {key!r} gives modality {name!r} twice; expected one array, or one per depth")
        depths[number] = key
    return {name: tuple(key for _, key in sorted(depths.items())) for name, depths in found.items()}


def _key_list(label: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(key, str) for key in value):
        raise UserError(f"{label} is {value!r}; expected a list of keys, one per depth")
    return tuple(value)


def _build(files: _Files, description: Description, seed: int) -> FusionData:
    for name in description.modalities:
        check_name(name)
    targets = files.samples(description.target)
    values: dict[str, Any] = {}
    for name, keys in description.modalities.items():
        arrays = [files.samples(key) for key in keys]
        # One key is one array; x/<modality>/<depth> and lists of keys are ready-made features, be it of one depth.
        values[name] = arrays if len(keys) > 1 or keys[0].count("/") == 2 else arrays[0]
    splits: Any = None
    if files.is_folder:
        splits = files.splits()
    elif description.split is not None:
        splits = files.samples(description.split)
    return FusionData.from_arrays(
        values,
        targets,
        task=description.task,
        splits=splits,
        kinds=description.kinds,
        present={name: files.samples(key) for name, key in description.present.items()},
        name=files.path.resolve().stem,
        class_names=None if description.class_names is None else _names(description.class_names, files),
        seed=seed,
    )


def _names(key: str, files: _Files) -> list[str]:
    """The names of the classes, one after the other."""
    names = files.first(key)
    if names.ndim != 1:
        raise UserError(f"key {key!r} has shape {names.shape}; expected the names of the classes, (classes,)")
    return [str(name) for name in (names.astype(str) if names.dtype.kind == "S" else names).tolist()]
