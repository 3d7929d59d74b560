"""Tokens: padding says nothing, whatever its place, and unknown ids are padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from nas.data.fusion_data import FusionData
from nas.data.modality import MAX_TOKEN_ID
from nas.encoders import build_encoders, from_blueprint
from nas.encoders.tokens import TokenEncoder
from nas.runs.folder import RunFolder
from nas.saved.weights import load_weights, save_weights
from nas.seeding import seeded
from nas.space.architecture import Choice
from tests.export import test_code
from tests.export.networks import derived, with_outputs


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


SPARSE = [3, 40, 41, MAX_TOKEN_ID]
"""Ids with gaps, of which the largest would ask for an embedding of a million rows."""


def sparse_data() -> FusionData:
    """Sentences of `SPARSE` ids; those of the test split hold ids that training does not see."""
    generator = np.random.default_rng(0)
    words = generator.choice([0, *SPARSE], size=(60, 6))
    words[50:, :2] = [[40, 7]] * 5 + [[MAX_TOKEN_ID - 1, 2]] * 5
    return FusionData.from_arrays(
        {"rows": words, "numbers": generator.normal(size=(60, 3))},
        np.arange(60) % 2,
        kinds={"rows": "tokens"},
        splits=np.repeat([0, 1, 2], [40, 10, 10]),
    )


def test_the_embedding_is_as_large_as_the_number_of_different_ids() -> None:
    encoder = build_encoders(sparse_data())["rows"]
    assert isinstance(encoder, TokenEncoder)
    assert encoder.embedding.weight.shape == (5, 48)
    assert encoder.rows is not None
    assert encoder.rows[[0, *SPARSE]].tolist() == [0, 1, 2, 3, 4]
    assert int(encoder.rows.count_nonzero()) == 4


def test_ids_in_a_gap_and_beyond_all_are_padding() -> None:
    encoder = TokenEncoder.fit([np.array([[3, 40], [41, MAX_TOKEN_ID]])]).eval()
    (seen, *_), (same, *_) = (
        encoder([torch.tensor([ids])]) for ids in ([3, 7, MAX_TOKEN_ID, 2**40, -5, 42], [3, 0, MAX_TOKEN_ID, 0, 0, 0])
    )
    assert torch.equal(seen, same)
    assert (seen[0, [0, 2]] != 0).any(dim=1).all()
    assert not torch.equal(seen[0, 0], seen[0, 2])


@pytest.mark.parametrize("ids", [[0, 1, 2, 3], [1, 2, 3], [3, 2, 1, 1]])
def test_ids_without_gaps_are_their_own_rows(ids: list[int]) -> None:
    encoder = TokenEncoder.fit([np.array([ids])])
    assert encoder.rows is None
    assert encoder.blueprint == TokenEncoder(4).blueprint
    assert "max_id" not in (encoder.blueprint or {})  # runs of earlier versions are read alike


def test_the_rows_are_part_of_the_state_and_of_the_blueprint() -> None:
    with seeded(0):
        encoder = TokenEncoder.fit([np.array([[3, 40]])]).eval()
    assert encoder.blueprint is not None
    copy = from_blueprint(encoder.blueprint).eval()
    copy.load_state_dict(encoder.state_dict())
    tokens = [torch.tensor([[3, 40, 39, 0]])]
    assert all(torch.equal(one, other) for one, other in zip(encoder(tokens), copy(tokens), strict=True))


@pytest.mark.parametrize("rows", [-1, 3, 2**31 - 1])
def test_rows_of_a_file_that_name_none_of_the_embedding_are_padding(rows: int) -> None:
    encoder = TokenEncoder.fit([np.array([[3, 40]])]).eval()
    assert encoder.rows is not None
    encoder.rows[40] = rows
    assert torch.equal(encoder([torch.tensor([[3, 40]])])[2], encoder([torch.tensor([[3, 0]])])[2])


def test_a_network_of_sparse_ids_is_saved_loaded_and_written_as_code(tmp_path: Path) -> None:
    data = sparse_data()
    network = derived(data, Choice("none"), Choice("none"), Choice("mlp", ("rows@2", "numbers@2")))
    folder = RunFolder.create(tmp_path / "run")
    save_weights(folder, network, data)
    loaded = load_weights(folder).network
    assert torch.equal(with_outputs(loaded, data)[2], with_outputs(network, data)[2])
    assert (tmp_path / "run" / "weights.safetensors").stat().st_size < 5_000_000
    code = test_code.assert_same(network, data, tmp_path)
    assert "self.rows[" in code


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch's own exporter
def test_sparse_ids_are_exported_as_a_program_and_to_onnx(tmp_path: Path) -> None:
    encoder = TokenEncoder.fit([np.array([[0, *SPARSE]])]).eval()
    tokens = torch.tensor([[3, 40, 41, MAX_TOKEN_ID, 0, 7], [42, 2**40, 3, 3, 0, 0]])

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
            return tuple(self.encoder([tokens]))

    expected = Tokens()(tokens)
    program = torch.export.export(Tokens().eval(), (tokens,))
    assert all(torch.equal(one, other) for one, other in zip(program.module()(tokens), expected, strict=True))
    exported = torch.onnx.export(program, dynamo=True, verbose=False)
    assert exported is not None
    exported.save(tmp_path / "tokens.onnx")
    session: Any = onnxruntime.InferenceSession(tmp_path / "tokens.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: tokens.numpy()})
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-5, atol=1e-5)
