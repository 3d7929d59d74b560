"""Weights from files: safetensors, or what `torch.load` reads with `weights_only=True`; nothing else is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nas.errors import UserError, one_line

NAMES = ("model.safetensors", "pytorch_model.bin")
"""Of files of weights in a folder; the first that is there is taken."""

MAX_JSON = 64 * 1024**2


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, or of a folder with one of `NAMES`.

    Raises:
        UserError: If there is no such file, or it cannot be read without running code.
    """
    file = next((path / name for name in NAMES if (path / name).is_file()), None) if path.is_dir() else path
    if file is None or not file.is_file():
        raise UserError(
            f"there are no weights in {str(path)!r}; expected {' or '.join(NAMES)}, or add :random to the name of the "
            "encoder for weights that are drawn"
        )
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"weights in {str(file)!r} cannot be read without running code of theirs ({one_line(error)}); save them as "
            "safetensors"
        ) from error
    found = found.get("state_dict", found) if isinstance(found, Mapping) else found
    if not isinstance(found, Mapping) or not all(isinstance(one, Tensor) for one in found.values()):
        raise UserError(f"{str(file)!r} holds no table of tensors; save a state_dict")
    return dict(found)


def take_weights(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Loads all weights of a network; what the file holds besides, such as a head, is left.

    Raises:
        UserError: If some are missing or of another shape.
    """
    known = model.state_dict()
    for name, tensor in known.items():
        if name not in state:
            raise UserError(f"weights in {where!r} lack {name!r}; are they of another network?")
        if state[name].shape != tensor.shape:
            raise UserError(
                f"weights in {where!r} have {name!r} of shape {tuple(state[name].shape)}, expected "
                f"{tuple(tensor.shape)}; are they of another network?"
            )
    model.load_state_dict({name: state[name] for name in known})


def read_json(path: Path) -> dict[str, Any]:
    """A table from a JSON file; empty if there is no such file.

    Raises:
        UserError: If it is vast or no table.
    """
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError("it is vast")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise UserError(f"{str(path)!r} cannot be read: {one_line(error)}") from error
    if not isinstance(found, dict):
        raise UserError(f"{str(path)!r} holds no table")
    return found


def how_to_get(name: str, package: str, error: BaseException) -> UserError:
    """What to tell where weights of a name are not on this machine and cannot be downloaded."""
    return UserError(
        f"the weights of {name} are not on this machine and could not be downloaded by {package} ({one_line(error)}); "
        "download them where there is a network and name the folder, or add :random for weights that are drawn"
    )
