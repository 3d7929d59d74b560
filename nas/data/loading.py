"""Data from a file, a folder of arrays or of three files, a `data.toml`, a table, an embedded set, or memory.

Of arrays nothing is guessed: they are modalities only if the call, a `data.toml` or the keys inside the file say so.
Nothing is unpickled either.
"""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from nas.data.digits import digits_halves, digits_mixed, digits_sum
from nas.data.dynamic_tasks import dynamic_corrupted, dynamic_half, dynamic_one_of_three
from nas.data.emoji import emoji
from nas.data.from_arrays import check_name, refolded
from nas.data.fusion_data import HELD_SHARE, FusionData, Modality, Split, fits
from nas.data.inputs import make_inputs
from nas.data.modality import as_words, plain_array
from nas.data.npz import Member, check_size, open_folder, open_npz
from nas.data.paths import is_file, is_folder, mode, printable
from nas.data.splits import Fold
from nas.data.stored import Array, StoredArray
from nas.data.torch_datasets import TARGET, arrays_of, pick
from nas.errors import UserError, one_line, unknown_name

if TYPE_CHECKING:
    from nas.data.tables.needs import Needs

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


class MissingTargetError(UserError):
    """A file does not hold its target, or does not say which array it is."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """Which arrays of a file are what. The fields bear the names of the keys of a `data.toml`.

    Attributes:
        modalities: Modality to the keys of its arrays: one, or one per depth for ready-made features.
        kinds: Modality to kind, where it cannot be read off its array.
        target: Key of the target.
        split: Key of the split; None if there is none.
        group: Key of the groups, likewise.
        weight: Key of the sample weights, likewise.
        task: classification, multilabel or regression; None to read it off the target.
        present: Modality to the key of its presence mask.
        class_names: Key of the names of the classes; None to name them after their labels.
    """

    modalities: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, str]
    target: str
    split: str | None = None
    group: str | None = None
    weight: str | None = None
    task: str | None = None
    present: Mapping[str, str]
    class_names: str | None = None

    def keys(self) -> list[str]:
        """Keys of all arrays that will be read, in that order."""
        others = (self.split, self.group, self.weight, *self.present.values(), self.class_names)
        arrays = [key for keys in self.modalities.values() for key in keys]
        return [self.target, *arrays, *(key for key in others if key is not None)]


def load_data(
    source: FusionData | str | Path | Any,
    *,
    modalities: str | Sequence[str] | Mapping[str, str] | None = None,
    target: str | None = None,
    split: str | None = None,
    task: str | None = None,
    columns: str | Sequence[str] | Mapping[str, str] | None = None,
    group: str | None = None,
    weight: str | None = None,
    fold: Fold | None = None,
    seed: int = 0,
    needs: Mapping[str, Needs] | None = None,
    memory: int | None = None,
) -> FusionData:
    """Reads a data set.

    A table has a row per sample. What its columns are, images, audio, text, numbers, categories or dates, is told from
    the rows of the training split; see docs/tables.md.

    What is named here comes first, then a `data.toml`, then the keys `x/<modality>[/<depth>]`, `y`, `split` and
    `present/<modality>` inside the file. A `data.toml` holds the same names and lies in the folder of the `.npz`:

        file = "sensors.npz"                      # left out for a folder of three
        modalities = ["audio:sequence", "image"]
        target = "label"
        split = "split"
        group = "patient"
        weight = "weight"
        task = "classification"
        class_names = "label_names"
        [present]
        audio = "has_audio"
        [features]                                # ready-made features, one array per depth
        text = ["text_layer1", "text_layer6", "text_layer12"]

    Args:
        source: The name of an embedded set; an `.npz`; a folder of `.npy`, one per array; a folder with `train.npz`,
            `test.npz` and, if there is one, `val.npz`; a `data.toml`; a table, be it a file (.csv, .tsv, .parquet,
            .jsonl) or a frame of pandas or of a library whose tables have `to_pandas()`; a map-style torch `Dataset`,
            whose items are mappings from name to value, or tuples of values and the target; or a `FusionData`, which
            is returned as it is.
        modalities: Keys of the modalities, each with its kind where that cannot be read off the array, such as
            "skeleton:sequence,words:tokens", a list of such, or a mapping from key to kind ("" to read it off). Of a
            table groups of columns, such as "meta=year+author,picture,title".
        target: Key of the target.
        split: Key of the split, (n,) of 0/1/2 or train/val/test. Without one, splits are drawn from the seed.
        task: classification, multilabel or regression.
        columns: Of a table: column to kind where it is not to be told from the cells, such as
            "picture:image,zip:category,id:ignore", a list of such, or a mapping.
        group: Key of the groups, (n,) words or numbers: samples of one group come into the same split.
        weight: Key of the sample weights, (n,) numbers of 0 or more: how much each sample counts while weights learn.
        fold: Which part of the samples is the test split; it takes the place of one that would be drawn or that a data
            set in memory has.
        seed: Of splits and pairs that are drawn.
        needs: Of a table: modality to what its pretrained encoder wants to be shown, where it has one.
        memory: Bytes that the data may take; arrays of files that take more stay on disk. None for any number.

    Raises:
        UserError: If the source is not there or is malformed; the message names the key and says how to mend it.
    """
    from nas.data.tables import is_table, load_table  # noqa: PLC0415 - that package needs this one

    if columns and not is_table(source):
        raise UserError("columns tell what a table holds, and this is no table; name arrays by modalities instead")
    if isinstance(source, Dataset):
        made = _of_dataset(
            source,
            modalities,
            target=target,
            split=split,
            task=task,
            group=group,
            weight=weight,
            fold=fold,
            seed=seed,
        )
        return replace(made, memory=memory)
    if is_table(source):
        return load_table(
            source,
            modalities=modalities,
            target=target,
            split=split,
            task=task,
            columns=columns,
            group=group,
            weight=weight,
            fold=fold,
            seed=seed,
            needs=needs,
            memory=memory,
        )
    named = {"target": target, "split": split, "task": task, "group": group, "weight": weight}
    given = any(value is not None for value in (modalities, *named.values()))
    if isinstance(source, FusionData):
        if given:
            raise UserError(
                f"modalities, {', '.join(named)} belong to a file or a table; this data set has its own: drop them"
            )
        made = source if fold is None else _refolded(source, fold, seed)
        return made if memory is None else replace(made, memory=memory)
    path = Path(source)
    if printable(str(source)) != str(source):  # a run notes in its config where its data lies
        raise UserError(f"the path {str(source)!r:.300} is not UTF-8, so that no run can note it; rename it")
    if is_embedded(source):
        if given:
            raise UserError(f"the embedded set {str(source)!r} has modalities and target of its own; drop the options")
        if fold is not None:
            raise UserError(
                f"the embedded set {str(source)!r} has splits of its own, made so that nothing of one is in another; "
                "folds would mix them: leave folds out"
            )
        return replace(EMBEDDED[str(source)](seed), memory=memory)
    _refuse_absent(path)
    settings, path = _settings(path)
    files = _Files(path)
    description = _describe(settings, files, modalities, **named)
    if fold is not None and split is None:  # one that the data has by itself
        description = replace(description, split=None)
    with _fitting_in_memory(path):
        return _build(files, description, seed, fold, memory)


def _of_dataset(
    dataset: Dataset[Any],
    modalities: str | Sequence[str] | Mapping[str, str] | None,
    *,
    target: str | None,
    split: str | None,
    task: str | None,
    group: str | None,
    weight: str | None,
    fold: Fold | None,
    seed: int,
) -> FusionData:
    kinds = {} if modalities is None else parse_modalities(modalities)
    arrays = arrays_of(dataset, list(kinds))
    named = {"target": target or TARGET, "split": split, "group": group, "weight": weight}
    found = {role: pick(arrays, name, role) for role, name in named.items()}
    for name in kinds:
        pick(arrays, name, "modality")
    inputs = list(kinds) or [name for name in arrays if name not in named.values()]
    answers = found["target"]
    assert answers is not None
    return FusionData.from_arrays(
        {name: arrays[name] for name in inputs},
        answers,
        task=task,
        splits=found["split"],
        kinds={name: kind for name, kind in kinds.items() if kind},
        name=type(dataset).__name__,
        groups=found["group"],
        sample_weights=found["weight"],
        fold=fold,
        seed=seed,
    )


def load_inputs(source: str | Path, kinds: Mapping[str, str], memory: int | None = None) -> dict[str, Modality]:
    """Reads modalities alone, of all samples in the order of the file: no target and no split is needed or looked at.

    Args:
        source: An `.npz`, a folder or a `data.toml`. Each modality is a key of its own name, or as `load_data`
            reads it: ready-made features of a `data.toml`, or `x/<modality>[/<depth>]` and `present/<modality>`.
        kinds: The modalities that are wanted, with their kinds.
        memory: As of `load_data`.

    Raises:
        UserError: If the source is not there or is malformed, or lacks a modality.
    """
    path = Path(source)
    _refuse_absent(path)
    settings, path = _settings(path)
    files = _Files(path)
    features, inside = _features(settings), _keyed(files.keys)
    columns = {name: features.get(name, inside.get(name, (name,))) for name in kinds}
    for name, keys in columns.items():
        if absent := [key for key in keys if key not in files.keys]:
            raise UserError(
                f"{str(path)!r} has no array {absent[0]!r} for modality {name!r}, which the network reads; it holds: "
                f"{', '.join(files.keys)}"
            )
    masks = {name: f"present/{name}" for name in kinds if f"present/{name}" in files.keys}
    masks |= {name: key for name, key in settings.get("present", {}).items() if name in kinds and isinstance(key, str)}
    files.keep_on_disk([key for keys in columns.values() for key in keys], memory)
    files.check_size([*(key for keys in columns.values() for key in keys), *masks.values()])
    with _fitting_in_memory(path):
        arrays = {name: [files.samples(key) for key in keys] for name, keys in columns.items()}
        values = {name: some if kinds[name] == "features" else some[0] for name, some in arrays.items()}
        return make_inputs(values, kinds, {name: files.samples(key) for name, key in masks.items()})


def is_embedded(source: str | Path) -> bool:
    """Whether a source is the name of an embedded set, and no file of that name is there."""
    return str(source) in EMBEDDED and mode(Path(source)) is None


def _refuse_absent(path: Path) -> None:
    if mode(path) is None:
        if path.suffix or len(path.parts) > 1:
            raise UserError(
                f"no file or folder at {str(path)!r}; expected a table, an .npz, a folder of .npy or a data.toml"
            )
        raise unknown_name("data set", str(path), EMBEDDED)


@contextmanager
def _fitting_in_memory(path: Path) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise UserError(
            f"the data of {str(path)!r} does not fit in memory ({one_line(error)}); use a smaller number type such as "
            "float16 or uint8, fewer samples, or more memory"
        ) from error


def _settings(path: Path) -> tuple[dict[str, Any], Path]:
    """The `data.toml` that belongs to a source, empty if there is none, and the file or folder with the arrays."""
    if path.suffix == ".toml":
        settings = _read_toml(path)
        named = path.parent / settings["file"] if "file" in settings else path.parent
        if mode(named) is None:
            raise UserError(f"{str(path)!r} names file {settings['file']!r}, which is not beside it")
        return settings, named
    beside = (path if is_folder(path) else path.parent) / DESCRIPTION
    if not is_file(beside):
        return {}, path
    settings = _read_toml(beside)
    if is_folder(path):
        return settings, path / settings["file"] if "file" in settings else path
    # A folder may hold several files; a description that names another one is not about this one.
    return (settings if settings.get("file", path.name) == path.name else {}), path


_SETTINGS: Mapping[str, type | tuple[type, ...]] = {
    "file": str,
    "modalities": (str, list, dict),
    "target": str,
    "split": str,
    "group": str,
    "weight": str,
    "task": str,
    "class_names": str,
    "present": dict,
    "features": dict,
}


MAX_DESCRIPTION_BYTES = 1_000_000
"""A thousand modalities take a tenth of it."""


def _read_toml(path: Path) -> dict[str, Any]:
    if not is_file(path):
        raise UserError(f"{str(path)!r} is no file; expected a data.toml")
    if (size := path.stat().st_size) > MAX_DESCRIPTION_BYTES:
        raise UserError(f"{str(path)!r} has {size} bytes; expected a data.toml of at most {MAX_DESCRIPTION_BYTES}")
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{str(path)!r} is not TOML: {one_line(error)}") from error
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
    """One `.npz`, a folder of `.npy`, or a folder of three `.npz` whose arrays are joined sample by sample.

    Args:
        path: Of the file or folder.

    Raises:
        UserError: If it cannot be read, or the files of a folder differ in their keys.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: dict[Split, Mapping[str, Member]] = {}
        self._counted: tuple[str, list[int]] | None = None  # a key and its samples in each file
        self._on_disk: frozenset[str] = frozenset()
        has_parts = is_folder(path) and any(is_file(path / name) for name in _PARTS["weights"])
        alone = open_folder(path) if is_folder(path) and not has_parts else {}
        self.is_folder = is_folder(path) and not alone  # whether the files themselves are the splits
        if alone:
            self.parts["weights"] = alone
        elif not self.is_folder:
            self.parts["weights"] = open_npz(path)
        else:
            for part, names in _PARTS.items():
                if found := [path / name for name in names if is_file(path / name)]:
                    self.parts[part] = open_npz(found[0])
                elif part != "architecture":
                    raise UserError(
                        f"folder {str(path)!r} has no {names[0]}; expected train.npz, val.npz and test.npz, or an .npy "
                        "for each array: for a single .npz give its path, or name it as file in the data.toml"
                    )
        self.keys = sorted(self.parts["weights"])
        for part, arrays in self.parts.items():
            if differing := set(self.keys).symmetric_difference(arrays):
                raise UserError(
                    f"the {part} file of {str(path)!r} differs from train.npz in key {sorted(differing)[0]!r}; "
                    "give all files the same keys"
                )

    def check_size(self, keys: Sequence[str]) -> None:
        """Refuses arrays that would take more memory than there is, before any is read.

        Raises:
            UserError: If a key is not in the files, or the arrays are too large together.
        """
        for key in keys:
            self._check(key)
        check_size([arrays[key] for arrays in self.parts.values() for key in keys if key not in self._on_disk])

    def keep_on_disk(self, keys: Sequence[str], memory: int | None) -> None:
        """Leaves arrays on disk if they take too much memory together: all but the smallest of them.

        Args:
            keys: Of modalities.
            memory: Bytes that all data may take; None for any number.

        Raises:
            UserError: If a key is not in the files.
        """
        if memory is None:
            return
        for key in keys:
            self._check(key)
        sizes = {key: sum(arrays[key].num_bytes() for arrays in self.parts.values()) for key in keys}
        if fits(sum(sizes.values()), memory):
            return
        ascending = sorted(sizes, key=sizes.__getitem__)
        taken = np.cumsum([sizes[key] for key in ascending])
        self._on_disk = frozenset(
            key for key, so_far in zip(ascending, taken, strict=True) if so_far > memory // HELD_SHARE
        )

    def first(self, key: str) -> NDArray[Any]:
        """An array that is not one row per sample, such as the names of classes: that of the first file."""
        self._check(key)
        return self.parts["weights"][key].read()

    def samples(self, key: str) -> Array:
        """An array with one row per sample: the files' one after the other.

        Raises:
            UserError: If it is not in the files, is a single value, or differs between the files in the shape of a
                sample, or from an array read before in the number of samples of a file.
        """
        self._check(key)
        is_stored = key in self._on_disk
        read: list[Any] = [one[key].stored() if is_stored else one[key].read() for one in self.parts.values()]
        if not all(array.ndim for array in read):
            raise UserError(f"key {key!r} of {str(self.path)!r} is a single value; expected one row per sample")
        if len({array.shape[1:] for array in read}) > 1:
            shapes = ", ".join(str(array.shape) for array in read)
            raise UserError(
                f"key {key!r} has samples of different shape in the files: {shapes}; pad or crop them alike"
            )
        if not self.is_folder:
            alone: Array = read[0]
            return alone
        counts = [len(array) for array in read]
        first, expected = self._counted = self._counted or (key, counts)
        if counts != expected:  # equal sums would join samples of different files unnoticed
            raise UserError(
                f"key {key!r} has {counts} samples in the files {', '.join(self.parts)}, but {first!r} has {expected}; "
                "align them"
            )
        if not is_stored:
            return np.concatenate(read)
        if len({array.dtype for array in read}) > 1:
            told = ", ".join(str(array.dtype) for array in read)
            raise UserError(f"key {key!r} of {str(self.path)!r} is of several types, {told}; write it as one type")
        sources = [source for array in read for source in array.sources]
        return StoredArray.of(sources, read[0].stored_shape, read[0].stored_dtype)

    def splits(self) -> dict[Split, NDArray[np.int64]]:
        """Indices of the samples of each file of a folder, once an array was read."""
        assert self._counted is not None
        ends = np.cumsum(self._counted[1]).tolist()
        return {part: np.arange(start, end) for part, start, end in zip(self.parts, [0, *ends[:-1]], ends, strict=True)}

    def _check(self, key: str) -> None:
        if key not in self.keys:
            raise unknown_name(f"key in {str(self.path)!r}:", key, self.keys)


