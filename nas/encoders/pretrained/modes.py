"""How far a pretrained network learns: not at all, whole, its last blocks, or by low-rank adapters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module

import torch
from torch import Tensor, nn

from nas.encoders.module import submodule_outputs
from nas.encoders.pretrained.backbone import Backbone
from nas.errors import UserError, one_line
from nas.fields import told

FROZEN = "frozen"

RATES = {"finetune": 0.01, "last": 0.03, "lora": 0.1}
"""Of learning, as a share of that of the layers which learn from scratch."""

RANK = 8
"""Of LoRA's matrices."""

_LAST = re.compile(r"last:([1-9]\d{0,2})")


def check_mode(text: str) -> str:
    """A mode as it was given.

    Raises:
        UserError: If there is none of this name.
    """
    if text not in (FROZEN, "finetune", "lora") and not _LAST.fullmatch(text):
        raise UserError(f"encoder mode must be frozen, finetune, last:K or lora, got {told(text)}")
    return text


def rate_of(mode: str) -> float:
    """Share of the learning rate; 1 where nothing learns."""
    return RATES.get(mode.partition(":")[0], 1.0)


def set_mode(backbone: Backbone, mode: str, example: Tensor) -> list[nn.Module]:
    """Lets the parts of a network learn that the mode names.

    Args:
        backbone: In evaluation mode.
        mode: See `check_mode`.
        example: A batch as the backbone takes it.

    Returns:
        Parts that behave as in training; all others, such as their dropout, stay as in evaluation.

    Raises:
        UserError: If peft is not installed, or the network has nothing to adapt.
    """
    backbone.requires_grad_(mode == "finetune")
    if mode == "finetune":
        return [backbone]
    if found := _LAST.fullmatch(mode):
        blocks = backbone.blocks()[-int(found[1]) :]
        for block in blocks:
            block.requires_grad_(True)
        return blocks
    if mode == "lora":
        _add_adapters(backbone, example)
    return []


def _add_adapters(backbone: Backbone, example: Tensor) -> None:
    """LoRA (Hu et al. 2022) in every linear layer that taps depend on, or where there is none, in every convolution."""
    try:
        peft = import_module("peft")
    except (ImportError, RuntimeError) as error:
        raise UserError(f"encoder mode lora needs peft: pip install 'fusenas[text]' ({one_line(error)})") from error
    model = backbone.model
    linear = [name for name, one in model.named_modules() if type(one) is nn.Linear]
    convolutions = [name for name, one in model.named_modules() if type(one) is nn.Conv2d and one.groups == 1]
    layers = _reached(backbone, linear, example) or _reached(backbone, convolutions, example)
    if not layers:
        raise UserError(f"{type(model).__name__} has no linear layer or convolution that lora could adapt")
    named = "|".join(map(re.escape, layers))  # a list would also name what only ends like one of them
    config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=named)
    peft.inject_adapter_in_model(config, model)


def _reached(backbone: Backbone, layers: Sequence[str], example: Tensor) -> list[str]:
    """Those layers of the model whose outputs taps depend on: in others, an adapter would learn nothing.

    Some are not called as layers: the attention of WavLM takes the weights out of its projections. On what others put
    out, such as a pooler, no tap is based.
    """
    if not layers:
        return []
    backbone.requires_grad_(True)
    found = submodule_outputs(backbone, ["", *(f"model.{name}" for name in layers)], example)
    taps: list[Tensor] = found.pop("")  # type: ignore[assignment]  # the backbone itself
    slopes = torch.autograd.grad([tap.sum() for tap in taps], list(found.values()), allow_unused=True)
    backbone.requires_grad_(False)
    return [name.removeprefix("model.") for name, slope in zip(found, slopes, strict=True) if slope is not None]


def merge_adapters(model: nn.Module) -> None:
    """Adds what adapters have learned to the weights that they adapt, and takes them out; nothing without adapters."""
    for name, layer in list(model.named_modules()):
        if hasattr(layer, "lora_A") and hasattr(layer, "get_base_layer"):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.get_base_layer())
