"""Weights on disk: one safetensors file that holds all that is needed to build the network again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nas.architecture import Architecture
from nas.data.fusion_data import FusionData
from nas.encoders import Encoder, from_blueprint
from nas.errors import UserError
from nas.graph import FusionNetwork, Head
from nas.runs import RunFolder
from nas.space import find_space

FORMAT_VERSION = 2
"""1 had no digest of the weights."""

MAX_BYTES = 4 * 1024**3

MAX_TAPS = 512
"""Of all modalities together: far more than anybody searches, and still built within seconds."""

_HEADER_BYTES = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedNetwork:
    """A network read back from disk.

    Attributes:
        network: In evaluation mode, on the CPU; maps {modality: arrays} to logits or predictions.
        architecture: Its architecture.
        metadata: The file's own description of itself.
    """

    network: FusionNetwork
    architecture: Architecture
    metadata: dict[str, Any]


def architecture_hash(architecture: Architecture) -> str:
    """Sixteen hexadecimal digits that two architectures share only if they are equal."""
    return hashlib.sha256(architecture.to_json().encode()).hexdigest()[:16]


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits that change with any name, type, shape or number of a state."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def describe_network(network: FusionNetwork, data: FusionData) -> dict[str, Any]:
    """The plain values from which `build_from` makes the same network, without weights.

    An encoder that only its own code can build is None there.
    """
    architecture = network.space.sole()
    encoders = {}
    for name, encoder in network.encoders.items():
        assert isinstance(encoder, Encoder)
        encoders[name] = dict(encoder.blueprint) if encoder.blueprint is not None else None
    return {
        "format_version": FORMAT_VERSION,
        "architecture": architecture.to_dict(),
        "architecture_hash": architecture_hash(architecture),
        "depths": dict(network.space.depths),
        "encoders": encoders,
        "channels": network.channels,
        "task": data.task,
        "num_outputs": data.num_outputs,
        "class_names": list(data.class_names),
    }


def save_weights(
    folder: RunFolder, network: FusionNetwork, data: FusionData, name: str = "weights.safetensors"
) -> None:
    """Writes the weights of a network with its description, atomically.

    Args:
        folder: Of the run.
        network: Takes raw arrays; its space holds one choice per node.
        data: For the task and the names of classes.
        name: Of the file.
    """
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
    description = {**describe_network(network, data), "weights_hash": weights_hash(state)}
    folder.write_bytes(name, save(state, metadata={"fusenas": json.dumps(description)}))


def load_weights(folder: RunFolder, name: str = "weights.safetensors") -> LoadedNetwork:
    """Builds the network that a file describes and loads its weights. Nothing is unpickled.

    Raises:
        UserError: If the file is missing, cut off, of another format version, damaged, or does not fit its own
            description.
    """
    content = folder.read_bytes(name, max_bytes=MAX_BYTES)
    where = f"{name} of {str(folder.path)!r}"
    try:
        state = load(content)
        header = json.loads(content[_HEADER_BYTES : _HEADER_BYTES + int.from_bytes(content[:_HEADER_BYTES], "little")])
        metadata = json.loads(header["__metadata__"]["fusenas"])
    except (SafetensorError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise UserError(f"{where} cannot be read ({_short(error)}); was it cut off? Run the search again") from error
    version = metadata.get("format_version") if isinstance(metadata, dict) else None
    if type(version) is not int or version != FORMAT_VERSION:
        raise UserError(f"{where} has format version {version!r:.20}, expected {FORMAT_VERSION}; run the search again")
    architecture = Architecture.from_dict(metadata.get("architecture"))
    if architecture_hash(architecture) != metadata.get("architecture_hash"):
        raise UserError(f"{where} holds weights of another architecture than it says; run the search again")
    _refuse_misfit(where, metadata, state)
    if weights_hash(state) != metadata.get("weights_hash"):
        raise UserError(f"{where} holds other numbers than were saved; was it damaged? Run the search again")
    network = build_from(metadata)
    network.load_state_dict(state)
    return LoadedNetwork(network=network.eval(), architecture=architecture, metadata=metadata)


def _refuse_misfit(where: str, metadata: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Compares the tensors of a file with its description before memory is taken for what the description asks."""
    with torch.device("meta"):
        expected = build_from(metadata).state_dict()
    for name in sorted(expected.keys() | state.keys()):
        given, wanted = (tuple(found[name].shape) if name in found else "absent" for found in (state, expected))
        if given != wanted:
            raise UserError(f"{where} does not fit its architecture: {name!r} is {given}, expected {wanted}")


def build_from(metadata: Mapping[str, Any]) -> FusionNetwork:
    """A network without weights from what `describe_network` gave.

    Raises:
        UserError: If a field is missing or garbled, or an encoder cannot be built without its own code.
    """
    architecture = Architecture.from_dict(metadata["architecture"])
    try:
        for name, blueprint in metadata["encoders"].items():
            if blueprint is None:
                raise UserError(f"the encoder of {name!r} is a module of its own; build the network in Python instead")
        encoders = {name: from_blueprint(blueprint) for name, blueprint in metadata["encoders"].items()}
        depths = {name: _count("depths", value) for name, value in metadata["depths"].items()}
        if sum(depths.values()) > MAX_TAPS:
            raise UserError(f"the network is said to have {sum(depths.values())} taps, more than {MAX_TAPS}")
        whole = find_space(architecture.space)(depths)
        if [name for name, _ in architecture.choices] != [node.name for node in whole.nodes]:
            raise UserError(f"the architecture decides other nodes than {[node.name for node in whole.nodes]}")
        channels = _count("channels", metadata["channels"])
        head = Head(channels, _count("num_outputs", metadata["num_outputs"]))
        return FusionNetwork(
            whole.only(architecture), encoders, head, channels=channels, dropout_rate=0.0, task=metadata["task"]
        )
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # torch refuses sizes that overflow, or are beyond all memory, with a RuntimeError.
        raise UserError(f"the description of the network lacks or garbles {_short(error)}") from error


def _count(name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise TypeError(f"{name}: {value!r}")
    return value


def _short(error: Exception) -> str:
    """One line of at most 200 characters."""
    return " ".join(str(error).split())[:200]
