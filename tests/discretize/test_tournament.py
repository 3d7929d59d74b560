"""Who enters the tournament, who stays after the first seed, and who wins: by the architecture split alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

import nas
from nas.config import TrainingConfig
from nas.data.fusion_data import FusionData
from nas.discretize import tournament
from nas.discretize.evidence import Evidence
from nas.discretize.tournament import DEPOSED, FAVOURITE, PROPOSALS, Tournament, TournamentResult, entrants
from nas.metrics import score
from nas.network.cost import CostTable
from nas.network.fusion_network import FusionNetwork
from nas.pipeline.search import make_space
from nas.retraining.baselines import Contestant, contestants
from nas.retraining.preparation import PreparedEncoders, TrainingSetup
from nas.retraining.retrain import Entry
from nas.space.architecture import Architecture, Choice
from nas.summary import RowKind, Standings
from nas.supernet.candidates import Candidates
from search_spaces import layerwise
from tests.helpers import CPU, tiny_batch, tiny_network
from tests.summaries import known
from tests.tiny_runs import as_data, tiny_arrays, tiny_search

_SPACE = layerwise({"image": 3, "sound": 3}, operations=["additive", "multiplicative"])
_NOTHING = next(iter(_SPACE.enumerate()))
_REFERENCES = {(one.name, one.kind): one.architecture for one in _SPACE.references}


def _data(count: int = 600) -> FusionData:
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {name: generator.normal(size=(count, 2)) for name in ("image", "sound")}
    arrays["label"] = generator.integers(0, 2, size=count)
    arrays["split"] = np.arange(count) % 3
    return as_data(arrays)


_DATA = _data()


def _setup(data: FusionData = _DATA, metric: str = "") -> TrainingSetup:
    return TrainingSetup(data=data, space=_SPACE, training=TrainingConfig(metric=metric), device=CPU)


def _answers(right: float, seed: int, *, sure: float = 2.0, data: FusionData = _DATA) -> Tensor:
    """Logits for the architecture split, of which a share is right."""
    targets = torch.from_numpy(data.targets[data.splits["architecture"]])
    generator = torch.Generator().manual_seed(seed)
    hit = torch.rand(len(targets), generator=generator) < right
    said = torch.where(hit, targets, 1 - targets)
    return sure * (2 * torch.nn.functional.one_hot(said, 2).float() - 1)


def _entry(name: str, kind: RowKind, architecture: Architecture, held_out: Tensor, **more: object) -> Entry:
    targets = _DATA.targets[_DATA.splits["architecture"]]
    return Entry(
        contestant=Contestant(name, kind, None if kind == "random" else architecture, **more),  # type: ignore[arg-type]
        seed=0,
        architecture=architecture,
        network=cast(FusionNetwork, torch.nn.Linear(1, 1)),
        architecture_score=score("accuracy", held_out.numpy(), targets),
        held_out=held_out,
        train_seconds=1.0,
        full_length_seconds=1.0,
    )


def _crown(
    *rows: tuple[str, RowKind, Architecture, float], prefer: str = "accuracy", seeds: int = 3
) -> TournamentResult:
    """Rows with the share of held-out samples that each has right."""
    entries = [
        [
            _entry(name, kind, architecture, _answers(right, 100 * number + seed))
            for number, (name, kind, architecture, right) in enumerate(rows)
        ]
        for seed in range(seeds)
    ]
    return Tournament(prefer=prefer).choose_winner(_setup(), entries)  # type: ignore[arg-type]


_LATE = _REFERENCES["late fusion", "late"]
_IMAGE = _REFERENCES["image", "modality"]
_EARLY = _REFERENCES["early fusion", "early"]
_TIMES = next(one.architecture for one in _SPACE.references if one.name == "multiplicative")


def _names(crowned: TournamentResult) -> list[tuple[str, str]]:
    return [(one.contestant.name, one.contestant.kind) for one in crowned.entries[0]]


def _standings(crowned: TournamentResult) -> Standings:
    assert crowned.standings is not None
    return crowned.standings


def test_a_better_row_takes_the_place_of_what_the_supernet_chose() -> None:
    crowned = _crown(("found", "found", _TIMES, 0.7), ("late fusion", "late", _LATE, 0.9))
    assert _names(crowned) == [("found", "found"), (DEPOSED, "proposal"), ("late fusion", "late")]
    assert crowned.entries[0][0].architecture == _LATE
    assert crowned.entries[0][1].architecture == _TIMES
    assert _standings(crowned).winner == "late fusion"
    assert _standings(crowned).proposed == _TIMES
    assert _standings(crowned).errors_behind["late fusion"] == 0
    assert _standings(crowned).errors_behind["found"] > 3


def test_what_the_supernet_chose_stays_if_nothing_is_better() -> None:
    crowned = _crown(("found", "found", _TIMES, 0.9), ("late fusion", "late", _LATE, 0.7))
    assert _names(crowned) == [("found", "found"), ("late fusion", "late")]
    assert _standings(crowned).winner == "found"


def test_equals_stay_as_the_supernet_has_them() -> None:
    same = _answers(0.8, 0)
    entries = [[_entry("found", "found", _LATE, same), _entry("late fusion", "late", _LATE, same)]]
    assert _standings(Tournament().choose_winner(_setup(), entries)).winner == "found"


def test_a_favourite_that_wins_has_no_row_beside_the_found_one() -> None:
    crowned = _crown(
        ("found", "found", _LATE, 0.7), (FAVOURITE, "proposal", _TIMES, 0.9), ("image", "modality", _IMAGE, 0.6)
    )
    assert _names(crowned) == [("found", "found"), (DEPOSED, "proposal"), ("image", "modality")]


def test_random_search_and_what_the_space_does_not_offer_cannot_win() -> None:
    crowned = _crown(
        ("found", "found", _LATE, 0.7),
        ("early fusion", "early", _EARLY, 0.99),  # by mlp, which was not asked for
        ("random search", "random", _TIMES, 0.99),
    )
    assert _standings(crowned).winner == "found"
    assert set(_standings(crowned).errors_behind) == {"found"}


_COST = CostTable.measure(tiny_network(_SPACE, _DATA), tiny_batch(_DATA).take(slice(0, 1)).inputs)


@pytest.mark.parametrize(
    ("read_out", "late", "times", "image", "expected"),
    [
        (_TIMES, 0.9, 0.7, 0.6, _LATE),
        (_TIMES, 0.7, 0.9, 0.6, _TIMES),
        (_TIMES, 0.9, 0.9, 0.6, min((_LATE, _TIMES), key=_COST.total)),  # as good, and cheaper
        (
            _TIMES,
            0.9,
            0.7,
            0.9,
            _LATE,
        ),  # the picture alone is cheaper, but which to read is a question for every sample
        (_TIMES, 0.7, 0.6, 0.95, _IMAGE),
        (_NOTHING, 0.9, 0.7, 0.6, _LATE),
        (_NOTHING, 0.52, 0.51, 0.5, _NOTHING),  # chance
    ],
)
def test_gates_start_from_the_cheapest_of_those_that_are_as_good_as_the_best(
    monkeypatch: pytest.MonkeyPatch,
    read_out: Architecture,
    late: float,
    times: float,
    image: float,
    expected: Architecture,
) -> None:
    rows: list[tuple[str, RowKind, Architecture, float]] = [
        ("found", "found", read_out, times),
        ("late fusion", "late", _LATE, late),
        ("multiplicative", "operation", _TIMES, times),
        ("image", "modality", _IMAGE, image),
        ("early fusion", "early", _EARLY, 0.99),  # by mlp, which the supernet does not hold
    ]
    entries = [_entry(name, kind, one, _answers(right, number)) for number, (name, kind, one, right) in enumerate(rows)]
    monkeypatch.setattr(Tournament, "_trained", lambda *_given: entries)
    contestants = [one.contestant for one in entries]
    assert Tournament().leader(_setup(), cast(PreparedEncoders, None), contestants, _COST) == expected


def test_the_simplest_of_equals_wins_if_that_is_preferred() -> None:
    rows: list[tuple[str, RowKind, Architecture, float]] = [
        ("found", "found", _TIMES, 0.81),
        ("late fusion", "late", _LATE, 0.805),
        ("image", "modality", _IMAGE, 0.8),
    ]
    crowned = _crown(*rows, prefer="simplicity")
    assert _standings(crowned).winner == "image"
    worse = _crown(*rows[:2], ("image", "modality", _IMAGE, 0.6), prefer="simplicity")
    assert _standings(worse).winner == "late fusion"


def test_nothing_stays_nothing_where_others_are_as_good_as_chance() -> None:
    wins = [
        _standings(
            Tournament().choose_winner(
                _setup(),
                [
                    [_entry("found", "found", _NOTHING, torch.zeros(200, 2))]
                    + [_entry(f"row {n}", "operation", _TIMES, _answers(0.5, 1000 * trial + n)) for n in range(12)]
                ],
            )
        ).winner
        for trial in range(15)
    ]
    assert wins.count("found") >= 14  # one in a hundred is wrong by chance


def test_nothing_gives_way_to_what_measurably_beats_a_constant() -> None:
    crowned = _crown(("found", "found", _NOTHING, 0.5), ("late fusion", "late", _LATE, 0.7), seeds=1)
    assert _standings(crowned).winner == "late fusion"


def test_who_is_too_sure_of_itself_is_not_held_to_be_worse_for_that() -> None:
    boasting, modest = _answers(0.85, 0, sure=30.0), _answers(0.8, 1, sure=1.0)
    entries = [[_entry("found", "found", _TIMES, modest), _entry("late fusion", "late", _LATE, boasting)]]
    assert _standings(Tournament().choose_winner(_setup(), entries)).winner == "late fusion"


def test_the_metric_that_is_asked_for_counts() -> None:
    """One ranks perfectly with a bad threshold, the other is right more often."""
    targets = torch.from_numpy(_DATA.targets[_DATA.splits["architecture"]]).float()
    ranks = torch.stack([torch.full_like(targets, 5.0), targets], dim=1)
    right = _answers(0.8, 1)
    entries = [[_entry("found", "found", _TIMES, right), _entry("late fusion", "late", _LATE, ranks)]]
    assert _standings(Tournament().choose_winner(_setup(metric="auroc"), entries)).winner == "late fusion"


def test_what_decides_per_sample_is_left_as_it_is() -> None:
    gated = Architecture.gated([_IMAGE, _LATE], ["image@0"])
    entries = [
        [
            replace(_entry("found", "found", gated, _answers(0.5, 0)), held_out=torch.empty(0)),
            _entry("late fusion", "late", _LATE, _answers(0.9, 0)),
            _entry("image", "modality", _IMAGE, _answers(0.7, 0)),
        ]
    ]
    stayed = Tournament().after_the_first_seed(_setup(), entries[0])
    assert [one.contestant.name for one in stayed] == ["found", "late fusion", "image"]
    assert Tournament().choose_winner(_setup(), entries).standings is None


def test_single_modalities_and_late_fusion_enter_at_every_tap() -> None:
    pool = entrants(_SPACE, contestants(_SPACE, _LATE, None), None)
    image = [row for row in pool if "image" in (row.name, row.instead_of)]
    assert [row.name for row in image] == ["image", "image at depth 0", "image at depth 1"]
    assert {_SPACE.choices(row.architecture)["fusion1"] for row in image if row.architecture} == {
        Choice("none"),
        Choice("carry", ("image@1",)),
    }
    late = [row for row in pool if row.kind == "late"]
    assert [row.architecture and row.architecture.taps() for row in late] == [
        ("image@2", "sound@2"),
        ("image@0", "sound@0"),
        ("image@1", "sound@1"),
    ]
    assert all(row.instead_of == "late fusion" for row in late[1:])


def test_a_tap_that_several_nodes_read_enters_once() -> None:
    space = layerwise({"image": 3, "sound": 1})
    pool = entrants(space, contestants(space, _LATE, None), None)
    assert [row.name for row in pool if "sound" in (row.name, row.instead_of)] == ["sound"]


def test_the_best_paths_of_the_supernet_enter_but_for_the_one_that_was_read_out() -> None:
    paths = [_LATE, *itertools.islice((one for one in _SPACE.enumerate() if len(one.taps()) > 2), 5), _IMAGE]
    losses = torch.arange(len(paths)).float()[:, None].expand(-1, 5)
    candidates = Candidates(np.array([_SPACE.index(one) for one in paths]), losses)
    pool = entrants(_SPACE, contestants(_SPACE, _LATE, None), candidates)
    proposals = [row for row in pool if row.kind == "proposal"]
    assert [row.architecture for row in proposals] == paths[1 : 1 + PROPOSALS]
    assert {row.instead_of or row.name for row in proposals} == {FAVOURITE}


def test_of_those_that_stand_for_one_row_the_best_goes_on_and_so_do_the_best_operations() -> None:
    names = ["a", "b", "c", "d", "e"]
    entries = [
        _entry("found", "found", _LATE, _answers(0.7, 0)),
        _entry("image", "modality", _IMAGE, _answers(0.6, 1)),
        _entry("image at depth 0", "modality", _TIMES, _answers(0.9, 2), instead_of="image"),
        *(_entry(name, "operation", _TIMES, _answers(0.5 + 0.08 * n, 3 + n)) for n, name in enumerate(names)),
        _entry("random search", "random", _TIMES, _answers(0.5, 9)),
    ]
    stayed = Tournament().after_the_first_seed(_setup(), entries)
    told = [(one.contestant.name, one.architecture) for one in stayed if one.contestant.kind != "operation"]
    assert told == [("found", _LATE), ("image", _TIMES), ("random search", _TIMES)]
    assert [one.contestant.name for one in stayed if one.contestant.kind == "operation"] == ["c", "d", "e"]
    assert all(not one.contestant.instead_of for one in stayed)
    everything = Tournament(baselines="full").after_the_first_seed(_setup(), entries)
    assert [one.contestant.name for one in everything if one.contestant.kind == "operation"] == names


@pytest.mark.parametrize("prefer", ["accuracy", "simplicity"])
def test_a_search_finds_what_won_and_all_its_parts_agree(prefer: str) -> None:
    result = tiny_search(as_data(tiny_arrays()), prefer=prefer, retrain_seeds=2)
    told, board = known(result.summary.tournament), result.summary.leaderboard
    assert told.prefer == prefer
    assert board[0].architecture == result.summary.architecture == result.architecture
    for row in [row for row in board[1:] if row.name == told.winner]:  # none if it is one of the supernet's paths
        assert (row.architecture, row.separate) == (board[0].architecture, board[0].separate)
        assert known(row.difference).mean == 0
    space = make_space("layerwise", as_data(tiny_arrays()))
    for node, searched in zip(space.nodes, result.summary.search.nodes, strict=True):
        assert node.choices[known(searched.chosen)] == space.choices(result.architecture)[node.name]


def test_a_found_sum_of_single_networks_lives_like_any_other_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved, trained on both splits, averaged, judged again, trained again and exported."""

    class Biased(Evidence):
        """For which the sum is best."""

        def __init__(self, setup: TrainingSetup, rows: Sequence[Sequence[Entry]]) -> None:
            super().__init__(setup, rows)
            self.kinds = [row[0].contestant.kind for row in rows]

        def merits(self) -> list[float]:
            return [float(kind == "sum") for kind in self.kinds]

    monkeypatch.setattr(tournament, "Evidence", Biased)
    data, out = as_data(tiny_arrays()), tmp_path / "run"
    result = tiny_search(data, retrain_seeds=2, refit=True, ensemble=True, encoders="pretrained", out=out)
    board = result.summary.leaderboard
    rows = {row.kind: row for row in board}
    assert board[0].separate
    assert rows["refit"].separate
    assert board[0].scores == rows["sum"].scores
    assert "each trained alone" in result.summary.in_words
    assert result.verdict.splitlines()[0].startswith(("Fuse sound and sight: train a network on each alone", "C", "D"))
    loaded = nas.load_run(out)
    assert loaded.architecture == result.architecture
    assert nas.evaluate(out, data=data)["repeated"]
    assert nas.export(out, formats=["python", "onnx"], data=data)  # which runs them, and compares
    again = nas.retrain(out, data=data, device="cpu", out=tmp_path / "again").summary.leaderboard
    assert [(row.kind, row.separate, row.scores) for row in again] == [
        (row.kind, row.separate, row.scores) for row in board
    ]


def test_a_found_modality_alone_is_the_network_of_its_row(tmp_path: Path) -> None:
    """However it came to be found: by the search itself, here, in a space that offers nothing else."""
    data, out = as_data(tiny_arrays()), tmp_path / "run"
    result = tiny_search(data, operations=["carry"], prefer="simplicity", encoders="pretrained", refit=True, out=out)
    board = result.summary.leaderboard
    copies = [row for row in board[1:] if row.architecture == board[0].architecture and row.kind == "modality"]
    assert all(row.scores == board[0].scores for row in copies)
    assert nas.evaluate(out, data=data)["repeated"]
    again = nas.retrain(out, data=data, device="cpu", out=tmp_path / "again").summary.leaderboard
    assert [(row.kind, row.scores) for row in again] == [(row.kind, row.scores) for row in board]
