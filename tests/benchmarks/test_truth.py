"""The ground truth: many networks trained at once are those that would have been trained one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import truth
from benchmarks.truth import Job, Row, Truth, enumerated, signature, space_of, taps_of, trained
from nas.config import TrainingConfig
from nas.data.batches import split_batch
from nas.data.synthetic import KnownTask
from nas.network.prediction import evaluation_losses
from nas.seeding import seeded
from nas.training.build import build_network
from nas.training.train import train

CPU = torch.device("cpu")
TWO = KnownTask(kind="additive", depth=0, samples=130, test_samples=100)
THREE = KnownTask(kind="multiplicative", modalities=3, samples=130, test_samples=100)
ADDITIVE_AT_1, MIXED = (0, 3, 0), (5, 0, 3)
"""Choice indices of two modalities: nothing, two carries, additive, multiplicative, mlp."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> TrainingConfig:
    """Without dropout, whose draws differ between one and many."""
    config = replace(truth.TRAINING, epochs=6, batch_size=16, channels=8, patience=2, dropout_rate=0.0)
    monkeypatch.setattr(truth, "TRAINING", config)
    return config


def test_networks_trained_at_once_are_those_trained_alone(quick: TrainingConfig) -> None:
    jobs = [Job(task=t, index=ADDITIVE_AT_1 if t == 0 else (0, 0, 4), seed=seed) for t in (0, 1) for seed in (3, 4)]
    tasks = [TWO, THREE]
    for row, job in zip(trained(tasks, jobs), jobs, strict=True):
        data, space = truth.made(tasks[job.task]), space_of(tasks[job.task])
        with seeded(job.seed):
            network = build_network(space.restrict(space.at(job.index)), data, quick)
        splits = [split_batch(data, split, CPU) for split in ("weights", "architecture", "test")]
        alone = train(network, data.task, splits[0], splits[1], quick, seed=job.seed, device=CPU)
        # Sums of float32 in another order, over some fifty steps.
        assert row.architecture_loss == pytest.approx(alone.course[alone.chosen_epochs - 1][1], abs=1e-4)
        tested = evaluation_losses(data.task, alone.network, splits[2], CPU)
        assert row.loss == pytest.approx(float(tested.mean()), abs=1e-4)
    assert row.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_a_clipped_gradient_is_clipped_for_each_network_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(truth.TRAINING, epochs=2, batch_size=16, channels=8, dropout_rate=0.0, gradient_clip=1e-3)
    monkeypatch.setattr(truth, "TRAINING", config)
    together = trained([TWO], [Job(task=0, index=ADDITIVE_AT_1, seed=seed) for seed in (0, 1)])
    alone = [trained([TWO], [Job(task=0, index=ADDITIVE_AT_1, seed=seed)])[0] for seed in (0, 1)]
    assert [row.loss for row in together] == pytest.approx([row.loss for row in alone], abs=1e-5)


def test_a_network_that_has_stopped_leaves_the_others_as_they_are(quick: TrainingConfig) -> None:
    """Patience of 2 of 6 epochs stops some and not others, so the stack shrinks on the way."""
    jobs = [Job(task=0, index=MIXED, seed=seed) for seed in range(8)]
    together = trained([TWO], jobs)
    alone = [trained([TWO], [job])[0] for job in jobs]
    assert [row.architecture_loss for row in together] == pytest.approx([r.architecture_loss for r in alone], abs=1e-4)


def test_architectures_of_one_signature_differ_in_their_taps_alone() -> None:
    space = space_of(TWO)
    assert signature(space, MIXED) == signature(space, (0, 3, 5)) == (("additive", 2), ("mlp", 2))
    assert taps_of(space, MIXED) == ["m0@2", "m1@2", "m0@0", "m1@0"]
    assert taps_of(space, (0, 3, 5)) == ["m0@1", "m1@1", "m0@2", "m1@2"]


def test_everything_is_enumerated_that_is_said_to_be() -> None:
    assert len(enumerated(TWO)) == 216
    assert len(enumerated(THREE)) == 1 + 3 * 15
    assert len(enumerated(KnownTask(kind="staged", modalities=3))) == 1 + 3 * 15 + 3 * 15**2


def row(index: str, seed: int, score: float) -> Row:
    return Row(
        architecture=index, seed=seed, score=score, loss=1.0, architecture_loss=1.0, parameters=1, multiply_adds=1
    )


def test_the_best_is_picked_by_one_half_of_the_seeds_and_judged_by_the_other(tmp_path: Path) -> None:
    table = Truth(tmp_path, TWO)
    scores = {"0-0-1": (0.9, 0.9, 0.5, 0.5), "0-0-2": (0.6, 0.6, 0.7, 0.7)}
    for index, four in scores.items():
        table.add([row(index, seed, score) for seed, score in enumerate((0.8, *four))])
    table.add([row("0-0-0", 0, 0.2)])
    assert table.contenders()[:2] == [(0, 0, 1), (0, 0, 2)]
    table.add([row("0-0-0", seed, 0.2) for seed in (1, 2, 3, 4)])
    # Seeds 1 and 2 pick the first, which 3 and 4 judge at 0.5; 3 and 4 pick the second, which 1 and 2 judge at 0.6.
    assert table.best() == pytest.approx(0.55)
    highest, mean = table.highest()
    assert highest == (0, 0, 1)
    assert mean == pytest.approx(0.7)


def test_a_table_is_read_back_and_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    table = Truth(tmp_path, TWO)
    table.add([row("0-0-1", 0, 0.25), row("0-0-2", 0, 0.5)])
    table.write()
    assert Truth(tmp_path, TWO).rows == table.rows
    table.path.write_text(table.path.read_text()[:-8])
    assert Truth(tmp_path, TWO).rows == {((0, 0, 1), 0): row("0-0-1", 0, 0.25)}


def test_what_is_there_is_not_trained_again(tmp_path: Path, quick: TrainingConfig) -> None:
    table = Truth(tmp_path, replace(TWO, seed=1))
    wanted = [Job(task=0, index=ADDITIVE_AT_1, seed=0), Job(task=0, index=MIXED, seed=0)]
    table.add([row("0-3-0", 0, 0.125)])
    truth.complete([table], wanted)
    assert table.rows[ADDITIVE_AT_1, 0].score == 0.125
    assert table.rows[MIXED, 0].parameters > 1
