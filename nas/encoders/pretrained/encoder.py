"""A pretrained network as an encoder: what goes in is brought to what the weights expect, its blocks are the taps."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.codegen import TapsSource
from nas.data.fusion_data import FusionData
from nas.data.stored import chunks, some_rows
from nas.data.tables.needs import Needs
from nas.encoders.base import NOTHING, Encoder, KnownEncoder, Rebuild, State, Wishes
from nas.encoders.pretrained.backbone import Backbone
from nas.encoders.pretrained.modes import FROZEN, check_mode, merge_adapters, rate_of, set_mode
from nas.encoders.pretrained.name import LIBRARIES, PretrainedName
from nas.encoders.pretrained.pictures import DEVIATION, MEAN, SIZE
from nas.encoders.pretrained.timm_models import TimmBackbone, open_timm
from nas.encoders.pretrained.torchvision_models import TorchvisionBackbone, open_torchvision
from nas.encoders.pretrained.transformers_models import TransformersBackbone, open_transformers
from nas.errors import UserError, one_line, told_of_the_machine
from nas.fields import Number, Several, Text, Whole
from nas.seeding import seeded

BACKBONES: Mapping[str, tuple[type[Backbone], Callable[[PretrainedName], tuple[Backbone, Needs]]]] = {
    "hf": (TransformersBackbone, open_transformers),
    "timm": (TimmBackbone, open_timm),
    "torchvision": (TorchvisionBackbone, open_torchvision),
}
"""Library to what rebuilds a network of it, and what opens one by its name."""


@dataclass(frozen=True)
class Plain:
    """Plain values that a backbone checks itself."""

    words: str = "a table"

    def allows(self, value: Any) -> bool:
        """Whether it can be one."""
        return isinstance(value, Mapping)


class PretrainedEncoder(KnownEncoder):
    """Runs a network of another library.

    Pictures are scaled to 0 to 1, made RGB, brought to the size of the network and normalised as its weights expect. Of
    texts the attention mask is told from the padding, of recordings from the silence behind their end.

    Args:
        library: Of the backbone.
        backbone: With its weights.
        channels: Of the taps.
        size: Height and width of pictures; nothing for other kinds.
        scale: What pixels are divided by.
        mean: Of every channel of pictures.
        deviation: Likewise.
        training_parts: Parts of the backbone that behave as in training, see `set_mode`.
        learning_rate_scale: Of its weights, as a share of that of other layers.
    """

    form: ClassVar = {
        "library": Text(20),
        "config": Plain(),
        "channels": Several(Whole(1, 2**24), 1, 64),
        "size": SIZE,
        "scale": Number("positive", above=True, below=False),
        "mean": MEAN,
        "deviation": DEVIATION,
    }

    def __init__(
        self,
        library: str,
        backbone: Backbone,
        *,
        channels: Sequence[int],
        size: Sequence[int] = (),
        scale: float = 1.0,
        mean: Sequence[float] = (),
        deviation: Sequence[float] = (),
        training_parts: Sequence[nn.Module] = (),
        learning_rate_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.library, self.backbone = library, backbone
        self.channels = tuple(channels)
        self.size, self.scale = tuple(size), float(scale)
        self.mean, self.deviation = tuple(mean), tuple(deviation)
        self.learning_rate_scale = learning_rate_scale
        self._training_names = [
            name for name, one in backbone.named_modules() if any(one is part for part in training_parts)
        ]
        self.blueprint = {
            "encoder": "pretrained",
            "library": library,
            "config": backbone.config,
            "channels": list(channels),
            "size": list(size),
            "scale": self.scale,
            "mean": list(mean),
            "deviation": list(deviation),
        }

    @classmethod
    def fit(cls, arrays: Sequence[NDArray[Any]], wishes: Wishes = NOTHING) -> PretrainedEncoder:
        """Not from arrays: it is given, see `PretrainedBuilder`.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a pretrained encoder needs a network")

    @classmethod
    def blank(cls, values: dict[str, Any], rebuild: Rebuild) -> PretrainedEncoder:
        """See the base class; nothing is downloaded."""
        library, config = values.pop("library"), values.pop("config")
        if library not in BACKBONES:
            raise UserError(f"its library must be one of {', '.join(BACKBONES)}")
        backbone = BACKBONES[library][0].rebuild(config)
        pictures = len(values["size"]) == 2 and len(values["mean"]) == len(values["deviation"]) == 3
        if len(values["channels"]) != len(backbone.tap_names) or (backbone.reads == "map" and not pictures):
            raise UserError("its channels or the size of its pictures do not suit the network")
        return cls(library, backbone, **values)

    def train(self, mode: bool = True) -> PretrainedEncoder:
        """Switches the mode of the parts that learn; normalisation over batches keeps its statistics everywhere."""
        super().train(mode)
        self.backbone.eval()
        for name in self._training_names if mode else ():
            self.backbone.get_submodule(name).train()
        for one in self.backbone.modules():
            if isinstance(one, nn.modules.batchnorm._BatchNorm):
                one.eval()
        return self

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """Maps ((batch, …),) to taps (batch, time, channels).

        Raises:
            UserError: If the network cannot read the values, such as token ids that it does not know.
        """
        try:
            return self.backbone.taps(self.shown(inputs[0]), self.num_taps if num_taps is None else num_taps)
        except (IndexError, RuntimeError, ValueError) as error:
            if told_of_the_machine(error) is not None:
                raise
            raise UserError(
                f"a network of {LIBRARIES[self.library]} cannot read values of shape {tuple(inputs[0].shape)}: "
                f"{one_line(error)}"
            ) from error

    def shown(self, values: Tensor) -> Tensor:
        """A batch as the backbone takes it."""
        if self.backbone.reads != "map":
            return values
        pixels = values.float() / self.scale
        if pixels.shape[1] == 1:
            pixels = pixels.expand(-1, 3, -1, -1)
        if tuple(pixels.shape[2:]) != self.size:
            pixels = F.interpolate(pixels, size=self.size, mode="bilinear")
        mean, deviation = (pixels.new_tensor(one)[:, None, None] for one in (self.mean, self.deviation))
        return (pixels - mean) / deviation

    def start(self, inputs: Sequence[Tensor]) -> State:
        """All taps: no library goes on from a block."""
        return tuple(self(inputs))

    def extend(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
        """The taps from `first` on, which are there already."""
        return list(state[first:num_taps]), state

    def source(self, inputs: Sequence[str], shapes: Sequence[Sequence[int]], depths: Sequence[int]) -> TapsSource:
        """The network is imported from its library; what goes in is prepared as here."""
        name, kind = inputs[0], self.backbone.reads
        blank = torch.ones(1, *shapes[0], dtype=torch.int64 if kind == "tokens" else torch.float32)
        lines = [f"values = {name}"]
        if kind == "map":
            lines = [f"values = {name}.float() / {self.scale!r}"]
            lines += ["values = values.expand(-1, 3, -1, -1)"] if shapes[0][0] == 1 else []
            if tuple(shapes[0][1:]) != self.size:
                lines.append(f'values = F.interpolate(values, size={self.size!r}, mode="bilinear")')
            mean, deviation = (f"torch.tensor({list(one)!r})[:, None, None]" for one in (self.mean, self.deviation))
            lines.append(f"values = (values - {mean}) / {deviation}")
        with torch.no_grad():
            body, taps = self.backbone.code("values", depths, self.shown(blank))
        return TapsSource(
            doc=f"Runs a network of {LIBRARIES[self.library]}, which has to be installed.",
            members={"model": "backbone.model"},
            layers=[*lines, *body],
            taps=dict(zip(depths, taps, strict=True)),
        )


@dataclass(frozen=True, eq=False)
class Opened:
    """A network with its weights, opened once for a whole run.

    Attributes:
        library: Of it.
        backbone: With the weights that were given.
        needs: What it wants to be shown.
    """

    library: str
    backbone: Backbone
    needs: Needs

    @classmethod
    def of(cls, name: PretrainedName) -> Opened:
        """Opens it; weights are drawn where the name says so, always the same.

        Raises:
            UserError: If it is unknown, or its weights are not there.
        """
        with seeded(0):
            backbone, needs = BACKBONES[name.library][1](name)
        return cls(name.library, backbone.eval(), needs)


class PretrainedBuilder:
    """Builds the encoder for one modality: every time with the weights that were given.

    Args:
        opened: The network.
        mode: How far it learns, see `nas.encoders.pretrained.modes`.
    """

    def __init__(self, opened: Opened, mode: str = FROZEN) -> None:
        self.opened = opened
        self.mode = check_mode(mode)

    def digest(self) -> str:
        """Changes with any weight, with what the network is, and with how far it learns."""
        backbone, found = self.opened.backbone, hashlib.sha256()
        found.update(json.dumps([self.opened.library, backbone.config, backbone.tap_names, self.mode]).encode())
        found.update(repr(self.opened.needs).encode())  # how its input is brought to size and normalised
        for name, tensor in backbone.state_dict().items():
            found.update(name.encode())
            found.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
        return found.hexdigest()[:16]

    @property
    def is_frozen(self) -> bool:
        """Whether nothing of it learns."""
        return self.mode == FROZEN

    def __call__(self, data: FusionData, name: str) -> Encoder:
        """A fresh encoder.

        Raises:
            UserError: If the modality is not what the network reads.
        """
        modality, reads, needs = data.modalities[name], self.opened.backbone.reads, self.opened.needs
        if modality.kind != reads:
            raise UserError(f"the encoder of {name!r} reads {reads}, but the modality is of kind {modality.kind}")
        (array,) = modality.arrays
        if reads == "sequence" and array.shape[2] != 1:
            raise UserError(
                f"the encoder of {name!r} reads recordings, (n, samples, 1), but the modality has {array.shape[2]} "
                "numbers a time step"
            )
        backbone = copy.deepcopy(self.opened.backbone)
        pictures: dict[str, Any] = {}
        if reads == "map":
            if array.shape[1] not in (1, 3):
                raise UserError(
                    f"the encoder of {name!r} reads grey or RGB pictures, but these have {array.shape[1]} channels"
                )
            seen = chunks(some_rows(array, data.splits["weights"]))
            scale = 255.0 if array.dtype.kind in "iu" or max(float(some.max()) for some in seen) > 1.5 else 1.0
            pictures = {
                "size": (needs.height, needs.width),
                "mean": needs.mean,
                "deviation": needs.deviation,
                "scale": scale,
            }
        sketch = PretrainedEncoder(self.opened.library, backbone, channels=[1] * len(backbone.tap_names), **pictures)
        example = torch.from_numpy(array[data.splits["weights"][:1]])
        with torch.no_grad():
            channels = [tap.shape[2] for tap in sketch.eval()([example])]
        parts = set_mode(backbone, self.mode, sketch.shown(example))
        return PretrainedEncoder(
            self.opened.library,
            backbone,
            channels=channels,
            training_parts=parts,
            learning_rate_scale=rate_of(self.mode),
            **pictures,
        )


def frozen_of(builders: Mapping[str, object]) -> dict[str, PretrainedBuilder]:
    """Modality to its builder, of those whose network does not learn."""
    return {name: one for name, one in builders.items() if isinstance(one, PretrainedBuilder) and one.is_frozen}


def merge_all(network: nn.Module) -> None:
    """Merges the adapters of every pretrained encoder of a network into its weights."""
    for one in network.modules():
        if isinstance(one, PretrainedEncoder):
            merge_adapters(one.backbone.model)
