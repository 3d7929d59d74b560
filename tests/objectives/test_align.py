"""Alignment: three losses that are put together, the momentum model, the queue, trainings that go on."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.data.batches import Batch, split_batch
from nas.network.fusion_network import FusionNetwork
from nas.objectives.align import QUEUE, Align
from nas.objectives.base import ForwardPass
from nas.objectives.momentum import DISTILLED
from nas.runs.checkpoint import Checkpoints
from nas.seeding import seeded
from nas.training.build import build_network
from nas.training.train import train
from search_spaces import layerwise
from tests.helpers import CPU
from tests.interruptions import Interrupted, interrupted_at, timeless
from tests.objectives.networks import CONFIG, DATA, batch_of, network_of, token_data, token_network
from tests.strategies.problems import same_tensors

TOKENS = token_data()

WORDS = split_batch(TOKENS, "weights", CPU)


def prepared(operation: str = "mlp", batch: Batch | None = None, *, training: bool = True) -> tuple[Align, ForwardPass]:
    """Words and sight, aligned."""
    network = token_network(operation).train(training)
    with seeded(0):
        objective = Align(network, ("words", "sight"))
    batch = WORDS.take(slice(0, 24)) if batch is None else batch
    return objective, ForwardPass.run(TOKENS.task, network, batch, more_taps=objective.reads)


def parts_of(objective: Align, forward: ForwardPass, patch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    """α of the contrastive and of the other losses, halfway up, and the sum where these come to 1, 10 and 100.

    With it, how many rows the others have.
    """
    found: dict[str, list[float]] = {"contrastive": [], "distilled": [], "rows": []}

    def contrastive(vectors: Tensor, *_arguments: Tensor, temperature: Tensor, alpha: float) -> Tensor:
        found["contrastive"].append(alpha)
        return vectors.sum() * 0 + temperature * 0 + 1

    def distilled(logits: Tensor, targets: Tensor, momentum: Tensor, alpha: float) -> Tensor:
        assert logits.shape == momentum.shape
        assert len(targets) == len(logits)
        assert not momentum.requires_grad
        found["distilled"].append(alpha)
        found["rows"].append(len(logits))
        return logits.sum() * 0 + 10.0 ** len(found["distilled"])

    with patch.context() as inside:
        inside.setattr("nas.objectives.align.contrastive_loss", contrastive)
        inside.setattr("nas.objectives.align.distilled_loss", distilled)
        found["sum"] = [float(objective.loss(forward, 0.05).detach())]
    return found


def test_three_losses_with_the_same_distillation_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = parts_of(*prepared(), monkeypatch)
    assert found["sum"] == [111]
    assert found["contrastive"] == pytest.approx([DISTILLED / 2])
    assert found["distilled"] == pytest.approx([DISTILLED / 2] * 2)


def test_a_step_moves_momentum_and_fills_the_queue_with_the_newest_first() -> None:
    network = network_of("late")
    objective = Align(network, ("sound", "sight"))
    batch = batch_of()
    started = copy.deepcopy(objective.momentum.state_dict())
    forward = ForwardPass.run(DATA.task, network, batch, more_taps=objective.reads)
    for _ in range(2):  # asked for twice, it is still one step
        objective.loss(forward, 0.5)
    assert same_tensors(objective.momentum.state_dict(), started)
    assert int(objective.filled) == 0
    with torch.no_grad():
        next(network.adapters["sound_2"].parameters()).add_(1.0)
        objective.heads.matching.linear.weight.add_(1.0)
    objective.after_step(network)
    after = objective.momentum.state_dict()
    name = "network.adapters.sound_2.linear.weight"
    torch.testing.assert_close(after[name], started[name] + 0.005)
    name = "heads.matching.linear.weight"
    torch.testing.assert_close(after[name], started[name] + 0.005)
    assert int(objective.filled) == 6
    wanted = objective.momentum.heads.vectors(objective._followed(forward))
    objective.loss(forward, 0.5)
    objective.after_step(network)
    torch.testing.assert_close(objective.queues[:, :6], wanted)
    assert int(objective.filled) == 12
    for _ in range(QUEUE // 6):
        objective.loss(forward, 0.5)
        objective.after_step(network)
    assert int(objective.filled) == QUEUE


def test_without_tokens_there_is_nothing_to_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("product")
    objective = Align(network, ("sound", "sight"))
    forward = ForwardPass.run(DATA.task, network, batch_of(), more_taps=objective.reads)
    assert not objective.heads.predictors()
    assert parts_of(objective, forward, monkeypatch)["sum"] == [11]


def test_paths_that_read_one_of_the_two_are_only_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    space = layerwise({"words": 3, "sight": 3}, operations=("additive", "mlp"))
    with seeded(0):
        network = build_network(space, TOKENS, CONFIG)
        objective = Align(network, ("words", "sight"))
    paths: dict[str, dict[str, int]] = {"one": {}, "both": {}}
    for node in space.nodes:
        paths["one"][node.name] = next(
            number for number, choice in enumerate(node.choices) if set(choice.modalities) == {"sight"}
        )
        paths["both"][node.name] = next(
            number for number, choice in enumerate(node.choices) if choice.operation == "mlp"
        )

    def run(*names: str) -> ForwardPass:
        chosen = [paths[name] for name in names]
        return ForwardPass.run(TOKENS.task, network, WORDS.take(slice(0, 24)), chosen, objective.reads)

    assert parts_of(objective, run("one"), monkeypatch)["sum"] == [1]
    found = parts_of(objective, run("one", "both"), monkeypatch)
    assert found["sum"] == [111]
    assert found["rows"][0] == 3 * 24  # of one path
    objective.loss(run("both", "one", "both"), 0.5).backward()  # mixed with what reads one


def test_a_single_sample_has_no_partner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.objectives.masked_tokens.CHOSEN", 1.0)
    two = WORDS.take(slice(0, 2))
    alone = Batch(two.inputs, {"words": torch.tensor([True, False])}, two.targets)
    assert parts_of(*prepared(batch=alone), monkeypatch)["sum"] == [11]


@pytest.mark.parametrize("name", ["late", "product", "both"])
def test_gradients_reach_all_but_the_head_and_the_momentum_model(name: str) -> None:
    network = network_of(name)
    objective = Align(network, ("sound", "sight"))
    forward = ForwardPass.run(DATA.task, network, batch_of(), more_taps=objective.reads)
    objective.loss(forward, 1.0).backward()
    assert_learned(objective, network)


def test_gradients_reach_what_predicts_tokens() -> None:
    objective, forward = prepared()
    objective.loss(forward, 1.0).backward()
    assert_learned(objective, forward.network)
    assert len(objective.heads.predictors()) == 1


def assert_learned(objective: Align, network: FusionNetwork) -> None:
    for module in (network.encoders, network.adapters, network.nodes, objective.heads):
        assert all(
            parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()
            for parameter in module.parameters()
        )
    assert objective.temperature.grad is not None
    assert all(parameter.grad is None for parameter in objective.momentum.parameters())
    assert not any(parameter.requires_grad for parameter in objective.momentum.parameters())
    assert network.head.linear.weight.grad is None


def test_soft_targets_are_those_of_the_momentum_model_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay when the trained network and its heads move, until the momentum model follows."""
    objective, forward = prepared()
    seen: list[Tensor] = []

    def noted(logits: Tensor, _targets: Tensor, momentum: Tensor, _alpha: float) -> Tensor:
        seen.append(momentum)
        return logits.sum()

    monkeypatch.setattr("nas.objectives.align.distilled_loss", noted)
    monkeypatch.setattr("nas.objectives.align.hard_partners", lambda *_: torch.arange(24).roll(1).repeat(2, 1))
    for _ in range(2):
        with seeded(0):
            objective.loss(forward, 0.5)
        with torch.no_grad():
            for parameter in (*forward.network.parameters(), *objective.heads.parameters()):
                parameter.add_(0.1)
    assert same_tensors({"matching": seen[0], "masked": seen[1]}, {"matching": seen[2], "masked": seen[3]})
    objective.after_step(forward.network)
    with seeded(0):
        objective.loss(forward, 0.5)
    assert not torch.allclose(seen[4], seen[0])
    assert not torch.allclose(seen[5], seen[1])


