"""A toy of everything that can be added is added as CONTRIBUTING.md says, and goes the whole path by that alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import nas
from nas import FusionData, TrainingConfig
from nas.codegen import Source, Term, matched, names
from nas.encoders import ENCODERS
from nas.encoders.base import FEATURES, NOTHING, KnownEncoder, Rebuild, Standardize, Wishes
from nas.export.formats import FORMATS, Format
from nas.export.subject import Subject
from nas.metrics import METRICS
from nas.network.fusion_network import FusionNetwork
from nas.objectives import OBJECTIVES, ForwardPass, Objective, ObjectiveInfo
from nas.space.architecture import Choice, tap_name
from nas.space.node import FusionNode
from nas.space.operation import Operation, match_times
from nas.space.search_space import SearchSpace
from nas.strategies import STRATEGIES, SearchProblem, StrategyResult
from nas.strategies.random import RandomSampler
from nas.tasks import TASKS, Regression
from search_spaces import OPERATIONS
from tests.tiny_runs import TRAINING, as_data, tiny_arrays, tiny_search


def add(patch: pytest.MonkeyPatch, registry: Mapping[Any, Any], name: str, value: Any) -> None:
    """One entry, as a line of code would add it."""
    patch.setitem(registry, name, value)


class Midrange(Operation):
    """y = (max_i xi + min_i xi) / 2, which has nothing to learn."""

    order = 3
    formula = "(max xi + min xi) / 2"
    phrase = "take the midrange of {all}"

    def forward(self, taps: list[Tensor]) -> Tensor:
        """See the base class, like the others."""
        every = torch.stack(match_times(taps))
        return (every.amax(dim=0) + every.amin(dim=0)) / 2

    def multiply_adds(self, times: Sequence[int]) -> int:
        return 0

    def source(self, inputs: Sequence[Term]) -> Source:
        return Source(
            doc="Takes the midrange.",
            arguments=names(inputs),
            members={},
            forward=[
                f"every = torch.stack([{', '.join(matched(inputs))}])",
                "return (every.amax(0) + every.amin(0)) / 2",
            ],
        )


def test_an_operation_is_one_class_and_one_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add(monkeypatch, OPERATIONS, "midrange", Midrange)
    found = tiny_search(as_data(tiny_arrays()), operations=["midrange"], out=tmp_path / "run")
    rows = [row.name for row in found.summary.leaderboard]
    assert "midrange" in rows
    again = nas.load_run(tmp_path / "run")
    assert again.architecture == found.architecture


class Squares(KnownEncoder):
    """One tap of squared features."""

    form: ClassVar = {"features": FEATURES}

    def __init__(self, standardize: Standardize, features: int) -> None:
        super().__init__()
        self.standardize, self.channels = standardize, (features,)
        self.blueprint = {"encoder": "squares", "features": features}
        self.scale = nn.Parameter(torch.ones(features))

    @classmethod
    def fit(cls, arrays: Sequence[NDArray[Any]], wishes: Wishes = NOTHING) -> Squares:
        (array,) = arrays
        return cls(Standardize.fit(array, channel_axis=-1), array.shape[1])

    @classmethod
    def blank(cls, values: dict[str, Any], rebuild: Rebuild) -> Squares:
        return cls(Standardize.blank(values["features"]), **values)

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        return [(self.scale * self.standardize(inputs[0]).square()).unsqueeze(1)][:num_taps]


def test_an_encoder_is_one_class_and_one_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add(monkeypatch, ENCODERS, "squares", Squares)
    data = as_data(tiny_arrays())
    builders = {"sound": lambda data, name: Squares.fit(data.modalities[name].arrays)}
    found = tiny_search(data, builders=builders, out=tmp_path / "run")
    again = nas.load_run(tmp_path / "run")  # no builder is named: the registry is enough
    inputs = {name: torch.from_numpy(one.arrays[0]) for name, one in data.modalities.items()}
    torch.testing.assert_close(again.network(inputs), found.network(inputs))


def first_drawn(problem: SearchProblem) -> StrategyResult:
    """Takes the first architecture that is drawn."""
    architecture = RandomSampler(problem.space, problem.generator()).ask()
    choice_weights = {node.name: [1 / len(node.choices)] * len(node.choices) for node in problem.space.nodes}
    return StrategyResult(network=None, choice_weights=choice_weights, architecture=architecture, loss=0.0)


def test_a_strategy_is_one_function_and_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, STRATEGIES, "first_drawn", first_drawn)
    found = tiny_search(as_data(tiny_arrays()), strategy="first_drawn")
    assert found.summary.strategy == "first_drawn"


class Halved(Objective):
    """Half of the task's loss."""

    replaces_loss = True

    def loss(self, forward: ForwardPass, progress: float) -> Tensor:
        return forward.losses(forward.outputs()).mean() / 2


