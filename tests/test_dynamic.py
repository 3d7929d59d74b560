"""Levels, the choice of routes, and the whole path of a dynamic search by the ordinary functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nas
from nas import UserError
from nas.architecture import Architecture, Choice
from nas.candidates import Candidates
from nas.cost import CostTable
from nas.data.dynamic_tasks import DynamicTask
from nas.dynamic import LEVELS, candidate_routes, check_levels, shared_taps
from nas.routing import run_routes
from search_spaces import SPACES, experts, layerwise
from tests.helpers import tiny_batch, tiny_data, tiny_network
from tests.tiny_runs import as_data, no_report, tiny_arrays, tiny_search

SPACE = layerwise({"image": 2, "audio": 2}, operations=["additive", "mlp"], dynamic=["modality"])
NOTHING = Choice("none")
LATE = Choice("additive", ("image@1", "audio@1"))
DEEP_MLP = Choice("mlp", ("image@1", "audio@1"))


def architecture(first: Choice, last: Choice, space: str = "layerwise") -> Architecture:
    return Architecture(space, (("fusion0", first), ("fusion1", last)))


def kinds(level: str, found: Architecture) -> list[set[Architecture]]:
    every = list(SPACE.enumerate())
    return [{one for one in every if one.taps() and is_of(one)} for is_of in LEVELS[level](SPACE, found)]


def test_the_modality_level_has_a_kind_for_every_subset() -> None:
    image, audio = kinds("modality", architecture(NOTHING, LATE))
    assert {one.modalities() for one in image} == {("image",)}
    assert {one.modalities() for one in audio} == {("audio",)}
    assert len(image) == len(audio) == 3  # at either depth or at both
    three = layerwise({"a": 1, "b": 1, "c": 1})
    joined = Architecture("layerwise", (("fusion0", Choice("mlp", ("a@0", "b@0", "c@0"))),))
    assert len(LEVELS["modality"](three, joined)) == 6
    assert kinds("modality", architecture(NOTHING, Choice("carry", ("image@1",)))) == []


def test_the_fusion_level_has_a_kind_for_every_lesser_depth() -> None:
    (shallow,) = kinds("fusion", architecture(NOTHING, LATE))
    assert shallow == {architecture(Choice(name, ("image@0", "audio@0")), NOTHING) for name in ("additive", "mlp")}
    assert kinds("fusion", architecture(LATE_AT_0, NOTHING)) == []


LATE_AT_0 = Choice("additive", ("image@0", "audio@0"))


def test_the_operation_level_has_a_kind_for_every_lower_order_on_the_same_taps() -> None:
    found = kinds("operation", architecture(NOTHING, DEEP_MLP))
    assert found == [set(), {architecture(NOTHING, LATE)}, set()]
    assert not any(kinds("operation", architecture(NOTHING, LATE)))


def test_a_route_is_the_best_complement_of_its_kind() -> None:
    """Of two single modalities at two depths, that which is right where the found architecture is wrong."""
    built = tiny_network(SPACE, tiny_data({"image": "vector", "audio": "sequence"}))
    cost = CostTable.measure(
        built, tiny_batch(tiny_data({"image": "vector", "audio": "sequence"})).take(slice(0, 1)).inputs
    )
    found = architecture(NOTHING, DEEP_MLP)
    deep, shallow = (architecture(*pair) for pair in ((NOTHING, carry("image@1")), (carry("image@0"), NOTHING)))
    rows = [found, deep, shallow]
    # Alone `deep` is the better one; beside `found`, whose loss is 0 on the first sample, `shallow` is.
    losses = torch.tensor([[0.0, 2.0], [0.1, 2.0], [2.0, 1.0]])
    candidates = Candidates(np.array([SPACE.index(one) for one in rows]), losses)
    assert candidate_routes(SPACE, found, candidates, cost, price=0.0) == [shallow, found]
    assert candidate_routes(SPACE, found, candidates, cost, price=100.0)[0] == shallow  # the cheapest there is
    candidates = Candidates(candidates.indices, torch.tensor([[0.0, 2.0], [0.1, 0.5], [2.0, 1.0]]))
    assert candidate_routes(SPACE, found, candidates, cost, price=0.0) == [deep, found]
    static = layerwise({"image": 2, "audio": 2}, operations=["additive", "mlp"])
    assert candidate_routes(static, found, candidates, cost, price=0.0) == [found]


def carry(tap: str) -> Choice:
    return Choice("carry", (tap,))


def test_shared_taps_are_those_that_every_route_computes() -> None:
    image = architecture(NOTHING, carry("image@1"))
    assert shared_taps([image, architecture(NOTHING, LATE)]) == ("image@0", "image@1")
    assert shared_taps([image, architecture(LATE_AT_0, NOTHING)]) == ("image@0",)
    assert shared_taps([image, architecture(NOTHING, carry("audio@1"))]) == ()


def test_experts_have_one_node_and_every_reference() -> None:
    space = experts({"image": 3, "audio": 2})
    assert [node.name for node in space.nodes] == ["fusion2"]
    assert space.dynamic == ("modality",)
    assert {reference.kind for reference in space.references} == {"modality", "late", "early", "operation"}
    assert all(len(reference.architecture.choices) == 1 for reference in space.references)
    assert SPACES["experts"] is experts


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(UserError, match="modality"):
        check_levels(["modalities"])
    with pytest.raises(UserError, match="dynamic level"):
        layerwise({"a": 1, "b": 1}, dynamic=["never"])


def test_a_strategy_without_a_supernet_cannot_be_dynamic() -> None:
    with pytest.raises(UserError, match="no supernet"):
        tiny_search(as_data(tiny_arrays()), dynamic=["modality"], strategy="random")


@pytest.mark.slow
def test_a_dynamic_search_finds_the_known_routing_and_its_run_reads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Search, retrain, load and evaluate by the ordinary functions, on a task of known routing."""
    no_report(monkeypatch)
    data, needed = DynamicTask(kind="half", samples=1500).make()
    result = nas.search(
        data,
        space="experts",
        operations=["additive"],
        seeds=1,
        device="cpu",
        training=nas.TrainingConfig(channels=16),
        out=tmp_path / "run",
    )
    assert result.architecture.gating is not None
    loaded = nas.load_run(tmp_path / "run")
    assert loaded.architecture == result.architecture
    assert nas.evaluate(tmp_path / "run", data=data)["score"] == result.summary["leaderboard"][0]["scores"][0]
    batch = {name: tuple(torch.from_numpy(a) for a in m.arrays) for name, m in data.modalities.items()}
    _, picked = run_routes(loaded.network, batch)
    reads = torch.tensor(["m1" in route.modalities() for route in loaded.architecture.routes()])[picked]
    test = data.splits["test"]
    assert (reads.numpy()[test] == needed[test, 1]).mean() >= 0.95
    found, static = result.summary["leaderboard"][:2]
    assert static["kind"] == "static"
    assert found["multiply_adds"] < 0.95 * static["multiply_adds"]
    assert found["mean"] > static["mean"] - 0.02
