"""Encoders by name in the scikit-learn estimators: fitted, cloned, saved and loaded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

import nas
from nas import FusionClassifier, FusionRegressor, UserError
from nas.pipeline.estimators import FILE
from tests.encoders.models import save_tiny
from tests.pipeline.test_estimators import REAL
from tests.tiny_runs import no_report

QUICK = {**REAL, "baselines": "few"}

OWN = "own_tower:Tower"

TOWER = """
from pathlib import Path
from torch import nn

Path(__file__).with_name("imported").touch()

class Tower(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Sequential(nn.Linear(3, 8), nn.ReLU()), nn.Linear(8, 6))
"""


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)


def texts_and_numbers(count: int = 40) -> tuple[dict[str, Any], np.ndarray]:
    """Ids of words and three numbers, both of which tell a class."""
    generator = np.random.default_rng(0)
    label = np.arange(count) % 2
    title = generator.integers(1, 25, (count, 6)) + 25 * label[:, None]
    return {"title": title, "meta": generator.normal(size=(count, 3)).astype(np.float32) + label[:, None]}, label


@pytest.mark.parametrize("mode", ["frozen", "lora"])
def test_a_pretrained_network_is_fitted_saved_and_loaded(tmp_path: Path, mode: str) -> None:
    encoders = {"title": f"hf:{save_tiny('bert', tmp_path)}"}
    X, y = texts_and_numbers()  # noqa: N806
    model = FusionClassifier(encoders=encoders, encoder_mode={"title": mode}, kinds={"title": "tokens"}, **QUICK)
    assert clone(model).get_params() == model.get_params()
    model.fit(X, y)
    assert model.run_.config.search.encoder == (f"title={encoders['title']}",)
    assert model.run_.config.search.encoder_mode == (f"title={mode}",)
    assert len(np.unique(model.predict_proba(X))) > 1
    model.save(tmp_path / "model")
    (tmp_path / "bert" / "model.safetensors").unlink()  # the run holds all that it needs
    loaded = FusionClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.get_params() == model.get_params()
    assert clone(loaded).get_params() == model.get_params()
    np.testing.assert_array_equal(nas.predict(tmp_path / "model", X).probabilities, model.predict_proba(X))


def test_a_module_of_ones_own_is_imported_only_if_it_is_named_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_tower.py").write_text(TOWER)
    monkeypatch.syspath_prepend(tmp_path)
    X, y = texts_and_numbers()  # noqa: N806
    X = {"left": X["meta"], "right": X["meta"][:, ::-1].copy()}  # noqa: N806
    model = FusionRegressor(encoders={"left": OWN}, **QUICK).fit(X, y.astype(float) + X["left"][:, 0])
    model.save(tmp_path / "model")
    (tmp_path / "imported").unlink()
    monkeypatch.delitem(sys.modules, "own_tower")
    with pytest.raises(UserError, match="module of its own, own_tower:Tower"):
        FusionRegressor.load(tmp_path / "model")
    with pytest.raises(UserError, match="'other:Net' is named for it"):
        FusionRegressor.load(tmp_path / "model", encoders={"left": "other:Net"})
    assert not (tmp_path / "imported").exists()
    file = tmp_path / "model" / FILE
    told = json.loads(file.read_text())
    for changes in (
        {"encoders": {"left": OWN, "right": "evil:Net"}},
        {"training": {"encoder": ["right=evil:Net"]}},
        {"training": {"encoders": {"right": "evil:Net"}}},
    ):
        file.write_text(json.dumps({**told, "params": {**told["params"], **changes}}))
        with pytest.raises(UserError, match="the encoder of 'right' is a module of its own, evil:Net"):
            FusionRegressor.load(tmp_path / "model", encoders={"left": OWN})
    file.write_text(json.dumps(told))
    loaded = FusionRegressor.load(tmp_path / "model", encoders={"left": OWN})
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_encoders_of_columns_are_cross_validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_tower.py").write_text(TOWER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_tower", raising=False)
    X, y = texts_and_numbers()  # noqa: N806
    columns = np.hstack([X["meta"], X["meta"] ** 2])
    model = FusionClassifier(modalities={"left": slice(3), "right": slice(3, 6)}, **QUICK)
    model.set_params(encoders={"left": OWN})
    scores = cross_val_score(model, columns, y, cv=2)
    assert scores.min() > 0.5
