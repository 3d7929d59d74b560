"""One modality added into the encoder of another: what is computed, and what is not."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import Tensor

from nas.encoders import from_blueprint
from nas.encoders.base import Standardize
from nas.encoders.joined import Join, JoinedEncoder, encoder_of
from nas.encoders.map import MapEncoder
from nas.encoders.sequence import SequenceEncoder
from nas.encoders.vector import VectorEncoder
from nas.errors import UserError
from nas.seeding import seeded
from tests.helpers import assert_learns, counted_calls

ROUNDING = 1e-12


def two_maps(*, weighed: bool = False) -> JoinedEncoder:
    """Three layers of unlike widths, of maps of unlike sizes."""
    with seeded(0):
        main = MapEncoder(Standardize.blank(2, 1, 1), (2, 12, 9), widths=(4, 6, 8))
        second = MapEncoder(Standardize.blank(1, 1, 1), (1, 7, 10), widths=(4, 5, 7))
        return JoinedEncoder(main, second, weighed=weighed).double().eval()


def two_sequences() -> JoinedEncoder:
    """Four layers, into which one of two layers is added."""
    with seeded(0):
        main = SequenceEncoder(Standardize.blank(1, 3), 3, widths=(4, 4, 6, 8))
        second = SequenceEncoder(Standardize.blank(1, 2), 2, widths=(4, 5))
        return JoinedEncoder(main, second, weighed=True).double().eval()


def drawn(encoder: JoinedEncoder, count: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((2, 12, 9), (1, 7, 10)) if isinstance(encoder.main, MapEncoder) else ((41, 3), (23, 2))
    return [torch.randn(count, *shape, generator=generator, dtype=torch.float64) for shape in shapes]


EVERY = [two_maps, lambda: two_maps(weighed=True), two_sequences]


@pytest.mark.parametrize("make", EVERY)
def test_a_tap_is_what_the_formula_says(make: object) -> None:
    encoder = make()  # type: ignore[operator]
    inputs = drawn(encoder)
    taps = encoder(inputs)
    assert len(taps) == encoder.num_taps == 2 + len(encoder.joins)
    assert [tap.shape[2] for tap in taps] == list(encoder.channels)
    for joins, tap in enumerate(taps[1:]):
        (main,), (second,) = encoder.main.start(inputs[:1]), encoder.second.start(inputs[1:])
        for place, stage in enumerate(encoder.main.stages):
            main = stage(main)
            if place < joins:
                second = encoder.second.stages[place](second)
                main = main + encoder.joins[place](second, main)
        torch.testing.assert_close(tap, encoder.main.tap(main), rtol=0, atol=ROUNDING)
    torch.testing.assert_close(taps[1], encoder.main(inputs[:1])[-1], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("make", EVERY)
def test_only_what_is_asked_for_is_run(make: object) -> None:
    encoder = make()  # type: ignore[operator]
    inputs = drawn(encoder)
    alone = encoder.taps_at(inputs[:1], [1])[1]  # without the second modality
    assert torch.equal(alone, encoder(inputs)[1])
    for joins in range(len(encoder.joins) + 1):
        with counted_calls(encoder) as calls:
            encoder.taps_at(inputs, [joins + 1])
        assert max(calls.values()) == 1
        run = {name.split(".")[2] for name in calls if name.startswith("second.stages")}
        assert run == {str(place) for place in range(joins)}


@pytest.mark.parametrize("make", EVERY)
def test_it_goes_on_from_the_first_layers_with_some_samples(make: object) -> None:
    encoder = make()  # type: ignore[operator]
    inputs, rows = drawn(encoder), torch.tensor([4, 1, 1])
    whole = encoder(inputs)
    with counted_calls(encoder) as calls:
        taps, state = encoder.extend_to(encoder.start(inputs), 0, [0])
        later, _ = encoder.extend_to(tuple(part[rows] for part in state), 1, [2])
    assert max(calls.values()) == 1
    torch.testing.assert_close(taps[0], whole[0], rtol=0, atol=ROUNDING)
    torch.testing.assert_close(later[2], whole[2][rows], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("make", EVERY)
def test_a_sample_that_lacks_the_second_modality_has_nothing_added(make: object) -> None:
    encoder = make()  # type: ignore[operator]
    inputs = drawn(encoder)
    there = torch.tensor([True, False, True, False, True])
    masked, whole = encoder([*inputs, there]), encoder(inputs)
    for tap, full in zip(masked[2:], whole[2:], strict=True):
        torch.testing.assert_close(tap[there], full[there], rtol=0, atol=ROUNDING)
        torch.testing.assert_close(tap[~there], whole[1][~there], rtol=0, atol=ROUNDING)
        assert not torch.allclose(full[~there], whole[1][~there])
    assert (masked[0][~there][..., encoder.main.channels[0] :] == 0).all()


@pytest.mark.parametrize("make", EVERY)
def test_every_parameter_learns_and_the_blueprint_makes_another(make: object) -> None:
    encoder = make()  # type: ignore[operator]
    inputs = drawn(encoder, 32)
    taps = encoder(inputs)
    generator = torch.Generator().manual_seed(1)
    torch.stack([(tap * torch.randn(tap.shape, generator=generator)).sum() for tap in taps]).sum().backward()
    assert_learns(encoder)
    again = from_blueprint(json.loads(json.dumps(encoder.blueprint))).double().eval()
    again.load_state_dict(encoder.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(again(inputs), taps, strict=True))
    assert copy.deepcopy(encoder).channels == again.channels


def test_squeeze_and_excitation_weighs_every_channel_from_0_to_1() -> None:
    with seeded(0):
        join = Join(4, 6, weighed=True).double().eval()
    second, main = torch.randn(3, 6, 5, 4, dtype=torch.float64), torch.zeros(3, 4, 2, 3, dtype=torch.float64)
    projected = torch.nn.functional.adaptive_avg_pool2d(join.projection(second), (2, 3))
    weights = join(second, main) / projected
    assert ((weights > 0) & (weights < 1)).all()
    assert torch.allclose(weights, weights[:, :, :1, :1])  # one for each channel of a sample


def test_encoders_that_cannot_be_joined_are_refused() -> None:
    vector = VectorEncoder(Standardize.blank(3), 3)
    sequence = SequenceEncoder(Standardize.blank(1, 2), 2)
    with pytest.raises(UserError, match="modalities 'b' and 'a': a vector cannot be added into the encoder of a seq"):
        encoder_of("a+b", {"a": sequence, "b": vector})
    assert encoder_of("a", {"a": sequence}) is sequence
