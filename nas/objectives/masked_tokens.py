"""Masked-token prediction: tokens are hidden, and predicted from the tokens around them and the other modality.

Li et al. 2021, "Align before Fuse", section 3.2, "Masked Language Modeling", with the shares of Devlin et al. 2019,
"BERT", section 3.1: 15 % of tokens are to be predicted; of these 80 % are shown as a mask, 10 % as a random token, and
10 % as they are. Padding, and ids that training did not see, are neither shown instead of a token nor predicted.

    logits = E · f([h_t; z]) / sqrt(width) + bias

with h_t the token's own hidden state at the modality's deepest tap, after the adapter, z the vector that the network
fuses from the masked tokens and all other modalities, f a linear layer, GELU and LayerNorm as in BERT, and E the
embedding of the encoder, which makes the answers.

Departures. In the paper the multimodal encoder puts out a state for every token. Fused states here have no place for
every token, for an architecture may fuse single vectors; so a token is predicted from its own hidden state, of one
modality, *and* the fused vector. The mask is a vector of the objective's own that stands in place of an embedding, so
that the encoder's vocabulary stays what it is. The root keeps logits small, for our embeddings are larger than BERT's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.encoders.tokens import TokenEncoder
from nas.network.fusion_network import FusionNetwork
from nas.objectives.base import ForwardPass
from nas.space.architecture import tap_depth, tap_modality

CHOSEN = 0.15
"""Share of tokens that are predicted."""

HIDDEN, RANDOM = 0.8, 0.1
"""Shares of these that are shown as a mask, and as a random token."""


@dataclass(frozen=True, eq=False)
class Masking:
    """What is shown of some tokens, and what is to be predicted.

    Attributes:
        shown: Rows of the embedding, (batch, length), random ones among them.
        hidden: Where the mask stands, (batch, length) bool.
        chosen: What is to be predicted, (batch, length) bool.
        targets: The right rows of these, less one for padding, (chosen,).
    """

    shown: Tensor
    hidden: Tensor
    chosen: Tensor
    targets: Tensor


def draw_masking(rows: Tensor, vocabulary: int, usable: Tensor) -> Masking:
    """Draws what is predicted, independently for every token.

    Args:
        rows: Of the embedding, (batch, length), 0 for padding.
        vocabulary: Rows of the embedding.
        usable: Samples of which tokens may be predicted, (batch,) bool.
    """
    chosen = (torch.rand(rows.shape, device=rows.device) < CHOSEN) & (rows != 0) & usable[:, None]
    fate = torch.rand(rows.shape, device=rows.device)
    exchanged = chosen & (fate >= 1 - RANDOM)
    shown = torch.where(exchanged, torch.randint_like(rows, 1, vocabulary), rows)
    return Masking(shown, chosen & (fate < HIDDEN), chosen, rows[chosen] - 1)


class MaskedTokens(nn.Module):
    """Predicts masked tokens of one modality.

    Args:
        encoder: Of the modality.
        tap: Name of its deepest tap.
        channels: Of adapters and fused states.
    """

    def __init__(self, encoder: TokenEncoder, tap: str, channels: int) -> None:
        super().__init__()
        self.modality = tap_modality(tap)
        self.tap = tap
        self.width = encoder.channels[0]
        self.mask = nn.Parameter(torch.randn(self.width))  # as embeddings begin
        self.transform = nn.Sequential(nn.Linear(2 * channels, self.width), nn.GELU(), nn.LayerNorm(self.width))
        self.bias = nn.Parameter(torch.zeros(encoder.vocabulary - 1))

    def draw(self, run: ForwardPass, usable: Tensor) -> Masking:
        """See `draw_masking`; of the tokens of a pass."""
        encoder = self._encoder(run)
        return draw_masking(encoder.rows_of(run.batch.inputs[self.modality][0]), encoder.vocabulary, usable)

    def forward(self, run: ForwardPass, masking: Masking) -> Tensor:
        """Logits of every token but padding, (selections · chosen, vocabulary − 1).

        Args:
            run: As far as the taps of whole tokens, and of the other modalities.
            masking: Of the modality's tokens.
        """
        encoder = self._encoder(run)
        embedded, there, scale = encoder.embed(masking.shown)
        embedded = torch.where(masking.hidden[:, :, None], self.mask.to(embedded.dtype), embedded)
        encoded, (hidden, *_) = encoder.extend((embedded, there, scale), 0, tap_depth(self.tap) + 1)
        own = {name: encoded[tap_depth(name)] for name in run.taps if tap_modality(name) == self.modality}
        masked = run.network.adapt(own, list(own), run.batch.present)
        sample, place = masking.chosen.nonzero(as_tuple=True)
        fused = run.fused({**run.taps, **masked})[:, sample]
        # Of the state that the tap is made of, before longer texts are averaged down.
        token = run.network.adapter(self.tap)((hidden * scale)[sample, place])
        read = torch.cat([token.expand(len(fused), -1, -1), fused], dim=2).flatten(0, 1)
        logits: Tensor = self.transform(read) @ encoder.embedding.weight[1:].T / math.sqrt(self.width) + self.bias
        return logits

    def _encoder(self, run: ForwardPass) -> TokenEncoder:
        encoder = run.network.encoder(self.modality)
        assert isinstance(encoder, TokenEncoder)
        return encoder


def masked_tokens_of(network: FusionNetwork, tap: str) -> MaskedTokens | None:
    """What predicts the tokens of a modality; None if it is not read by our own encoder of tokens.

    Args:
        network: To be trained.
        tap: The modality's deepest.
    """
    encoder = network.encoder(tap_modality(tap))
    if not isinstance(encoder, TokenEncoder) or encoder.vocabulary < 3:  # padding and one word: nothing to tell
        return None
    return MaskedTokens(encoder, tap, network.channels)
