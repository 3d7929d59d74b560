"""Trees of plain values and tensors as bytes, and back, without pickle.

A tree is made of dictionaries, lists, tuples, tensors, numbers, text, True, False and None. Keys of a dictionary may
be numbers or tuples as well, since an optimizer counts its parameters. Tensors become a safetensors file. What is
around them becomes JSON in its metadata, every container a list that begins with its kind, so that a tuple comes back
as a tuple and a number as a number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nas.errors import UserError, one_line

_HEADER_BYTES = 8


def pack(tree: Any) -> bytes:
    """A tree as bytes; tensors are copied to the CPU, so that what is trained on changes nothing in them.

    Raises:
        TypeError: If something in it is none of the kinds above.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _encode(tree, tensors)
    return save(tensors, metadata={"tree": json.dumps(skeleton)})


def unpack(content: bytes) -> Any:
    """The tree of some bytes, its tensors on the CPU.

    Raises:
        UserError: If they were not made by `pack`, or are no longer whole.
    """
    try:
        tensors = load(content)
        header = json.loads(content[_HEADER_BYTES : _HEADER_BYTES + int.from_bytes(content[:_HEADER_BYTES], "little")])
        return _decode(json.loads(header["__metadata__"]["tree"]), tensors)
    except (SafetensorError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise UserError(f"it is no packed state ({one_line(error)})") from error


def _encode(node: Any, tensors: dict[str, Tensor]) -> Any:
    """A node as JSON; tensors move into `tensors`, and their name stays."""
    if node is None or isinstance(node, str | bool | int | float):
        return node
    if isinstance(node, Tensor):
        name = f"{len(tensors):06}"
        # Copied even on the CPU: safetensors refuses tensors that share memory, as tied weights do.
        tensors[name] = node.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return ["tensor", name]
    if isinstance(node, Mapping):
        return ["dict", *([_encode(key, tensors), _encode(value, tensors)] for key, value in node.items())]
    if isinstance(node, list | tuple):
        return ["tuple" if isinstance(node, tuple) else "list", *(_encode(value, tensors) for value in node)]
    raise TypeError(f"{type(node).__name__} cannot be packed: {node!r}")


def _decode(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if node is None or isinstance(node, str | bool | int | float):
        return node
    if not isinstance(node, list) or not node:
        raise TypeError(f"a node is a {type(node).__name__}")
    kind, *content = node
    match kind:
        case "tensor":
            (name,) = content
            return tensors[name].clone()  # into memory of its own, aligned as torch does it
        case "dict":
            return {_decode(key, tensors): _decode(value, tensors) for key, value in content}
        case "list":
            return [_decode(value, tensors) for value in content]
        case "tuple":
            return tuple(_decode(value, tensors) for value in content)
    raise ValueError(f"a node is of kind {kind!r}")
