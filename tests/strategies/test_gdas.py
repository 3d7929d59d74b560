"""GDAS: the schedule of its temperature, and one operation a node."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.network.fusion_network import StraightThrough
from nas.network.prediction import losses
from nas.strategies import STRATEGIES
from nas.strategies.gdas import temperature
from nas.supernet.relaxation import gumbel
from search_spaces import OPERATIONS
from tests.strategies.problems import TRAINING, tiny_problem, tiny_supernet


def test_the_temperature_falls_linearly_from_ten_to_a_tenth() -> None:
    assert [temperature(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([10, 7.525, 5.05, 0.1])
    assert temperature(1.7) == pytest.approx(0.1)  # a budget that is overdrawn


def test_the_search_follows_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def spied(arch_logits: Any, *, temperature: float, generator: torch.Generator) -> dict[str, StraightThrough]:
        seen.append(temperature)
        return gumbel(arch_logits, temperature=temperature, generator=generator)

    monkeypatch.setattr(sys.modules["nas.strategies.gdas"], "gumbel", spied)
    # Batches of 11 divide the 33 samples evenly, so every step that the schedule reckons with is taken.
    STRATEGIES["gdas"](tiny_problem(training=replace(TRAINING, epochs=5, batch_size=11)))
    assert len(seen) == 2 * 15  # the architecture's and the weights' draw of every step
    assert seen[::2] == pytest.approx([10 - 9.9 * step / 15 for step in range(15)])
    assert seen[1::2] == seen[::2]


def test_only_the_drawn_operation_runs_and_every_logit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    supernet, batch = tiny_supernet(), tiny_problem().weights
    ran: list[nn.Module] = []
    for operation in OPERATIONS.values():
        real = operation.forward

        def spied(self: Any, taps: list[Tensor], real: Any = real) -> Tensor:
            ran.append(self)
            output: Tensor = real(self, taps)
            return output

        monkeypatch.setattr(operation, "forward", spied)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        ran.clear()
        drawn = gumbel(supernet.logits(), temperature=1.0, generator=generator)
        loss = losses("classification", supernet.network, batch, drawn).mean()
        chosen = [
            supernet.network.operation(node.name, node.choices[drawn[node.name].index].key)
            for node in supernet.network.space.nodes
            if node.choices[drawn[node.name].index].inputs
        ]
        assert ran == chosen
        for gradient in torch.autograd.grad(loss, list(supernet.arch_logits.values())):
            assert torch.isfinite(gradient).all()
            assert (gradient != 0).all()


def test_a_draw_computes_what_the_path_computes() -> None:
    supernet, batch = tiny_supernet(), tiny_problem().weights
    supernet.eval()
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        drawn = gumbel(supernet.logits(), temperature=1.0, generator=generator)
        path = {name: one.index for name, one in drawn.items()}
        with torch.no_grad():
            outputs = supernet.network(batch.inputs, None, drawn)
            assert torch.equal(outputs, supernet.network(batch.inputs, None, path))
