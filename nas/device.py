"""Where networks run: the processor, or a GPU if there is one."""

from __future__ import annotations

import torch

from nas.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device of a name: "auto" takes a GPU when there is one.

    Raises:
        UserError: If the name is unknown or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}; expected auto, cpu, cuda or cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported; expected auto, cpu, cuda or cuda:0")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"device {name!r} is not there; use --device auto or cpu")
    return device


__all__ = ["pick_device"]
