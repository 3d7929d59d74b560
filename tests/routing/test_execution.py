"""Dynamic networks: routed and dense alike, what is skipped is not run, and static networks are as they were."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from nas.encoders import Encoder
from nas.encoders.base import channels_last
from nas.errors import UserError
from nas.network.cost import CostTable, multiply_adds
from nas.network.fusion_network import Inputs
from nas.routing.encoding import gather
from nas.routing.execution import Execution, cheaper_execution
from nas.routing.gates import Gate
from nas.routing.network import RoutedNetwork
from nas.space.architecture import Architecture, Choice
from search_spaces import layerwise
from tests.helpers import counted_calls, tiny_batch, tiny_data, tiny_network, tiny_routed

SPACE = layerwise({"image": 2, "audio": 2})
DATA = tiny_data({"image": "vector", "audio": "sequence"})
ROUNDING = 1e-12
"""Of float64: batches of another size may be summed in another order."""


def architecture(first: Choice, last: Choice) -> Architecture:
    return Architecture.chain("layerwise", (("fusion0", first), ("fusion1", last)))


NOTHING = Choice("none")
IMAGE = architecture(NOTHING, Choice("carry", ("image@1",)))
AUDIO = architecture(NOTHING, Choice("carry", ("audio@1",)))
SHALLOW = architecture(Choice("multiplicative", ("image@0", "audio@0")), NOTHING)
BOTH = architecture(Choice("mlp", ("image@0", "audio@0")), Choice("additive", ("image@1", "audio@1")))
GATED = Architecture.gated([IMAGE, AUDIO, SHALLOW, BOTH], ["image@0"])
PAIR = Architecture.gated([IMAGE, BOTH], ["image@0", "image@1"])


def network(of: Architecture, *, seed: int = 0) -> RoutedNetwork:
    built = tiny_routed(SPACE.restrict(of), DATA, seed=seed).double()
    built.set_costs(CostTable.measure(built.network, tiny_batch(DATA).take(slice(0, 1)).inputs))
    return built


def routes_of(count: int, number: int) -> Tensor:
    return torch.arange(number) % count


def test_each_route_is_the_derived_network_of_its_own_architecture() -> None:
    built = network(GATED)
    batch = tiny_batch(DATA)
    state = built.network.state_dict()
    for number, route in enumerate(GATED.routes()):
        unimodal = tiny_network(SPACE.restrict(route), DATA, seed=1).double()
        unimodal.load_state_dict({name: state[name] for name in unimodal.state_dict()})
        forced = torch.full((len(batch),), number)
        outputs, picked = built.run(batch.inputs, route=forced, execution="routed")
        torch.testing.assert_close(outputs, unimodal(batch.inputs), rtol=0, atol=ROUNDING)
        assert picked is forced


@pytest.mark.parametrize("size", [1, 2, 7, 18])
def test_routed_and_dense_put_out_the_same(size: int) -> None:
    built = network(GATED)
    batch = tiny_batch(DATA).take(slice(0, size))
    route = routes_of(4, size)
    routed, _ = built.run(batch.inputs, route=route, execution="routed")
    dense, _ = built.run(batch.inputs, route=route, execution="dense")
    torch.testing.assert_close(routed, dense, rtol=0, atol=ROUNDING)
    every, _ = built.every_route(batch.inputs)
    torch.testing.assert_close(dense, torch.stack([every[k, i] for i, k in enumerate(route.tolist())]))
    assert len({tuple(row.tolist()) for row in every[:, 0]}) == 4  # or else it would say nothing


def test_a_skipped_encoder_is_not_run() -> None:
    built = network(PAIR)
    batch = tiny_batch(DATA)
    for route, runs in ((torch.zeros(len(batch), dtype=torch.long), 0), (routes_of(2, len(batch)), 1)):
        with counted_calls(built.network) as calls:
            built.run(batch.inputs, route=route, execution="routed")
        assert calls["encoders.audio.stages.0.0"] == runs
        assert calls["encoders.image.stages.1.0"] == 1  # the gate's, and no second time for the routes
        assert calls["nodes.fusion1.additive__image_1__audio_1.maps.1"] == calls["encoders.audio.stages.1.0"]


@pytest.mark.parametrize("execution", ["routed", "dense"])
def test_an_encoder_goes_on_from_the_tap_that_the_gate_has_read(execution: Execution) -> None:
    """The gate reads image@0: the layer before it runs once on all, that after it for the routes that read deeper."""
    built = network(GATED)
    batch = tiny_batch(DATA)
    seen: dict[int, list[int]] = {0: [], 1: []}
    for depth, lengths in seen.items():
        layer = built.network.get_submodule(f"encoders.image.stages.{depth}.0")
        layer.register_forward_pre_hook(lambda _module, arguments, lengths=lengths: lengths.append(len(arguments[0])))
    built.run(batch.inputs, route=routes_of(4, len(batch)), execution=execution)
    assert seen[0] == [18]
    assert seen[1] == ([5, 4] if execution == "routed" else [18])  # of IMAGE and BOTH


class Forgetful(Encoder):
    """Says nothing of how it goes on, so that it begins anew."""

    def __init__(self, inner: Encoder) -> None:
        super().__init__()
        self.inner, self.channels = inner, inner.channels

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        return self.inner(inputs, num_taps)  # type: ignore[no-any-return]


def test_an_encoder_that_begins_anew_pays_anew() -> None:
    built, one = network(GATED), tiny_batch(DATA).take(slice(0, 1)).inputs
    batch, route = tiny_batch(DATA), routes_of(4, 18)
    wanted, _ = built.run(batch.inputs, route=route, execution="routed")
    costs = built.router.costs.clone()
    built.encoders["image"] = Forgetful(built.network.encoder("image"))
    outputs, _ = built.run(batch.inputs, route=route, execution="routed")
    torch.testing.assert_close(outputs, wanted, rtol=0, atol=ROUNDING)
    built.set_costs(CostTable.measure(built.network, one))
    assert (built.router.costs - costs).tolist() == [3 * 5, 0, 0, 3 * 5]  # its first layer, where the route goes deeper
    assert built.router.costs.tolist() == [multiply_adds(Forced(built, number), one) for number in range(4)]


def test_only_the_samples_of_a_route_pass_through_it() -> None:
    built = network(PAIR)
    batch = tiny_batch(DATA)
    seen = []
    audio = built.network.get_submodule("encoders.audio.stages.0.0")
    audio.register_forward_pre_hook(lambda _module, arguments: seen.append(len(arguments[0])))
    route = (torch.arange(len(batch)) < 5).long()
    built.run(batch.inputs, route=route, execution="routed")
    assert seen == [5]


def test_a_modality_that_no_sample_needs_may_be_left_out() -> None:
    built = network(PAIR)
    batch = tiny_batch(DATA)
    route = torch.zeros(len(batch), dtype=torch.long)
    outputs, _ = built.run({"image": batch.inputs["image"]}, route=route, execution="routed")
    assert outputs.shape == (len(batch), 3)


def test_in_evaluation_a_sample_s_route_and_output_are_its_own() -> None:
    built = network(GATED)
    batch = tiny_batch(DATA)
    assert isinstance(built.router, Gate)
    with torch.no_grad():  # a gate that is not trained has a favourite, the same for all
        logits = built.router(built.encode(batch.inputs))
        built.router.output.bias.sub_(logits.mean(dim=0))
    outputs, picked = built.run(batch.inputs)
    assert len(set(picked.tolist())) > 1
    again, same = built.run(batch.inputs)
    assert torch.equal(picked, same)
    assert torch.equal(outputs, again)
    assert torch.equal(built(batch.inputs), outputs)
    for i in range(len(batch)):
        unimodal, own = built.run(batch.take(slice(i, i + 1)).inputs)
        assert own.item() == picked[i].item()
        torch.testing.assert_close(unimodal[0], outputs[i], rtol=0, atol=ROUNDING)


def test_an_absent_modality_is_never_on_the_route() -> None:
    built = network(GATED)
    batch = tiny_batch(DATA)
    there = torch.arange(len(batch)) % 2 == 0
    for name, unimodal in (("audio", 0), ("image", 1)):
        _, picked = built.run(batch.inputs, {name: there})
        assert (picked[~there] == unimodal).all()


class Forced(torch.nn.Module):
    """A dynamic network that sends every sample along one route."""

    def __init__(self, network: RoutedNetwork, number: int) -> None:
        super().__init__()
        self.network, self.number = network, number

    def forward(self, inputs: Inputs) -> Tensor:
        return self.network.run(inputs, route=torch.tensor([self.number]), execution="routed")[0]


def test_costs_of_routes_are_those_that_are_counted() -> None:
    """Whole network, gate included: the flop counter on one sample that is sent along each route."""
    for gated in (GATED, PAIR):
        built = network(gated)
        one = tiny_batch(DATA).take(slice(0, 1)).inputs

        counted = [multiply_adds(Forced(built, number), one) for number in range(len(gated.routes()))]
        assert built.router.costs.tolist() == counted
        unimodal = tiny_network(SPACE.restrict(BOTH), DATA).double()
        assert float(built.router.static_cost) == multiply_adds(unimodal, one)


def test_dense_is_taken_where_routing_saves_less_than_it_costs() -> None:
    built = network(PAIR)
    built.router.costs.copy_(torch.tensor([1e7, 2e7]))
    assert cheaper_execution(built.router, [1, 1]) == "routed"  # saves 1e7, costs two times 3e6
    assert cheaper_execution(built.router, [0, 7]) == "routed"  # nothing to gather
    built.router.costs.copy_(torch.tensor([1e3, 2e3]))
    assert cheaper_execution(built.router, [1, 1]) == "dense"
    assert cheaper_execution(built.router, [10_000, 10_000]) == "routed"
    built.router.costs.zero_()
    assert cheaper_execution(built.router, [1, 1]) == "routed"


def test_a_static_network_is_as_it_was() -> None:
    """No further parameter, no further random number, no gate in JSON."""
    static = tiny_network(SPACE.restrict(BOTH), DATA)
    assert {name.split(".")[0] for name in static.state_dict()} == {"encoders", "adapters", "nodes", "head"}
    assert "gate" not in BOTH.to_dict()
    gated = tiny_network(SPACE.restrict(Architecture.gated([BOTH, SHALLOW], ["image@0"])), DATA)
    shared = static.encoders.state_dict()
    assert all(torch.equal(shared[name], value) for name, value in gated.encoders.state_dict().items())


def test_json_there_and_back_is_the_identity() -> None:
    for one in (GATED, PAIR, BOTH):
        assert Architecture.from_json(one.to_json()) == one
    assert "dynamic" not in BOTH.to_json()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gate": 3}, "garbles"),
        ({"gate": {"reads": "image@0", "routes": PAIR.to_dict()["gate"]["routes"]}}, "reads"),
        ({"gate": {"reads": ["image@0"], "routes": PAIR.to_dict()["gate"]["routes"][:1]}}, "routes"),
        ({"gate": {"reads": ["image@0"], "routes": 2 * PAIR.to_dict()["gate"]["routes"]}}, "differs"),
        ({"gate": {"reads": ["image@0"], "routes": PAIR.to_dict()["gate"]["routes"][::-1]}}, "last route"),
        ({"gate": {"reads": ["image@0"], "routes": [[], []]}}, "garbles"),
        ({"gate": {"reads": ["image"], "routes": PAIR.to_dict()["gate"]["routes"]}}, "garbles tap 'image'"),
    ],
)
def test_a_garbled_gate_is_one_clear_line(change: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Architecture.from_json(json.dumps({**PAIR.to_dict(), **change}))


def test_a_space_refuses_what_it_does_not_offer() -> None:
    with pytest.raises(UserError, match="no encoder offers"):
        SPACE.restrict(Architecture.gated([IMAGE, BOTH], ["image@7"]))
    with pytest.raises(UserError, match="does not offer"):
        SPACE.restrict(Architecture.gated([architecture(NOTHING, Choice("carry", ("image@0",))), BOTH], ["image@0"]))


def test_a_gate_that_reads_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="a gate reads one tap at least"):
        Architecture.gated([IMAGE, BOTH], [])


def test_what_a_dynamic_architecture_reads_is_the_union() -> None:
    assert set(GATED.taps()) == {"image@0", "audio@0", "image@1", "audio@1"}
    assert Architecture.gated([IMAGE, AUDIO], ["audio@0"]).deepest() == {"image": 1, "audio": 1}
    assert SPACE.restrict(GATED).fixed == GATED
    assert SPACE.restrict(BOTH).fixed == BOTH
    assert SPACE.interaction_order(GATED) == 3
    assert SPACE.interaction_order(Architecture.gated([AUDIO, IMAGE], ["image@0"])) == 0
    assert GATED.in_words().startswith("a gate on image@0 picks depth 1: image alone, or depth 1: audio alone, or ")


@pytest.mark.parametrize("shape", [(9, 5), (9, 4, 3), (9, 1, 6, 6), (9, 3, 6, 6)])
@pytest.mark.parametrize("is_last", [False, True])
def test_samples_are_gathered_as_they_lie_in_memory(shape: tuple[int, ...], is_last: bool) -> None:
    tensor = torch.arange(math.prod(shape)).view(shape)
    if is_last and len(shape) == 4:
        tensor = channels_last(tensor)
    rows = torch.tensor([7, 0, 3])
    found = gather(tensor, rows)
    assert torch.equal(found, tensor[rows])
    lies_last = len(shape) == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    assert not lies_last or found.is_contiguous(memory_format=torch.channels_last)
