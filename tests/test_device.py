"""Device discipline: on the `meta` device any tensor that is made elsewhere raises, and none may stay behind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.data.batches import Batch, in_order, shuffled, split_batch
from nas.data.fusion_data import FusionData
from nas.encoders import Encoder
from nas.network.fusion_network import FusionNetwork, Selection, StraightThrough
from nas.network.prediction import losses
from nas.strategies.pc_darts import mixture
from nas.strategies.pc_darts import select as select_channels
from nas.supernet.relaxation import softmax
from nas.supernet.supernet import Supernet
from nas.tasks import TASKS, Task
from search_spaces import OPERATIONS, layerwise
from tests.contracts import input_counts, times_of
from tests.encoders.test_contract import ENCODERS
from tests.helpers import CPU, random_taps, tiny_data, tiny_network

META = torch.device("meta")

SPACE = layerwise({"image": 2, "audio": 2, "words": 2})
"""Every operation, on maps, sequences and tokens."""

EVERY_KIND = layerwise({"image": 2, "audio": 2, "words": 2, "ready": 3, "numbers": 1}, operations=["mlp"])


def make_data(task: Task) -> FusionData:
    """Every kind of modality; one of them is missing for some samples."""
    present = {"audio": np.arange(30) % 4 != 0}
    return tiny_data(
        {"image": "map", "audio": "sequence", "words": "tokens", "ready": "features", "numbers": "vector"},
        task=task,
        present=present,
    )


@pytest.fixture(scope="module")
def network() -> FusionNetwork:
    return tiny_network(SPACE, make_data("classification")).to(META)


def tensors_of(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def index(_network: FusionNetwork, _batch: int) -> Selection:
    return {node.name: len(node.choices) - 1 for node in SPACE.nodes}


def nothing(_network: FusionNetwork, _batch: int) -> Selection:
    return {node.name: 0 for node in SPACE.nodes}


def straight_through(_network: FusionNetwork, _batch: int) -> Selection:
    # The first node does nothing, the others something: both ways of passing gradients to what does not run.
    return {
        node.name: StraightThrough(position, torch.zeros(len(node.choices), device=META, requires_grad=True))
        for position, node in enumerate(SPACE.nodes)
    }


def mixing(network: FusionNetwork, _batch: int) -> Selection:
    return softmax(Supernet(network).to(META).logits())


def partial_channels(network: FusionNetwork, _batch: int) -> Selection:
    return mixture(Supernet(network, edges=True).to(META))


def sampled_channels(network: FusionNetwork, _batch: int) -> Selection:
    return select_channels(Supernet(network, edges=True).to(META), torch.Generator().manual_seed(0), 0.5)


def per_sample(_network: FusionNetwork, batch: int) -> Selection:
    return {node.name: torch.zeros(batch, len(node.choices), device=META) for node in SPACE.nodes}


def test_a_network_moves_with_all_its_parameters_and_buffers(network: FusionNetwork) -> None:
    assert all(tensor.device == META for tensor in tensors_of(network))
    supernet = Supernet(tiny_network(EVERY_KIND, make_data("regression"))).to(META)
    assert all(tensor.device == META for tensor in [*tensors_of(supernet), *supernet.logits().values()])


@pytest.mark.parametrize(
    "select",
    [index, nothing, straight_through, mixing, per_sample, partial_channels, sampled_channels],
    ids=lambda f: f.__name__,
)
def test_every_selection_runs_where_the_network_is(
    network: FusionNetwork, select: Callable[[FusionNetwork, int], Selection]
) -> None:
    batch = split_batch(make_data("classification"), "weights", META)
    for mode in (True, False):
        network.train(mode)
        loss = losses("classification", network, batch, select(network, len(batch)))
        assert (loss.device, loss.shape) == (META, (len(batch),))
        loss.mean().backward()


@pytest.mark.parametrize("task", TASKS)
def test_every_loss_is_where_the_network_is(task: Task) -> None:
    data = make_data(task)
    architecture = next(r.architecture for r in EVERY_KIND.references if r.kind == "early")
    network = tiny_network(EVERY_KIND.restrict(architecture), data).to(META)
    for batch in shuffled(split_batch(data, "weights", CPU), 8, torch.Generator().manual_seed(0), META):
        assert losses(task, network, batch).device == META


def on_meta(batch: Batch) -> bool:
    tensors = [*(array for arrays in batch.inputs.values() for array in arrays), *batch.present.values(), batch.targets]
    return all(tensor.device == META for tensor in tensors)


@pytest.mark.parametrize("home", [CPU, META], ids=str)
def test_batches_come_to_the_device_wherever_the_split_is(home: torch.device) -> None:
    whole = split_batch(make_data("classification"), "weights", home)
    batches = [
        *shuffled(whole, 5, torch.Generator().manual_seed(0), META),
        *in_order(whole, 5, META),
    ]
    assert all(on_meta(batch) for batch in batches)
    assert sum(len(batch) for batch in batches) == 2 * len(whole)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_runs_where_it_is(name: str) -> None:
    for num_inputs in input_counts(OPERATIONS[name]):
        operation = OPERATIONS[name](num_inputs, 4).to(META)
        for times in times_of(num_inputs):
            taps = [tap.to(META).requires_grad_() for tap in random_taps(times, 4, dtype=torch.float32)]
            output = operation(taps)
            assert output.device == META
            if output.requires_grad:
                output.sum().backward()


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_runs_where_it_is(name: str) -> None:
    encoder, inputs = copy.deepcopy(ENCODERS[name]())
    encoder.to(META)
    assert all(tensor.device == META for tensor in tensors_of(encoder))
    assert all(tap.device == META for tap in encoder([values.to(META) for values in inputs]))


def test_a_tensor_made_elsewhere_would_be_seen() -> None:
    class Careless(Encoder):
        channels = (3,)

        def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
            return [(inputs[0] + torch.ones(3))[:, None]]

    with pytest.raises(RuntimeError, match="expected device meta"):
        Careless()([torch.zeros(2, 3, device=META)])
