"""Weights on disk: the same network comes back, and nothing else is ever run."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from nas.config import TrainingConfig
from nas.data.batches import split_batch
from nas.data.fusion_data import FusionData
from nas.encoders import DEFAULT_ENCODERS, EncoderBuilder, ModuleEncoder
from nas.encoders.features import FeaturesEncoder
from nas.encoders.frozen import FrozenEncoder
from nas.errors import UserError
from nas.network.fusion_network import FusionNetwork
from nas.routing.cascade import Cascade
from nas.routing.gates import Gate
from nas.routing.network import DerivedNetwork, RoutedNetwork, build_routed
from nas.routing.prediction import answers
from nas.runs.folder import RunFolder
from nas.saved.weights import architecture_hash, describe_network, load_weights, save_weights, weights_hash
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice
from nas.training.build import build_network
from search_spaces import layerwise
from tests.helpers import dynamic

_CPU = torch.device("cpu")
_TRAINING = TrainingConfig(channels=4)
_FILE = "weights.safetensors"


def _data(task: str = "classification") -> FusionData:
    """One modality of every kind, and a target that the samples are dealt out to."""
    generator = np.random.default_rng(0)
    count = 30
    targets = {
        "classification": np.arange(count) % 3,
        "multilabel": np.stack([np.arange(count) % 2, np.arange(count) % 3 == 0], axis=1).astype(int),
        "regression": 50 + 7 * generator.normal(size=(count, 2)),
    }
    return FusionData.from_arrays(
        {
            "blood": generator.normal(3, 5, size=(count, 3)).astype(np.float32),
            "pulse": generator.normal(size=(count, 9, 2)).astype(np.float32),
            "notes": generator.integers(1, 8, size=(count, 6)),
            "scan": generator.integers(0, 255, size=(count, 2, 8, 8)).astype(np.uint8),
            "ready": [generator.normal(size=(count, width)).astype(np.float32) for width in (5, 4, 3)],
        },
        targets[task],
        task=task,
        kinds={"notes": "tokens"},
    )


def _network(data: FusionData, builders: dict[str, EncoderBuilder] | None = None) -> FusionNetwork:
    """Reads every modality; its BatchNorm statistics are not those of a fresh network."""
    depths = dict.fromkeys(data.modalities, 3)
    inputs = tuple(f"{name}@1" for name in depths)
    deep = Choice("multiplicative", tuple(f"{name}@2" for name in list(depths)[:2]))
    architecture = Architecture.chain(
        "layerwise", (("fusion0", Choice("none")), ("fusion1", Choice("mlp", inputs)), ("fusion2", deep))
    )
    with seeded(0):
        network = build_network(layerwise(depths).restrict(architecture), data, _TRAINING, builders)
        batch = split_batch(data, "weights", _CPU)
        network.train()(batch.inputs)
    return network.eval()


def _outputs(network: DerivedNetwork, data: FusionData) -> Tensor:
    return answers(data.task, network, split_batch(data, "test", _CPU), _CPU)[0]


@pytest.fixture
def saved(tmp_path: Path) -> RunFolder:
    """A folder with the weights of a network that reads everything."""
    data, folder = _data(), RunFolder(tmp_path)
    save_weights(folder, _network(data), data)
    return folder


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_network_comes_back_with_the_same_outputs_bit_for_bit(tmp_path: Path, task: str) -> None:
    data, folder = _data(task), RunFolder(tmp_path)
    network = _network(data)
    save_weights(folder, network, data)
    loaded = load_weights(folder)
    assert not loaded.network.training
    assert torch.equal(_outputs(loaded.network, data), _outputs(network, data))
    assert loaded.network.state_dict().keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name
    assert loaded.architecture == network.architecture
    assert loaded.metadata["task"] == task
    assert loaded.metadata["class_names"] == list(data.class_names)


def test_a_frozen_encoder_comes_back_with_the_one_within(tmp_path: Path) -> None:
    def build(data: FusionData, name: str) -> FrozenEncoder:
        inner = DEFAULT_ENCODERS["vector"](data, name).eval()
        with torch.no_grad():
            taps = [tap.numpy() for tap in inner([torch.from_numpy(data.modalities[name].arrays[0])])]
        return FrozenEncoder(inner, FeaturesEncoder.fit(taps))

    data, folder = _data(), RunFolder(tmp_path)
    network = _network(data, {"blood": build})
    save_weights(folder, network, data)
    loaded = load_weights(folder).network
    assert isinstance(loaded.encoders["blood"], FrozenEncoder)
    assert torch.equal(_outputs(loaded, data), _outputs(network, data))


def test_a_loaded_network_is_saved_as_the_same_file(saved: RunFolder, tmp_path: Path) -> None:
    again = RunFolder(tmp_path / "again")
    save_weights(again, load_weights(saved).network, _data())
    assert load(again.read_bytes(_FILE)).keys() == load(saved.read_bytes(_FILE)).keys()
    assert again.read_bytes(_FILE) == saved.read_bytes(_FILE)


def test_a_loaded_network_can_be_trained_on(saved: RunFolder) -> None:
    loaded = load_weights(saved).network
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert not any(parameter.is_meta for parameter in loaded.parameters())
    assert not any(buffer.is_meta for buffer in loaded.buffers())


def test_the_description_is_plain_and_names_its_architecture(saved: RunFolder) -> None:
    loaded = load_weights(saved)
    description = describe_network(loaded.network, _data())
    digest = weights_hash(loaded.network.state_dict())
    assert json.loads(json.dumps(description)) == description
    assert loaded.metadata == {**description, "weights_hash": digest}
    assert description["architecture_hash"] == architecture_hash(loaded.architecture)


def test_architectures_that_differ_have_hashes_that_differ() -> None:
    space = layerwise({"image": 2, "sound": 2}, operations=["additive", "mlp"])
    hashes = [architecture_hash(architecture) for architecture in space.enumerate()]
    assert len(set(hashes)) == space.size() == 25
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in hashes)


def test_the_users_own_encoder_is_saved_but_has_to_be_built_in_python(tmp_path: Path) -> None:
    data, folder = _data(), RunFolder(tmp_path)

    def build(_data: FusionData, _name: str) -> ModuleEncoder:
        layers = [nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)]
        return ModuleEncoder(nn.Sequential(*layers), ["0", "1", "2"], example=torch.zeros(2, 3))

    save_weights(folder, _network(data, {"blood": build}), data)
    with pytest.raises(UserError, match="the encoder of 'blood' is a module of its own; build the network in Python"):
        load_weights(folder)
    assert any(name.startswith("encoders.blood") for name in load(folder.read_bytes(_FILE)))


@pytest.mark.parametrize("reads", [("blood@1",), ()])
def test_a_routed_network_is_saved_under_the_names_of_a_static_one(reads: tuple[str, ...], tmp_path: Path) -> None:
    data = _data()
    one, other = (
        Architecture.chain("layerwise", (("fusion0", Choice("none")), ("fusion1", choice), ("fusion2", Choice("none"))))
        for choice in (Choice("carry", ("blood@1",)), Choice("mlp", ("blood@1", "scan@1")))
    )
    space = layerwise(dict.fromkeys(data.modalities, 3)).restrict(dynamic([one, other], reads))
    network = build_routed(space, data, _TRAINING)
    folder = RunFolder.create(tmp_path / "run")
    save_weights(folder, network, data)
    with safe_open(folder.path / "weights.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert names == {*network.network.state_dict(), *(f"gate.{name}" for name in network.router.state_dict())}
    loaded = load_weights(folder).network
    assert isinstance(loaded, RoutedNetwork)
    assert isinstance(loaded.router, Gate if reads else Cascade)
    assert torch.equal(_outputs(loaded, data), _outputs(network, data))


def _refused(folder: RunFolder, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        load_weights(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    _refused(RunFolder(tmp_path), "is missing; was the run finished")


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_told(saved: RunFolder, share: float) -> None:
    content = saved.read_bytes(_FILE)
    saved.weights.write_bytes(content[: int(share * len(content))])
    _refused(saved, "cannot be read .*; was it cut off")


def test_a_huge_header_is_not_believed(saved: RunFolder) -> None:
    saved.weights.write_bytes((2**62).to_bytes(8, "little") + saved.read_bytes(_FILE)[8:])
    _refused(saved, "cannot be read")


def _sparse(folder: RunFolder, num_bytes: int) -> None:
    """Makes the file longer by zeros that take no room on disk."""
    with folder.weights.open("r+b") as file:
        file.truncate(num_bytes)


def _long_header(folder: RunFolder, num_bytes: int) -> None:
    folder.weights.write_bytes(num_bytes.to_bytes(8, "little"))
    _sparse(folder, num_bytes + 8)


def _more_tensors(folder: RunFolder) -> None:
    """A file of 3 GB that tells of as many numbers as it has."""
    content = folder.read_bytes(_FILE)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["more"] = {"dtype": "F32", "shape": [750_000_000], "data_offsets": [0, 3_000_000_000]}
    text = json.dumps(header).encode()
    folder.weights.write_bytes(len(text).to_bytes(8, "little") + text)
    _sparse(folder, 3_000_000_000)


def _list_of(folder: RunFolder, text: bytes) -> None:
    folder.weights.write_bytes(len(text).to_bytes(8, "little") + text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: _sparse(folder, 5 * 1024**3), "is larger than 4294967296 bytes"),
        (lambda folder: _sparse(folder, 4 * 1024**3), "has 4,294,967,296 bytes, more than its architecture can need"),
        (lambda folder: _long_header(folder, 100 * 1024**2), "cannot be read .a header of 104857600 bytes"),
        (lambda folder: _long_header(folder, 2**31), "cannot be read .a header of"),
        (_more_tensors, "does not fit its architecture: 'more' is"),
        (lambda folder: _list_of(folder, b"[" * 10**7), "cannot be read"),
        (lambda folder: _list_of(folder, b"[]"), "cannot be read .a header that is no table"),
        (lambda folder: _list_of(folder, b'{"__metadata__": 3}'), "cannot be read"),
        (lambda folder: _list_of(folder, b'{"a": {"shape": 3}, "__metadata__": {"fusenas": "{}"}}'), "cannot be read"),
    ],
)
def test_a_file_larger_than_its_network_is_refused_before_it_is_read(
    saved: RunFolder, monkeypatch: pytest.MonkeyPatch, change: Callable[[RunFolder], None], message: str
) -> None:
    def never(*_arguments: object, **_options: object) -> bytes:
        raise AssertionError("all of it was read")

    change(saved)
    monkeypatch.setattr(RunFolder, "read_bytes", never)
    _refused(saved, message)


def test_tensors_that_share_their_numbers_are_refused(saved: RunFolder) -> None:
    content = saved.read_bytes(_FILE)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    names = [name for name in header if name != "__metadata__"]
    for name in names:
        last = header[name]["data_offsets"]
        header[name]["data_offsets"] = [0, last[1] - last[0]]
    text = json.dumps(header).encode()
    saved.weights.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    _refused(saved, "cannot be read")


class _Trap:
    """Unpickled, it would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_nothing_is_unpickled(saved: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = pickle.dumps(_Trap(tmp_path / "mark"))
    pickle.loads(trap)
    (tmp_path / "mark").unlink()  # the trap works

    def never(*_arguments: object, **_options: object) -> None:
        raise AssertionError("something was unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, never)
    load_weights(saved)
    saved.weights.write_bytes(trap)
    _refused(saved, "cannot be read")
    assert not (tmp_path / "mark").exists()


def _rewrite(folder: RunFolder, change: Callable[[dict[str, Any], dict[str, Tensor]], Any]) -> None:
    """Changes the description and the tensors of a saved file; a value that is returned replaces the description.

    The hash is made to fit the changed architecture, as whoever means harm would.
    """
    content = folder.read_bytes(_FILE)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    description, state = json.loads(header["__metadata__"]["fusenas"]), load(content)
    replacement = change(description, state)
    if replacement is None:
        with suppress(KeyError, UserError):
            description["architecture_hash"] = architecture_hash(Architecture.from_dict(description["architecture"]))
    text = replacement if isinstance(replacement, str) else json.dumps(replacement or description)
    folder.weights.write_bytes(save(state, metadata={"fusenas": text}))


def test_rewriting_alone_changes_nothing(saved: RunFolder) -> None:
    before = _outputs(load_weights(saved).network, _data())
    _rewrite(saved, lambda _description, _state: None)
    assert torch.equal(_outputs(load_weights(saved).network, _data()), before)


def test_weights_that_were_saved_with_an_architecture_of_version_1_load(saved: RunFolder) -> None:
    before = _outputs(load_weights(saved).network, _data())

    def as_it_was(description: dict[str, Any], _state: dict[str, Tensor]) -> dict[str, Any]:
        steps = {step["name"]: step for step in description["architecture"]["steps"]}
        nothing = {"operation": "none", "inputs": []}
        nodes = []
        for name in ("fusion0", "fusion1", "fusion2"):
            made = steps.get(name, nothing)
            nodes.append({"node": name, "operation": made["operation"], "inputs": made["inputs"]})
        old = {"format_version": 1, "space": "layerwise", "nodes": nodes}
        digest = hashlib.sha256((json.dumps(old, indent=2) + "\n").encode()).hexdigest()[:16]
        return {**description, "architecture": old, "architecture_hash": digest, "depths": {"blood": 3}}

    _rewrite(saved, as_it_was)
    assert torch.equal(_outputs(load_weights(saved).network, _data()), before)


def test_the_name_of_the_space_is_but_a_record(saved: RunFolder) -> None:
    before = _outputs(load_weights(saved).network, _data())
    _rewrite(saved, lambda description, _state: description["architecture"].update(space="nowhere"))
    loaded = load_weights(saved)
    assert loaded.architecture.space == "nowhere"
    assert torch.equal(_outputs(loaded.network, _data()), before)


def test_weights_of_another_architecture_are_told(saved: RunFolder) -> None:
    def turned(description: dict[str, Any], _state: dict[str, Tensor]) -> dict[str, Any]:
        description["architecture"]["steps"][1]["operation"] = "additive"
        return description

    _rewrite(saved, turned)
    _refused(saved, "holds weights of another architecture than it says")


@pytest.mark.parametrize("version", [1, 3, 0, "2", None, True, [2]])
def test_another_format_version_is_told(saved: RunFolder, version: Any) -> None:
    _rewrite(saved, lambda description, _state: {**description, "format_version": version})
    _refused(saved, "has format version .*, expected 2; run the search again")


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 100_000, '{"format_version": 2}', "9" * 5000])
def test_a_description_that_is_none_is_told(saved: RunFolder, text: str) -> None:
    _rewrite(saved, lambda _description, _state: text or " ")
    _refused(saved, r"cannot be read|has format version|architecture has format version None")


