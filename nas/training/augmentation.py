"""What samples go through while weights learn: maps are shifted a little, modalities are dropped now and then.

Shifts are after Krizhevsky, Sutskever and Hinton 2012, "ImageNet Classification with Deep Convolutional Neural
Networks", section 4.1. Departures: the edge is repeated instead of cropping a larger picture; and all maps of one
sample are shifted by the same share of their size, so that what is at one place in several of them still is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nas.data.batches import Batch

ROWS, COLUMNS = 2, 3


def shifted(batch: Batch, names: Sequence[str], most: float, generator: torch.Generator) -> Batch:
    """The same samples, their maps shifted at random; what is moved in repeats the edge.

    Args:
        batch: Of a training.
        names: Modalities of one map each, (batch, channels, height, width); the others stay as they are.
        most: Largest shift as a share of height and width, 0 to 1, rounded down to whole pixels. Where that comes to
            none, nothing is drawn and the batch itself is returned.
        generator: On the CPU, so that draws are the same on every device.
    """
    maps = {name: batch.inputs[name][0] for name in names}
    if not any(int(most * max(one.shape[ROWS:])) for one in maps.values()):
        return batch
    shares = 2 * torch.rand(2, len(batch), generator=generator) - 1
    inputs = dict(batch.inputs)
    for name, one in maps.items():
        down, right = shares
        inputs[name] = (_moved(_moved(one, ROWS, most, down), COLUMNS, most, right),)
    return replace(batch, inputs=inputs)


def _moved(maps: Tensor, axis: int, most: float, shares: Tensor) -> Tensor:
    """Every sample moved along an axis by its own share, -1 to 1, of the largest shift, (batch,)."""
    size = maps.shape[axis]
    steps = (int(most * size) * shares).round().long().to(maps.device)
    where = (torch.arange(size, device=maps.device) + steps[:, None]).clamp(0, size - 1)
    form = [len(maps), 1, size, 1] if axis == ROWS else [len(maps), 1, 1, size]
    return maps.gather(axis, where.view(form).expand_as(maps))


def drop_modalities(batch: Batch, rate: float, generator: torch.Generator) -> Batch:
    """The same samples, each without a modality now and then; of those that it has, one at least is left.

    Neverova et al. 2016, "ModDrop: Adaptive Multi-modal Gesture Recognition", section 3.2. Departure: a sample that
    would lose all keeps one of them, drawn evenly.

    Args:
        batch: Of a training.
        rate: How often each modality of a sample is dropped; 0 draws nothing and returns the batch itself.
        generator: On the CPU, so that draws are the same on every device.
    """
    if not rate:
        return batch
    names, device = list(batch.inputs), batch.targets.device
    here = torch.ones(len(batch), dtype=torch.bool)
    had = torch.stack([batch.present[name].cpu() if name in batch.present else here for name in names])
    kept = had & (torch.rand(had.shape, generator=generator) >= rate)
    spared = (torch.rand(had.shape, generator=generator) * had).argmax(dim=0)
    lost_all = ~kept.any(dim=0)
    kept[spared[lost_all], torch.nonzero(lost_all).flatten()] = True
    kept &= had
    return replace(batch, present={name: mask.to(device) for name, mask in zip(names, kept, strict=True)})


__all__ = ["drop_modalities", "shifted"]
