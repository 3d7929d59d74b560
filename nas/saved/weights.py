"""Weights on disk: one safetensors file that holds all that is needed to build the network again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nas.data.fusion_data import FusionData
from nas.encoders import Encoder, from_blueprint
from nas.encoders.joined import by_modality
from nas.errors import UserError, one_line, unknown_name
from nas.fields import MAX_CHANNELS, Whole, check, told
from nas.network.fusion_network import FusionNetwork, Head
from nas.routing.network import DerivedNetwork, RoutedNetwork, static_part
from nas.runs.folder import RunFolder
from nas.space.architecture import Architecture
from nas.space.operation import installed_operations
from nas.space.search_space import SearchSpace
from nas.tasks import Task

FORMAT_VERSION = 2
"""1 had no digest of the weights."""

MAX_BYTES = 4 * 1024**3

MEMBERS = "members"
"""Folder of the networks of other seeds."""

MAX_MEMBERS = 100
"""That are read; an interval of so many seeds gets no better by more."""

MAX_OUTPUTS = 10**7
"""Classes, labels or numbers that are predicted."""

MAX_TAPS = 512
"""Of all modalities together: far more than anybody searches, and still built within seconds."""

MAX_HEADER = 16 * 1024**2
"""Bytes of the description and of the names and shapes of tensors: room for a hundred thousand names of classes."""

_HEADER_BYTES = 8
_NUMBER_BYTES = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedNetwork:
    """A network read back from disk.

    Attributes:
        network: In evaluation mode, on the CPU; maps {modality: arrays} to logits or predictions.
        architecture: Its architecture.
        metadata: The file's own description of itself.
    """

    network: DerivedNetwork
    architecture: Architecture
    metadata: dict[str, Any]


def architecture_hash(architecture: Architecture) -> str:
    """Sixteen hexadecimal digits that two architectures share only if they are equal."""
    return _hash_of(architecture.to_dict())


def _hash_of(values: Mapping[str, Any]) -> str:
    """Of an architecture as plain values, in whichever format version."""
    return hashlib.sha256((json.dumps(values, indent=2) + "\n").encode()).hexdigest()[:16]


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits that change with any name, type, shape or number of a state."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


ROUTER = "gate."
"""Begins the names of a router's tensors in a file; all others are named as in a static network."""


def state_of(network: DerivedNetwork) -> dict[str, Tensor]:
    """The tensors of a network under the names that they have in a file."""
    state: dict[str, Tensor] = static_part(network).state_dict()
    router = network.router.state_dict() if isinstance(network, RoutedNetwork) else {}
    return {**state, **{ROUTER + name: tensor for name, tensor in router.items()}}


def take_state(network: DerivedNetwork, state: Mapping[str, Tensor]) -> None:
    """Takes over what `state_of` gave of a network of the same architecture."""
    static_part(network).load_state_dict({name: t for name, t in state.items() if not name.startswith(ROUTER)})
    if isinstance(network, RoutedNetwork):
        router = {name.removeprefix(ROUTER): t for name, t in state.items() if name.startswith(ROUTER)}
        network.router.load_state_dict(router)


def describe_network(network: DerivedNetwork, data: FusionData) -> dict[str, Any]:
    """The plain values from which `build_from` makes the same network, without weights.

    An encoder that only its own code can build is None there.
    """
    architecture, encoders = network.architecture, {}
    for name, encoder in network.encoders.items():
        assert isinstance(encoder, Encoder)
        encoders[name] = dict(encoder.blueprint) if encoder.blueprint is not None else None
    return {
        "format_version": FORMAT_VERSION,
        "architecture": architecture.to_dict(),
        "architecture_hash": architecture_hash(architecture),
        "encoders": encoders,
        "channels": static_part(network).channels,
        "task": data.task,
        "num_outputs": data.num_outputs,
        "class_names": list(data.class_names),
    }


def save_weights(
    folder: RunFolder, network: DerivedNetwork, data: FusionData, name: str = "weights.safetensors"
) -> None:
    """Writes the weights of a network with its description, atomically.

    Args:
        folder: Of the run.
        network: Derived, takes raw arrays.
        data: For the task and the names of classes.
        name: Of the file.
    """
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in state_of(network).items()}
    description = {**describe_network(network, data), "weights_hash": weights_hash(state)}
    folder.write_bytes(name, save(state, metadata={"fusenas": json.dumps(description)}))


def load_weights(
    folder: RunFolder, name: str = "weights.safetensors", encoders: Mapping[str, str] | None = None
) -> LoadedNetwork:
    """Builds the network that a file describes and loads its weights. Nothing is unpickled.

    Args:
        folder: Of the run.
        name: Of the file.
        encoders: Modality to the import path of its encoder, of those that are modules of their own: no other module is
            imported.

    Raises:
        UserError: If the file is missing, cut off, of another format version, damaged, or does not fit its own
            description.
    """
    where = f"{name} of {str(folder.path)!r}"
    header, size = _read_header(folder, name, where)
    try:
        metadata = json.loads(header["__metadata__"]["fusenas"])
        shapes = {key: tuple(one["shape"]) for key, one in header.items() if key != "__metadata__"}
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise _unreadable(where, error) from error
    version = metadata.get("format_version") if isinstance(metadata, dict) else None
    if type(version) is not int or version != FORMAT_VERSION:
        raise UserError(f"{where} has format version {told(version)}, expected {FORMAT_VERSION}; run the search again")
    architecture = Architecture.from_dict(metadata.get("architecture"))
    if _hash_of(metadata["architecture"]) != metadata.get("architecture_hash"):
        raise UserError(f"{where} holds weights of another architecture than it says; run the search again")
    _refuse_misfit(where, metadata, shapes, size, encoders)
    try:
        state = load(folder.read_bytes(name, max_bytes=size))
    except SafetensorError as error:
        raise _unreadable(where, error) from error
    if weights_hash(state) != metadata.get("weights_hash"):
        raise UserError(f"{where} holds other numbers than were saved; was it damaged? Run the search again")
    network = build_from(metadata, encoders)
    take_state(network, state)
    return LoadedNetwork(network=network.eval(), architecture=architecture, metadata=metadata)


