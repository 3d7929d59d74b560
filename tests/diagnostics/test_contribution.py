"""Contributions of modalities: networks that read one or both of two, and what Shapley values add up to."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.diagnostics import Recombined, contributions
from nas.diagnostics.contribution import _shapley_weight
from nas.metrics import score
from nas.space.architecture import Architecture, Choice
from search_spaces import layerwise
from tests.helpers import CPU, tiny_batch, tiny_data, tiny_network

COUNT = 400


class MadeUp(Recombined):
    """Answers that are a function of one number per modality and sample, (samples,); absent is 0."""

    def __init__(self, numbers: Mapping[str, Tensor], answer: object) -> None:
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "answer", answer)
        object.__setattr__(self, "taps", {name: {} for name in numbers})
        object.__setattr__(self, "num_samples", COUNT)

    def outputs(self, rows: Mapping[str, Tensor | None] | None = None) -> Tensor:
        found = {}
        for name, values in self.numbers.items():  # type: ignore[attr-defined]
            chosen = (rows or {}).get(name, torch.arange(COUNT))
            found[name] = torch.zeros(COUNT) if chosen is None else values[chosen]
        logit: Tensor = self.answer(**found)  # type: ignore[attr-defined]
        return torch.stack([torch.zeros(len(logit)), logit], dim=1)


def numbers(*names: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(COUNT, generator=generator) for name in names}


def test_a_modality_that_is_not_heeded_contributes_nothing() -> None:
    drawn = numbers("a", "b")
    targets = (drawn["a"] > 0).long().numpy()
    a, b = contributions("classification", [MadeUp(drawn, lambda a, b: a)], targets)
    assert (a.modality, b.modality) == ("a", "b")
    for interval in (b.left_out, b.permuted, b.shapley):
        assert (interval.mean, interval.margin) == (0, 0)
    assert b.unchanged == 1
    # Always right; with another sample's a, as often right as wrong; without a, always class 0.
    assert a.permuted.mean == pytest.approx(0.5, abs=0.03)
    assert a.left_out.mean == pytest.approx(float(targets.mean()), abs=1e-9)
    assert a.shapley.mean == pytest.approx(a.permuted.mean, abs=1e-9)
    assert a.unchanged == pytest.approx(0.5, abs=0.03)


def test_what_only_both_together_tell_is_shared_by_both() -> None:
    drawn = numbers("a", "b")
    targets = (drawn["a"] * drawn["b"] > 0).long().numpy()
    a, b = contributions("classification", [MadeUp(drawn, lambda a, b: a * b)], targets)
    assert a.permuted.mean == pytest.approx(0.5, abs=0.03)
    assert b.permuted.mean == pytest.approx(0.5, abs=0.03)
    assert a.shapley.mean == pytest.approx(0.25, abs=0.03)
    assert b.shapley.mean == pytest.approx(0.25, abs=0.03)
    assert a.shapley.excludes_zero


def test_shapley_values_add_up_to_what_the_sample_itself_is_worth() -> None:
    drawn = numbers("a", "b", "c")
    targets = (drawn["a"] * drawn["b"] + drawn["c"] > 0).long().numpy()
    made_up = MadeUp(drawn, lambda a, b, c: a * b + c)
    found = contributions("classification", [made_up], targets)
    whole = score("accuracy", made_up.outputs().numpy(), targets)
    exchanged = []
    for draw in range(8):  # as many as are averaged over, drawn likewise
        generator = torch.Generator().manual_seed(draw)
        orders = {name: torch.randperm(COUNT, generator=generator) for name in drawn}
        exchanged.append(score("accuracy", made_up.outputs(orders).numpy(), targets))
    assert sum(one.shapley.mean for one in found) == pytest.approx(whole - float(np.mean(exchanged)), abs=1e-9)


def test_shapley_weights_of_all_subsets_add_up_to_one() -> None:
    assert [_shapley_weight(size, 3) for size in range(3)] == [pytest.approx(w) for w in (1 / 3, 1 / 6, 1 / 3)]
    assert sum(math.comb(4, size) * _shapley_weight(size, 5) for size in range(5)) == pytest.approx(1)


def test_an_error_that_rises_is_a_contribution() -> None:
    data = tiny_data({"image": "map", "words": "tokens"}, count=33, task="regression")
    space = layerwise({"image": 2, "words": 2})
    found = Architecture.chain(
        "layerwise", (("fusion0", Choice("none")), ("fusion1", Choice("additive", ("image@1", "words@1"))))
    )
    batch = tiny_batch(data)
    network = tiny_network(space.restrict(found), data)
    samples = Recombined.of(network, batch, CPU)
    targets = samples.outputs().numpy()  # so that it makes no error at all
    image, words = contributions("regression", [samples], targets)
    for one in (image, words):
        assert one.left_out.mean > 0
        assert one.permuted.mean > 0
        assert one.shapley.mean > 0
        assert math.isnan(one.unchanged)
    again = contributions("regression", [samples, samples], targets)
    assert again[0].shapley.mean == pytest.approx(image.shapley.mean)


def test_too_many_modalities_are_refused() -> None:
    drawn = numbers(*"abcdefghi")
    with pytest.raises(ValueError, match="subsets of 9 modalities are too many, expected at most 8"):
        contributions("classification", [MadeUp(drawn, lambda a, **_: a)], np.zeros(COUNT, dtype=np.int64))
