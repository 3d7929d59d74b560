"""The encoder of a main modality into which a second one's features are added on the way.

Xue and Marculescu 2023, "Dynamic Multimodal Fusion", section 3.2: after each of the first k layers of the main encoder
the second modality's feature of that layer is added, and the sum goes on through the main encoder's next layer. The
second encoder runs k layers. With h the main features, g the second ones and P a 1×1 convolution (the identity where
the channels are the same), after layer j

    h_j ← h_j + P_j(g_j)               or, weighed by squeeze-and-excitation,
    h_j ← h_j + s_j ⊙ P_j(g_j),        s_j = σ(W2 ReLU(W1 mean over places of P_j(g_j)))

(Hu et al. 2018, "Squeeze-and-Excitation Networks", section 3). Maps and sequences of other sizes are averaged to that
of the main one. Where a sample lacks the second modality, nothing is added.

Departures: the paper's network weighs the main features, too, and its encoders are those of a segmentation network.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.codegen import Source, TapsSource
from nas.data.stored import Array
from nas.encoders.base import NOTHING, Encoder, KnownEncoder, Rebuild, State, Wishes
from nas.encoders.frozen import Blueprint
from nas.encoders.map import MapEncoder
from nas.encoders.sequence import SequenceEncoder
from nas.errors import UserError
from nas.fields import Flag
from nas.streams import STEMS, is_joined, is_weighed, joins_of, stream_modalities

REDUCTION = 4
"""Of channels in the middle of squeeze-and-excitation, of which there are `LEAST_MIDDLE` at least."""

LEAST_MIDDLE = 8
"""Of very few, all may stay at the zero of their ReLU and never learn."""

Layered = MapEncoder | SequenceEncoder
"""Encoders of layers whose outputs can be added: (batch, channels, rows, columns), of a sequence one row."""


class Join(nn.Module):
    """What is added to a layer's output: P(g), or s ⊙ P(g); see the top of the file.

    Args:
        main: Channels of what it is added to.
        second: Channels of what is added.
        weighed: Whether by squeeze-and-excitation.
    """

    def __init__(self, main: int, second: int, *, weighed: bool) -> None:
        super().__init__()
        self.projection = nn.Conv2d(second, main, 1) if main != second else nn.Identity()
        middle = max(LEAST_MIDDLE, main // REDUCTION)
        excitation = nn.Sequential(nn.Linear(main, middle), nn.ReLU(), nn.Linear(middle, main), nn.Sigmoid())
        self.excitation = excitation if weighed else None

    def forward(self, second: Tensor, main: Tensor) -> Tensor:
        """(batch, channels, rows, columns) of the second modality to that of the main one, whose shape is read."""
        added: Tensor = self.projection(second)
        if added.shape[2:] != main.shape[2:]:
            added = F.adaptive_avg_pool2d(added, (main.shape[2], main.shape[3]))
        if self.excitation is not None:
            added = added * self.excitation(added.mean(dim=(2, 3)))[:, :, None, None]
        return added

    def source(self) -> Source:
        """Itself."""
        projects, weighs = isinstance(self.projection, nn.Conv2d), self.excitation is not None
        excited = "added * self.excitation(added.mean(dim=(2, 3)))[:, :, None, None]"
        return Source(
            doc="What is added to a layer of the main encoder.",
            arguments=["added", "main"],
            members={
                **({"projection": "projection"} if projects else {}),
                **({"excitation": "excitation"} if weighs else {}),
            },
            forward=[
                *(["added = self.projection(added)"] if projects else []),
                "if added.shape[2:] != main.shape[2:]:",
                "    added = F.adaptive_avg_pool2d(added, main.shape[2:])",
                f"return {excited if weighs else 'added'}",
            ],
        )


class JoinedEncoder(KnownEncoder):
    """Tap 0 holds the first layers of both side by side; tap 1 + k is the main one's deepest, with k sums on the way.

    Args:
        main: Encoder of the main modality.
        second: Encoder of the modality that is added.
        weighed: Whether what is added is weighed by squeeze-and-excitation.

    Raises:
        UserError: If the encoders are not two of maps, or two of sequences.
    """

    form: ClassVar = {"main": Blueprint(), "second": Blueprint(), "weighed": Flag()}

    def __init__(self, main: Encoder, second: Encoder, *, weighed: bool) -> None:
        super().__init__()
        if type(main) not in get_args(Layered) or type(main) is not type(second):
            raise UserError(f"a {_kind(second)} cannot be added into the encoder of a {_kind(main)}")
        assert isinstance(main, Layered)
        assert isinstance(second, Layered)
        self.main, self.second = main, second
        self.blueprint = {
            "encoder": "joined",
            "main": dict(main.blueprint or {}),
            "second": dict(second.blueprint or {}),
            "weighed": weighed,
        }
        widths = list(zip(main.widths, second.widths, strict=False))
        self.joins = nn.ModuleList(Join(*some, weighed=weighed) for some in widths)
        self.channels = (main.channels[0] + second.channels[0], *[main.channels[-1]] * (1 + len(widths)))

    @classmethod
    def fit(cls, arrays: Sequence[Array], wishes: Wishes = NOTHING) -> JoinedEncoder:
        """Not from arrays: it is made of two encoders, see `encoder_of`.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a joined encoder is made of two")

    @classmethod
    def blank(cls, values: dict[str, Any], rebuild: Rebuild) -> JoinedEncoder:
        """See the base class."""
        return cls(rebuild(values["main"]), rebuild(values["second"]), weighed=values["weighed"])

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """Maps the main array, the second one, and whether samples have the second one, to taps.

        Args:
            inputs: (batch, …), (batch, …) and (batch,) bool; without the last all samples have it, and without the last
                two only the tap in which nothing is added can be had.
            num_taps: As in the base class.
        """
        return self.extend(self.start(inputs), 0, num_taps)[0]

    def taps_at(self, inputs: Sequence[Tensor], depths: Collection[int]) -> dict[int, Tensor]:
        """Some taps, and nothing of the others."""
        return self.extend_to(self.start(inputs), 0, depths)[0]

    def start(self, inputs: Sequence[Tensor]) -> State:
        """What both encoders take, and whether samples have the second modality."""
        main, *second = inputs
        begun = self.second.start(second[:1]) if second else ()
        return (*self.main.start([main]), *begun, *second[1:])

    def extend(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
        """Goes on from the first layers; see `extend_to`."""
        depths = range(first, self.num_taps if num_taps is None else num_taps)
        found, state = self.extend_to(state, first, depths)
        return [found[depth] for depth in depths], state

    def extend_to(self, state: State, first: int, depths: Collection[int]) -> tuple[dict[int, Tensor], State]:
        """Goes on from the first layers, or from nothing.

        After other taps there is nothing to go on from: the layers of the main encoder differ from tap to tap.
        """
        assert first <= 1, "a joined encoder goes on from its stems alone"
        main, *others = state
        wanted = {joins_of(depth) for depth in depths}
        taps: dict[int, Tensor] = {}
        if first == 0:
            main = self.main.stages[0](main)
            if wanted != {0}:
                others[0] = self.second.stages[0](others[0])
        begun = (main, *others)
        if STEMS in depths:
            stems = [self.main.tap(main), self._there(self.second.tap(others[0]), others)]
            taps[STEMS] = torch.cat([stem.mean(dim=1, keepdim=True) for stem in stems], dim=2)
        for joins in range(max(wanted) + 1):
            if joins > 0:
                if joins > 1:
                    main = self.main.stages[joins - 1](main)
                    others[0] = self.second.stages[joins - 1](others[0])
                main = main + self._there(self.joins[joins - 1](others[0], main), others)
            if joins in wanted:
                hidden = main
                for stage in self.main.stages[max(joins, 1) :]:
                    hidden = stage(hidden)
                taps[joins + 1] = self.main.tap(hidden)
        return taps, begun

    def _there(self, values: Tensor, others: Sequence[Tensor]) -> Tensor:
        """Values (batch, …) of the second modality, zeros where a sample lacks it."""
        if len(others) < 2:
            return values
        return values * others[1].to(values.dtype).reshape(-1, *[1] * (values.dim() - 1))

    def source(self, inputs: Sequence[str], shapes: Sequence[Sequence[int]], depths: Sequence[int]) -> TapsSource:
        """The layers of both, and a sum after each layer at which they meet."""
        wanted = {joins_of(depth) for depth in depths}
        last = len(self.main.stages) - 1
        main = _prefixed(self.main.source(inputs[:1], shapes[:1], [0, last]), "main")
        start = len(main.layers) - last
        layers, members, taps = list(main.layers[:start]), dict(main.members), dict[int, str]()
        masked = len(inputs) > 2
        if wanted != {0}:
            most = max(*wanted, 1)
            second = _prefixed(self.second.source(inputs[1:2], shapes[1:2], sorted({0, most - 1})), "second")
            layers += second.layers[: len(second.layers) - (most - 1)]
            layers += [f"there = {inputs[2]}[:, None, None, None].float()"] if masked else []
            members |= second.members
        if STEMS in depths:
            means = [f"{stem}.mean(dim=1, keepdim=True)" for stem in (main.taps[0], second.taps[0])]
            taps[STEMS] = f"torch.cat([{means[0]}, {means[1]}{' * there[:, :, 0]' if masked else ''}], dim=2)"
        before = "main_layer0"
        for joins in range(max(wanted) + 1):
            if joins > 0:
                at = joins - 1
                members[f"join{at}"] = f"joins.{at}"
                if at:
                    layers += [
                        f"main_layer{at} = self.main_layer{at}({before})",
                        f"second_layer{at} = self.second_layer{at}(second_layer{at - 1})",
                    ]
                added = f"self.join{at}(second_layer{at}, main_layer{at}){' * there' if masked else ''}"
                layers.append(f"sum{at} = main_layer{at} + {added}")
                before = f"sum{at}"
            if joins in wanted:
                hidden = before
                for at in range(max(joins, 1), last + 1):
                    layers.append(f"route{joins} = self.main_layer{at}({hidden})")
                    hidden = f"route{joins}"
                taps[joins + 1] = re.sub(rf"\bmain_layer{last}\b", hidden, main.taps[last])
        return TapsSource(
            doc=f"Encoder of {inputs[0]}{f', into which {inputs[1]} is added' if wanted != {0} else ''}.",
            members=members,
            layers=layers,
            taps={depth: taps[depth] for depth in depths},
        )


def _prefixed(source: TapsSource, prefix: str) -> TapsSource:
    """The same code with a prefix on the encoder's own variables and members."""
    own = r"\b(standardize|layer\d+|pixels|values|clock)\b"

    def changed(text: str) -> str:
        code, comment, words = text.partition("  # ")
        return re.sub(own, rf"{prefix}_\1", code) + comment + words

    return replace(
        source,
        members={f"{prefix}_{attribute}": f"{prefix}.{path}" for attribute, path in source.members.items()},
        layers=[changed(line) for line in source.layers],
        taps={depth: changed(tap) for depth, tap in source.taps.items()},
    )


def _kind(encoder: Encoder) -> str:
    """What an encoder reads, for an error."""
    kind = str((encoder.blueprint or {}).get("encoder"))
    if kind in ("map", "sequence", "vector"):
        return kind
    longer = {"tokens": "text of tokens", "regions": "map in regions"}
    return longer.get(kind, f"modality with {type(encoder).__name__}")


def by_modality(encoders: Iterable[tuple[str, nn.Module]]) -> dict[str, nn.Module]:
    """The encoder of every modality, be it within a joined one.

    Args:
        encoders: The names of streams and their encoders.
    """
    found: dict[str, nn.Module] = {}
    for stream, encoder in encoders:
        parts = (encoder.main, encoder.second) if isinstance(encoder, JoinedEncoder) else (encoder,)
        found |= dict(zip(stream_modalities(stream), parts, strict=True))
    return found


def encoder_of(stream: str, encoders: Mapping[str, Encoder]) -> Encoder:
    """The encoder of a stream: one of those that are there, or one that joins two of them.

    Args:
        stream: A modality, or a joined one, see `nas.streams`.
        encoders: By modality or stream.

    Raises:
        UserError: If the encoders of a joined stream cannot be joined.
    """
    if stream in encoders or not is_joined(stream):
        return encoders[stream]
    main, second = stream_modalities(stream)
    try:
        return JoinedEncoder(encoders[main], encoders[second], weighed=is_weighed(stream))
    except UserError as error:
        raise UserError(
            f"modalities {second!r} and {main!r}: {error}; expected two maps or two sequences with encoders of ours"
        ) from error
