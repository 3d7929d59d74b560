"""The Python file: ordinary code that computes what the network computes, whatever it is made of."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nas.data.fusion_data import FusionData
from nas.encoders import EncoderBuilder
from nas.errors import UserError
from nas.export.check import imported
from nas.export.classes import constructor, safe
from nas.export.code import with_shapes, write_code
from nas.export.portable import Portable
from nas.routing.network import DerivedNetwork
from nas.saved.weights import describe_network
from nas.space.architecture import Choice
from nas.space.operation import Operation
from search_spaces import OPERATIONS
from tests.export.networks import BLOCKS, FUSING, MODALITIES, derived, every_kind, frozen, with_outputs
from tests.helpers import NESTED, tiny_data, tiny_network

NONE = Choice("none")

ROUNDING = 1e-5
"""Of float32: sums in another order, PyTorch's own attention."""


def written(network: DerivedNetwork, data: FusionData, folder: Path, about: str = "A network.") -> tuple[str, Path]:
    """The text of the file, and where it lies with its weights."""
    portable, inputs, _ = with_outputs(network, data)
    description = describe_network(network, data)
    code, weights = write_code(portable, inputs, description, about)
    file = folder / "network.py"
    file.write_text(code, encoding="utf-8")
    save_file(weights, file.with_suffix(".safetensors"), {"architecture_hash": description["architecture_hash"]})
    return code, file


def assert_same(network: DerivedNetwork, data: FusionData, folder: Path) -> str:
    """Writes the file, looks at it with ruff, and compares its outputs; returns its text."""
    _, inputs, expected = with_outputs(network, data)
    code, file = written(network, data, folder)
    loaded = imported(file).load(file.with_suffix(".safetensors"))
    with torch.no_grad():
        found = loaded(*inputs)
    # Outputs that are all alike would prove nothing, hence the second bound.
    assert (found - expected).abs().max() < min(ROUNDING, float(expected.std(dim=0).min()) / 50)
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", str(file)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    names = {alias.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)}
    assert names <= {"pathlib", "torch", "torch.nn.functional", "safetensors", "safetensors.torch"}
    return code


@pytest.mark.parametrize("operation", FUSING)
@pytest.mark.parametrize("builder", [None, frozen], ids=["joint", "frozen"])
def test_every_operation_computes_the_same_on_modalities_of_unlike_times(
    operation: str, builder: Any, tmp_path: Path
) -> None:
    data = every_kind()
    builders = {name: builder for name in MODALITIES if builder and name != "ready"}
    network = derived(
        data,
        Choice(operation, ("notes@0", "pulse@0", "blood@0")[: OPERATIONS[operation].max_inputs]),
        Choice(operation, ("scan@1", "ready@1")),
        Choice(operation, ("pulse@2", "scan@2")),
        builders=builders,
    )
    assert_same(network, data, tmp_path)


@pytest.mark.parametrize("operation", FUSING)
def test_every_operation_computes_the_same_on_vectors_alone(operation: str, tmp_path: Path) -> None:
    data = tiny_data({"sound": "vector", "sight": "vector"})
    assert_same(derived(data, NONE, NONE, Choice(operation, ("sight@2", "sound@2"))), data, tmp_path)


@pytest.mark.parametrize("operation", BLOCKS)
def test_a_block_computes_the_same_on_a_tap_and_on_what_was_fused(operation: str, tmp_path: Path) -> None:
    data = every_kind()
    network = derived(
        data,
        Choice(operation, ("pulse@0",)),
        Choice("additive", ("fusion0", "blood@1")),
        Choice(operation, ("fusion1",)),
    )
    assert_same(network, data, tmp_path)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("depths", [(2,), (0, 2), (0, 1, 2)])
def test_every_encoder_computes_the_same_however_deep_it_is_read(
    modality: str, depths: Sequence[int], tmp_path: Path
) -> None:
    data = every_kind()
    choices = [Choice("carry", (f"{modality}@{depth}",)) if depth in depths else NONE for depth in range(3)]
    code = assert_same(derived(data, *choices), data, tmp_path)
    assert "Carry" not in code


@pytest.mark.parametrize("builder", [None, partial(frozen, peaks=True)], ids=["joint", "frozen"])
def test_peaks_of_a_sequence_are_computed_the_same(builder: EncoderBuilder | None, tmp_path: Path) -> None:
    data = every_kind()
    builders = {"pulse": builder} if builder else None
    reading = [Choice("mlp", (f"pulse@{depth}", f"blood@{depth}")) for depth in range(3)]  # taps of 16, 11 and 6 steps
    code = assert_same(derived(data, *reading, builders=builders, peaks=True), data, tmp_path)
    assert "def beside_peaks(" in code


