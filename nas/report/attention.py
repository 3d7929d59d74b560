"""Draws what attends to what: heat on a picture for every word, or a matrix of shares."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from nas.report.mixing import SEQUENTIAL
from nas.report.numbers import clean, node_titles
from nas.report.style import ACCENT, INK, PALE, SOFT, cut
from nas.report.words import capital, listed
from nas.space.architecture import is_tap, tap_modality
from nas.streams import stream_modalities
from nas.summary import AttentionMap, AttentionSample, AttentionTokens, Picture, Summary

WIDTH = 9.6
TILE = 0.92
TILES = 8
"""In a row, beside the picture."""

MAX_TILES = 16
"""Of one sample; of more queries those that look hardest are drawn."""

PADDING = "(padding)"

_HEAT = LinearSegmentedColormap.from_list("heat", [(*[1.0] * 3, 0.0), (0.71, 0.09, 0.62, 0.85)])  # to `ACCENT`


_BESIDE: Mapping[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 8, "color": SOFT}


@dataclass(frozen=True, eq=False)
class Shares:
    """The attention of one sample.

    Attributes:
        sample: Which one, and whether it is right, in words.
        rows: Who asks: source and label of each.
        columns: Who is asked, likewise.
        weights: (rows, columns); a row sums to one.
    """

    sample: str
    rows: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str], ...]
    weights: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Heat:
    """How some tokens look at the regions of a picture, of one sample.

    Attributes:
        sample: As in `Shares`.
        pixels: The picture, (height, width) or (height, width, 3), 0 to 255.
        labels: Who asks.
        weights: (labels, rows, columns); what is missing to one goes elsewhere.
    """

    sample: str
    pixels: NDArray[np.uint8]
    labels: tuple[str, ...]
    weights: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Looking:
    """One attention of the found network, in figures.

    Attributes:
        title: Who looks at what.
        where: Operation and fusion node.
        heats: Name of a figure to the samples, for every picture that is looked at by others.
        shares: The same of matrices; empty where the pictures tell everything.
    """

    title: str
    where: str
    heats: Mapping[str, tuple[Heat, ...]]
    shares: Mapping[str, tuple[Shares, ...]]


def lookings(summary: Summary) -> tuple[Looking, ...]:
    """Every attention that is told of; () for a run without."""
    told = summary.attention
    if told is None or not told.samples:
        return ()
    titles = node_titles(summary.search.nodes)
    samples = [_sample(one) for one in told.samples]
    return tuple(
        _looking(f"attention-{number}", one, samples, titles.get(one.node, clean(one.node)))
        for number, one in enumerate(told.maps, start=1)
    )


def samples_in_words(summary: Summary) -> str:
    """Which samples are shown, in a sentence; "" for a run without."""
    told = summary.attention
    if told is None or not told.samples:
        return ""
    right = sum(one.is_right is True for one in told.samples)
    wrong = sum(one.is_right is False for one in told.samples)
    if not right + wrong:
        count = len(told.samples)
        return f"Shown: the first {f'{count} samples' if count > 1 else 'sample'} of the test split."
    kinds = [f"{count} answered {how}" for count, how in ((right, "right"), (wrong, "wrong")) if count]
    return f"Shown: the first test samples of different classes, {listed(kinds)}."


def _sample(one: AttentionSample) -> str:
    target, answer = clean(one.target, 30), clean(one.answer, 30)
    if one.is_right is None:
        return f"sample {one.sample}: {target}, answered {answer}"
    return f"sample {one.sample}: {target}" + (", answered right" if one.is_right else f", taken for {answer}")


def _looking(name: str, one: AttentionMap, samples: Sequence[str], node: str) -> Looking:
    asking, asked = (_names(side) for side in (one.asking, one.asked))
    who = listed(asking) if asking else "the network’s own tokens"
    whom = listed(asked)
    if set(asking) == set(asked):
        whom = "one another" if len(asking) > 1 else "itself"
    weights = np.nan_to_num(np.array(one.weights, dtype=np.float64))
    pictures = [place for place, tokens in enumerate(one.asked) if tokens.grid and tokens.pictures]
    lookers = [place for place, tokens in enumerate(one.asking) if not tokens.grid]
    heats = {f"{name}-on-{at}": _heats(one, weights, samples, at, lookers) for at in pictures if lookers}
    beside = [tokens for place, tokens in enumerate(one.asked) if tokens.source and place not in pictures]
    tells_all = heats and len(heats) == 1 and len(lookers) == len(one.asking) and not beside
    shares = tuple(_shares(one, weights, place, sample) for place, sample in enumerate(samples))
    operation = clean(one.operation).replace("_", " ")
    return Looking(
        capital(clean(f"{who} looking at {whom}", 300)),
        f"{operation} at {node}",
        heats,
        {} if tells_all else {name: shares},
    )


def _names(side: Sequence[AttentionTokens]) -> list[str]:
    """What the sources of tokens are called, each once; learned tokens are left out."""
    return list(dict.fromkeys(_name(tokens) for tokens in side if tokens.source))


def _name(tokens: AttentionTokens) -> str:
    if not tokens.source:
        return ""
    return clean(stream_modalities(tap_modality(tokens.source))[0], 40) if is_tap(tokens.source) else "what was fused"


def _places(side: Sequence[AttentionTokens]) -> Iterator[range]:
    """Of every source its place among all tokens of the side."""
    start = 0
    for tokens in side:
        yield range(start, start + tokens.count)
        start += tokens.count


def _heats(
    one: AttentionMap, weights: NDArray[np.float64], samples: Sequence[str], at: int, lookers: Sequence[int]
) -> tuple[Heat, ...]:
    """What all but regions see of one picture."""
    regions, columns = one.asked[at], list(_places(one.asked))[at]
    assert regions.grid is not None
    every = list(_places(one.asking))
    found = []
    for place, name in enumerate(samples):
        asking = [
            (row, label)
            for looker in lookers
            for row, label in zip(every[looker], one.asking[looker].labels[place], strict=True)
            if label  # of padding nobody wants to know where it looks
        ]
        looks = weights[place][np.ix_([row for row, _ in asking], columns)]
        if len(asking) > MAX_TILES:
            kept = np.sort(np.argsort(-looks.max(axis=1), kind="stable")[:MAX_TILES])
            asking, looks = [asking[row] for row in kept], looks[kept]
        labels = tuple(clean(label, 40) for _, label in asking)
        found.append(Heat(name, _pixels(regions.pictures[place]), labels, looks.reshape(-1, *regions.grid)))
    return tuple(found)


def _pixels(picture: Picture) -> NDArray[np.uint8]:
    """(height, width) or (height, width, 3).

    Raises:
        ValueError: If there are more or fewer bytes than pixels.
    """
    flat = np.frombuffer(base64.b64decode(picture.pixels, validate=True), dtype=np.uint8)
    return flat.reshape(picture.height, picture.width, *([3] if picture.channels == 3 else []))


def _shares(one: AttentionMap, weights: NDArray[np.float64], place: int, sample: str) -> Shares:
    """The matrix of one sample; padding has no row, and one column for each source."""
    rows = [
        (row, (_name(tokens), clean(tokens.labels[place][number], 40)))
        for tokens, some in zip(one.asking, _places(one.asking), strict=True)
        for number, row in enumerate(some)
        if tokens.labels[place][number]
    ]
    columns: list[tuple[list[int], tuple[str, str]]] = []
    for tokens, some in zip(one.asked, _places(one.asked), strict=True):
        labels = tokens.labels[place]
        named = [([column], clean(label, 40)) for column, label in zip(some, labels, strict=True) if label]
        empty = [column for column, label in zip(some, labels, strict=True) if not label]
        columns += [(at, (_name(tokens), label)) for at, label in [*named, *([(empty, PADDING)] if empty else [])]]
    kept = weights[place][[row for row, _ in rows]]
    return Shares(
        sample,
        tuple(label for _, label in rows),
        tuple(label for _, label in columns),
        np.stack([kept[:, at].sum(axis=1) for at, _ in columns], axis=1),
    )


def draw_heats(heats: Sequence[Heat]) -> Figure:
    """A sample under another: its picture, and once more for everyone who looks at it, coloured where that is."""
    rows = [max(1, math.ceil(len(heat.labels) / TILES)) for heat in heats]
    line, head = TILE + 0.3, 0.34
    heights = [head + max(1.0, count) * line for count in rows]
    height = sum(heights) + 0.12
    figure = Figure(figsize=(WIDTH, height))
    top = max((float(heat.weights.max()) for heat in heats if heat.weights.size), default=1.0)
    y = height
    for heat, tall in zip(heats, heights, strict=True):
        figure.text(0.1 / WIDTH, (y - 0.16) / height, heat.sample, fontsize=9, weight="bold", va="center")
        below = y - head - 0.2
        _tile(figure, heat.pixels, 0.1, below, height)
        for number, (label, weights) in enumerate(zip(heat.labels, heat.weights, strict=True)):
            row, column = divmod(number, TILES)
            x = 0.1 + (column + 1) * (WIDTH - 0.15) / (TILES + 1)
            axes = _tile(figure, _pale(heat.pixels), x, below - row * line, height)
            _heat(axes, weights, max(top, 1e-9))
            axes.set_title(cut(label, 15), fontsize=7.5, pad=2.5)
        y -= tall
    return figure


def _tile(figure: Figure, pixels: NDArray[np.uint8], x: float, top: float, height: float) -> Axes:
    """A picture with its upper left corner at a place in inches."""
    tall, wide = pixels.shape[:2]
    scale = TILE / max(tall, wide)
    size = wide * scale, tall * scale
    axes = figure.add_axes((x / WIDTH, (top - size[1]) / height, size[0] / WIDTH, size[1] / height))
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0), aspect="auto", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():  # so that one sees where a white picture ends
        spine.set(visible=True, color=PALE, linewidth=0.6)
    return axes


def _pale(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey, and so light that colour shows upon it."""
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    light: NDArray[np.uint8] = (120 + grey * (135 / 255)).astype(np.uint8)
    return light