_HUGE = 10**9


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("architecture",), None),
        (("architecture",), []),
        (("architecture", "format_version"), 7),
        (("architecture", "steps"), 3),
        (("architecture", "steps"), []),
        (("architecture", "steps", 1), None),
        (("architecture", "steps", 1, "name"), "fusion7"),
        (("architecture", "steps", 1, "operation"), "os.system"),
        (("architecture", "steps", 1, "operation"), "__class__"),
        (("architecture", "steps", 1, "inputs"), ["blood@2", "blood@99"]),
        (("architecture", "steps", 1, "inputs"), ["blood@2", "blood@-1"]),
        (("architecture", "steps", 1, "inputs"), ["blood@2", "blood@two"]),
        (("architecture", "steps", 1, "inputs"), ["blood@2"]),
        (("architecture", "steps", 1, "inputs"), ["blood@2", "gone@2"]),
        (("architecture", "steps", 1, "inputs"), ["blood@2", "fusion1"]),
        (("architecture", "steps", 1, "inputs"), {"blood@2": 1}),
        (("encoders",), None),
        (("encoders",), []),
        (("encoders",), {}),
        (("encoders", "blood"), None),
        (("encoders", "blood"), "vector"),
        (("encoders", "blood"), {}),
        (("encoders", "blood", "encoder"), "pickle"),
        (("encoders", "blood", "encoder"), "frozen"),
        (("encoders", "blood", "features"), -1),
        (("encoders", "blood", "features"), 4),
        (("encoders", "blood", "features"), "3"),
        (("encoders", "blood", "features"), _HUGE),
        (("encoders", "blood", "features"), 10**30),
        (("encoders", "blood", "widths"), []),
        (("encoders", "blood", "widths"), [96]),
        (("encoders", "blood", "widths"), [10**6, 10**6, 10**6]),
        (("encoders", "blood", "dropout_rate"), 7),
        (("encoders", "blood", "standardize"), 1),
        (("encoders", "notes"), {"encoder": "tokens"}),
        (("encoders", "scan", "shape"), [2, 8]),
        (("encoders", "scan", "shape"), [_HUGE, 8, 8]),
        (("encoders", "ready", "shapes"), 5),
        (("channels",), None),
        (("channels",), "many"),
        (("channels",), [4]),
        (("channels",), 0),
        (("channels",), -4),
        (("channels",), 5),
        (("channels",), _HUGE),
        (("channels",), 10**30),
        (("channels",), float("inf")),
        (("channels",), float("nan")),
        (("channels",), 20_000),
        (("channels",), 4.0),
        (("channels",), True),
        (("task",), ["regression"]),
        (("task",), "guessing"),
        (("num_outputs",), None),
        (("num_outputs",), 0),
        (("num_outputs",), 4),
        (("num_outputs",), _HUGE),
    ],
)
def test_a_hostile_description_is_refused(saved: RunFolder, path: tuple[Any, ...], value: Any) -> None:
    def put(description: dict[str, Any], _state: dict[str, Tensor]) -> None:
        inner: Any = description
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    _rewrite(saved, put)
    _refused(saved, ".")


