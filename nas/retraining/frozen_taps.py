"""Pretrained encoders that do not learn: their taps are computed once for all samples and then stand for the modality.

To everything between data and the finished network, such a modality is ready-made features. The encoder comes back
before them in the network that is kept, and wherever multiply-adds are counted.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import FileIO
from typing import Any

import numpy as np
import torch

from nas.data.fusion_data import HELD_SHARE, FusionData, Modality
from nas.data.stored import Array, Source, Spool, StoredArray, chunks
from nas.encoders import Encoder, EncoderBuilder
from nas.encoders.features import FeaturesEncoder
from nas.encoders.frozen import FrozenEncoder
from nas.encoders.pretrained.encoder import PretrainedBuilder, frozen_of
from nas.errors import UserError, one_line
from nas.fields import Several, Whole, check
from nas.network.fusion_network import Inputs
from nas.network.prediction import autocast
from nas.routing.network import DerivedNetwork
from nas.runs.files import Folder

FOLDER = "taps"
"""Of a run folder."""

BATCH = 32
"""Samples that an encoder reads at once."""

_LINES = 10
"""Of progress for one modality."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenTaps:
    """A data set whose modalities with frozen encoders are their taps.

    Attributes:
        raw: As the user gave it.
        data: With taps in place of these modalities.
        encoders: Modality to its encoder.
    """

    raw: FusionData
    data: FusionData
    encoders: Mapping[str, Encoder]

    def whole(self, network: DerivedNetwork) -> DerivedNetwork:
        """A network on the taps as one that takes raw arrays; itself, if it reads none of these modalities."""
        if not any(name in network.encoders for name in self.encoders):
            return network
        made = copy.deepcopy(network)
        for name, encoder in self.encoders.items():
            if name in made.encoders:
                kept = copy.deepcopy(encoder).to(network.head.scale.device)
                made.encoders[name] = _before(kept, made.encoders[name])
        return made.train(network.training)

    def sample(self, device: torch.device) -> Inputs:
        """One sample of the weights split, raw."""
        row = self.raw.splits["weights"][:1]
        return {
            name: tuple(torch.from_numpy(array[row]).to(device) for array in modality.arrays)
            for name, modality in self.raw.modalities.items()
        }


def _before(encoder: Encoder, on_taps: torch.nn.Module) -> FrozenEncoder:
    """An encoder that reads raw arrays, from one that reads the taps of another."""
    if isinstance(on_taps, FrozenEncoder):  # whose own cached taps were standardized once more
        assert isinstance(on_taps.inner, FeaturesEncoder)
        return FrozenEncoder(encoder, on_taps.inner.then(on_taps.features))
    assert isinstance(on_taps, FeaturesEncoder)
    return FrozenEncoder(encoder, on_taps)


def frozen_taps(
    data: FusionData,
    builders: Mapping[str, EncoderBuilder],
    folder: Folder | None,
    device: torch.device,
    progress: Callable[[str], None],
) -> tuple[FrozenTaps | None, dict[str, EncoderBuilder]]:
    """Computes the taps of all encoders that do not learn, or reads those of before.

    Args:
        data: The user's; all its splits are read, but nothing is learned of them.
        builders: Modality to its builder.
        folder: Of the run, where taps are kept and read from; None to keep them in memory, as far as they fit.
        device: Where encoders run.
        progress: Called with a line for people now and then.

    Returns:
        The data with its encoders, None if there are none; and the builders of all other modalities.
    """
    frozen = frozen_of(builders)
    if not frozen:
        return None, dict(builders)
    modalities, encoders = dict(data.modalities), {}
    for name, builder in frozen.items():
        encoders[name] = builder(data, name).eval()
        modality = data.modalities[name]
        room = None if data.memory is None else data.memory // (HELD_SHARE * len(frozen) * encoders[name].num_taps)
        arrays = _taps(name, builder, encoders[name], modality, folder, device, progress, room)
        modalities[name] = Modality(kind="features", arrays=arrays, present=modality.present)
    made = FrozenTaps(raw=data, data=replace(data, modalities=modalities), encoders=encoders)
    return made, {name: one for name, one in builders.items() if name not in frozen}


