"""Networks of torchvision; taps are blocks that its own feature extractor reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.codegen import Construction
from nas.data.fusion_data import Kind
from nas.data.tables.needs import Needs
from nas.encoders.base import map_tap_source, tap_from_map
from nas.encoders.module import spread, submodule_outputs
from nas.encoders.pretrained.backbone import Backbone
from nas.encoders.pretrained.name import PretrainedName
from nas.encoders.pretrained.weights import how_to_get, read_weights, take_weights
from nas.errors import UserError, one_line, unknown_name

SIZE = 224
"""Height and width of the blank picture by which blocks are found."""

MOST = 0.9
"""Share of all weights from which on a block is the network itself, and its own blocks are looked at."""

_TORCHVISION_ERRORS = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


class TorchvisionBackbone(Backbone):
    """A network of torchvision for pictures.

    Args:
        config: `architecture`.
        model: With its weights and head; None to build it anew.
    """

    def __init__(self, config: Mapping[str, Any], model: nn.Module | None = None) -> None:
        super().__init__()
        self.reads: Kind = "map"
        self.config = {"architecture": config.get("architecture")}
        whole = model if model is not None else build(self.config)
        self.is_channels_last = isinstance(whole, import_torchvision().SwinTransformer)
        self.block_names = find_blocks(whole)
        self.tap_names = tuple(self.block_names[index] for index in spread(len(self.block_names)))
        extract = import_module("torchvision.models.feature_extraction").create_feature_extractor
        training = whole.training
        self.model = extract(whole.eval(), {name: name for name in self.tap_names}).train(training)
        self.model.construction = self.made()

    @classmethod
    def rebuild(cls, config: Mapping[str, Any]) -> TorchvisionBackbone:
        """See the base class."""
        return cls(config)

    def blocks(self) -> list[nn.Module]:
        """All blocks up to the deepest tap."""
        return [self.model.get_submodule(name) for name in self.block_names]

    def taps(self, values: Tensor, num_taps: int) -> list[Tensor]:
        """See the base class. All blocks run, whatever taps are wanted."""
        return [tap_from_map(one) for one in self._maps(values)[:num_taps]]

    def _maps(self, values: Tensor) -> list[Tensor]:
        found = self.model(values)
        return [found[name].movedim(3, 1) if self.is_channels_last else found[name] for name in self.tap_names]

    def made(self) -> Construction:
        """See the base class."""
        nodes = {name: name for name in self.tap_names}
        return Construction(
            imports=(
                "from torchvision.models import get_model",
                "from torchvision.models.feature_extraction import create_feature_extractor",
            ),
            text=f"create_feature_extractor(get_model({self.config['architecture']!r}).eval(), {nodes!r})",
        )

    def code(self, values: str, depths: Sequence[int], example: Tensor) -> tuple[list[str], list[str]]:
        """See the base class."""
        maps, moved = self._maps(example), ".movedim(3, 1)" if self.is_channels_last else ""
        taps = [map_tap_source(f"maps[{self.tap_names[n]!r}]{moved}", *maps[n].shape[1:]) for n in depths]
        return [f"maps = self.model({values})"], taps


def import_torchvision() -> Any:
    """The models of the package.

    Raises:
        UserError: If it is not installed or does not load.
    """
    try:
        return import_module("torchvision.models")
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"an encoder torchvision:… needs torchvision: pip install 'fusenas[vision]' ({one_line(error)})"
        ) from error


def build(config: Mapping[str, Any]) -> nn.Module:
    """A network without weights of its own.

    Raises:
        UserError: If torchvision does not know it.
    """
    models, name = import_torchvision(), config["architecture"]
    known = models.list_models(module=models)
    if not isinstance(name, str) or name not in known:
        raise unknown_name("network of torchvision", str(name)[:60], known)
    try:
        model: nn.Module = models.get_model(name, weights=None)
    except _TORCHVISION_ERRORS as error:
        raise UserError(f"{name} of torchvision cannot be built: {one_line(error)}") from error
    return model


def find_blocks(model: nn.Module) -> list[str]:
    """Submodules with weights that put out maps, of the part of a network that holds most of its weights."""
    prefix, within = "", model
    blank = next(model.parameters()).new_zeros(1, 3, SIZE, SIZE)
    training = model.training
    model.eval()
    while True:
        children = [name for name, child in within.named_children() if any(True for _ in child.parameters())]
        with torch.no_grad():
            outputs = submodule_outputs(model, [prefix + name for name in children], blank)
        found = [name for name, output in outputs.items() if isinstance(output, Tensor) and output.dim() == 4]
        sizes = {name: sum(one.numel() for one in model.get_submodule(name).parameters()) for name in found}
        most = max(found, key=lambda name: sizes[name], default="")
        if len(found) > 1 and sizes[most] < MOST * sum(sizes.values()):
            model.train(training)
            return found
        if not most or not list(model.get_submodule(most).children()):
            raise UserError(
                f"{type(model).__name__} has no blocks that put out maps; choose another network, or timm's"
            )
        prefix, within = f"{most}.", model.get_submodule(most)


def open_torchvision(name: PretrainedName) -> tuple[TorchvisionBackbone, Needs]:
    """A network with its weights, and what it wants to be shown.

    Raises:
        UserError: If it is unknown, or its weights are not there.
    """
    models, config = import_torchvision(), {"architecture": name.name}
    model = build(config)
    weights = models.get_model_weights(name.name).DEFAULT
    if name.file:
        take_weights(model, read_weights(Path(name.file).expanduser()), name.file)
    elif not name.is_random:
        try:
            model.load_state_dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
        except _TORCHVISION_ERRORS as error:
            raise how_to_get(f"torchvision:{name.name}", "torchvision", error) from error
    return TorchvisionBackbone(config, model), _needs(model, weights.transforms())


def _needs(model: nn.Module, transforms: Any) -> Needs:
    """What the transforms of the library's default weights say; weights of a file are taken to want the same."""
    (size,), mean, deviation = transforms.crop_size, tuple(transforms.mean), tuple(transforms.std)
    if hasattr(model, "transform_input"):  # GoogLeNet and Inception turn ImageNet's statistics into these themselves
        mean = deviation = (0.5, 0.5, 0.5)
    return Needs(height=size, width=size, mean=mean, deviation=deviation)
