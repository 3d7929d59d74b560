"""The spaces of the field are searched by every strategy, retrained, exported and drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

import nas
from nas.discretize.discretize import discretize
from nas.space.options import read_space
from nas.strategies import STRATEGIES
from tests.strategies.problems import DEPTHS, tiny_problem
from tests.tiny_runs import as_data, tiny_arrays, tiny_search

ASKED = ["mfas:rows=2", "bm_nas:cells=1,steps=2", "dynmm_modality:experts=sight,sound+sight", "mufasa:blocks=1"]

STRATEGIES_OF_EVERY_KIND = ("sampled", "darts", "gdas", "pc_darts", "evolution", "mfas")


@pytest.mark.parametrize("strategy", STRATEGIES_OF_EVERY_KIND)
@pytest.mark.parametrize("asked", ASKED)
def test_strategies_of_every_kind_find_an_architecture(asked: str, strategy: str) -> None:
    builder, options = read_space(asked)
    operations = ["mlp_block"] if asked.startswith("mufasa") else None  # with all it has 20 000 architectures
    problem = tiny_problem(space=builder(DEPTHS, operations=operations, **options))
    result = STRATEGIES[strategy](problem)
    found = result.architecture or discretize(problem, result, "argmax").architecture
    problem.space.validate(found)
    assert found.steps


@pytest.mark.slow
@pytest.mark.parametrize("asked", [asked for asked in ASKED if asked.startswith(("bm_nas", "mufasa"))])
def test_what_is_found_is_loaded_retrained_exported_and_drawn(asked: str, tmp_path: Path) -> None:
    data = as_data(tiny_arrays())
    found = tiny_search(data, space=asked, operations=None, dynamic=[], out=tmp_path / "run")
    assert (tmp_path / "run" / "figures" / "architecture.svg").exists()
    again = nas.load_run(tmp_path / "run")
    assert again.config.search.space == asked
    assert again.architecture == found.architecture
    files = nas.export(tmp_path / "run", ["python"], data=data)
    assert max(file.difference for file in files if file.difference is not None) < 1e-4
    retrained = nas.retrain(tmp_path / "run", data=data, out=tmp_path / "again", epochs=1)
    assert retrained.architecture == found.architecture
