"""Cross-validation: every sample is predicted once, by a run that has not seen it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nas
from nas import FusionData
from nas.data.loading import load_data
from nas.data.splits import Fold, folds_of
from nas.errors import UserError
from nas.pipeline.cross_validate import corrected_interval
from tests.command import runner
from tests.data.helpers import refused
from tests.tiny_runs import OPERATIONS, TRAINING, no_report, tiny_arrays

QUICK: dict[str, Any] = {
    "preset": "quick",
    "operations": OPERATIONS,
    "training": TRAINING,
    "retrain_seeds": 1,
    "baselines": "few",
    "device": "cpu",
}


def test_the_interval_by_hand() -> None:
    # Mean 2, deviation 1, t of two degrees of freedom 4.3027: 4.3027 · √(1/3 + 1/2).
    found = corrected_interval(np.array([1.0, 2.0, 3.0]), 0.5)
    assert (found.mean, found.high - found.mean) == pytest.approx((2.0, 4.3027 * (1 / 3 + 1 / 2) ** 0.5), abs=1e-3)


def test_folds_are_stratified_and_whole() -> None:
    strata = np.arange(100) % 4
    folds = folds_of(strata, None, 5, 0)
    assert [np.bincount(strata[folds == one]).tolist() for one in range(5)] == [[5] * 4] * 5
    groups = np.arange(100) // 3
    folds = folds_of(strata, groups, 5, 0)
    assert all(len(set(folds[groups == group])) == 1 for group in groups)
    assert np.bincount(folds).tolist() == pytest.approx([20] * 5, abs=3)


def test_folds_stay_of_equal_size_where_the_first_lacks_classes() -> None:
    # Twelve classes, each of one group of five: a split that has to learn them all would get them all.
    groups = np.arange(60) // 5
    folds = folds_of(groups, groups, 4, 0)
    assert np.bincount(folds).tolist() == [15] * 4


def test_every_sample_is_predicted_once_by_a_run_that_has_not_seen_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    arrays = tiny_arrays()
    data = _grouped(arrays)
    lines: list[str] = []
    read: list[FusionData] = []
    found = nas.cross_validate(
        data,
        folds=3,
        out=tmp_path / "folds",
        command="as it was called",
        progress=lines.append,
        on_data=read.append,
        time_limit_seconds=6000,
        **QUICK,
    )
    assert [one.config.search.time_limit_seconds for one in found.results] == [2000] * 3
    assert {one.summary.provenance.command for one in found.results} == {"as it was called"}
    assert [len(one.splits["test"]) for one in read] == [40] * 3
    told = found.predictions
    assert told["sample"].tolist() == list(range(120))
    assert told.groupby("fold").size().tolist() == [40, 40, 40]
    assert told["target"].tolist() == [str(label) for label in arrays["label"]]
    right = (told["label"] == told["target"]).groupby(told["fold"]).mean()
    assert found.rows[0].scores == pytest.approx(right.tolist())
    assert found.rows[0].score.low < found.rows[0].score.mean < found.rows[0].score.high
    assert {"found", "sound", "sight"} <= {row.name for row in found.rows}
    assert lines[0].startswith("fold 1/3: ")
    written = json.loads((tmp_path / "folds" / "cross_validation.json").read_text())
    assert written == json.loads(json.dumps(found.to_dict()))
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "folds" / "predictions.csv"), told.astype({"target": int, "label": int}), rtol=1e-6
    )
    judged = nas.evaluate(tmp_path / "folds" / "fold-2", data=data)
    assert judged["repeated"]
    assert judged["score"] == pytest.approx(found.rows[0].scores[1])


def _grouped(arrays: dict[str, Any]) -> FusionData:
    inputs = {name: arrays[name] for name in ("sound", "sight")}
    return FusionData.from_arrays(inputs, arrays["label"], groups=np.arange(120) // 2)


def test_the_recipe_of_a_table_is_made_of_the_other_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_report(monkeypatch)
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(60, 4)), columns=["a", "b", "c", "d"])
    frame["price"] = frame["a"] + frame["c"]
    frame["split"] = "train"
    frame.to_csv("table.csv", index=False)
    words = [
        "search",
        "table.csv",
        "--target",
        "price",
        "--modalities",
        "left=a+b,right=c+d",
        "--epochs",
        "2",
        "--folds",
    ]
    more = [
        "--preset",
        "quick",
        "--retrain-seeds",
        "1",
        "--operations",
        "additive",
        "--baselines",
        "few",
        "--out",
        "out",
    ]
    run = runner(monkeypatch, capsys)
    printed = run(*words, "2", *more, "--json")
    assert printed.code == 0, printed.err
    assert json.loads(printed.out)["folds"] == 2
    recipes = [json.loads(Path("out", f"fold-{number}", "preprocessing.json").read_text()) for number in (1, 2)]
    assert recipes[0]["modalities"] != recipes[1]["modalities"]
    assert len(pd.read_csv("out/predictions.csv")) == 60
    assert run("evaluate", "out/fold-1").code == 0
    assert "folds is 1; expected 2 or more" in run(*words, "1", *more).err
    told = json.loads(run(*words, "2", *more, "--dry-run", "--json", "--overwrite").out)
    assert (told["folds"], told["data"]["splits"]["test"]) == (2, 30)
    assert "for all 2 folds" in told["in_words"]
    assert "every sample is predicted once" in run(*words, "2", *more, "--overwrite").out


def test_every_fold_is_checked_before_the_first_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.pipeline.cross_validate.search", lambda *_given, **_options: pytest.fail("it began"))
    arrays = tiny_arrays()
    label = np.array([str(one) for one in arrays["label"]])
    label[7] = "x"  # one fold tests this sample, and no other one has its class
    inputs = {name: arrays[name] for name in ("sound", "sight")}
    seed = next(seed for seed in range(9) if folds_of(np.unique(label, return_inverse=True)[1], None, 3, seed)[7])
    data = FusionData.from_arrays(inputs, label, task="classification", seed=seed)
    with refused(r"fold [23]/3: class 'x' is absent from the weights split"):
        nas.cross_validate(data, folds=3, seed=seed, out=tmp_path / "folds", **QUICK)
    assert not (tmp_path / "folds").exists()
    plain = FusionData.from_arrays(inputs, arrays["label"])
    with refused("time_limit_seconds is 50; expected 60 or more for 3 folds"):
        nas.cross_validate(plain, folds=3, time_limit_seconds=50, **QUICK)


@pytest.mark.parametrize("text", ["", "0/5", "6/5", "1/1", "a/b", "3"])
def test_what_is_no_fold_is_told(text: str) -> None:
    with refused("expected such as 2/5"):
        Fold.read(text)


def test_a_fold_and_a_split_are_refused() -> None:
    with refused("fold 1/5 draws the splits itself"):
        FusionData.from_arrays(
            {"a": np.eye(20), "b": np.eye(20)[::-1]}, np.arange(20) % 2, splits=np.zeros(20), fold=Fold(1, 5)
        )
    with refused("3 samples are too few for 2 folds"):
        folds_of(np.zeros(3, dtype=np.int64), None, 2, 0)


def test_folds_do_not_mix_what_an_embedded_set_keeps_apart() -> None:
    with pytest.raises(UserError, match="'emoji' has splits of its own"):
        nas.cross_validate("emoji", folds=5)


def _of_file(file: Path, number: int) -> FusionData:
    return load_data(file, modalities="sound,sight", target="target", fold=Fold(number, 5))


def test_a_split_that_a_file_has_by_itself_is_not_used(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    sound, sight = generator.normal(size=(2, 100, 3)).astype(np.float32)
    target, split = np.arange(100) % 2, np.repeat([0, 1, 2], [40, 20, 40])
    np.savez(tmp_path / "own.npz", sound=sound, sight=sight, target=target, split=split)
    folds = [_of_file(tmp_path / "own.npz", number) for number in range(1, 6)]
    assert set(folds[0].modalities) == {"sound", "sight"}
    assert np.bincount(np.concatenate([one.splits["test"] for one in folds])).tolist() == [1] * 100
