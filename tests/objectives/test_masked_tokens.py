"""Masked tokens: what is drawn, what the mask hides, and what a prediction depends on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nas.data.batches import Batch, split_batch
from nas.encoders.tokens import TokenEncoder
from nas.objectives.base import ForwardPass
from nas.objectives.masked_tokens import MaskedTokens, Masking, draw_masking, masked_tokens_of
from nas.seeding import seeded
from tests.helpers import CPU
from tests.objectives.networks import network_of, token_data, token_network

DATA = token_data()

BATCH = split_batch(DATA, "weights", CPU).take(slice(0, 8))


def prepared(operation: str = "mlp") -> tuple[ForwardPass, MaskedTokens]:
    network = token_network(operation).eval()
    with seeded(0):
        predictor = masked_tokens_of(network, "words@2")
    assert predictor is not None
    with torch.no_grad():
        predictor.bias.uniform_(-1, 1)
    return ForwardPass.run(DATA.task, network, BATCH), predictor


def rows_of(run: ForwardPass) -> Tensor:
    encoder = run.network.encoder("words")
    assert isinstance(encoder, TokenEncoder)
    return encoder.rows_of(BATCH.inputs["words"][0])


def masking_of(rows: Tensor, chosen: Tensor, hidden: Tensor) -> Masking:
    return Masking(rows, hidden, chosen, rows[chosen] - 1)


def test_fifteen_in_a_hundred_are_predicted_and_eight_of_ten_of_these_hidden() -> None:
    """Of 80,000 usable tokens; four deviations are 0.005 of the tokens and 0.015 of those chosen."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(1, 50, (4000, 30), generator=generator)
    rows[:, 20:] = 0
    usable = torch.arange(4000) < 2000
    rows = torch.cat([rows, rows])
    usable = torch.cat([usable, usable | True])
    with seeded(0):
        drawn = draw_masking(rows, 50, usable)
    there = (rows != 0) & usable[:, None]
    assert not (drawn.chosen & ~there).any()
    assert float(drawn.chosen[there].float().mean()) == pytest.approx(0.15, abs=0.005)
    assert float(drawn.hidden[drawn.chosen].float().mean()) == pytest.approx(0.8, abs=0.015)
    changed = drawn.shown != rows
    assert not (changed & ~drawn.chosen).any()
    assert not (changed & drawn.hidden).any()
    # One random token in 49 is the right one again.
    assert float(changed[drawn.chosen].float().mean()) == pytest.approx(0.1 * 48 / 49, abs=0.01)
    assert drawn.shown[changed].unique().tolist() == list(range(1, 50))
    assert drawn.targets.tolist() == (rows[drawn.chosen] - 1).tolist()


def test_a_prediction_is_the_formula_of_the_module() -> None:
    """Of tokens that are chosen and shown as they are: their taps, and what is fused, are the pass's own."""
    run, predictor = prepared()
    rows = rows_of(run)
    chosen = torch.zeros_like(rows, dtype=torch.bool)
    chosen[2, 0] = chosen[5, 1] = True
    found = predictor(run, masking_of(rows, chosen, chosen & False))
    fused = run.network.last_state(run.taps, run.network.selection)
    assert fused is not None
    embedding = run.network.encoders["words"].embedding.weight  # type: ignore[union-attr]
    wanted = []
    for sample, place in ((2, 0), (5, 1)):
        read = torch.cat([run.taps["words@2"][sample, place], fused[sample].mean(dim=0)])
        wanted.append(embedding @ predictor.transform(read) / math.sqrt(48))
    torch.testing.assert_close(found, torch.stack(wanted)[:, 1:] + predictor.bias)
    assert found.shape == (2, 9)  # nine words, without padding


def test_the_mask_hides_what_stands_there() -> None:
    run, predictor = prepared()
    rows = rows_of(run)
    hidden = torch.zeros_like(rows, dtype=torch.bool)
    hidden[:, 1] = True
    found = predictor(run, masking_of(rows, hidden, hidden))
    other = rows.clone()
    other[:, 1] = rows[:, 1] % 9 + 1
    torch.testing.assert_close(predictor(run, masking_of(other, hidden, hidden)), found, rtol=0, atol=0)
    assert not torch.allclose(predictor(run, masking_of(other, hidden, hidden & False)), found)
    with torch.no_grad():
        predictor.mask.add_(1)
    assert not torch.allclose(predictor(run, masking_of(rows, hidden, hidden)), found)


def test_a_prediction_depends_on_its_place_and_on_the_other_modality() -> None:
    run, predictor = prepared()
    rows = rows_of(run)
    hidden = torch.zeros_like(rows, dtype=torch.bool)
    hidden[0, :2] = True
    found = predictor(run, masking_of(rows, hidden, hidden))
    assert not torch.allclose(found[0], found[1])
    sight = {name: tap.flip(0) if name.startswith("sight") else tap for name, tap in run.taps.items()}
    assert not torch.allclose(predictor(replace(run, taps=sight), masking_of(rows, hidden, hidden)), found)
    words = {name: tap.flip(0) if name.startswith("words") else tap for name, tap in run.taps.items()}
    same = predictor(replace(run, taps=words), masking_of(rows, hidden, hidden))
    torch.testing.assert_close(same, found, rtol=0, atol=0)  # whole tokens do not leak


def test_tokens_of_longer_texts_are_predicted_each_by_itself() -> None:
    """Of 40 tokens, which a tap averages down to 16 steps, two that share a step get answers of their own."""
    run, predictor = prepared()
    rows = rows_of(run).repeat(1, 7)[:, :40].clamp(min=1)
    words = torch.ones_like(rows)
    run = replace(run, batch=Batch({**BATCH.inputs, "words": (words,)}, {}, BATCH.targets))
    hidden = torch.zeros_like(rows, dtype=torch.bool)
    hidden[3, 20:22] = True
    found = predictor(run, masking_of(rows, hidden, hidden))
    assert found.shape == (2, 9)
    assert not torch.allclose(found[0], found[1])


def test_every_part_learns_and_padding_does_not() -> None:
    run, predictor = prepared()
    with seeded(0):
        masking = predictor.draw(run, torch.ones(8, dtype=torch.bool))
    assert len(masking.targets) > 0
    assert masking.hidden.any()
    predictor(run, masking).square().sum().backward()
    gradients = [parameter.grad for parameter in predictor.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    embedding = run.network.encoders["words"].embedding.weight.grad  # type: ignore[union-attr]
    assert not embedding[0].any()  # type: ignore[index]
    assert embedding[1:].abs().sum(dim=1).min() > 0  # type: ignore[index]


def test_only_our_own_encoder_of_tokens_has_tokens_to_mask() -> None:
    assert masked_tokens_of(network_of("late"), "sound@2") is None
    network = token_network()
    assert masked_tokens_of(network, "sight@2") is None
    network.encoders["words"] = TokenEncoder(2)
    assert masked_tokens_of(network, "words@2") is None  # a single word
