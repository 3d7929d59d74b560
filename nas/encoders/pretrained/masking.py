"""Which parts of padded texts and recordings are there, told from the values themselves.

These functions are also taken over into the stand-alone Python file.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """Tokens (batch, time, channels) with padding at zero, scaled so that their mean over time is that of real ones."""
    there = mask[:, :, None].to(hidden.dtype)
    return hidden * there * (there.shape[1] / there.sum(dim=1, keepdim=True).clamp(min=1))


def normalised_wave(values: Tensor) -> tuple[Tensor, Tensor]:
    """Recordings (batch, samples, 1) at mean 0 and variance 1, (batch, samples), and which samples are there.

    Silence of exact zeros behind the last sample is padding. It is left out of mean and variance and stays zero.
    """
    wave = values[:, :, 0].float()
    places = torch.arange(1, wave.shape[1] + 1, device=wave.device)
    ends = ((wave != 0) * places).amax(dim=1, keepdim=True).clamp(min=1)
    mask = places <= ends
    count = mask.sum(dim=1, keepdim=True)
    mean = (wave * mask).sum(dim=1, keepdim=True) / count
    variance = (((wave - mean) * mask) ** 2).sum(dim=1, keepdim=True) / count
    return (wave - mean) / (variance + 1e-7).sqrt() * mask, mask


def frames_mask(mask: Tensor, frames: int) -> Tensor:
    """Which of the frames that a recording is brought to hold something, (batch, frames)."""
    share = mask.sum(dim=1, keepdim=True) / mask.shape[1]
    return torch.arange(frames, device=mask.device) < (share * frames).ceil().clamp(min=1)
