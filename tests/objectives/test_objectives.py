"""Objectives as such: none changes nothing, what they add stays out, each resumes bit by bit, mistakes are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.data.batches import shuffled, split_batch
from nas.errors import UserError
from nas.network.prediction import losses
from nas.objectives import OBJECTIVES, check_objective, dropout_rate, make_objective, parse
from nas.objectives.base import deepest_taps
from nas.runs.checkpoint import Checkpoints
from nas.seeding import seeded
from nas.strategies import STRATEGIES
from nas.training.train import train
from tests.helpers import CPU
from tests.interruptions import Interrupted, interrupted_at, timeless
from tests.objectives.networks import CONFIG, DATA, network_of
from tests.strategies.problems import TRAINING, same_tensors, search_of, state_of, tiny_problem

EVERY = [
    "gradient_blending",
    "gradient_blending_online",
    "residual",
    "residual_sequential",
    "rubi:sound",
    "gradient_modulation",
    "reinforce",
    "align",
    "modality_dropout",
    "align,modality_dropout:0.2,gradient_modulation,rubi:sight",
]

BATCHES = split_batch(DATA, "weights", CPU), split_batch(DATA, "architecture", CPU)

NEVER = 10**9


def trained(objective: str, checkpoints: Checkpoints | None = None) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    """Trains a network that adds and multiplies, or switches; its final weights and what was logged."""
    records: list[Mapping[str, Any]] = []
    config = replace(CONFIG, objective=objective)
    slot = checkpoints.slot("training") if checkpoints else None
    network = network_of("gate" if objective == "reinforce" else "both")
    done = train(network, DATA.task, *BATCHES, config, seed=1, device=CPU, log=records.append, slot=slot)
    return done.network.state_dict(), records


def test_every_objective_is_among_those_tested() -> None:
    assert {one.name for text in EVERY for one in parse(text)} == set(OBJECTIVES)


def test_without_an_objective_a_training_is_the_plain_loop_bit_by_bit() -> None:
    config = replace(CONFIG, epochs=2, patience=0)
    network, reference = network_of("both"), network_of("both")
    train(network, DATA.task, *BATCHES, config, seed=1, device=CPU)
    optimizer = torch.optim.AdamW(reference.parameters(), lr=3e-3, weight_decay=1e-2, fused=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=2 * 3 + 1, pct_start=0.15)
    with seeded(1) as generator:
        for _ in range(2):
            for batch in shuffled(BATCHES[0], config.batch_size, generator, CPU):
                reference.train()
                losses(DATA.task, reference, batch, label_smoothing=config.label_smoothing).mean().backward()
                nn.utils.clip_grad_norm_(reference.parameters(), config.gradient_clip)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
    assert same_tensors(network.state_dict(), reference.state_dict())  # the second epoch is the better one


@pytest.mark.parametrize("objective", EVERY)
def test_what_is_added_stays_out_of_the_network_and_changes_its_weights(objective: str) -> None:
    cured = trained(objective)[0]
    plain = network_of("gate").state_dict() if objective == "reinforce" else trained("")[0]
    assert plain.keys() == cured.keys()
    assert not same_tensors(plain, cured)


@pytest.mark.parametrize("objective", EVERY)
def test_a_training_goes_on_from_any_step_to_the_same_bits(
    objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with interrupted_at(monkeypatch, NEVER) as taken:
        wanted, records = trained(objective)
    for number in (taken[0] // 2, taken[0] // 2 + 1, taken[0] - 1):  # where a second stage begins, and at the end
        checkpoints = Checkpoints(tmp_path / str(number), every_seconds=0)
        checkpoints.__enter__()  # killed, it is not left
        with interrupted_at(monkeypatch, number), pytest.raises(Interrupted):
            trained(objective, checkpoints)
        with interrupted_at(monkeypatch, NEVER) as again:
            found, resumed = trained(objective, checkpoints)
        assert same_tensors(found, wanted)
        assert timeless(resumed) == timeless(records)
    assert again[0] <= 2 * 3 or "online" in objective  # the last epochs, but for what is measured anew


@pytest.mark.parametrize("strategy", ["sampled", "darts", "darts_second_order"])
def test_a_search_with_objectives_goes_on_to_the_same_bits(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = replace(TRAINING, objective="align,gradient_modulation,rubi:sound,modality_dropout")
    problem = tiny_problem(training=training, search=search_of(strategy))
    with interrupted_at(monkeypatch, NEVER) as taken:
        wanted = STRATEGIES[strategy](problem)
    plain = STRATEGIES[strategy](replace(problem, training=TRAINING))
    assert state_of(plain).keys() == state_of(wanted).keys()
    assert not same_tensors(state_of(plain), state_of(wanted))
    checkpoints = Checkpoints(tmp_path, every_seconds=0)
    checkpoints.__enter__()
    with interrupted_at(monkeypatch, taken[0] - 1), pytest.raises(Interrupted):
        STRATEGIES[strategy](replace(problem, checkpoints=checkpoints))
    found = STRATEGIES[strategy](replace(problem, checkpoints=checkpoints))
    assert same_tensors(state_of(found), state_of(wanted))


def test_a_network_that_reads_one_modality_is_trained_as_without() -> None:
    assert list(deepest_taps(network_of("sight"))) == ["sight"]
    for objective in ("gradient_blending", "align", "rubi:sight"):
        assert make_objective(objective, network_of("sight"), DATA.task) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gradient_blendin", r"unknown objective 'gradient_blendin'; did you mean 'gradient_blending'\?"),
        ("align,align", "given once"),
        ("rubi:sound,residual", "rubi and residual each stand in place of the loss; take one of them"),
        ("residual:2", "objective residual takes no argument, got '2'"),
    ],
)
def test_what_makes_no_objective_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("rubi", {}, "rubi needs to know which modality leads astray: give rubi:NAME, one of a, b"),
        ("rubi:c", {}, "unknown modality of rubi: 'c'"),
        ("rubi:a", {"task": "regression"}, "rubi is for classification and multilabel, and the task is regression"),
        ("align", {"modalities": ("a", "b", "c")}, "give align:ONE.OTHER, of a, b, c"),
        ("align:a+a", {}, "align draws two modalities together"),
        ("gradient_blending", {"modalities": ("a",)}, "gradient_blending needs two modalities or more, got a"),
        ("gradient_modulation:-1", {}, "alpha of gradient_modulation must be a positive number, got '-1'"),
        ("modality_dropout:1", {}, "modality_dropout takes a rate between 0 and 1, got '1'"),
        ("align", {"dynamic": True}, "align cannot train a gate; leave dynamic out, or take modality_dropout"),
    ],
)
def test_what_does_not_suit_the_data_is_refused(text: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_objective(text, **{"task": "classification", "modalities": ("a", "b"), **options})


def test_modality_dropout_has_a_rate_and_suits_gates() -> None:
    assert dropout_rate("align,modality_dropout") == 0.3
    assert dropout_rate("modality_dropout:0.1") == 0.1
    assert dropout_rate("align") == dropout_rate("auto") == 0
    check_objective("modality_dropout", "regression", ("a", "b"), dynamic=True)


def test_what_runs_in_parts_is_not_compiled() -> None:
    check_objective("modality_dropout", "classification", ("a", "b"), compiled=True)
    with pytest.raises(UserError, match="runs networks in parts"):
        check_objective("align", "classification", ("a", "b"), compiled=True)
