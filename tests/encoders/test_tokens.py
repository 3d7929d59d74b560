"""Tokens: padding says nothing, whatever its place, and unknown ids are padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nas.encoders.tokens import TokenEncoder
from nas.training import seeded


@pytest.fixture
def encoder() -> TokenEncoder:
    with seeded(0):
        return TokenEncoder(9, widths=(4, 5, 6)).double().eval()


def means(encoder: TokenEncoder, tokens: list[list[int]]) -> list[Tensor]:
    """The mean over time of every tap, which is what a head sees."""
    return [tap.mean(dim=1) for tap in encoder([torch.tensor(tokens)])]


def assert_same(left: list[Tensor], right: list[Tensor]) -> None:
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)  # float64 rounding


def test_padding_does_not_change_what_a_sentence_says(encoder: TokenEncoder) -> None:
    bare = means(encoder, [[3, 1, 4]])
    assert_same(means(encoder, [[3, 1, 4, 0, 0, 0, 0]]), bare)
    assert_same(means(encoder, [[0, 0, 3, 1, 4]]), bare)
    assert_same(means(encoder, [[3, 1, 4] + [0] * 29]), bare)  # 32 steps, averaged down to 16
    assert all((mean.abs().max() > 1e-3) for mean in bare)


def test_padding_steps_are_zero_at_every_depth(encoder: TokenEncoder) -> None:
    for tap in encoder([torch.tensor([[3, 1, 0, 4, 0]])]):
        assert (tap[0, [2, 4]] == 0).all()
        assert (tap[0, [0, 1, 3]] != 0).any(dim=1).all()


def test_the_row_of_padding_in_the_embedding_is_never_read(encoder: TokenEncoder) -> None:
    before = means(encoder, [[3, 1, 4, 0]])
    with torch.no_grad():
        encoder.embedding.weight[0] = 100.0
    assert_same(means(encoder, [[3, 1, 4, 0]]), before)


def test_ids_beyond_the_vocabulary_are_padding(encoder: TokenEncoder) -> None:
    for tap, same in zip(
        encoder([torch.tensor([[3, 9, 4, 500]])]), encoder([torch.tensor([[3, 0, 4, 0]])]), strict=True
    ):
        assert torch.equal(tap, same)
    known, last = means(encoder, [[3]]), means(encoder, [[8]])
    assert not torch.allclose(known[0], last[0])  # the last id of the vocabulary is one


def test_a_sentence_of_padding_alone_is_zero(encoder: TokenEncoder) -> None:
    assert all((tap == 0).all() for tap in encoder([torch.zeros(2, 5, dtype=torch.long)]))


def test_word_order_matters_from_the_second_tap_on(encoder: TokenEncoder) -> None:
    forward, backward = means(encoder, [[3, 1, 4]]), means(encoder, [[4, 1, 3]])
    torch.testing.assert_close(forward[0], backward[0], rtol=0, atol=1e-12)
    assert all((one - other).abs().max() > 1e-3 for one, other in zip(forward[1:], backward[1:], strict=True))
