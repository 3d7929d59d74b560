"""A torch `Dataset` is searched like the arrays of its items, and frames of all libraries are one table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import nas
from nas.data.torch_datasets import arrays_of
from tests.data.helpers import refused
from tests.tiny_runs import as_data, no_report, tiny_arrays, tiny_search


class Items(Dataset[Any]):
    """Items of any form, made by a function of their number."""

    def __init__(self, make: Any, count: int = 120) -> None:
        self.make, self.count = make, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> Any:
        return self.make(place)


ARRAYS = tiny_arrays()


def _parts(place: int) -> tuple[Any, Any, int]:
    return torch.from_numpy(ARRAYS["sound"][place]), ARRAYS["sight"][place], int(ARRAYS["label"][place])


def _named(place: int) -> dict[str, Any]:
    sound, sight, label = _parts(place)
    return {"sound": sound, "sight": sight, "label": label, "split": int(ARRAYS["split"][place])}


FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "mappings": (Items(_named), {"target": "label", "split": "split"}),
    "tuples": (Items(_parts), {"modalities": "sound,sight"}),
    "pairs of tuples": (Items(lambda place: (_parts(place)[:2], _parts(place)[2])), {"modalities": ["sound", "sight"]}),
    "pairs of mappings": (
        Items(lambda place: ({name: _named(place)[name] for name in ("sound", "sight")}, _parts(place)[2])),
        {},
    ),
    "tensors": (
        TensorDataset(*(torch.from_numpy(ARRAYS[name]) for name in ("sound", "sight", "label"))),
        {"modalities": "sound,sight"},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_items_of_every_form_are_the_same_arrays(form: str) -> None:
    source, options = FORMS[form]
    data = nas.load_data(source, **options)
    inputs = {name: ARRAYS[name] for name in ("sound", "sight")}
    expected = nas.FusionData.from_arrays(
        inputs, ARRAYS["label"], splits=ARRAYS["split"] if "split" in options else None
    )
    assert data.fingerprint() == expected.fingerprint()


def test_a_dataset_is_searched_and_predicted_like_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    source, options = FORMS["mappings"]
    found = tiny_search(source, out=tmp_path / "run", **options)
    plain = tiny_search(as_data(ARRAYS))
    assert [row.score for row in found.summary.leaderboard] == [row.score for row in plain.summary.leaderboard]
    expected = nas.predict(plain, {name: ARRAYS[name] for name in ("sound", "sight")}).outputs
    bare = Items(lambda place: _parts(place)[:2])
    for given in (source, FORMS["tuples"][0], FORMS["pairs of tuples"][0], bare):
        np.testing.assert_array_equal(nas.predict(tmp_path / "run", given).outputs, expected)
    assert nas.evaluate(tmp_path / "run", data=source)["repeated"]


def test_pictures_have_their_channels_first() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, size=(4, 6, 5, 3)).astype(np.uint8)
    arrays = arrays_of(Items(lambda place: (Image.fromarray(pixels[place]), place), 4))
    np.testing.assert_array_equal(arrays["input0"], pixels.transpose(0, 3, 1, 2))


def test_tensors_that_learn_or_are_of_half_precision_are_read() -> None:
    def item(place: int) -> dict[str, torch.Tensor]:
        return {"a": torch.full((2,), float(place), requires_grad=True), "b": torch.ones(3, dtype=torch.bfloat16)}

    arrays = arrays_of(Items(item, 4))
    assert arrays["a"][:, 0].tolist() == [0, 1, 2, 3]
    assert arrays["b"].dtype == np.float32


class Stream(IterableDataset[Any]):
    """It has no length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (Stream(), {}, "Stream has no length"),
        (Items(_parts, 0), {}, "Items is empty"),
        (Items(lambda place: place), {}, "item 0 of the Dataset is a int; expected a mapping"),
        (Items(lambda place: {"a": 1} if place else {"b": 1}), {}, "item 1 of the Dataset holds a, but item 0 holds b"),
        (Items(lambda place: {"a": np.zeros(1 + place)}), {}, r"'a' of item 1 .* has shape \(2,\), but that of item 0"),
        (Items(_parts), {"modalities": "sound"}, "has 2 values beside its target, but 1 modalities are named: sound"),
        (Items(_named), {}, "unknown target of the Dataset: 'target'"),
        (Items(lambda place: {"a": [[1.0], [1.0, 2.0]]}), {}, "'a' of item 0 of the Dataset is no array: setting an"),
        (Items(_parts), {"columns": "a:image"}, "this is no table"),
        (Items(_named), {"target": "label", "modalities": "sound,smell"}, "unknown modality of the Dataset: 'smell'"),
    ],
)
def test_items_that_make_no_arrays_are_told_in_one_line(source: Any, options: dict[str, Any], message: str) -> None:
    with refused(message):
        nas.load_data(source, **options)


def _frame() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(60, 4)), columns=["a", "b", "c", "d"])
    frame["zip"] = [f"z{number % 7}" for number in range(60)]
    frame["label"] = np.where(frame["a"] > 0, "yes", "no")
    return frame


class Rows:
    """A table of a library of which nothing is known but `to_pandas`."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    def to_pandas(self) -> pd.DataFrame:
        return self.frame


def _as(library: str, frame: pd.DataFrame) -> Any:
    if library == "rows":
        return Rows(frame)
    module = pytest.importorskip(library)
    if library == "pyarrow":
        return module.Table.from_pandas(frame)
    if library == "polars":
        return module.DataFrame(frame.to_dict("list"))
    return module.Dataset.from_dict(frame.to_dict("list"))


@pytest.mark.parametrize("library", ["rows", "pyarrow", "polars", "datasets"])
def test_tables_of_all_libraries_are_the_same_data(library: str) -> None:
    frame = _frame()
    options: dict[str, Any] = {"target": "label", "modalities": "left=a+b,right=c+d+zip"}
    assert nas.load_data(_as(library, frame), **options).fingerprint() == nas.load_data(frame, **options).fingerprint()


def test_a_search_comes_to_the_same_numbers_from_every_library(monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    frame = _frame()
    options: dict[str, Any] = {"target": "label", "baselines": "few", "epochs": 2}
    tables = {"pandas": frame, **{name: _as(name, frame) for name in ("pyarrow", "polars", "datasets")}}
    groups = "left=a+b,right=c+d+zip"
    made = nas.load_data(frame, target="label", modalities=groups)
    split = np.empty(len(made), dtype=np.int64)
    for number, rows in enumerate(made.splits.values()):
        split[rows] = number
    items: Any = Items(
        lambda place: {
            **{name: one.arrays[0][place] for name, one in made.modalities.items()},
            "label": made.class_names[made.targets[place]],
            "split": split[place],
        },
        len(made),
    )
    found = {name: tiny_search(table, modalities=groups, **options) for name, table in tables.items()}
    found["torch"] = tiny_search(items, modalities="left,right", split="split", **options)
    sources = {**tables, "torch": items}
    scores = {name: [row.score for row in one.summary.leaderboard] for name, one in found.items()}
    outputs = {name: nas.predict(one, sources[name]).outputs for name, one in found.items()}
    for name in found:
        assert scores[name] == scores["pandas"], name
        np.testing.assert_array_equal(outputs[name], outputs["pandas"], err_msg=name)
