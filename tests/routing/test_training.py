"""Who learns from which split in a dynamic network, when, and what multiply-adds are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.config import RELAXATIONS, TrainingConfig
from nas.data.batches import Batch
from nas.errors import UserError
from nas.routing.gates import Gate
from nas.routing.loss import gate_decides, gated_loss, hold_budget, with_cost_penalty
from nas.routing.network import RoutedNetwork, build_routed
from nas.routing.prediction import answers
from nas.routing.training import train_routed
from nas.runs.checkpoint import Checkpoints, Slot
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice
from nas.training.augmentation import drop_modalities
from nas.training.train import Trained
from tests.interruptions import Interrupted, interrupted_at
from tests.strategies.problems import CPU, TRAINING, same_tensors, tiny_problem

PROBLEM = tiny_problem(training=replace(TRAINING, epochs=10))
NOTHING = Choice("none")
SOUND = Architecture.chain("layerwise", (("fusion0", NOTHING), ("fusion1", Choice("carry", ("sound@1",)))))
BOTH = Architecture.chain(
    "layerwise", (("fusion0", NOTHING), ("fusion1", Choice("multiplicative", ("sound@1", "sight@1"))))
)
GATED = Architecture.gated([SOUND, BOTH], ["sound@0"])


def network(costs: tuple[float, float] = (40.0, 110.0)) -> RoutedNetwork:
    with seeded(PROBLEM.seed):
        built = build_routed(PROBLEM.space.restrict(GATED), PROBLEM.data, PROBLEM.training, PROBLEM.builders).train()
    built.router.costs.copy_(torch.tensor(costs))
    built.router.static_cost.fill_(100.0)
    built.router.price.fill_(0.1)
    return built


def gradients(built: RoutedNetwork, progress: float, weights: Batch, held_out: Batch) -> dict[str, Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss = gated_loss("classification", built, weights, held_out, PROBLEM.training, progress, 100, generator)
    loss.backward()
    return {name: parameter.grad for name, parameter in built.named_parameters()}


def relabelled(batch: Batch) -> Batch:
    return replace(batch, targets=1 - batch.targets)


def test_the_gate_learns_the_architecture_split_alone_and_weights_the_weights_split_alone() -> None:
    weights, held_out = PROBLEM.weights, PROBLEM.architecture
    plain = gradients(network(), 0.8, weights, held_out)
    other_weights = gradients(network(), 0.8, relabelled(weights), held_out)
    other_held_out = gradients(network(), 0.8, weights, relabelled(held_out))
    for name, gradient in plain.items():
        one, other = other_weights[name], other_held_out[name]
        assert gradient is not None, name
        assert one is not None, name
        assert other is not None, name
        of_gate = name.startswith("router.")
        assert torch.equal(gradient, one) == of_gate, name
        assert torch.equal(gradient, other) != of_gate, name


def test_the_gate_waits_until_its_routes_have_learned() -> None:
    early = gradients(network(), 0.2, PROBLEM.weights, PROBLEM.architecture)
    assert all((gradient is None) == name.startswith("router.") for name, gradient in early.items())
    assert not gate_decides(0.5)
    assert gate_decides(0.7)


def test_statistics_of_normalisation_come_from_the_weights_split_alone() -> None:
    built, other = network(), network()
    gradients(built, 0.8, PROBLEM.weights, PROBLEM.architecture)
    loud = replace(
        PROBLEM.architecture, inputs={k: tuple(9 * a for a in v) for k, v in PROBLEM.architecture.inputs.items()}
    )
    gradients(other, 0.8, PROBLEM.weights, loud)
    assert same_tensors(dict(built.named_buffers()), dict(other.named_buffers()))
    assert built.training


@pytest.mark.parametrize("gate", RELAXATIONS)
def test_every_relaxation_trains_a_network_that_is_sure_of_itself(gate: str) -> None:
    config = replace(PROBLEM.training, gate=gate)  # type: ignore[arg-type]
    trained = train_dynamic(config=config)
    assert float(trained.network.router.price) == pytest.approx(0.1)
    outputs = [trained.network(PROBLEM.architecture.inputs) for _ in range(2)]
    assert torch.equal(outputs[0], outputs[1])


def train_dynamic(
    *,
    config: TrainingConfig = PROBLEM.training,
    costs: tuple[float, float] = (40.0, 110.0),
    slot: Slot | None = None,
    records: list[Mapping[str, Any]] | None = None,
) -> Trained[RoutedNetwork]:
    log = (lambda _record: None) if records is None else records.append
    return train_routed(
        network(costs),
        "classification",
        PROBLEM.weights,
        PROBLEM.architecture,
        config,
        seed=0,
        device=CPU,
        log=log,
        slot=slot,
    )


def test_a_gate_may_learn_by_other_samples_than_those_that_judge_it() -> None:
    """Where it learns that sound is always right it takes it, whatever the judges say of it."""
    sure = replace(PROBLEM.training, cost_weight=0.0, learning_rate=0.03)
    built = network()
    learns = PROBLEM.architecture.take(torch.zeros(64, dtype=torch.long))
    records: list[Mapping[str, Any]] = []
    options: dict[str, Any] = {"seed": 0, "device": CPU, "log": records.append}
    given: tuple[Any, ...] = "classification", PROBLEM.weights, PROBLEM.architecture, sure
    trained = train_routed(built, *given, router_split=learns, **options)
    unimodal = train_routed(network(), *given, **options)
    assert not same_tensors(trained.network.router.state_dict(), unimodal.network.router.state_dict())
    _, judged, _ = answers("classification", trained.network, PROBLEM.architecture, CPU)
    assert trained.architecture_loss == pytest.approx(float(judged.mean()))


def test_the_best_epoch_is_one_in_which_the_gate_decides() -> None:
    records: list[Mapping[str, Any]] = []
    trained = train_dynamic(records=records)
    late = [record["architecture_loss"] for record in records if gate_decides((record["epoch"] + 1) / 10)]
    assert trained.architecture_loss == min(late)
    assert len(late) == 5  # of ten


@pytest.mark.parametrize("costs", [(40.0, 110.0), (110.0, 40.0)])
def test_where_the_price_outweighs_all_losses_the_gate_takes_the_cheap_route(costs: tuple[float, float]) -> None:
    config = replace(PROBLEM.training, cost_weight=50.0, learning_rate=0.03)
    trained = train_dynamic(config=config, costs=costs)
    _, picked = trained.network.run(PROBLEM.architecture.inputs)
    assert (picked == costs.index(40.0)).all()


def test_a_budget_moves_the_price_as_far_as_it_is_overspent() -> None:
    config = replace(PROBLEM.training, max_multiply_adds=0.5)
    for favourite, spent in ((1, 1.1), (0, 0.4)):
        built = network()
        assert isinstance(built.router, Gate)
        with torch.no_grad():
            built.router.output.weight.zero_()
            built.router.output.bias.copy_(torch.nn.functional.one_hot(torch.tensor(favourite), 2).float())
        gated_loss("classification", built, PROBLEM.weights, PROBLEM.architecture, config, 0.8, 100, torch.Generator())
        # 20 over a whole training of 100 steps, per share
        assert float(built.router.price) == pytest.approx(max(0.0, 0.1 + 0.2 * (spent - 0.5)))
    built.router.price.zero_()
    gated_loss("classification", built, PROBLEM.weights, PROBLEM.architecture, config, 0.8, 100, torch.Generator())
    assert float(built.router.price) == 0.0


def test_a_budget_is_held_where_the_dear_route_is_the_better_one() -> None:
    """The product of both tells the class, the sound alone does not; the budget lets a part of the samples have it."""
    free, held = (
        train_dynamic(config=replace(PROBLEM.training, epochs=30, patience=0, **options))  # type: ignore[arg-type]
        for options in ({"cost_weight": 0.0}, {"max_multiply_adds": 0.7})
    )
    spent = []
    for trained in (free, held):
        _, picked = trained.network.run(PROBLEM.architecture.inputs)
        spent.append(float(trained.network.router.shares()[picked].mean()))
    assert spent[0] > 0.9
    assert 0.4 < spent[1] <= 0.7


@pytest.mark.parametrize("budget", [0.5, 0.8, 1.05])
def test_a_gate_is_made_to_keep_its_budget_and_spends_all_of_it(budget: float) -> None:
    gate = network().router
    assert isinstance(gate, Gate)
    learned, shares = gate.output.bias.detach().clone(), gate.shares()  # 0.4 and 1.1
    logits = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)) + torch.tensor([0.0, 1.0])
    hold_budget(gate, logits, budget)
    spent = float(shares[gate.pick(logits + gate.output.bias - learned)].mean())
    assert budget - 0.002 < spent <= budget or torch.equal(gate.output.bias, learned)
    assert torch.equal(gate.output.bias, learned) == (float(shares[gate.pick(logits)].mean()) <= budget)


def test_a_budget_below_the_cheapest_route_leaves_that_alone() -> None:
    gate = network().router
    assert isinstance(gate, Gate)
    logits = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    learned = gate.output.bias.detach().clone()
    hold_budget(gate, logits, 0.1)
    assert (gate.pick(logits + gate.output.bias - learned) == 0).all()


@pytest.mark.parametrize("budget", [0.5, 0.6])
def test_a_trained_gate_keeps_its_budget_on_the_split_that_it_learned_by(budget: float) -> None:
    trained = train_dynamic(config=replace(PROBLEM.training, max_multiply_adds=budget))
    _, picked = trained.network.run(PROBLEM.architecture.inputs)
    assert float(trained.network.router.shares()[picked].mean()) <= budget


def test_with_modality_dropout_what_decides_meets_absent_modalities(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Batch] = []

    def noted(*arguments: Any) -> Tensor:
        seen.append(arguments[3])
        return gated_loss(*arguments)

    monkeypatch.setattr("nas.routing.training.gated_loss", noted)
    train_dynamic(config=replace(PROBLEM.training, objective="modality_dropout:0.5"))
    there = torch.cat([torch.stack([batch.present[name] for name in ("sound", "sight")]) for batch in seen], dim=1)
    assert there.any(dim=0).all()
    assert 0.2 < float((~there).float().mean()) < 0.55
    seen.clear()
    train_dynamic()
    assert not any(batch.present for batch in seen)


def test_what_is_spent_has_a_price() -> None:
    losses, spent = torch.tensor([1.0, 2.0]), torch.tensor([0.4, 1.0])
    assert with_cost_penalty(losses, spent, TrainingConfig(cost_weight=0.2)).tolist() == pytest.approx([1.08, 2.2])
    assert with_cost_penalty(losses, spent, TrainingConfig(max_multiply_adds=0.7)).tolist() == pytest.approx([1.0, 2.0])
    assert with_cost_penalty(losses, spent, TrainingConfig(max_multiply_adds=0.4)).tolist() == pytest.approx([1.3, 2.3])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gate": "sfot"}, "soft"),
        ({"gate_temperature": "lineal"}, "linear"),
        ({"cost_weight": -1.0}, "cost_weight must be 0 or more"),
        ({"max_multiply_adds": 40.0}, "max_multiply_adds must be from 0"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        TrainingConfig(**options)


def test_a_dynamic_training_goes_on_from_any_step_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(PROBLEM.training, max_multiply_adds=0.6, gate="gumbel", objective="modality_dropout:0.2")
    wanted = train_dynamic(config=config)
    for number in (2, 11, 15, 18):
        checkpoints = Checkpoints(tmp_path / str(number), every_seconds=0)
        checkpoints.__enter__()  # and never left, as when killed
        with interrupted_at(monkeypatch, number), pytest.raises(Interrupted):
            train_dynamic(config=config, slot=checkpoints.slot("one"))
        found = train_dynamic(config=config, slot=Checkpoints(tmp_path / str(number)).slot("one"))
        assert same_tensors(found.network.state_dict(), wanted.network.state_dict())
        assert found.architecture_loss == wanted.architecture_loss


def _batch(count: int, present: Mapping[str, Tensor]) -> Batch:
    inputs = {name: (torch.zeros(count, 1),) for name in ("a", "b", "c")}
    return Batch(inputs, present, torch.zeros(count, dtype=torch.long))


def test_modalities_are_dropped_at_their_rate_and_one_is_always_left() -> None:
    generator = torch.Generator().manual_seed(0)
    count = 20_000
    dropped = drop_modalities(_batch(count, {}), 0.5, generator)
    there = torch.stack(list(dropped.present.values()))
    assert there.any(dim=0).all()
    # Of three, all go in 1/8 of the cases, and one of them stays then: (1/2 + 1/8 · 1/3); standard error 0.0035.
    assert there.float().mean(dim=1).tolist() == pytest.approx([0.5417] * 3, abs=0.015)


def test_what_a_sample_lacks_is_not_given_to_it() -> None:
    generator = torch.Generator().manual_seed(0)
    has_b = torch.arange(1000) % 2 == 0
    only_b = {"a": torch.zeros(1000, dtype=torch.bool), "b": has_b, "c": torch.zeros(1000, dtype=torch.bool)}
    dropped = drop_modalities(_batch(1000, only_b), 0.9, generator)
    assert torch.equal(dropped.present["b"], has_b)  # its last one is left to it
    assert not dropped.present["a"].any()
    assert not dropped.present["c"].any()


def test_no_rate_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    batch = _batch(4, {})
    assert drop_modalities(batch, 0.0, generator) is batch
    assert torch.equal(generator.get_state(), before)