def save_members(folder: RunFolder, members: Sequence[DerivedNetwork], data: FusionData) -> None:
    """Writes networks that were trained with other seeds, in the place of earlier ones.

    Args:
        folder: Of the run.
        members: In the order of their seeds.
        data: As for `save_weights`.
    """
    folder.remove(MEMBERS)
    for number, network in enumerate(members, start=1):
        save_weights(folder, network, data, f"{MEMBERS}/{number}.safetensors")


def load_members(
    folder: RunFolder, metadata: Mapping[str, Any], encoders: Mapping[str, str] | None = None
) -> tuple[DerivedNetwork, ...]:
    """The networks that `save_members` wrote; none of a run that has none.

    Args:
        folder: Of the run.
        metadata: Of its `weights.safetensors`, as the members must be.
        encoders: See `load_weights`.

    Raises:
        UserError: If one cannot be read, or is another network than that of the run.
    """
    found: list[DerivedNetwork] = []
    while len(found) < MAX_MEMBERS and folder.exists(name := f"{MEMBERS}/{len(found) + 1}.safetensors"):
        loaded = load_weights(folder, name, encoders)
        for field in ("architecture", "task", "num_outputs"):
            if loaded.metadata[field] != metadata[field]:
                raise UserError(
                    f"{name} of {str(folder.path)!r} has another {field} than weights.safetensors; run the search again"
                )
        found.append(loaded.network)
    return tuple(found)


def _read_header(folder: RunFolder, name: str, where: str) -> tuple[dict[str, Any], int]:
    """What a safetensors file says of its tensors, and its size in bytes; the tensors are not read."""
    start, size = folder.read_start(name, _HEADER_BYTES)
    length = int.from_bytes(start, "little")
    if size > MAX_BYTES:
        raise UserError(f"{where} is larger than {MAX_BYTES} bytes, which no run of ours writes")
    try:
        if len(start) < _HEADER_BYTES or length > min(size, MAX_HEADER):
            raise ValueError(f"a header of {length} bytes")
        content, _ = folder.read_start(name, _HEADER_BYTES + length)
        header = json.loads(content[_HEADER_BYTES:])
        if not isinstance(header, dict):
            raise TypeError("a header that is no table")
    except (RecursionError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise _unreadable(where, error) from error
    return header, size


def _unreadable(where: str, error: Exception) -> UserError:
    return UserError(f"{where} cannot be read ({one_line(error)}); was it cut off? Run the search again")


def _refuse_misfit(
    where: str,
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    size: int,
    encoders: Mapping[str, str] | None,
) -> None:
    """Compares what a file holds with its description, before memory is taken for either."""
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in state_of(build_from(metadata, encoders)).items()}
    for name in sorted(expected.keys() | shapes.keys()):
        given, wanted = (str(found.get(name, "absent"))[:200] for found in (shapes, expected))
        if given != wanted:
            raise UserError(f"{where} does not fit its architecture: {name[:200]!r} is {given}, expected {wanted}")
    most = _HEADER_BYTES + MAX_HEADER + _NUMBER_BYTES * sum(map(math.prod, expected.values()))
    if size > most:
        raise UserError(f"{where} has {size:,} bytes, more than its architecture can need; was it damaged?")


def build_from(metadata: Mapping[str, Any], named: Mapping[str, str] | None = None) -> DerivedNetwork:
    """A network without weights from what `describe_network` gave, and the installed operations.

    Args:
        metadata: Be it from a stranger's file.
        named: See `load_weights`.

    Raises:
        UserError: If a field is missing or garbled, an operation is not installed, or an encoder cannot be built
            without its own code.
    """
    architecture = Architecture.from_dict(metadata["architecture"])
    try:
        for name, blueprint in metadata["encoders"].items():
            if blueprint is None:
                raise UserError(f"the encoder of {name!r} is a module of its own; build the network in Python instead")
        if max(len(architecture.taps()), len(metadata["encoders"])) > MAX_TAPS:
            raise UserError(f"the network is said to read {len(architecture.taps())} taps, more than {MAX_TAPS}")
        encoders = {
            name: from_blueprint(blueprint, modality=name, named=(named or {}).get(name))
            for name, blueprint in metadata["encoders"].items()
        }
        depths = {name: one.num_taps for name, one in by_modality(encoders.items()).items() if isinstance(one, Encoder)}
        space = SearchSpace.of(architecture, depths, installed_operations())
        channels, num_outputs = metadata["channels"], metadata["num_outputs"]
        check("channels", channels, Whole(1, MAX_CHANNELS))
        check("num_outputs", num_outputs, Whole(1, MAX_OUTPUTS))
        if metadata["task"] not in get_args(Task):
            raise unknown_name("task", told(metadata["task"]), get_args(Task))
        head = Head(channels, num_outputs)
        network = FusionNetwork(space, encoders, head, channels=channels, dropout_rate=0.0)
        return network if architecture.gating is None else RoutedNetwork.of(network, metadata["task"])
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # torch refuses sizes that overflow, or are beyond all memory, with a RuntimeError.
        raise UserError(f"the description of the network lacks or garbles {one_line(error)}") from error