@pytest.mark.parametrize("field", ["architecture", "architecture_hash", "encoders", "channels", "num_outputs"])
def test_a_field_that_is_missing_is_told(saved: RunFolder, field: str) -> None:
    def without(description: dict[str, Any], _state: dict[str, Tensor]) -> dict[str, Any]:
        return {key: value for key, value in description.items() if key != field}

    _rewrite(saved, without)
    _refused(saved, ".")


def _drop(state: dict[str, Tensor]) -> None:
    del state["head.linear.bias"]


def _add(state: dict[str, Tensor]) -> None:
    state["head\n.more"] = torch.zeros(1)


def _reshape(state: dict[str, Tensor]) -> None:
    state["head.linear.bias"] = torch.zeros(4)


@pytest.mark.parametrize("damage", [_drop, _add, _reshape])
def test_tensors_that_do_not_fit_are_told(saved: RunFolder, damage: Callable[[dict[str, Tensor]], None]) -> None:
    _rewrite(saved, lambda _description, state: damage(state))
    _refused(saved, "does not fit its architecture: .*head")


@pytest.mark.parametrize("byte", [-1, -500, -2000])
def test_a_number_that_has_changed_is_told(saved: RunFolder, byte: int) -> None:
    content = bytearray(saved.read_bytes(_FILE))
    content[byte] ^= 1
    saved.weights.write_bytes(content)
    _refused(saved, "holds other numbers than were saved; was it damaged")


def test_the_digest_tells_names_types_shapes_and_numbers_apart() -> None:
    states = [
        {"a": torch.tensor([1.0, 2.0])},
        {"b": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([1.0, 2.0000002])},
        {"a": torch.tensor([[1.0, 2.0]])},
        {"a": torch.tensor([1.0, 2.0]).view(torch.int32)},
        {"a": torch.tensor([1.0, 2.0]), "c": torch.zeros(0)},
    ]
    assert len({weights_hash(state) for state in states}) == len(states)


def test_a_failed_load_builds_nothing_large(saved: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A description may ask for more memory than there is: its sizes are compared before anything is allocated."""

    def put(description: dict[str, Any], _state: dict[str, Tensor]) -> None:
        description["encoders"]["blood"]["widths"] = [20_000, 20_000, 20_000]  # 3 GB of weights

    real = nn.Linear.__init__
    allocated: list[int] = []

    def spied(self: nn.Linear, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        if not self.weight.is_meta:
            allocated.append(self.weight.numel())

    _rewrite(saved, put)
    monkeypatch.setattr(nn.Linear, "__init__", spied)
    _refused(saved, "does not fit its architecture: 'adapters.blood_1.linear.weight' is")
    assert not allocated