def _heat(axes: Axes, weights: NDArray[np.float64], top: float) -> None:
    """Colours regions by their share, and frames that of the largest."""
    rows, columns = weights.shape
    axes.imshow(weights, cmap=_HEAT, vmin=0, vmax=top, extent=(0, 1, 1, 0), aspect="auto", interpolation="nearest")
    row, column = np.unravel_index(int(weights.argmax()), weights.shape)
    corner = (float(column) / columns, float(row) / rows)
    axes.add_patch(Rectangle(corner, 1 / columns, 1 / rows, fill=False, edgecolor=INK, lw=1.2))
    middle = (corner[0] + 0.5 / columns, corner[1] + 0.5 / rows)
    share, colour = float(weights.max()), "white" if weights.max() > 0.75 * top else INK
    axes.text(*middle, f"{100 * share:.0f}", fontsize=6.5, ha="center", va="center", color=colour)


def draw_shares(samples: Sequence[Shares]) -> Figure:
    """A matrix for every sample, two side by side: who asks in rows, who is asked in columns."""
    longest = max((len(label) for one in samples for _, label in one.rows), default=1)
    left, right = 0.45 + 0.062 * min(longest, 22), 0.12
    across = max((len(label) for one in samples for _, label in one.columns), default=1)
    above, below = 0.62 + 0.062 * min(across, 18), 0.3
    rows = max(len(one.rows) for one in samples)
    tall = min(4.0, max(0.3, 0.17 * rows))
    panel = WIDTH / 2
    lines = math.ceil(len(samples) / 2)
    height = lines * (above + tall + below)
    figure = Figure(figsize=(WIDTH, height))
    top = max(max((float(one.weights.max()) for one in samples if one.weights.size), default=1.0), 1e-9)
    for place, one in enumerate(samples):
        line, column = divmod(place, 2)
        own = max(1, len(one.rows)) * tall / max(1, rows)
        x, y = column * panel + left, height - line * (above + tall + below) - above - own
        axes = figure.add_axes((x / WIDTH, y / height, (panel - left - right) / WIDTH, own / height))
        _matrix(axes, one, top)
        title = (column * panel + 0.1) / WIDTH, (y + own + above - 0.16) / height
        figure.text(*title, cut(one.sample, 60), fontsize=9, weight="bold", va="center")
    figure.text(
        0.1 / WIDTH, 0.14 / height, "rows ask, columns are asked; share of a row:", fontsize=8, color=SOFT, va="center"
    )
    figure.text(3.0 / WIDTH, 0.14 / height, "0 %", fontsize=8, color=SOFT, va="center", ha="right")
    scale = figure.add_axes((3.08 / WIDTH, 0.08 / height, 1.0 / WIDTH, 0.12 / height))
    scale.pcolormesh(np.linspace(0, 1, 65), [0, 1], np.linspace(0, 1, 64)[None], cmap=SEQUENTIAL, rasterized=True)
    scale.set_axis_off()
    figure.text(4.16 / WIDTH, 0.14 / height, f"{100 * top:.0f} %", fontsize=8, color=SOFT, va="center")
    return figure


