"""Networks of timm (Wightman 2019, "PyTorch Image Models"). Taps are the intermediate features that timm names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nas.codegen import Construction
from nas.data.fusion_data import Kind
from nas.data.tables.needs import Needs
from nas.encoders.base import map_tap_source, tap_from_map
from nas.encoders.module import spread
from nas.encoders.pretrained.backbone import Backbone
from nas.encoders.pretrained.config import checked_config
from nas.encoders.pretrained.name import PretrainedName
from nas.encoders.pretrained.pictures import picture_needs
from nas.encoders.pretrained.weights import how_to_get, read_json, read_weights, take_weights
from nas.errors import UserError, one_line, unknown_name

ARGUMENTS = frozenset(
    [
        *(
            "img_size",
            "patch_size",
            "embed_dim",
            "depth",
            "num_heads",
            "mlp_ratio",
            "layers",
            "channels",
            "depths",
            "dims",
        ),
        *("class_token", "reg_tokens", "global_pool", "dynamic_img_size", "stem_width", "stem_type", "in_chans"),
    ]
)
"""Of a network that a config may set: sizes, nothing that leads to files or addresses."""

_TIMM_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


class TimmBackbone(Backbone):
    """A network of timm.

    Args:
        config: `architecture`, and `model_args` that set sizes.
        model: With its weights; None to build it anew.
    """

    def __init__(self, config: Mapping[str, Any], model: nn.Module | None = None) -> None:
        super().__init__()
        self.reads: Kind = "map"
        self.config = {"architecture": config.get("architecture"), "model_args": dict(config.get("model_args") or {})}
        checked_config(self.config["model_args"], ARGUMENTS, "a network of timm")
        self.model = model if model is not None else build(self.config)
        if not hasattr(self.model, "forward_intermediates"):
            raise UserError(f"{self.config['architecture']} of timm offers no intermediate features; choose another")
        info = list(self.model.feature_info)
        self.indices = spread(len(info))
        self.tap_names = tuple(str(info[index]["module"]) for index in self.indices)
        self.model.construction = self.made()

    @classmethod
    def rebuild(cls, config: Mapping[str, Any]) -> TimmBackbone:
        """See the base class."""
        return cls(config)

    def blocks(self) -> list[nn.Module]:
        """The blocks that timm names."""
        return [self.model.get_submodule(str(one["module"])) for one in self.model.feature_info]

    def taps(self, values: Tensor, num_taps: int) -> list[Tensor]:
        """See the base class; layers beyond are not run."""
        return [tap_from_map(one) for one in self._maps(values, num_taps)]

    def _maps(self, values: Tensor, num_taps: int) -> list[Tensor]:
        found: list[Tensor] = self.model.forward_intermediates(
            values,
            indices=self.indices[:num_taps],
            stop_early=True,
            intermediates_only=True,
            output_fmt="NCHW",
        )
        return found

    def made(self) -> Construction:
        """See the base class."""
        given = "".join(f", {name}={value!r}" for name, value in self.config["model_args"].items())
        return Construction(
            imports=("import timm",), text=f"timm.create_model({self.config['architecture']!r}, num_classes=0{given})"
        )

    def code(self, values: str, depths: Sequence[int], example: Tensor) -> tuple[list[str], list[str]]:
        """See the base class."""
        indices = self.indices[: depths[-1] + 1]
        body = [
            f"maps = self.model.forward_intermediates({values}, indices={indices!r}, stop_early=True, "
            'intermediates_only=True, output_fmt="NCHW")'
        ]
        maps = self._maps(example, depths[-1] + 1)
        return body, [map_tap_source(f"maps[{depth}]", *maps[depth].shape[1:]) for depth in depths]


def import_timm() -> Any:
    """The package.

    Raises:
        UserError: If it is not installed or does not load.
    """
    try:
        return import_module("timm")
    except (ImportError, RuntimeError) as error:
        raise UserError(f"an encoder timm:… needs timm: pip install 'fusenas[vision]' ({one_line(error)})") from error


def build(config: Mapping[str, Any]) -> nn.Module:
    """A network without weights of its own.

    Raises:
        UserError: If timm does not know it, or it cannot be built.
    """
    timm, name = import_timm(), config["architecture"]
    known = timm.list_models()
    if not isinstance(name, str) or name not in known:
        raise unknown_name("network of timm", str(name)[:60], known)
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **config["model_args"])
    except _TIMM_ERRORS as error:
        raise UserError(f"{name} of timm cannot be built: {one_line(error)}") from error
    return model


def _of_tag(timm: Any, name: str) -> dict[str, Any]:
    """What weights of a name such as resnet18.a1_in1k want to be shown; of the default ones without a tag.

    Raises:
        UserError: If the network or its tag is unknown.
    """
    architecture, dot, _ = name.partition(".")
    known = timm.list_models()
    if architecture not in known:
        raise unknown_name("network of timm", name[:60], known)
    if not dot:
        return {}
    try:
        return dict(timm.models.get_pretrained_cfg(name, allow_unregistered=False).to_dict())
    except RuntimeError as error:
        raise unknown_name("weights of timm", name[:60], timm.list_pretrained(f"{architecture}.*")) from error


def open_timm(name: PretrainedName) -> tuple[TimmBackbone, Needs]:
    """A network with its weights, and what it wants to be shown.

    Raises:
        UserError: If it is unknown, or its weights are not there.
    """
    timm, folder = import_timm(), name.folder
    model: Any
    config: dict[str, Any]
    if folder is not None:
        told = read_json(folder / "config.json")
        config = {"architecture": told.get("architecture"), "model_args": told.get("model_args") or {}}
        about = dict(told.get("pretrained_cfg") or {})
    else:
        config, about = {"architecture": name.name.partition(".")[0], "model_args": {}}, _of_tag(timm, name.name)
    if folder is None and not name.file and not name.is_random:
        try:
            model = timm.create_model(name.name, pretrained=True, num_classes=0)
        except _TIMM_ERRORS as error:
            raise how_to_get(f"timm:{name.name}", "timm", error) from error
    else:
        model = build(config)
        if name.file:
            take_weights(model, read_weights(Path(name.file).expanduser()), name.file)
        elif folder is not None and not name.is_random:
            take_weights(model, read_weights(folder), str(folder))
    about = {**dict(model.pretrained_cfg or {}), **about}
    size = config["model_args"].get("img_size") or about.get("input_size", (3, 224, 224))[-1]
    mean, deviation = about.get("mean", (0.485, 0.456, 0.406)), about.get("std", (0.229, 0.224, 0.225))
    return TimmBackbone(config, model), picture_needs(size, mean, deviation, f"timm:{name.name}")