def blank_taps(
    data: FusionData, builders: Mapping[str, EncoderBuilder], device: torch.device
) -> tuple[FrozenTaps | None, dict[str, EncoderBuilder], float]:
    """What `frozen_taps` gives, of zeros, and about how many seconds it would take: one batch is timed."""
    frozen = frozen_of(builders)
    modalities, encoders, seconds = dict(data.modalities), {}, 0.0
    for name, builder in frozen.items():
        encoders[name] = builder(data, name).eval()
        modality = data.modalities[name]
        count = len(modality.arrays[0])
        some = replace(modality, arrays=tuple(array[:BATCH] for array in modality.arrays))
        started = time.perf_counter()
        (batch,) = _batches(name, encoders[name], some, device, lambda _line: None)
        seconds += (time.perf_counter() - started) * count / len(batch[0])
        arrays = tuple(np.zeros((count, *tap.shape[1:]), dtype=np.float32) for tap in batch)
        modalities[name] = Modality(kind="features", arrays=arrays, present=modality.present)
    rest = {name: one for name, one in builders.items() if name not in frozen}
    if not frozen:
        return None, rest, 0.0
    return FrozenTaps(raw=data, data=replace(data, modalities=modalities), encoders=encoders), rest, seconds


def _taps(
    name: str,
    builder: PretrainedBuilder,
    encoder: Encoder,
    modality: Modality,
    folder: Folder | None,
    device: torch.device,
    progress: Callable[[str], None],
    room: int | None,
) -> tuple[Array, ...]:
    """Every tap of every sample, (n, time, channels) each; without a folder in memory, as far as there is room."""
    if folder is None:
        spools = [Spool(len(modality.arrays[0]), room) for _ in range(encoder.num_taps)]
        for batch in _batches(name, encoder, modality, device, progress):
            for spool, tap in zip(spools, batch, strict=True):
                spool.add(tap)
        return tuple(spool.array() for spool in spools)
    digest = hashlib.sha256(builder.digest().encode())
    for array in modality.arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        for part in chunks(array):
            digest.update(np.ascontiguousarray(part).data)
    about, count = f"{FOLDER}/{name}.json", len(modality.arrays[0])
    key = digest.hexdigest()
    shapes = _known_shapes(folder, about, key)
    if shapes is None:
        folder.remove(about)  # what is written until all of it is there belongs to nobody
        files, shapes = [folder.stream(f"{FOLDER}/{name}-{depth}.bin") for depth in range(encoder.num_taps)], []
        try:
            for batch in _batches(name, encoder, modality, device, progress):
                shapes = [[count, *tap.shape[1:]] for tap in batch]
                for file, tap in zip(files, batch, strict=True):
                    file.write(np.ascontiguousarray(tap, dtype="<f4").data)
        finally:
            for file in files:
                file.close()
        folder.write_bytes(about, json.dumps({"key": key, "shapes": shapes}).encode())
    found = []
    for depth, shape in enumerate(shapes):
        place, size = f"{FOLDER}/{name}-{depth}.bin", 4 * int(np.prod(shape))
        with folder.reading(place, max_bytes=size) as opened:
            if os.fstat(opened.fileno()).st_size != size:
                raise UserError(f"{str(folder.file(place))!r} is damaged; remove {FOLDER} and try again")
            taps: Any = FileIO(os.dup(opened.fileno()))
            found.append(StoredArray.of([Source(taps, 0, count, repr(str(folder.file(place))))], shape[1:], "<f4"))
    return tuple(found)


def _known_shapes(folder: Folder, about: str, key: str) -> list[list[int]] | None:
    """Shapes of the taps that are there already; None if they are of another encoder or of other data."""
    told = folder.read_json(about) if folder.is_file(about) else None
    if not isinstance(told, dict) or told.get("key") != key:
        return None
    shapes: list[list[int]] = told.get("shapes", [])
    check("shapes of the taps", shapes, Several(Several(Whole(1, 2**40), 3, 3), 1, 64))
    return shapes


def _batches(
    name: str, encoder: Encoder, modality: Modality, device: torch.device, progress: Callable[[str], None]
) -> Any:
    """The taps of every sample, batch by batch."""
    count = len(modality.arrays[0])
    every = max(BATCH, -(-count // _LINES) // BATCH * BATCH)
    encoder.to(device)
    with torch.no_grad(), autocast(device):
        for start in range(0, count, BATCH):
            if start % every == 0:
                progress(f"running the frozen encoder of {name}: {start:,} of {count:,} samples")
            given = [torch.from_numpy(np.ascontiguousarray(one[start : start + BATCH])) for one in modality.arrays]
            try:
                taps = encoder([one.to(device) for one in given])
            except (IndexError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"the encoder of {name!r} cannot read samples {start} to {start + BATCH}: {one_line(error)}"
                ) from error
            yield [tap.float().cpu().numpy() for tap in taps]
    encoder.cpu()
