"""The space in which one modality is added into the encoder of another: what it holds, and the way through a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from benchmarks.export import with_gate
from nas.data.fusion_data import FusionData, Kind
from nas.discretize.discretize import discretize
from nas.discretize.local_search import with_one_tap_moved, without
from nas.errors import UserError
from nas.export.formats import FORMATS
from nas.routing.levels import fusion_level, modality_level
from nas.routing.search import shallow_taps, shared_taps
from nas.space.architecture import Architecture
from nas.strategies import STRATEGIES
from search_spaces import dynmm_fusion
from tests.helpers import tiny_data
from tests.strategies.problems import tiny_problem
from tests.tiny_runs import SIZES, tiny_search

SPACE = dynmm_fusion({"image": 3, "audio": 2}, how="squeeze_excitation")

EVERY = tuple(SPACE.enumerate())


def pictures(kind: Kind = "map") -> FusionData:
    """Two maps, or two sequences; the bright half of each tells one of the two bits of four classes."""
    generator = np.random.default_rng(0)
    count = sum(SIZES)
    label = np.arange(count) % 4
    shape = (1, 6, 6) if kind == "map" else (6, 2)
    arrays = {name: generator.normal(size=(count, *shape)).astype(np.float32) for name in ("image", "audio")}
    for bit, array in enumerate(arrays.values()):
        array[(label >> bit) % 2 == 1, ..., :1] += 3
    splits = np.repeat([0, 1, 2], SIZES)
    return FusionData.from_arrays(arrays, label, splits=splits, kinds=dict.fromkeys(arrays, kind))


def test_it_holds_every_k_and_tells_the_two_modalities() -> None:
    assert [one.in_words() for one in EVERY] == [
        "image alone",
        "image + SE(audio) to depth 0",
        "image + SE(audio) to depth 1",
    ]
    assert [one.modalities() for one in EVERY] == [("image",), ("image", "audio"), ("image", "audio")]
    assert [SPACE.interaction_order(one) for one in EVERY] == [0, 3, 3]
    assert dict(SPACE.options) == {"main": "image", "how": "squeeze_excitation"}
    assert dynmm_fusion({"image": 3, "audio": 2}, main="audio").at((1,)).in_words() == "audio + image to depth 0"


def test_a_gate_reads_the_first_layers_of_both_and_picks_any_smaller_k() -> None:
    found = EVERY[-1]
    for_fusion = [kind for kind in fusion_level(SPACE, found) if any(map(kind, EVERY))]
    assert [[one for one in EVERY if kind(one)] for kind in for_fusion] == [[EVERY[0]], [EVERY[1]]]
    assert [one for one in EVERY if any(kind(one) for kind in modality_level(SPACE, found))] == [EVERY[0]]
    reads = shallow_taps(SPACE, found)
    assert reads == ("image+se*audio@0",)
    assert shared_taps(EVERY) == ()  # routes share the first layers alone
    gated = Architecture.gated(EVERY, reads)
    assert Architecture.from_json(gated.to_json()) == gated
    assert gated.in_words().startswith("a gate on image@0 and audio@0 picks image alone, or image + SE(audio)")


def test_local_search_moves_k_and_leaves_the_second_modality_out() -> None:
    assert set(with_one_tap_moved(SPACE, EVERY[1])) == {EVERY[0], EVERY[2]}
    assert without(SPACE, EVERY[2], ["audio"]) == EVERY[0]
    assert not without(SPACE, EVERY[2], ["image"]).steps


@pytest.mark.parametrize(
    ("depths", "options", "message"),
    [
        ({"a": 3}, {}, "adds one modality into another, so it takes two; got a"),
        ({"a": 3, "b": 3, "c": 3}, {}, "takes two; got a, b, c"),
        ({"a": 3, "b": 3}, {"main": "c"}, "unknown main modality 'c'"),
        ({"a": 3, "b": 3}, {"how": "product"}, "unknown way to add 'product'"),
        ({"a": 3, "b": 3}, {"operations": ["mlp"]}, "chooses no operation; leave operations out"),
        ({"a": 3, "b": 3}, {"dynamic": ["cascade"]}, "takes no cascade"),
    ],
)
def test_mistakes_are_told(depths: Mapping[str, int], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dynmm_fusion(depths, **options)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"a": "vector", "b": "vector"}, "a vector cannot be added into the encoder of a vector"),
        ({"a": "tokens", "b": "map"}, "a map cannot be added into the encoder of a text of tokens"),
        ({"a": "map", "b": "sequence"}, "a sequence cannot be added into the encoder of a map; expected two maps or"),
    ],
)
def test_modalities_that_cannot_be_added_are_refused(kinds: Mapping[str, Kind], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny_search(tiny_data(kinds), space="dynmm_fusion", operations=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoders": "pretrained"}, "so encoders cannot be trained alone before; take encoders joint"),
        ({"objective": "gradient_blending"}, "acts on each modality before they meet"),
    ],
)
def test_what_asks_for_encoders_of_their_own_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny_search(pictures(), space="dynmm_fusion", operations=None, **options)


@pytest.mark.parametrize("strategy", ["sampled", "random", "darts"])
def test_strategies_find_an_architecture(strategy: str) -> None:
    problem = tiny_problem(data=pictures("sequence"), space=dynmm_fusion({"image": 3, "audio": 3}))
    result = STRATEGIES[strategy](problem)
    found = result.architecture or discretize(problem, result, "argmax").architecture
    problem.space.validate(found)


@pytest.mark.slow
def test_what_is_found_is_loaded_retrained_exported_and_drawn_with_a_gate_too(tmp_path: Path) -> None:
    data = pictures()
    asked = "dynmm_fusion:main=audio,how=squeeze_excitation"
    found = tiny_search(data, space=asked, operations=None, out=tmp_path / "run")
    assert nas.load_run(tmp_path / "run").architecture == found.architecture
    files = nas.export(tmp_path / "run", ["python", "graph"], data=data)
    assert max(file.difference for file in files if file.difference is not None) < 1e-4
    retrained = nas.retrain(tmp_path / "run", data=data, out=tmp_path / "again", retrain_seeds=1, epochs=1)
    assert retrained.architecture == found.architecture
    space = dynmm_fusion(dict.fromkeys(data.modalities, 3), main="audio", how="squeeze_excitation")
    routes = tuple(space.enumerate())
    with_gate(tmp_path / "again", space, Architecture.gated(routes, shallow_taps(space, routes[-1])), data)
    files = nas.export(tmp_path / "again", list(FORMATS), data=data)
    assert max(file.difference for file in files if file.difference is not None) < 1e-4
    again = nas.retrain(tmp_path / "again", data=data, out=tmp_path / "gated", retrain_seeds=1, device="cpu", epochs=1)
    assert again.architecture.gating is not None
    assert (tmp_path / "gated" / "figures" / "gate.svg").exists()
    assert nas.evaluate(tmp_path / "gated", data=data)["repeated"]


def test_maps_in_regions_are_refused() -> None:
    with pytest.raises(UserError, match="a map in regions cannot be added into the encoder of a map in regions"):
        tiny_search(pictures(), space="dynmm_fusion", operations=None, regions=True)
