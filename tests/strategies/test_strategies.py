"""What every strategy owes its caller; a new one joins by its entry in the registry."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.config import RoutingConfig, SearchConfig, TrainingConfig
from nas.discretize.discretize import DISCRETIZATIONS, discretize
from nas.errors import UserError
from nas.network.fusion_network import FusionNetwork
from nas.network.prediction import evaluation_losses
from nas.strategies import STRATEGIES, StrategyResult
from nas.training.train import Trained
from tests.strategies.problems import (
    CPU,
    SEARCH,
    TRAINING,
    same_tensors,
    search_of,
    state_of,
    tiny_data,
    tiny_problem,
    tiny_space,
)

_WITH_LOGITS = ("darts", "darts_second_order", "gdas", "pc_darts", "drnas", "fair_darts", "beta_darts")
_TRAINING_FROM_SCRATCH = ("random", "evolution", "tpe", "nsga2", "mfas", "exhaustive")
_WITH_SUPERNET = tuple(name for name in STRATEGIES if name not in _TRAINING_FROM_SCRATCH)


@dataclass(frozen=True, eq=False)
class _Outcome:
    explored: StrategyResult
    records: tuple[Mapping[str, Any], ...]

    @property
    def state(self) -> Mapping[str, Tensor]:
        return state_of(self.explored)

    def differs_from(self, other: _Outcome) -> bool:
        """Whether anything at all that can be seen of the two differs, the clock aside."""
        return (
            not same_tensors(self.state, other.state)
            or self.explored.choice_weights != other.explored.choice_weights
            or self.explored.loss != other.explored.loss
            or self.explored.architecture != other.explored.architecture
            or [{**record, "seconds": 0} for record in self.records]
            != [{**record, "seconds": 0} for record in other.records]
        )


@cache
def _run(
    name: str,
    *,
    seed: int = 0,
    training: TrainingConfig = TRAINING,
    search: SearchConfig = SEARCH,
    already_seconds: float = 0.0,
) -> _Outcome:
    records: list[Mapping[str, Any]] = []
    search = search_of(name, search)
    problem = tiny_problem(
        seed=seed, training=training, search=search, log=records.append, already_seconds=already_seconds
    )
    return _Outcome(STRATEGIES[name](problem), tuple(records))


@pytest.mark.parametrize("name", STRATEGIES)
def test_beliefs_are_a_distribution_over_all_choices_of_every_node(name: str) -> None:
    explored = _run(name).explored
    space = tiny_space()
    assert list(explored.choice_weights) == [node.name for node in space.nodes]
    for node in space.nodes:
        choice_weights = explored.choice_weights[node.name]
        assert len(choice_weights) == len(node.choices)
        assert min(choice_weights) >= 0
        assert math.fsum(choice_weights) == pytest.approx(1, abs=1e-6)  # five numbers rounded to float32


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_hands_back_a_supernet_or_an_architecture(name: str) -> None:
    explored, space = _run(name).explored, tiny_space()
    assert math.isfinite(explored.loss)
    if explored.network is None:
        assert explored.architecture is not None
        space.validate(explored.architecture)
    else:
        assert explored.network.space == space
        assert all(torch.isfinite(value).all() for value in _run(name).state.values())


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_logs_how_the_search_goes(name: str) -> None:
    records = _run(name, search=replace(SEARCH, length=2.0)).records
    assert len(records) >= 2
    for record in records:
        assert record["phase"] == "search"
        assert math.isfinite(record["architecture_loss"])
        assert list(record["mixing_weights"]) == [node.name for node in tiny_space().nodes]
    for key in ("step", "epoch", "seconds"):
        values = [record[key] for record in records]
        assert values == sorted(values)
        assert values[0] > 0
    assert len({record["step"] for record in records}) == len(records)


@pytest.mark.parametrize("name", _WITH_SUPERNET)
def test_the_steps_and_losses_it_logs_are_those_it_took(name: str) -> None:
    # 33 samples in batches of 16: two steps an epoch, since the sample that is left over joins the second. The loss of
    # two classes begins near log 2 = 0.69; its sum over two steps, divided by three, would be near 0.46.
    records = _run(name, training=replace(TRAINING, learning_rate=1e-6)).records
    if name in _WITH_LOGITS:
        assert [record["step"] for record in records] == [2, 4]
        assert records[0]["architecture_loss"] == pytest.approx(math.log(2), abs=0.15)
    assert records[0]["train_loss"] == pytest.approx(math.log(2), abs=0.15)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_seed_gives_the_same_search_bit_for_bit(name: str) -> None:
    torch.rand(7)  # the state of the global generator must not matter
    again = _run.__wrapped__(name)
    assert not again.differs_from(_run(name))


@pytest.mark.parametrize("name", STRATEGIES)
def test_another_seed_gives_another_search(name: str) -> None:
    first, second = _run(name), _run(name, seed=1)
    assert first.differs_from(second)
    if first.state:
        changed = [key for key, value in first.state.items() if not torch.equal(value, second.state[key])]
        assert any(key.startswith("encoders") for key in changed)
        assert any(key.startswith("nodes") for key in changed)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_global_random_state_is_left_as_it_was(name: str) -> None:
    before = torch.get_rng_state()
    _run.__wrapped__(name)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_test_split_is_never_read(name: str) -> None:
    # Every array is NaN and every target out of range there, and asking for the split's indices is an error.
    records: list[Mapping[str, Any]] = []
    search = search_of(name)
    problem = tiny_problem(data=tiny_data(poisoned_test=True), search=search, log=records.append)
    poisoned = STRATEGIES[name](problem)
    assert not _Outcome(poisoned, tuple(records)).differs_from(_run(name))


@pytest.mark.parametrize("name", STRATEGIES)
def test_weights_learn_from_the_weights_split_and_are_judged_on_the_other(name: str) -> None:
    # The answer is always 0 in the one and always 1 in the other: whoever learned of the other would be right there.
    search = search_of(name)
    problem = tiny_problem(training=replace(TRAINING, epochs=12, learning_rate=0.03), search=search)
    explored = STRATEGIES[name](
        replace(
            problem,
            weights=replace(problem.weights, targets=torch.zeros_like(problem.weights.targets)),
            architecture=replace(problem.architecture, targets=torch.ones_like(problem.architecture.targets)),
        )
    )
    # A coin's loss is 0.69, and a network that the wrong split has taught falls below 0.1.
    assert explored.loss > 0.5


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_spent_budget_ends_the_search_early(name: str) -> None:
    training, search = replace(TRAINING, epochs=4), replace(SEARCH, max_trials=4)
    whole = _run(name, training=training, search=search)
    inside = _run(name, training=training, search=replace(search, budget_seconds=3600))
    late = _run(name, training=training, search=replace(search, budget_seconds=3600), already_seconds=3601)
    assert len(whole.records) == len(inside.records) >= 2
    assert len(late.records) < len(whole.records)
    assert math.isfinite(late.explored.loss)


@pytest.mark.parametrize("name", STRATEGIES)
def test_beliefs_of_a_search_that_ended_early_sum_to_one(name: str) -> None:
    search = replace(SEARCH, max_trials=4, budget_seconds=3600)
    for choice_weights in _run(name, search=search, already_seconds=3601).explored.choice_weights.values():
        assert math.fsum(choice_weights) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("method", DISCRETIZATIONS)
@pytest.mark.parametrize("name", _WITH_LOGITS)
def test_every_gradient_strategy_can_be_read_out_by_every_discretization(name: str, method: str) -> None:
    problem = tiny_problem()
    explored = STRATEGIES[name](problem)
    found = discretize(problem, explored, method)
    problem.space.validate(found.architecture)
    assert explored.network is not None
    if method == "argmax":
        for node, index in problem.space.path(found.architecture).items():
            assert explored.choice_weights[node][index] == max(explored.choice_weights[node])
    # One path of the supernet is the derived network with the supernet's weights, exactly.
    derived = problem.make_network(problem.space.restrict(found.architecture))
    derived.load_state_dict({key: explored.network.state_dict()[key] for key in derived.state_dict()})
    path = problem.space.path(found.architecture)
    alone = evaluation_losses("classification", derived, problem.architecture, CPU)
    assert torch.equal(alone, evaluation_losses("classification", explored.network, problem.architecture, CPU, path))
    assert found.loss_after == pytest.approx(float(alone.mean()), rel=1e-5)  # summed up in another order


@pytest.mark.parametrize("name", _WITH_LOGITS)
def test_the_guards_are_logged_and_their_end_is_told(name: str) -> None:
    outcome = _run(name, search=replace(SEARCH, length=2.0))
    for record in outcome.records:
        assert set(record["guards"]) == {"none_share", "nothing_nodes", "eigenvalue", "discretization"}
        assert all(math.isfinite(value) for value in record["guards"].values())
        assert 0 <= record["guards"]["none_share"] <= 1
    guarded = outcome.explored.guards
    assert guarded is not None
    assert guarded.epoch == outcome.records[-1]["epoch"]
    assert guarded.values == outcome.records[-1]["guards"]


_EVERYWHERE = tuple(STRATEGIES)
_SEARCH_OPTIONS: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "length": (2.0, _WITH_SUPERNET),
    "architecture_learning_rate": (1e-2, _WITH_LOGITS),
    "architecture_weight_decay": (0.5, _WITH_LOGITS),
    "max_trials": (3, tuple(name for name in _TRAINING_FROM_SCRATCH if name != "exhaustive")),
    "guards": (False, _WITH_LOGITS),
}
_TRAINING_OPTIONS: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "epochs": (3, _EVERYWHERE),
    "batch_size": (12, _EVERYWHERE),
    "learning_rate": (1e-2, _EVERYWHERE),
    "weight_decay": (0.5, _EVERYWHERE),
    "gradient_clip": (1e-3, _EVERYWHERE),
    "channels": (6, _EVERYWHERE),
    "dropout_rate": (0.6, _EVERYWHERE),
    "objective": ("modality_dropout:0.5", _EVERYWHERE),  # it acts on data; others are in tests/objectives
}
_TESTED_BY_THEMSELVES = {
    *("space", "operations", "dynamic", "discretization", "encoders"),  # in test_search
    *("strategy", "seed", "search_seeds", "device"),
    "budget_seconds",
    "patience",
    "compile",
    "label_smoothing",  # in test_training
    "max_epochs",  # in test_training, for its least is more than these trainings last
    "time_limit_seconds",  # in test_time_limit
    *("encoder", "encoder_mode"),  # in tests/encoders
    "shift",  # in test_augmentation
    "peaks",
    "regions",  # in tests/encoders
    "preprocessing",  # in test_preprocessing
    "class_weights",
    "metric",
    *(field.name for field in fields(RoutingConfig)),  # in test_gated_training, for a gate comes after the strategy
}


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [(name, option, value) for option, (value, names) in _SEARCH_OPTIONS.items() for name in names],
)
def test_every_option_of_the_search_changes_something(name: str, option: str, value: Any) -> None:
    assert _run(name, search=replace(SEARCH, **{option: value})).differs_from(_run(name))


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [(name, option, value) for option, (value, names) in _TRAINING_OPTIONS.items() for name in names],
)
def test_every_option_of_the_training_changes_something(name: str, option: str, value: Any) -> None:
    assert _run(name, training=replace(TRAINING, **{option: value})).differs_from(_run(name))


def test_no_option_is_left_out_above() -> None:
    options = {field.name for config in (SearchConfig, TrainingConfig) for field in fields(config)}
    assert options == _SEARCH_OPTIONS.keys() | _TRAINING_OPTIONS.keys() | _TESTED_BY_THEMSELVES


def test_patience_stops_a_training_that_no_longer_improves(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["nas.strategies.base"]
    epochs: list[int] = []

    def spied(*arguments: Any, **options: Any) -> Trained[FusionNetwork]:
        trained: Trained[FusionNetwork] = real(*arguments, **options)
        epochs.append(trained.num_epochs)
        return trained

    real = module.__dict__["train"]
    monkeypatch.setattr(module, "train", spied)
    # At a learning rate of 1e-30 no weight moves; only the running statistics of BatchNorm still do.
    frozen = replace(TRAINING, epochs=40, learning_rate=1e-30)
    for patience in (0, 2):
        _run.__wrapped__("random", training=replace(frozen, patience=patience), search=replace(SEARCH, max_trials=1))
    assert epochs[0] == 40
    assert epochs[1] < 40


def test_compile_hands_the_network_to_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []

    def compile_(network: torch.nn.Module) -> torch.nn.Module:
        compiled.append(network)
        return network

    monkeypatch.setattr(torch, "compile", compile_)
    _run.__wrapped__("random")
    assert not compiled
    _run.__wrapped__("random", training=replace(TRAINING, compile=True))
    assert len(compiled) == SEARCH.max_trials


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_that_diverges_is_told(strategy: str) -> None:
    # The first that `exhaustive` trains does nothing but learn a constant, which takes an epoch longer to overflow.
    with pytest.raises(UserError, match=r"diverged in epoch [12]: .* lower the learning_rate"):
        _run.__wrapped__(strategy, training=replace(TRAINING, learning_rate=1e30))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("length", -1.0, r"length must be 0 \(automatic\) or positive, .*got -1"),
        ("length", math.nan, r"length must be 0 \(automatic\) or positive, .*got nan"),
        ("max_trials", -1, r"max_trials must be 0 \(automatic\) or more, .*got -1"),
        ("budget_seconds", -1.0, r"budget_seconds must be 0 \(no limit\) or more"),
    ],
)
def test_options_of_the_search_that_make_no_sense_are_refused(option: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(SEARCH, **{option: value})