def test_an_objective_is_one_class_and_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FusionNetwork] = []

    def make(network: FusionNetwork, _task: str, _argument: str) -> Halved:
        made.append(network)
        return Halved()

    add(monkeypatch, OBJECTIVES, "halved", ObjectiveInfo("half of the loss", make, replaces_loss=True))
    tiny_search(as_data(tiny_arrays()), training=replace(TRAINING, objective="halved"))
    assert made


def test_an_export_format_is_one_function_and_one_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def write(subject: Subject, folder: Path) -> None:
        (folder / "words.txt").write_text(subject.summary.in_words)

    add(monkeypatch, FORMATS, "words", Format(words="its words", write=write))
    found = tiny_search(as_data(tiny_arrays()), out=tmp_path / "run")
    (file,) = nas.export(tmp_path / "run", ["words"])
    assert file.path.read_text() == found.summary.in_words


class Counts(Regression):
    """Numbers of events: outputs are log rates, the loss is Poisson's, relative to the best for each sample."""

    metric = second_metric = surprise = "rmse"
    output = "log rates"

    def losses(self, outputs: Tensor, targets: Tensor, scale: Tensor | None, **_more: Any) -> Tensor:
        return nn.functional.poisson_nll_loss(outputs, targets, reduction="none", full=True).mean(dim=1)


def test_a_task_is_one_class_and_one_entry_and_the_metrics_that_suit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, TASKS, "counts", Counts())
    add(monkeypatch, METRICS, "rmse", replace(METRICS["rmse"], tasks=("regression", "counts")))  # type: ignore[arg-type]
    plain = as_data(tiny_arrays())
    counts = np.random.default_rng(0).poisson(np.exp(plain.modalities["sight"].arrays[0][:, :1] / 3)).astype(np.float32)
    task: Any = "counts"
    data = FusionData(name="events", modalities=plain.modalities, targets=counts, task=task, splits=plain.splits)
    found = tiny_search(data, training=TrainingConfig(epochs=3, channels=8, batch_size=24, preprocessing="standardize"))
    assert found.summary.metric == "rmse"
    assert all(np.isfinite(row.score.mean) for row in found.summary.leaderboard)


def toy_space(depths: Mapping[str, int], **_options: Any) -> SearchSpace:
    """One node that adds the deepest taps of all modalities, or carries the first one."""
    taps = [tap_name(name, count - 1) for name, count in depths.items()]
    choices = (Choice("carry", (taps[0],)), Choice("additive", tuple(taps)))
    return SearchSpace("toy", dict(depths), (FusionNode("only", choices),), OPERATIONS)


def test_a_space_is_one_function_and_one_entry_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toy = EntryPoint("toy", "tests.test_extending:toy_space", "fusenas.spaces")
    monkeypatch.setattr("nas.space.search_space.entry_points", lambda group: [toy] if group == toy.group else [])
    found = tiny_search(as_data(tiny_arrays()), space="toy", operations=None, out=tmp_path / "run")
    assert found.architecture.space == "toy"
    assert nas.load_run(tmp_path / "run").architecture == found.architecture