def test_regions_of_a_map_are_computed_the_same(tmp_path: Path) -> None:
    data = every_kind()
    reading = [Choice("cross_attention", (f"scan@{depth}", "notes@2")) for depth in (0, 1, 2)]
    code = assert_same(derived(data, *reading, regions=True), data, tmp_path)
    assert "def patches(" in code
    assert "def place_tokens(" in code


PREPROCESSING = {"pulse": "magnitudes", "blood": "piecewise"}


@pytest.mark.parametrize("builder", [None, partial(frozen, preprocessing=PREPROCESSING)], ids=["joint", "frozen"])
@pytest.mark.parametrize("names", [MODALITIES, ("piecewise", "edges", "notes", "scan", "ready")], ids=["plain", "kept"])
def test_preprocessing_is_computed_the_same(
    builder: EncoderBuilder | None, names: Sequence[str], tmp_path: Path
) -> None:
    data = every_kind(names=names)
    vector, sequence = names[:2]
    builders = dict.fromkeys((vector, sequence), builder) if builder else None
    reading = [Choice("mlp", (f"{sequence}@{depth}", f"{vector}@{depth}")) for depth in range(3)]
    network = derived(data, *reading, builders=builders, preprocessing=f"{sequence}:magnitudes,{vector}:piecewise")
    code = assert_same(network, data, tmp_path)
    assert ("class PiecewiseLinear(" in code and "values.abs()" in code) or names[0] != "blood"


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_main_prints_a_prediction_of_every_task(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = every_kind(task)
    network = derived(data, NONE, NONE, Choice("mlp", ("blood@2", "notes@2", "ready@2")))
    assert_same(network, data, tmp_path)
    imported(tmp_path / "network.py").main()
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == (1 if task == "regression" else data.num_outputs)
    assert all(name in printed for name in data.class_names)


def test_what_some_samples_lack_is_masked(tmp_path: Path) -> None:
    data = every_kind(present={"pulse": [number % 3 > 0 for number in range(30)]})
    network = derived(data, NONE, Choice("mlp", ("pulse@1", "scan@1")), Choice("carry", ("pulse@2",)))
    code = assert_same(network, data, tmp_path)
    assert "pulse_present: Tensor" in code
    portable, inputs, expected = with_outputs(network, data)
    with torch.no_grad():
        assert not torch.allclose(portable(*inputs[:-1], torch.ones_like(inputs[-1])), expected)


def test_a_node_that_reads_another_and_one_that_is_idle(tmp_path: Path) -> None:
    data = tiny_data({"image": "map", "audio": "sequence"})
    for index in ((1, 0), (1, 1)):
        assert_same(tiny_network(NESTED.only(NESTED.at(index)), data), data, tmp_path)


def test_an_architecture_that_reads_nothing_has_no_network() -> None:
    data = tiny_data({"image": "map", "audio": "sequence"})
    with pytest.raises(UserError, match="reads no modality, so there is no network"):
        Portable(tiny_network(NESTED.only(NESTED.at((0, 0))), data))


WORDS = ("gate", "tokens", "class_", "Tensor", "self")


def test_modalities_may_bear_the_names_that_the_code_uses_itself(tmp_path: Path) -> None:
    for names in (
        WORDS,
        ("match", "outputs", "shift", "layer0", "F"),
        ("image", "Image", "IMAGE", "rows", "Rows"),
        ("emg1", "emg", "emg10", "emg1_0", "lambda_"),
    ):
        data = every_kind(names=names)
        for operation in ("soft_gate", "modality_shift", "bottleneck"):
            assert_same(
                derived(data, NONE, Choice(operation, tuple(f"{name}@1" for name in names)), NONE), data, tmp_path
            )


@pytest.mark.parametrize("keyword", ["class", "lambda", "None", "über"])
def test_a_modality_may_bear_a_keyword_or_letters_of_any_script(keyword: str, tmp_path: Path) -> None:
    data = every_kind(names=(keyword, *MODALITIES[1:]))
    assert_same(derived(data, NONE, Choice("additive", (f"{keyword}@1", "scan@1")), NONE), data, tmp_path)


def test_names_of_classes_and_data_stay_text(tmp_path: Path) -> None:
    trap = 'a"""\nimport os\nos.remove("x")\n"""\\'
    data = every_kind()
    network = derived(data, NONE, NONE, Choice("additive", ("blood@2", "scan@2")))
    portable, inputs, _ = with_outputs(network, data)
    description = {**describe_network(network, data), "class_names": [trap, "{b}", "\udc80"]}
    code, _ = write_code(portable, inputs, description, trap)
    tree = ast.parse(code)
    assert not any(isinstance(node, ast.Import) and node.names[0].name == "os" for node in ast.walk(tree))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    assert ast.literal_eval(assigned[1].value) == [trap, "{b}", "\udc80"]


def test_weights_of_another_architecture_are_refused_by_the_file(tmp_path: Path) -> None:
    data = every_kind()
    _, file = written(derived(data, NONE, NONE, Choice("additive", ("blood@2", "scan@2"))), data, tmp_path)
    module = imported(file)
    module.ARCHITECTURE_HASH = "0" * 16
    with pytest.raises(ValueError, match="weights of another architecture"):
        module.load(file.with_suffix(".safetensors"))


def test_tokens_of_another_length_are_refused_by_the_file(tmp_path: Path) -> None:
    data = every_kind()
    _, file = written(derived(data, NONE, NONE, Choice("carry", ("notes@2",))), data, tmp_path)
    with pytest.raises(ValueError, match="expected 18 tokens, got 5; pad with 0 or cut"):
        imported(file).load(file.with_suffix(".safetensors"))(torch.ones(2, 5, dtype=torch.int64))


def test_equal_operations_share_a_class(tmp_path: Path) -> None:
    data = tiny_data({"sound": "vector", "sight": "vector"})
    choices = [Choice("additive", (f"sight@{depth}", f"sound@{depth}")) for depth in range(3)]
    code = assert_same(derived(data, *choices), data, tmp_path)
    assert code.count("class Additive") == 1
    turned = [*choices[:2], Choice("additive", ("sound@2", "sight@2"))]
    assert assert_same(derived(data, *turned), data, tmp_path).count("class Additive") == 2


def test_what_nobody_reads_is_not_in_the_file(tmp_path: Path) -> None:
    data = every_kind()
    code = assert_same(derived(data, Choice("additive", ("blood@0", "scan@0")), NONE, NONE), data, tmp_path)
    assert "layer0" in code
    for absent in ("layer1", "Pulse", "notes", "fusion1", "Dropout", "stretch", "if blood"):
        assert absent not in code


def test_an_operation_that_does_not_say_how_it_is_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = every_kind()
    network = derived(data, NONE, NONE, Choice("mlp", ("blood@2", "scan@2")))
    monkeypatch.setattr(OPERATIONS["mlp"], "source", Operation.source)
    with pytest.raises(UserError, match=r"operation MLP has no source\(\)"):
        written(network, data, tmp_path)


@pytest.mark.parametrize(
    ("layer", "call"),
    [
        (nn.Linear(3, 4), "nn.Linear(3, 4)"),
        (nn.Linear(3, 4, bias=False), "nn.Linear(3, 4, bias=False)"),
        (nn.Conv2d(3, 16, 3, padding=1), "nn.Conv2d(3, 16, 3, padding=1)"),
        (nn.Conv2d(3, 16, (3, 1)), "nn.Conv2d(3, 16, (3, 1))"),
        (nn.Conv1d(2, 4, 5, stride=2, padding=2), "nn.Conv1d(2, 4, 5, stride=2, padding=2)"),
        (nn.MaxPool2d(2), "nn.MaxPool2d(2)"),
        (nn.BatchNorm1d(7), "nn.BatchNorm1d(7)"),
        (nn.BatchNorm1d(7, eps=1e-3), "nn.BatchNorm1d(7, eps=0.001)"),
        (nn.Embedding(9, 4, padding_idx=0), "nn.Embedding(9, 4, padding_idx=0)"),
        (nn.LayerNorm(8), "nn.LayerNorm(8)"),
        (nn.ReLU(), "nn.ReLU()"),
    ],
)
def test_a_layer_is_made_by_the_shortest_call(layer: nn.Module, call: str) -> None:
    assert constructor(layer) == call


def test_shapes_stand_at_the_end_of_a_line_or_above_a_long_one() -> None:
    long = f"    y = {'x + ' * 20}x"
    shapes: Mapping[int, str] = {2: "(batch, 3)", 3: "(batch, 4)"}
    text = f"def f(x):\n    x = x + 1\n{long}\n    return y\n"
    assert with_shapes(text, shapes) == (
        f"def f(x):\n    x = x + 1  # (batch, 3)\n    # (batch, 4)\n{long}\n    return y\n"
    )


def test_text_for_a_docstring_cannot_end_it() -> None:
    assert safe('a"""b\\c\x07\nd') == "a'''b/c \nd"