def _matrix(axes: Axes, one: Shares, top: float) -> None:
    rows, columns = len(one.rows), len(one.columns)
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    axes.pcolormesh(*edges, one.weights.reshape(rows, columns), cmap=SEQUENTIAL, vmin=0, vmax=top, rasterized=True)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(max(rows, 1) - 0.5, -0.5))
    down, right = (range(0, count, math.ceil(max(count, 1) / 24)) for count in (rows, columns))
    axes.set_yticks(down, [cut(one.rows[at][1], 22) for at in down], fontsize=6.5)
    axes.set_xticks(right, [cut(one.columns[at][1], 18) for at in right], fontsize=6.5, rotation=90)
    axes.xaxis.tick_top()
    axes.tick_params(colors=INK, pad=2)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for start, end, name in _runs([source for source, _ in one.rows]):
        if start:
            axes.axhline(start - 0.5, color=ACCENT, lw=1)
        away = 8 + 4.1 * min(22, max(len(label) for _, label in one.rows))
        where: dict[str, Any] = {
            "xytext": (-away, 0),
            "xycoords": ("axes fraction", "data"),
            "rotation": 90,
            "va": "center",
        }
        axes.annotate(cut(name, max(4, 2 * (end - start))), (0, (start + end) / 2 - 0.5), **_BESIDE, **where)
    for start, end, name in _runs([source for source, _ in one.columns]):
        if start:
            axes.axvline(start - 0.5, color=ACCENT, lw=1)
        away = 8 + 4.4 * min(18, max(len(label) for _, label in one.columns))
        where = {"xytext": (0, away), "xycoords": ("data", "axes fraction")}
        axes.annotate(
            cut(name, max(4, 60 * (end - start) // columns)), ((start + end) / 2 - 0.5, 1), **_BESIDE, **where
        )


def _runs(names: Sequence[str]) -> list[tuple[int, int, str]]:
    """Where equal names stand side by side: (start, end, name)."""
    runs: list[tuple[int, int, str]] = []
    for place, name in enumerate(names):
        if runs and runs[-1][2] == name:
            runs[-1] = (runs[-1][0], place + 1, name)
        else:
            runs.append((place, place + 1, name))
    return runs
