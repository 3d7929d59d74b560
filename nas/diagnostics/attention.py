"""What attends to what in a trained network, on a few test samples.

The network runs once on these samples, and every operation with attention is asked how it shared out what it read of
its inputs. Weights say where information may flow from, not why the answer is what it is (Jain and Wallace 2019,
"Attention is not Explanation").
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.data.batches import batch_of
from nas.data.fusion_data import FusionData
from nas.data.tables.subwords import SubwordRecipe
from nas.data.tables.text import TextRecipe
from nas.network.fusion_network import FusionNetwork
from nas.routing.network import DerivedNetwork, static_part
from nas.space.architecture import Step, is_tap, tap_depth, tap_modality
from nas.space.operation import AttentionWeights, Operation
from nas.streams import stream_modalities
from nas.summary import Attention, AttentionMap, AttentionSample, AttentionTokens, Picture
from nas.summary.attention import MAX_LABEL, MAX_MAPS, MAX_SAMPLES, MAX_SIDE, MAX_TOKENS
from nas.tasks import Task

DECIMALS = 4
"""Of a weight."""


def attention(
    network: DerivedNetwork,
    data: FusionData,
    outputs: NDArray[np.floating],
    device: torch.device,
    *,
    raw: FusionData | None = None,
) -> Attention | None:
    """What attends to what; None if no operation of the network has attention.

    Of a network that decides per sample, this is what its last route attends to.

    Args:
        network: Trained; it is left in evaluation mode.
        data: What the network reads.
        outputs: Of the network on the test split, (n, outputs).
        device: Of the network.
        raw: As the user gave the data, where `data` has taps of frozen encoders instead: words and pictures are there.
    """
    static = static_part(network)
    steps = [step for step in static.architecture.routes()[-1].steps if _attends(static, step)]
    if not steps:
        return None
    test = data.splits["test"]
    masks = [data.modalities[name].present for name in static.architecture.modalities()]
    has_all = np.logical_and.reduce([np.ones(len(test), np.bool_), *(mask[test] for mask in masks if mask is not None)])
    targets = data.targets[test]
    places = chosen_samples(data.task, outputs, targets, has_all)
    if not places:
        return Attention(samples=(), maps=())
    rows = test[places]
    taken = _attention_weights(static, steps, data, rows, device)
    maps = []
    tokens = _TokensOf(static, raw or data, rows)
    for step, taps, weights in taken:
        made = _map(step, taps, weights, tokens)
        maps += [made] if made else []
    samples = tuple(_sample(data, place, outputs[place], targets[place]) for place in places)
    return Attention(samples=samples, maps=tuple(maps[:MAX_MAPS]), left_out=len(maps[MAX_MAPS:]))


def chosen_samples(
    task: Task, outputs: NDArray[np.floating], targets: NDArray[np.generic], eligible: NDArray[np.bool_]
) -> list[int]:
    """Places of at most `MAX_SAMPLES` samples: of classes those answered right, then those answered wrong.

    The first of the split are taken, each of another class: as many of either kind, or more of one where there are too
    few of the other. Labels and numbers are neither right nor wrong; the first samples are taken.

    Args:
        task: What the target is.
        outputs: (n, outputs).
        targets: (n,) or (n, outputs).
        eligible: Which samples may be taken, (n,).
    """
    if task != "classification":
        return [int(place) for place in np.flatnonzero(eligible)[:MAX_SAMPLES]]
    is_right = outputs.argmax(axis=1) == targets
    right, wrong = (_first_of_each_class(targets, eligible & mask) for mask in (is_right, ~is_right))
    half = MAX_SAMPLES // 2
    right = right[: max(half, MAX_SAMPLES - len(wrong))]
    return [*right, *wrong[: MAX_SAMPLES - len(right)]]


def _first_of_each_class(targets: NDArray[np.generic], mask: NDArray[np.bool_]) -> list[int]:
    places = np.flatnonzero(mask)
    _, first = np.unique(targets[places], return_index=True)
    return [int(place) for place in places[np.sort(first)]]


def _attends(network: FusionNetwork, step: Step) -> bool:
    operation = network.operation(step.name, step.choice.key)
    return type(operation).attention_weights is not Operation.attention_weights


@torch.no_grad()
def _attention_weights(
    network: FusionNetwork, steps: Sequence[Step], data: FusionData, rows: NDArray[np.int64], device: torch.device
) -> list[tuple[Step, list[Tensor], AttentionWeights]]:
    """Every attention of some steps with what the step reads, on some samples."""
    read: dict[str, list[Tensor]] = {}

    def noting(name: str) -> Callable[[nn.Module, tuple[list[Tensor]]], None]:
        return lambda _operation, given: read.update({name: given[0]})

    batch = batch_of(data.modalities, rows, torch.from_numpy(data.targets[rows])).to(device)
    network.eval()
    with ExitStack() as stack:
        for step in steps:
            hook = network.operation(step.name, step.choice.key).register_forward_pre_hook(noting(step.name))
            stack.callback(hook.remove)
        network(batch.inputs, batch.present)
    return [
        (step, read[step.name], weights)
        for step in steps
        for weights in network.operation(step.name, step.choice.key).attention_weights(read[step.name])
    ]


class _TokensOf:
    """What the tokens of a source are.

    Args:
        network: Its encoders know which taps have regions.
        data: As the user gave it.
        rows: Of the samples.
    """

    def __init__(self, network: FusionNetwork, data: FusionData, rows: NDArray[np.int64]) -> None:
        self.network, self.data, self.rows = network, data, rows

    def __call__(self, source: str, count: int) -> AttentionTokens:
        """Of so many tokens of a tap or state."""
        if not is_tap(source):
            return self._alike(source, _numbered("state", count))
        stream, depth = tap_modality(source), tap_depth(source)
        name = stream_modalities(stream)[0]
        modality = self.data.modalities[name]
        array = modality.arrays[depth if modality.kind == "features" else 0]
        if count == 1:
            return self._alike(source, [name])
        grid = self.network.encoder(stream).grid(depth)
        if grid is not None and math.prod(grid) == count:
            places = [f"row {row + 1}, column {column + 1}" for row in range(grid[0]) for column in range(grid[1])]
            pictures = tuple(map(picture, array[self.rows])) if modality.kind == "map" else ()
            return replace(self._alike(source, places), grid=grid, pictures=pictures)
        if modality.kind == "tokens":
            texts = (self._words(name, ids) for ids in array[self.rows])
            labels = [[" ".join(word for word in words if word) for words in _parts(text, count)] for text in texts]
            return AttentionTokens(source=source, labels=tuple(tuple(map(_cut, some)) for some in labels))
        if len(array.shape) == 3 and array.shape[1] >= count:
            return self._alike(source, [_range(part) for part in _parts(range(1, array.shape[1] + 1), count)])
        return self._alike(source, [str(number + 1) for number in range(count)])

    def learned(self, word: str, count: int) -> AttentionTokens:
        """Of so many tokens that stand for no input."""
        return self._alike("", _numbered(word, count))

    def _alike(self, source: str, labels: Sequence[str]) -> AttentionTokens:
        """Tokens that are called the same in every sample."""
        return AttentionTokens(source=source, labels=(tuple(map(_cut, labels)),) * len(self.rows))

    def _words(self, name: str, ids: NDArray[Any]) -> list[str]:
        """Of the numbers of a text; "" for padding."""
        recipe = self.data.recipe.modalities.get(name) if self.data.recipe else None
        if isinstance(recipe, TextRecipe | SubwordRecipe):
            return recipe.spelled(ids.tolist())
        return [str(number) if number else "" for number in ids.tolist()]


def _map(step: Step, taps: Sequence[Tensor], found: AttentionWeights, tokens_of: _TokensOf) -> AttentionMap | None:
    """One attention as it is told; None where there is nothing to choose from, or too much."""
    weights = found.weights.double().cpu().numpy()
    sides = []
    for numbers, count in ((found.asking, weights.shape[1]), (found.asked, weights.shape[2])):
        inputs = [tokens_of(step.inputs[number], taps[number].shape[1]) for number in numbers]
        rest = count - sum(tokens.count for tokens in inputs)
        sides.append([*inputs, *([tokens_of.learned(found.learned, rest)] if rest else [])])
    asking, asked = sides
    real = sum(tokens.count for tokens in asked if tokens.source)
    if real < 2 or max(len(asking), len(asked)) > MAX_TOKENS or not np.isfinite(weights).all():
        return None
    asking, weights = _pooled(asking, weights, axis=1)
    asked, weights = _pooled(asked, weights, axis=2)
    return AttentionMap(
        node=step.name,
        operation=step.operation,
        asking=tuple(asking),
        asked=tuple(asked),
        weights=tuple(tuple(tuple(row) for row in rows) for rows in weights.round(DECIMALS).tolist()),
    )


def _pooled(
    side: Sequence[AttentionTokens], weights: NDArray[np.float64], *, axis: int
) -> tuple[list[AttentionTokens], NDArray[np.float64]]:
    """At most `MAX_TOKENS` tokens on one side: neighbours are put together, queries averaged and keys added up."""
    if weights.shape[axis] <= MAX_TOKENS:
        return list(side), weights
    most, start = MAX_TOKENS // len(side), 0
    pooled, parts = [], []
    for tokens in side:
        own = range(start, start + tokens.count)
        start += tokens.count
        if tokens.count <= most:
            pooled.append(tokens)
            parts += [[place] for place in own]
            continue
        labels = tuple(tuple(_cut(_range(part)) for part in _parts(some, most)) for some in tokens.labels)
        pooled.append(AttentionTokens(source=tokens.source, labels=labels))
        parts += [list(part) for part in _parts(own, most, shared=False)]
    combine = np.mean if axis == 1 else np.sum
    return pooled, np.stack([combine(weights.take(part, axis), axis=axis) for part in parts], axis=axis)


def picture(array: NDArray[Any]) -> Picture:
    """A small copy of a map, (channels, height, width): grey unless there are three channels.

    Bytes are shown as they are, other numbers from the least to the greatest of the map.
    """
    values = torch.from_numpy(np.asarray(array, dtype=np.float32))[None]
    if array.dtype != np.uint8:
        low, high = values.min(), values.max()
        values = (values - low) / (high - low).clamp(min=1e-12) * 255
    if values.shape[1] != 3:
        values = values.mean(dim=1, keepdim=True)
    scale = MAX_SIDE / max(MAX_SIDE, *values.shape[2:])
    height, width = (max(1, round(side * scale)) for side in values.shape[2:])
    small = F.adaptive_avg_pool2d(values, (height, width))[0].round().clamp(0, 255).to(torch.uint8)
    pixels = np.ascontiguousarray(small.permute(1, 2, 0).numpy()).tobytes()
    return Picture(
        height=height,
        width=width,
        channels=3 if values.shape[1] == 3 else 1,
        pixels=base64.b64encode(pixels).decode(),
    )


def _sample(data: FusionData, place: int, output: NDArray[np.floating], target: Any) -> AttentionSample:
    if data.task == "classification":
        answered = int(output.argmax())
        names = data.class_names[int(target)], data.class_names[answered]
        return AttentionSample(sample=place, target=names[0], answer=names[1], is_right=answered == int(target))
    right, answer = (_in_words(data, values) for values in (target, output))
    return AttentionSample(sample=place, target=right, answer=answer)


def _in_words(data: FusionData, values: NDArray[Any]) -> str:
    """Labels that are on, or numbers."""
    if data.task == "multilabel":
        words = [name for name, value in zip(data.class_names, values, strict=True) if value > 0]
    else:
        words = [f"{value:.4g}" for value in values]
    return ", ".join(words) or "none"


def _parts(values: Sequence[Any], count: int, *, shared: bool = True) -> list[Sequence[Any]]:
    """Values in so many stretches of even length.

    Args:
        values: At least `count`, or each is a stretch of its own.
        count: Of the stretches.
        shared: Whether what lies on a border belongs to both stretches, as where steps are averaged.
    """
    length, up = len(values), (count - 1 if shared else 0)
    return [values[place * length // count : ((place + 1) * length + up) // count] for place in range(count)]


def _range(values: Sequence[Any]) -> str:
    """The first and the last of some values that are not empty."""
    named = [str(value) for value in values if value != ""]
    if len(named) < 2:
        return named[0] if named else ""
    return f"{named[0]}–{named[-1]}"


def _numbered(word: str, count: int) -> list[str]:
    return [word] if count == 1 else [f"{word} {number + 1}" for number in range(count)]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"
