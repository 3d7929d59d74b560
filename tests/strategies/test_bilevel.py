"""The loop of the gradient strategies: who learns from which split, and when."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.config import TrainingConfig
from nas.data.batches import Batch, Endless
from nas.network.prediction import evaluation_losses, losses
from nas.strategies import SearchProblem, StrategyResult, bilevel
from nas.strategies.bilevel import add_penalty_gradient, first_order
from nas.supernet.relaxation import softmax
from nas.supernet.supernet import Supernet
from nas.training import epoch_loop
from tests.strategies.problems import CPU, SEARCH, TRAINING, tiny_problem, tiny_supernet


def _of_one_class(batch: Batch, label: int) -> Batch:
    return replace(batch, targets=torch.full_like(batch.targets, label))


def _told_apart(**options: Any) -> SearchProblem:
    """A problem whose weights split is all of class 0 and whose architecture split is all of class 1."""
    problem = tiny_problem(**options)
    return replace(
        problem,
        weights=_of_one_class(problem.weights, 0),
        architecture=_of_one_class(problem.architecture, 1),
    )


def _mixture(supernet: Supernet, _generator: torch.Generator, _progress: float) -> dict[str, Tensor]:
    return softmax(supernet.logits())


def _nothing(
    supernet: Supernet,
    weights_loss: Callable[[], Tensor],
    architecture_loss: Callable[[], Tensor],
    learning_rate: float,
) -> Tensor:
    """An architecture gradient of zero, so that only the weights learn."""
    for logits in supernet.arch_logits.values():
        logits.grad = torch.zeros_like(logits)
    return torch.zeros(())


def test_architecture_and_weights_take_turns_each_on_its_own_split(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[tuple[str, set[int]]] = []
    asked: list[int] = []

    def spied_losses(task: Any, network: Any, batch: Batch, selection: Any = None) -> Tensor:
        asked.extend(batch.targets.tolist())
        return losses(task, network, batch, selection)

    def spied_gradient(
        supernet: Supernet,
        weights_loss: Callable[[], Tensor],
        architecture_loss: Callable[[], Tensor],
        learning_rate: float,
    ) -> Tensor:
        asked.clear()
        loss = first_order(supernet, weights_loss, architecture_loss, learning_rate)
        turns.append(("architecture", set(asked)))
        asked.clear()
        weights_loss()
        assert set(asked) == {0}
        asked.clear()
        return loss

    def spied_step(loss: Tensor, *rest: Any, **options: Any) -> None:
        turns.append(("weights", set(asked)))
        real_step(loss, *rest, **options)

    real_step = epoch_loop.step
    monkeypatch.setattr(bilevel, "losses", spied_losses)
    monkeypatch.setattr(epoch_loop, "step", spied_step)
    bilevel.bilevel(_told_apart(), _mixture, spied_gradient)
    # Two epochs of two steps; in each the architecture comes first.
    assert turns == [("architecture", {1}), ("weights", {0})] * 4


def test_the_weights_learn_the_weights_split_alone() -> None:
    # At this rate and length anything learns that the answer is always 0, which the architecture split denies.
    records: list[Any] = []
    training = replace(TRAINING, epochs=20, learning_rate=0.05)
    explored = bilevel.bilevel(_told_apart(training=training, log=records.append), _mixture, _nothing)
    assert records[-1]["train_loss"] < 0.1
    assert explored.loss > 2


def test_the_architecture_learns_the_architecture_split_alone() -> None:
    """Weights that hardly move answer what they answered first; the mixture turns to choices that answer class 1."""
    training = replace(TRAINING, epochs=20, learning_rate=1e-9, dropout_rate=0.0)
    search = replace(SEARCH, architecture_learning_rate=0.3, architecture_weight_decay=0.0)
    problem = _told_apart(training=training, search=search, encoder_dropout=0.0)
    learned = bilevel.bilevel(problem, _mixture, first_order)
    at_first = bilevel.bilevel(problem, _mixture, _nothing)
    assert learned.loss < at_first.loss - 0.01

    def weights_loss(explored: StrategyResult) -> float:
        weights = {name: torch.tensor(values) for name, values in explored.choice_weights.items()}
        assert explored.network is not None
        return float(evaluation_losses("classification", explored.network, problem.weights, CPU, weights).mean())

    assert weights_loss(learned) > weights_loss(at_first)


def test_the_steps_of_the_weights_leave_the_architecture_alone() -> None:
    search = replace(SEARCH, architecture_weight_decay=0.0)
    explored = bilevel.bilevel(tiny_problem(search=search), _mixture, _nothing)
    for choice_weights in explored.choice_weights.values():
        # The logits are still those of the first draw, of deviation 1e-3, so the five weights are near 0.2.
        assert choice_weights == pytest.approx([0.2] * 5, abs=0.2 * 5e-3)
        assert len(set(choice_weights)) == 5


def test_the_gradient_is_told_the_present_learning_rate() -> None:
    rates: list[float] = []

    def spied(
        supernet: Supernet,
        weights_loss: Callable[[], Tensor],
        architecture_loss: Callable[[], Tensor],
        learning_rate: float,
    ) -> Tensor:
        rates.append(learning_rate)
        return first_order(supernet, weights_loss, architecture_loss, learning_rate)

    training = TrainingConfig(epochs=10, batch_size=11, channels=8, learning_rate=0.01)  # 3 even steps an epoch
    bilevel.bilevel(tiny_problem(training=training, search=replace(SEARCH, guards=False)), _mixture, spied)
    # One cycle: from a 25th of the highest up to it, then down to nearly nothing.
    assert rates[0] == pytest.approx(0.01 / 25)
    assert max(rates) == pytest.approx(0.01, rel=0.05)  # the top may lie between two steps
    assert rates[-1] < rates[0]


def test_progress_rises_from_nothing_towards_one_or_with_the_budget() -> None:
    seen: list[float] = []

    def select(supernet: Supernet, _generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        seen.append(progress)
        return softmax(supernet.logits())

    bilevel.bilevel(tiny_problem(), select, first_order)
    # Two calls a step, two steps an epoch, which is reckoned as three at most; epochs are reckoned as they are.
    assert seen == pytest.approx([0, 0, 1 / 6, 1 / 6, 3 / 6, 3 / 6, 4 / 6, 4 / 6])

    seen.clear()
    hurried = tiny_problem(search=replace(SEARCH, budget_seconds=1000), already_seconds=900)
    bilevel.bilevel(hurried, select, first_order)
    assert seen[0] == pytest.approx(0.9, abs=0.05)  # 50 s for a search that takes less than one


def test_the_architecture_rests_in_the_frozen_share_and_the_weights_learn_on() -> None:
    records: list[Any] = []
    # Batches of 11 divide the 33 samples evenly: 12 steps, of which the first half has a progress below one half.
    training = replace(TRAINING, epochs=4, batch_size=11)
    problem = tiny_problem(training=training, search=replace(SEARCH, guards=False), log=records.append)
    bilevel.bilevel(problem, _mixture, first_order, frozen_share=0.5)
    seen = [record["mixing_weights"] for record in records]
    assert seen[0] == seen[1]
    assert seen[1] != seen[2] != seen[3]
    assert len({record["train_loss"] for record in records}) == 4
    assert all(record["architecture_loss"] == pytest.approx(0.7, abs=0.3) for record in records)


def test_the_gradient_of_a_penalty_is_added_to_that_of_the_loss() -> None:
    supernet = tiny_supernet()
    first, second = supernet.arch_logits.values()
    first.grad, second.grad = torch.ones_like(first), torch.ones_like(second)
    add_penalty_gradient(supernet, 3 * first.square().sum())
    torch.testing.assert_close(first.grad, 1 + 6 * first.detach())
    assert torch.equal(second.grad, torch.ones_like(second))


def test_a_penalty_is_told_the_progress_and_moves_the_architecture_but_not_the_loss_that_is_logged() -> None:
    told: list[float] = []

    def penalty(supernet: Supernet, progress: float) -> Tensor:
        told.append(progress)
        return 100 * torch.stack([logits[2] for logits in supernet.logits().values()]).sum()

    records: list[Any] = []
    search = replace(SEARCH, architecture_learning_rate=0.1, architecture_weight_decay=0.0)
    explored = bilevel.bilevel(tiny_problem(search=search, log=records.append), _mixture, _nothing, penalty=penalty)
    assert told == pytest.approx([0, 1 / 6, 3 / 6, 4 / 6])
    for choice_weights in explored.choice_weights.values():
        # Adam's four steps of 0.1 have made the third logit 0.4 lower than the others.
        assert choice_weights[2] == pytest.approx(math.exp(-0.4) / (4 + math.exp(-0.4)), rel=0.01)
    assert all(record["architecture_loss"] == 0 for record in records)


def test_what_is_read_out_in_the_end_may_differ_from_what_is_believed_on_the_way() -> None:
    def first_choice(supernet: Supernet) -> dict[str, Tensor]:
        return {name: torch.eye(len(logits))[0] for name, logits in supernet.logits().items()}

    records: list[Any] = []
    explored = bilevel.bilevel(tiny_problem(log=records.append), _mixture, first_order, read_out=first_choice)
    assert [1.0, 0.0, 0.0, 0.0, 0.0] not in records[0]["mixing_weights"].values()
    for choice_weights in (explored.choice_weights, records[-1]["mixing_weights"]):
        assert list(choice_weights.values()) == [[1.0, 0.0, 0.0, 0.0, 0.0]] * 2


def test_endless_passes_are_whole_and_differ_in_order() -> None:
    batch = tiny_problem().architecture  # 24 samples: two batches of 12 are one pass
    numbered = Batch(batch.inputs, {}, torch.arange(len(batch)))
    parts = Endless(numbered, 12, torch.Generator().manual_seed(0), CPU)
    passes = [[*next(parts).targets.tolist(), *next(parts).targets.tolist()] for _ in range(3)]
    assert all(sorted(one) == list(range(24)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3