def test_the_momentum_model_stays_in_evaluation_mode() -> None:
    objective = Align(network_of("late", dropout_rate=0.5), ("sound", "sight"))
    objective.eval().train()
    assert objective.heads.training
    assert not any(module.training for module in objective.momentum.modules())


def test_samples_that_lack_one_of_the_two_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every token hidden, so that nothing but negatives is drawn: the same of the same four samples."""
    monkeypatch.setattr("nas.objectives.masked_tokens.CHOSEN", 1.0)
    monkeypatch.setattr("nas.objectives.masked_tokens.HIDDEN", 1.0)
    monkeypatch.setattr("nas.objectives.masked_tokens.RANDOM", 0.0)
    whole, some = WORDS.take(slice(0, 6)), WORDS.take(slice(0, 4))
    present = torch.tensor([True] * 4 + [False] * 2)
    losses = []
    for batch in (Batch(whole.inputs, {"sight": present}, whole.targets), some, whole):
        objective, forward = prepared("multiplicative", batch, training=False)
        with seeded(0):
            losses.append(objective.loss(forward, 0.5))
    torch.testing.assert_close(losses[0], losses[1])
    assert not torch.allclose(losses[0], losses[2])
    nobody = Batch(whole.inputs, {"words": torch.zeros(6, dtype=torch.bool)}, whole.targets)
    objective, forward = prepared(batch=nobody)
    found = objective.loss(forward, 0.5)
    assert not found.detach().any()
    found.backward()


def test_lacking_samples_are_no_partners(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = WORDS.take(slice(0, 24))
    present = torch.arange(24) % 3 != 0
    objective, forward = prepared(batch=Batch(batch.inputs, {"sight": present}, batch.targets))
    seen = []

    def noted(_forward: object, _slow: object, partners: Tensor, rows: Tensor, _alpha: float) -> Tensor:
        seen.append(partners[:, rows])
        assert rows.tolist() == present.nonzero().flatten().tolist()
        return torch.zeros(())

    monkeypatch.setattr(objective, "_matching_loss", noted)
    for _ in range(20):
        objective.loss(forward, 0.5)
    drawn = torch.stack(seen)
    assert present[drawn].all()
    assert (drawn != present.nonzero().flatten()).all()
    assert drawn.float().std(dim=0).max() > 0  # they are drawn, not chosen


def trained(
    objective: str, checkpoints: Checkpoints | None = None
) -> tuple[dict[str, Any], list[Mapping[str, Any]], nn.Module]:
    """Trains on words and sight; the final weights and what was logged."""
    records: list[Mapping[str, Any]] = []
    slot = checkpoints.slot("training") if checkpoints else None
    splits = [split_batch(TOKENS, split, CPU) for split in ("weights", "architecture")]
    config = replace(CONFIG, objective=objective)
    done = train(
        token_network("mlp"),
        TOKENS.task,
        splits[0],
        splits[1],
        config,
        seed=1,
        device=CPU,
        log=records.append,
        slot=slot,
    )
    return done.network.state_dict(), records, done.network


def test_a_training_on_tokens_goes_on_to_the_same_bits_and_leaves_the_network_as_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with interrupted_at(monkeypatch, 10**9) as taken:
        wanted, records, _ = trained("align:words+sight")
    for number in (taken[0] // 2, taken[0] - 1):
        checkpoints = Checkpoints(tmp_path / str(number), every_seconds=0)
        checkpoints.__enter__()  # killed, it is not left
        with interrupted_at(monkeypatch, number), pytest.raises(Interrupted):
            trained("align:words+sight", checkpoints)
        found, resumed, _ = trained("align:words+sight", checkpoints)
        assert same_tensors(found, wanted)
        assert timeless(resumed) == timeless(records)
    plain, _, network = trained("")
    assert plain.keys() == wanted.keys()
    assert not same_tensors(plain, wanted)
    network.load_state_dict(wanted)


def test_matches_and_masked_tokens_are_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twelve samples, by heart; without dropout, for that takes a few seconds less."""
    objective, forward = prepared(batch=WORDS.take(slice(0, 12)), training=False)
    optimizer = torch.optim.Adam([*forward.network.parameters(), *objective.heads.parameters()], lr=0.01)
    losses: dict[str, list[float]] = {"_matching_loss": [], "_masked_loss": []}
    for name, seen in losses.items():
        own = getattr(objective, name)

        def noted(*arguments: Any, own: Any = own, seen: list[float] = seen) -> Tensor:
            found: Tensor = own(*arguments)
            seen.append(float(found.detach()))
            return found

        monkeypatch.setattr(objective, name, noted)
    with seeded(0):
        for _ in range(200):
            run = ForwardPass.run(TOKENS.task, forward.network, forward.batch, more_taps=objective.reads)
            objective.loss(run, 0.0).backward()
            optimizer.step()
            optimizer.zero_grad()
            objective.after_step(forward.network)
    matching, masked = (sum(seen[-20:]) / 20 for seen in losses.values())
    unknown = -(math.log(1 / 3) + 2 * math.log(2 / 3)) / 3
    assert matching < unknown / 2
    assert masked < math.log(9) / 2
