"""Several pictures in a cell are a sequence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import nas
from nas.data.tables.frames import MAX_STEPS, FramesRecipe
from nas.data.tables.recipe import TableRecipe
from tests.data.helpers import refused
from tests.data.tables.helpers import write_picture


def _table(folder: Path, as_list: bool) -> pd.DataFrame:
    """Two or three pictures in a row, darker and darker where the answer is 1; one row has none."""
    rows: list[dict[str, Any]] = []
    for number in range(40):
        falls, count = number % 2, 2 + number % 3 // 2
        levels = [60 + 60 * step for step in range(count)]
        names = [f"{level}.png" for level in (levels[::-1] if falls else levels)]
        for name in names:
            write_picture(folder / name, int(name[:-4]), mode="L")
        cell: Any = names if as_list else " | ".join(names)
        rows.append({"clip": None if number == 7 else cell, "weight": number % 5 + 0.5, "falls": "ny"[falls]})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("as_list", [False, True])
def test_a_cell_of_pictures_is_a_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_list: bool) -> None:
    monkeypatch.chdir(tmp_path)
    data = nas.load_data(_table(tmp_path, as_list), target="falls")
    clip = data.modalities["clip"]
    assert (clip.kind, clip.arrays[0].shape) == ("sequence", (40, 3, 6 * 8))
    assert clip.arrays[0][0, :, 0].tolist() == [60, 120, 120]  # the last one is repeated
    assert clip.arrays[0][1, :, 0].tolist() == [120, 60, 60]
    assert clip.arrays[0][2, :, 0].tolist() == [60, 120, 180]
    assert clip.present is not None
    assert np.flatnonzero(~clip.present).tolist() == [7]
    assert data.recipe is not None
    again = TableRecipe.from_dict(json.loads(json.dumps(data.recipe.to_dict())))
    assert isinstance(again.modalities["clip"], FramesRecipe)
    assert again == data.recipe


def test_of_many_pictures_some_are_taken_evenly(tmp_path: Path) -> None:
    for level in range(100):
        write_picture(tmp_path / f"{level}.png", level, mode="L")
    frame = pd.DataFrame({"clip": ["|".join(f"{level}.png" for level in range(100))]})
    recipe = FramesRecipe.fit(frame, {}, tmp_path)
    levels = recipe.apply(frame, tmp_path).arrays[0][0, :, 0]
    assert (recipe.steps, levels[0], levels[-1]) == (MAX_STEPS, 0, 99)
    assert np.diff(levels.astype(int)).tolist() == pytest.approx([99 / 31] * 31, abs=1)


def test_a_missing_picture_is_told_with_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = _table(tmp_path, as_list=False)
    frame.loc[4, "clip"] = "60.png|lost.png"
    with refused("column 'clip', row 5: 'lost.png' is not there"):
        nas.load_data(frame, target="falls")


def test_a_missing_picture_among_several_is_passed_over(tmp_path: Path) -> None:
    for number in range(5):
        Image.new("L", (4, 4), 50 * number).save(tmp_path / f"{number}.png")
    frame = pd.DataFrame({"views": ["0.png|1.png", "2.png|NA", "3.png|4.png"]})
    recipe = FramesRecipe.fit(frame, {"views": "images"}, tmp_path)
    (array,) = recipe.apply(frame, tmp_path).arrays
    assert array[:, :, 0].tolist() == [[0, 50], [100, 100], [150, 200]]