def _describe(
    settings: Mapping[str, Any],
    files: _Files,
    modalities: str | Sequence[str] | Mapping[str, str] | None,
    *,
    target: str | None,
    split: str | None,
    task: str | None,
    group: str | None,
    weight: str | None,
) -> Description:
    """What is what: named in the call, else in the settings, else by the keys of the file."""
    keys = files.keys
    inside = _keyed(keys)
    features = _features(settings)
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
        kind = MissingTargetError if columns else UserError
        raise kind(
            f"{str(files.path)!r} does not say which arrays are {' and '.join(missing)}; add "
            f"{' '.join(missing.values())}. It holds: {', '.join(keys)}"
        )
    if target not in keys:
        raise MissingTargetError(str(unknown_name(f"key in {str(files.path)!r}:", target, keys)))
    if files.is_folder and split is not None:
        raise UserError(f"folder {str(files.path)!r} has its splits by file; drop the split {split!r}")
    split = split or settings.get("split") or ("split" if "split" in keys else None)
    present = {name: f"present/{name}" for name in columns if f"present/{name}" in keys}
    for name, key in settings.get("present", {}).items():
        if name not in columns:
            raise unknown_name("modality in present:", str(name), columns)
        if not isinstance(key, str):
            raise UserError(f"present of modality {name!r} is {reprlib.repr(key)}; expected the key of its mask")
        present[name] = key
    roles = {"target": target, "split": split}
    roles |= {"group": group or settings.get("group"), "weight": weight or settings.get("weight")}
    for name, wanted in columns.items():
        for role, key in roles.items():
            if key in wanted:
                raise UserError(f"key {key!r} is the {role} and among the modalities ({name}); leave it out of them")
    return Description(
        modalities=columns,
        kinds=kinds,
        target=target,
        split=None if files.is_folder else split,
        group=roles["group"],
        weight=roles["weight"],
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
        for name, kind in named.items():
            if not isinstance(kind, str | None):
                raise UserError(
                    f"kind of modality {name!r} is {reprlib.repr(kind)}; expected a word, or '' to read it off"
                )
        return {str(name): kind or "" for name, kind in named.items()}
    kinds: dict[str, str] = {}
    for part in named.split(",") if isinstance(named, str) else named:
        if not isinstance(part, str):
            raise UserError(
                f"modalities {reprlib.repr(named)} hold {part!r}; expected names, such as image,words:tokens"
            )
        name, _, kind = part.strip().partition(":")
        if not name:
            raise UserError(f"modalities {reprlib.repr(named)} hold an empty name; expected such as image,words:tokens")
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


def _features(settings: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Modality to the keys of its ready-made features, as a `data.toml` names them."""
    return {name: _key_list(f"features.{name}", value) for name, value in settings.get("features", {}).items()}


def _key_list(label: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(key, str) for key in value):
        raise UserError(f"{label} is {reprlib.repr(value)}; expected a list of keys, one per depth")
    return tuple(value)


def _refolded(data: FusionData, fold: Fold, seed: int) -> FusionData:
    """The same data with the test split of a fold."""
    if data.recipe is not None:
        raise UserError(
            "the data set was made of a table by its own training rows; hand over the table itself, so that every fold "
            "makes its own"
        )
    return refolded(data, fold, seed)


def _build(files: _Files, description: Description, seed: int, fold: Fold | None, memory: int | None) -> FusionData:
    for name in description.modalities:
        check_name(name)
    files.keep_on_disk([key for keys in description.modalities.values() for key in keys], memory)
    files.check_size(description.keys())
    targets = files.samples(description.target)
    values: dict[str, Any] = {}
    for name, keys in description.modalities.items():
        arrays = [files.samples(key) for key in keys]
        # One key is one array; x/<modality>/<depth> and lists of keys are ready-made features, be it of one depth.
        values[name] = arrays if len(keys) > 1 or keys[0].count("/") == 2 else arrays[0]
    splits: Any = None
    if files.is_folder and fold is None:
        splits = files.splits()
    elif description.split is not None:
        splits = files.samples(description.split)
    made = FusionData.from_arrays(
        values,
        targets,
        task=description.task,
        splits=splits,
        kinds=description.kinds,
        present={name: files.samples(key) for name, key in description.present.items()},
        name=printable(files.path.resolve().stem),
        class_names=None if description.class_names is None else _names(description.class_names, files),
        groups=None if description.group is None else files.samples(description.group),
        sample_weights=None if description.weight is None else files.samples(description.weight),
        fold=fold,
        seed=seed,
    )
    return replace(made, memory=memory)


def _names(key: str, files: _Files) -> list[str]:
    """The names of the classes, one after the other."""
    names = files.first(key)
    if names.ndim != 1:
        raise UserError(f"key {key!r} has shape {names.shape}; expected the names of the classes, (classes,)")
    return [str(name) for name in as_words(f"key {key!r}", plain_array(f"key {key!r}", names)).tolist()]
