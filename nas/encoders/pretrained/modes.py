"""How far a pretrained network learns: not at all, whole, its last blocks, or by low-rank adapters."""

from __future__ import annotations

import re
from importlib import import_module

from torch import nn

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


def set_mode(backbone: Backbone, mode: str) -> list[nn.Module]:
    """Lets the parts of a network learn that the mode names.

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
        _add_adapters(backbone.model)
    return []


def _add_adapters(model: nn.Module) -> None:
    """LoRA (Hu et al. 2022) in every linear layer, or where there are few of them, in every convolution, by peft."""
    try:
        peft = import_module("peft")
    except (ImportError, RuntimeError) as error:
        raise UserError(f"encoder mode lora needs peft: pip install 'fusenas[text]' ({one_line(error)})") from error
    linear = [name for name, one in model.named_modules() if type(one) is nn.Linear]
    layers = linear or [name for name, one in model.named_modules() if type(one) is nn.Conv2d and one.groups == 1]
    if not layers:
        raise UserError(f"{type(model).__name__} has no linear layer or convolution that lora could adapt")
    config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=layers)
    peft.inject_adapter_in_model(config, model)


def merge_adapters(model: nn.Module) -> None:
    """Adds what adapters have learned to the weights that they adapt, and takes them out; nothing without adapters."""
    for name, layer in list(model.named_modules()):
        if hasattr(layer, "lora_A") and hasattr(layer, "get_base_layer"):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.get_base_layer())
