"""Encoder of tokens: an embedding, then residual convolutions over neighbouring tokens, one tap a layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from nas.codegen import TapsSource
from nas.data.modality import MAX_TOKEN_ID
from nas.data.stored import Array, chunks
from nas.encoders.base import (
    NOTHING,
    RATE,
    WIDTHS,
    KnownEncoder,
    Rebuild,
    State,
    Wishes,
    sequence_tap_source,
    tap_from_sequence,
)
from nas.fields import Whole


class TokenEncoder(KnownEncoder):
    """Embedding, then layers of Conv1d, ReLU and dropout; padding stays zero at every depth.

    A tap is scaled by length / (tokens that are there), so that its mean over time is the mean over real tokens:
    exactly up to `MAX_TIME` tokens, about so where longer texts are averaged down to that.

    An id that training did not see is read as padding. Where the ids seen have gaps, `rows` maps each to its row of the
    embedding, so that the embedding is as large as the number of different ids, however large these are.

    Args:
        vocabulary: Rows of the embedding: the number of different ids, padding included.
        max_id: The largest id that `rows` maps; None if every id is its own row.
        widths: Channels of the embedding and of every further layer; as many taps.
        dropout_rate: After every layer, 0 to 1.
    """

    form: ClassVar = {"vocabulary": Whole(1, 2**31), "widths": WIDTHS, "dropout_rate": RATE}
    optional: ClassVar = {"max_id": Whole(0, MAX_TOKEN_ID)}
    rows: Tensor | None

    def __init__(
        self,
        vocabulary: int,
        *,
        max_id: int | None = None,
        widths: Sequence[int] = (48, 64, 96),
        dropout_rate: float = 0.3,
    ) -> None:
        super().__init__()
        if max_id is not None and max_id < 0:
            raise ValueError(f"max_id must be 0 or more, got {max_id}")
        self.channels = tuple(widths)
        self.blueprint = {
            "encoder": "tokens",
            "vocabulary": vocabulary,
            **({} if max_id is None else {"max_id": max_id}),
            "widths": list(widths),
            "dropout_rate": dropout_rate,
        }
        self.vocabulary = vocabulary
        # A table instead of torch.searchsorted, which ONNX does not have; the entry behind the largest id is padding.
        self.register_buffer("rows", None if max_id is None else torch.zeros(max_id + 2, dtype=torch.int32))
        self.embedding = nn.Embedding(vocabulary, widths[0], padding_idx=0)
        self.dropout = nn.Dropout(dropout_rate)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv1d(before, after, 3, padding=1), nn.ReLU(), nn.Dropout(dropout_rate))
            for before, after in pairwise(widths)
        )

    @classmethod
    def fit(cls, arrays: Sequence[Array], wishes: Wishes = NOTHING) -> TokenEncoder:
        """An encoder of the ids that some samples, (n, length) of ids from 0, hold."""
        (array,) = arrays
        seen = np.unique(np.concatenate([[0], *map(np.unique, chunks(array))])).astype(np.int64)
        highest = int(seen[-1])
        if len(seen) == highest + 1:
            return cls(len(seen))
        encoder = cls(len(seen), max_id=highest)
        assert encoder.rows is not None
        encoder.rows[torch.from_numpy(seen)] = torch.arange(len(seen), dtype=torch.int32)
        return encoder

    @classmethod
    def blank(cls, values: dict[str, Any], rebuild: Rebuild) -> TokenEncoder:
        """See the base class."""
        return cls(**values)

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """Maps ((batch, length) integers,) to taps (batch, at most MAX_TIME, width)."""
        return self.extend(self.start(inputs), 0, num_taps)[0]

    def start(self, inputs: Sequence[Tensor]) -> State:
        """The embedded tokens (batch, length, width), which of them are there, and the scale of the taps."""
        return self.embed(self.rows_of(inputs[0]))

    def rows_of(self, tokens: Tensor) -> Tensor:
        """The row of the embedding of every token, (batch, length) int64: 0 for padding and for ids never seen."""
        tokens = tokens.long()
        if self.rows is not None:
            tokens = self.rows[tokens.clamp(0, len(self.rows) - 1)].long()
        return tokens.masked_fill((tokens < 0) | (tokens >= self.vocabulary), 0)

    def embed(self, rows: Tensor) -> State:
        """What `start` returns, of rows of the embedding, (batch, length)."""
        hidden = self.dropout(self.embedding(rows))
        mask = (rows != 0).unsqueeze(2).to(hidden.dtype)
        scale = rows.shape[1] / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return hidden * mask, mask, scale

    def extend(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
        """Goes on from the last layer's output."""
        hidden, mask, scale = state
        taps = []
        for depth in range(first, self.num_taps if num_taps is None else num_taps):
            if depth:  # the embedding is the first tap
                hidden = self.stages[depth - 1](hidden.transpose(1, 2)).transpose(1, 2) * mask
            taps.append(tap_from_sequence(hidden * scale))
        return taps, (hidden, mask, scale)

    def source(self, inputs: Sequence[str], shapes: Sequence[Sequence[int]], depths: Sequence[int]) -> TapsSource:
        """The embedding is layer 0, then one Sequential a layer."""
        name, length = inputs[0], shapes[0][0]
        extend = range(1, depths[-1] + 1)
        rows = {} if self.rows is None else {"rows": "rows"}
        return TapsSource(
            doc=f"Embedding of {name}, then convolutions; the mean of a tap over time is that over real tokens.",
            members={**rows, "embedding": "embedding", **{f"layer{depth}": f"stages.{depth - 1}" for depth in extend}},
            layers=[
                f"if {name}.shape[1] != {length}:",
                f'    raise ValueError(f"expected {length} tokens, got {{{name}.shape[1]}}; pad with 0 or cut")',
                "# An id that training did not see is read as padding.",
                f"{name} = {name}.long()",
                *([f"{name} = self.rows[{name}.clamp(0, len(self.rows) - 1)].long()"] if rows else []),
                f"{name} = {name}.masked_fill(({name} < 0) | ({name} >= {self.vocabulary}), 0)",
                f"mask = ({name} != 0).unsqueeze(2).float()",
                f"scale = {length} / mask.sum(dim=1, keepdim=True).clamp(min=1)",
                f"layer0 = self.embedding({name}) * mask",
                *(
                    f"layer{depth} = self.layer{depth}(layer{depth - 1}.transpose(1, 2)).transpose(1, 2) * mask"
                    for depth in extend
                ),
            ],
            taps={depth: sequence_tap_source(f"layer{depth} * scale", length) for depth in depths},
        )
