"""Local search: which neighbours of what leads are trained, and when it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

import nas
from nas.config import TrainingConfig
from nas.data.fusion_data import FusionData
from nas.data.synthetic import KnownTask
from nas.discretize import local_search as module
from nas.discretize import tournament
from nas.discretize.evidence import Evidence
from nas.discretize.local_search import at_other_taps, local_search, unused, variations, without
from nas.network.fusion_network import FusionNetwork
from nas.pipeline.search import make_space
from nas.retraining.baselines import Contestant
from nas.retraining.preparation import PreparedEncoders, TrainingSetup, raw
from nas.retraining.retrain import Entry, train_all
from nas.space.architecture import Architecture, Choice
from nas.space.search_space import SearchSpace
from nas.supernet.candidates import Candidates
from search_spaces import layerwise
from tests.helpers import CPU
from tests.summaries import known
from tests.tiny_runs import as_data, tiny_arrays, tiny_search

_SPACE = layerwise({"image": 3, "sound": 3}, operations=["additive", "multiplicative", "mlp"])


def _single(space: SearchSpace, node: int, operation: str, *modalities: str) -> Architecture:
    inputs = tuple(f"{modality}@{node}" for modality in modalities)
    return space.compose({space.nodes[node].name: Choice(operation, inputs)})


def _data() -> FusionData:
    generator = np.random.default_rng(0)
    arrays = {name: generator.normal(size=(900, 2)) for name in ("image", "sound")}
    return as_data({**arrays, "label": generator.integers(0, 2, size=900), "split": np.arange(900) % 3})


_DATA = _data()
_SETUP = TrainingSetup(data=_DATA, space=_SPACE, training=TrainingConfig(), device=CPU)


def _entry(row: Contestant, right: float) -> Entry:
    """Answers to the architecture split of which a share is right."""
    targets = torch.from_numpy(_DATA.targets[_DATA.splits["architecture"]])
    said = torch.where(
        torch.rand(len(targets), generator=torch.Generator().manual_seed(0)) < right, targets, 1 - targets
    )
    assert row.architecture is not None
    return Entry(
        contestant=row,
        seed=0,
        architecture=row.architecture,
        network=cast(FusionNetwork, torch.nn.Linear(1, 1)),
        architecture_score=right,
        train_seconds=1.0,
        full_length_seconds=1.0,
        held_out=2 * (2 * torch.nn.functional.one_hot(said, 2).float() - 1),
    )


def _searched(
    monkeypatch: pytest.MonkeyPatch,
    rows: Sequence[tuple[str, Architecture]],
    right: Callable[[Architecture], float],
    candidates: Candidates | None = None,
) -> list[Entry]:
    """A local search in which trainings come to what is said of each architecture."""
    trained: list[Architecture] = []

    def fake(_setup: TrainingSetup, _prepared: PreparedEncoders, rows: Sequence[Contestant]) -> list[Entry]:
        architectures = [row.architecture for row in rows if row.architecture is not None]
        assert not set(architectures) & set(trained), "trained twice"
        trained.extend(architectures)
        return [_entry(row, right(one)) for row, one in zip(rows, architectures, strict=True)]

    monkeypatch.setattr(module, "train_all", fake)
    contestants = [Contestant(name, "found" if name == "found" else "operation", one) for name, one in rows]
    entries = fake(_SETUP, cast(PreparedEncoders, None), contestants)
    return local_search(_SETUP, cast(PreparedEncoders, None), entries, candidates, "best variation")


def test_what_leads_is_tried_at_other_depths_and_with_what_did_well_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = _single(_SPACE, 1, "multiplicative", "image", "sound")

    def right(one: Architecture) -> float:
        """Depth and operation count one by one, so that two moves lead to the answer."""
        made = _SPACE.choices(one)["fusion1"]
        return 0.55 + 0.2 * bool(made.inputs) + 0.15 * (made == truth["fusion1"].choice)

    rows = [
        ("found", _single(_SPACE, 0, "additive", "image", "sound")),
        ("additive", _single(_SPACE, 1, "additive", "image", "sound")),
        ("mlp", _single(_SPACE, 2, "mlp", "image", "sound")),
        ("multiplicative", _single(_SPACE, 2, "multiplicative", "image", "sound")),
    ]
    entries = _searched(monkeypatch, rows, right)
    assert truth in [one.architecture for one in entries]
    assert all(one.contestant.instead_of == "best variation" for one in entries[len(rows) :])
    assert all(one.contestant.kind == "proposal" for one in entries[len(rows) :])
    assert len({one.contestant.name for one in entries}) == len(entries)


def test_another_operation_reads_in_the_order_that_the_space_offers() -> None:
    """Modality shift tells its first input apart; a sum of the same inputs is offered in one order alone."""
    space = layerwise({"image": 2, "sound": 2}, operations=["additive", "modality_shift"])
    shifted = _single(space, 1, "modality_shift", "sound", "image")
    entry = _entry(Contestant("found", "found", shifted), 0.7)
    summed = _single(space, 1, "additive", "image", "sound")
    assert summed in list(variations(replace(_SETUP, space=space), entry, ["additive"], None))


def test_it_ends_when_no_variation_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    best = _single(_SPACE, 1, "mlp", "image", "sound")
    entries = _searched(monkeypatch, [("found", best)], lambda one: 0.9 if one == best else 0.6)
    moved = {one.architecture for one in entries[1:]}
    assert moved == {_single(_SPACE, depth, "mlp", "image", "sound") for depth in (0, 2)}


def test_the_supernets_best_node_beside_what_leads_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    first = _single(_SPACE, 0, "multiplicative", "image", "sound")
    second = _single(_SPACE, 2, "multiplicative", "image", "sound")
    both = _SPACE.compose({step.name: step.choice for step in (*first.steps, *second.steps)})
    others = [one for one in _SPACE.enumerate() if len(one.taps()) >= 4 and one != both][:5]
    indices = np.array([_SPACE.index(one) for one in [*others, both, first]])
    losses = torch.tensor([1.0] * len(others) + [0.4, 0.5])[:, None].expand(-1, 10)
    entries = _searched(
        monkeypatch, [("found", first)], lambda one: 0.9 if one == both else 0.7, Candidates(indices, losses)
    )
    assert both in [one.architecture for one in entries]


def test_nothing_is_varied_of_what_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = next(iter(_SPACE.enumerate()))
    assert len(_searched(monkeypatch, [("found", nothing)], lambda _one: 0.5)) == 1


def test_a_modality_less_leaves_what_is_too_few_for_an_operation_to_carry() -> None:
    space = layerwise({"a": 2, "b": 2, "c": 2})
    three = _single(space, 1, "modality_shift", "a", "b", "c")
    assert without(space, three, ["b"]) == _single(space, 1, "modality_shift", "a", "c")
    assert without(space, three, ["b", "c"]) == _single(space, 1, "carry", "a")
    assert not without(space, three, ["a", "b", "c"]).taps()
    assert without(space, three, []) == three


def test_of_several_active_nodes_none_moves() -> None:
    space = layerwise({"a": 2, "b": 2})
    several = next(one for one in space.enumerate() if len(one.taps()) == 4)
    assert at_other_taps(space, several) == []


def test_modalities_that_a_network_does_not_use_are_left_out_however_many_there_are() -> None:
    """Of six modalities two are multiplied; the supernet of six holds pairs and all six, and no four."""
    data = KnownTask(kind="bilinear", depth=1, modalities=6, samples=600, test_samples=200, seed=3).make()
    space = make_space("layerwise", data, operations=["additive", "bilinear"])
    setup = TrainingSetup(data=data, space=space, training=TrainingConfig(epochs=15), device=CPU)
    every = _single(space, 1, "bilinear", *(f"m{number}" for number in range(6)))
    (entry,) = train_all(setup, raw(setup, 0), [Contestant("all", "operation", every)])
    left = unused(setup, entry)
    assert {"m0", "m1"}.isdisjoint(left)
    assert len(left) >= 3
    (fewer,) = [one for one in variations(setup, entry, [], None) if one.output == "fusion1" and one != every]
    assert fewer == without(space, every, left)
    assert space.offers(fewer)


def test_a_subset_that_no_supernet_holds_is_offered_where_there_are_many_modalities() -> None:
    space = layerwise(dict.fromkeys("abcde", 1))
    node = space.nodes[0]
    inner = Choice("additive", ("a@0", "c@0", "d@0"))
    assert inner not in node.choices
    assert node.offers(inner)
    assert not node.offers(Choice("additive", ("a@0", "f@0")))
    assert not node.offers(Choice("additive", ("a@0",)))
    assert not layerwise(dict.fromkeys("ab", 2)).nodes[0].offers(Choice("additive", ("a@0", "b@1")))


def test_a_found_subset_of_five_modalities_lives_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of five, which the supernet does not hold: saved, loaded, judged, trained again and drawn."""
    data = as_data({**tiny_arrays(), **{name: tiny_arrays(seed=7)["sight"] for name in ("haze", "hum", "noise")}})
    space = make_space("layerwise", data, operations=["additive", "multiplicative"])
    three = _single(space, 1, "additive", "sound", "sight", "hum")
    assert three["fusion1"].choice not in space.nodes[1].choices

    def only_three(
        setup: TrainingSetup,
        prepared: PreparedEncoders,
        entries: Sequence[Entry],
        _candidates: Candidates | None,
        name: str,
    ) -> list[Entry]:
        row = Contestant("variation 1", "proposal", three, instead_of=name)
        return [*entries, *train_all(setup, prepared, [row])]

    class Biased(Evidence):
        def __init__(self, setup: TrainingSetup, rows: Sequence[Sequence[Entry]]) -> None:
            super().__init__(setup, rows)
            self.wanted = [row[0].architecture == three for row in rows]

        def merits(self) -> list[float]:
            return [float(one) for one in self.wanted]

    monkeypatch.setattr(tournament, "local_search", only_three)
    monkeypatch.setattr(tournament, "Evidence", Biased)
    out = tmp_path / "run"
    result = tiny_search(data, out=out)
    assert result.architecture == three
    assert known(result.summary.tournament).winner == "best variation"
    assert [node.chosen is None for node in result.summary.search.nodes] == [False, True, False]
    assert (out / "report.html").stat().st_size > 1000
    assert "broken" not in (out / "report.html").read_text()
    assert nas.load_run(out).architecture == three
    assert nas.evaluate(out, data=data)["repeated"]
    assert nas.export(out, formats=["python"], data=data)
    assert nas.retrain(out, data=data, device="cpu", out=tmp_path / "again").architecture == three
