"""What attends to what in the found network, on a few test samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nas.errors import UserError
from nas.fields import Number, Text, Whole
from nas.records import checked
from nas.summary.leaderboard import COUNT

MAX_SAMPLES = 4
MAX_MAPS = 8
MAX_TOKENS = 64
"""Queries and keys of a map at most."""

MAX_SIDE = 64
"""Pixels of a picture in height and width at most."""

MAX_LABEL = 60
"""Characters of a label."""

_WEIGHT = Number("from 0 to 1", high=1.0, below=False)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A small copy of a map of one sample.

    Attributes:
        height: Pixels.
        width: Pixels.
        channels: 1 for grey, 3 for red, green and blue.
        pixels: Bytes, row by row, the channels of a pixel side by side, in base64.
    """

    height: int = checked(Whole(1, MAX_SIDE))
    width: int = checked(Whole(1, MAX_SIDE))
    channels: Literal[1, 3]
    pixels: str = checked(Text(MAX_SIDE * MAX_SIDE * 4))


@dataclass(frozen=True, kw_only=True)
class AttentionSample:
    """One sample of the test split.

    Attributes:
        sample: Its number in the split.
        target: What is right, in words.
        answer: What the network says, in words.
        is_right: Whether that is right; None unless the task is classification.
    """

    sample: int = checked(COUNT)
    target: str
    answer: str
    is_right: bool | None = None


@dataclass(frozen=True, kw_only=True)
class AttentionTokens:
    """Tokens of one source that stand side by side in attention.

    Attributes:
        source: A tap or a fusion node; "" for tokens that the network learned, which stand for no input.
        labels: For every sample what its tokens are: words, ranges of time steps, or places; "" for padding.
        grid: Rows and columns, where the tokens are the regions of a map, row by row; else None.
        pictures: Of every sample, where there is a grid.
    """

    source: str
    labels: tuple[tuple[str, ...], ...] = checked(Text(MAX_LABEL), most=MAX_SAMPLES)
    grid: tuple[int, int] | None = checked(COUNT, default=None)
    pictures: tuple[Picture, ...] = checked(most=MAX_SAMPLES, default=())

    def __post_init__(self) -> None:
        counts = {len(labels) for labels in self.labels}
        if len(counts) != 1 or (self.grid and counts != {self.grid[0] * self.grid[1]}):
            raise UserError(f"{self.source!r:.80} has another number of tokens than labels")
        if self.pictures and len(self.pictures) != len(self.labels):
            raise UserError(f"{self.source!r:.80} has another number of pictures than samples")

    @property
    def count(self) -> int:
        """How many tokens."""
        return len(self.labels[0])


@dataclass(frozen=True, kw_only=True)
class AttentionMap:
    """One attention of the found network.

    Attributes:
        node: The fusion node.
        operation: That it applies.
        asking: The queries, side by side.
        asked: The keys, side by side.
        weights: Share of a query's attention that a key has, mean over heads, (samples, queries, keys). They sum to one
            over the keys, but for rounding.
    """

    node: str
    operation: str
    asking: tuple[AttentionTokens, ...] = checked(fewest=1, most=MAX_TOKENS)
    asked: tuple[AttentionTokens, ...] = checked(fewest=1, most=MAX_TOKENS)
    weights: tuple[tuple[tuple[float, ...], ...], ...] = checked(_WEIGHT, most=MAX_SAMPLES)

    def __post_init__(self) -> None:
        queries, keys = (sum(one.count for one in side) for side in (self.asking, self.asked))
        if max(queries, keys) > MAX_TOKENS:
            raise UserError(f"{queries} queries and {keys} keys; expected at most {MAX_TOKENS} of each")
        samples = {len(one.labels) for one in (*self.asking, *self.asked)}
        if samples != {len(self.weights)} or any(
            len(rows) != queries or {len(row) for row in rows} != {keys} for rows in self.weights
        ):
            raise UserError(f"expected weights of {queries} queries and {keys} keys for every sample")


@dataclass(frozen=True, kw_only=True)
class Attention:
    """What attends to what; see `nas.diagnostics.attention`.

    Attributes:
        samples: Few, right answers first; none if no sample has all modalities.
        maps: In the order in which they are run.
        left_out: How many more there are.
    """

    samples: tuple[AttentionSample, ...] = checked(most=MAX_SAMPLES)
    maps: tuple[AttentionMap, ...] = checked(most=MAX_MAPS)
    left_out: int = checked(COUNT, default=0)

    def __post_init__(self) -> None:
        if any(len(one.weights) != len(self.samples) for one in self.maps):
            raise UserError("a map has weights of another number of samples")
