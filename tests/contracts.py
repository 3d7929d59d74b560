"""Batteries that every implementation of an interface has to pass; a new one joins with one line, or with none.

`OPERATION_CHECKS` take an operation's class and a number of inputs, and run over the whole registry in
`tests/search_spaces/operations/test_contract.py`. `ENCODER_CHECKS` take an encoder and a batch for it, and run over
the table in `tests/encoders/test_contract.py`. `SPACE_CHECKS` take a small space, and run over every registered space
and some that were made by hand in `tests/search_spaces/test_contract.py`.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from nas.data.fusion_data import FusionData, Kind
from nas.encoders import Encoder, ModuleEncoder, from_blueprint
from nas.encoders.base import MAX_TIME
from nas.metrics import sample_losses
from nas.network.cost import CostTable, multiply_adds
from nas.seeding import seeded
from nas.space.architecture import Architecture
from nas.space.operation import Operation
from nas.space.search_space import SearchSpace
from nas.supernet.path_scorer import PathScorer
from nas.supernet.relaxation import softmax
from nas.supernet.supernet import Supernet
from tests.helpers import (
    CPU,
    assert_finite_and_nonzero,
    assert_learns,
    counted_calls,
    random_taps,
    tiny_batch,
    tiny_data,
    tiny_network,
)
from tests.spaces import FORMS, derive

CHANNELS = 4

STRAIGHT_THROUGH = frozenset({"HardGate"})
"""Operations whose gradient is not that of their value, by design; each has its gradient tested in closed form."""

ROUNDING = 1e-12
"""Of float64 values of order one after sums of a few dozen terms, with room to spare."""


def input_counts(operation: type[Operation]) -> list[int]:
    """Two, three and five modalities, or the single one, as far as the operation takes so many."""
    return [n for n in (1, 2, 3, 5) if operation.min_inputs <= n <= (operation.max_inputs or n)]


def times_of(num_inputs: int) -> list[tuple[int, ...]]:
    """Vectors, and sequences of unequal length."""
    return [(1,) * num_inputs, (3, 1, 4, 2, 4)[:num_inputs]]


def make(operation: type[Operation], num_inputs: int, *, seed: int = 0) -> Operation:
    """An operation in float64 and evaluation mode."""
    with seeded(seed):
        return operation(num_inputs, CHANNELS).double().eval()


def check_it_describes_itself(operation: type[Operation], num_inputs: int) -> None:
    assert operation.order in (0, 1, 2, 3)
    assert operation.formula
    assert operation.order == 0 or "{all}" in operation.phrase or "{rest}" in operation.phrase
    assert (operation.__doc__ or "").startswith("y = ")


def check_output_has_the_longest_time(operation: type[Operation], num_inputs: int) -> None:
    for times in times_of(num_inputs):
        output = make(operation, num_inputs)(random_taps(times, CHANNELS))
        assert output.shape == (5, max(times), CHANNELS)


def check_every_parameter_and_input_learns(operation: type[Operation], num_inputs: int) -> None:
    if operation.order == 0:
        assert make(operation, num_inputs).num_parameters() == 0
        return
    for times in times_of(num_inputs):
        built = make(operation, num_inputs).train()
        taps = [tap.requires_grad_() for tap in random_taps(times, CHANNELS, batch=32)]
        output = built(taps)
        (output * torch.randn(output.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        assert_learns(built)
        assert_finite_and_nonzero((f"input {i}", tap.grad) for i, tap in enumerate(taps))


def check_a_sample_does_not_see_its_batch_mates(operation: type[Operation], num_inputs: int) -> None:
    built = make(operation, num_inputs)
    for times in times_of(num_inputs):
        taps = random_taps(times, CHANNELS)
        strangers = random_taps(times, CHANNELS, seed=1)
        among_strangers = [torch.cat([tap[:1], 9 * other[1:]]) for tap, other in zip(taps, strangers, strict=True)]
        output = built(taps)[0]
        torch.testing.assert_close(built([tap[:1] for tap in taps])[0], output, rtol=0, atol=ROUNDING)
        torch.testing.assert_close(built(among_strangers)[0], output, rtol=0, atol=ROUNDING)


def check_it_is_of_its_interaction_order(operation: type[Operation], num_inputs: int) -> None:
    """Order 0 depends on one input at most; the mixed difference is zero up to order 1, and not above."""
    built = make(operation, num_inputs)
    for times in times_of(num_inputs):
        taps, others = random_taps(times, CHANNELS, batch=16), random_taps(times, CHANNELS, batch=16, seed=1)
        if operation.order == 0:
            here = built(taps)
            changed = [not torch.equal(built(_swap(taps, others, i)), here) for i in range(num_inputs)]
            assert sum(changed) <= 1
        for pair in combinations(range(num_inputs), 2):
            mixed = mixed_difference(built, taps, others, *pair).abs().max()
            if operation.order <= 1:
                assert mixed < ROUNDING, f"order {operation.order}, yet inputs {pair} interact: {mixed}"
            else:
                assert mixed > 1e6 * ROUNDING, f"order {operation.order}, yet inputs {pair} do not interact: {mixed}"


def mixed_difference(built: Operation, taps: list[Tensor], others: list[Tensor], i: int, j: int) -> Tensor:
    """f(a,b) − f(a,b') − f(a',b) + f(a',b') in inputs i and j: zero for every additive f."""
    one, two = _swap(taps, others, i), _swap(taps, others, j)
    difference: Tensor = built(taps) - built(one) - built(two) + built(_swap(one, others, j))
    return difference


def _swap(taps: list[Tensor], others: list[Tensor], index: int) -> list[Tensor]:
    return [other if i == index else tap for i, (tap, other) in enumerate(zip(taps, others, strict=True))]


def check_gradients_are_those_of_the_value(operation: type[Operation], num_inputs: int) -> None:
    if operation.__name__ in STRAIGHT_THROUGH or operation.min_inputs == 0:  # a constant has no gradient to check
        return
    built = make(operation, num_inputs)
    names = [name for name, _ in built.named_parameters()]
    for times in times_of(num_inputs):
        taps = [tap.requires_grad_() for tap in random_taps(times, CHANNELS, batch=2)]

        def run(*values: Tensor) -> Tensor:
            parameters = dict(zip(names, values[num_inputs:], strict=True))
            output: Tensor = functional_call(built, parameters, (list(values[:num_inputs]),))
            return output

        # The fast mode compares random projections of the Jacobians: five modalities have thousands of parameters.
        assert torch.autograd.gradcheck(run, (*taps, *built.parameters()), fast_mode=True)


def check_multiply_adds_are_as_counted(operation: type[Operation], num_inputs: int) -> None:
    built = make(operation, num_inputs)
    for times in times_of(num_inputs):
        # Under no_grad the counter's module tracker fails on views of parameters.
        with torch.enable_grad(), FlopCounterMode(display=False) as counter:
            built(random_taps(times, CHANNELS, batch=1))
        assert built.multiply_adds(times) == counter.get_total_flops() / 2


def check_it_refuses_what_it_was_not_built_for(operation: type[Operation], num_inputs: int) -> None:
    name = operation.__name__
    with pytest.raises(ValueError, match=rf"{name} takes {operation.min_inputs} to .* inputs, got"):
        operation(operation.min_inputs - 1, CHANNELS)
    if operation.max_inputs is not None:
        with pytest.raises(ValueError, match=rf"{name} takes .* to {operation.max_inputs} inputs, got"):
            operation(operation.max_inputs + 1, CHANNELS)
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        operation(num_inputs, 0)
    built = make(operation, num_inputs)
    expected = rf"{name} was built for {num_inputs} taps of \(batch, time, {CHANNELS}\), got"
    taps = random_taps((1,) * (num_inputs + 1), CHANNELS)
    for wrong in (taps, taps[: num_inputs - 1], [*taps[: num_inputs - 1], taps[0][..., 1:]], [taps[0][0]] * num_inputs):
        with pytest.raises(ValueError, match=expected):
            built(wrong)


def check_its_state_makes_another_one_equal(operation: type[Operation], num_inputs: int) -> None:
    built, other = make(operation, num_inputs), make(operation, num_inputs, seed=1)
    with torch.no_grad():
        for parameter in other.parameters():  # norms begin alike, whatever the seed
            parameter.add_(torch.rand_like(parameter))
    taps = random_taps((3,) * num_inputs, CHANNELS)
    assert operation.order == 0 or not torch.equal(other(taps), built(taps))
    other.load_state_dict(built.state_dict())
    assert torch.equal(other(taps), built(taps))


def check_it_runs_in_half_precision(operation: type[Operation], num_inputs: int) -> None:
    built = make(operation, num_inputs).float()
    for times in times_of(num_inputs):
        taps = random_taps(times, CHANNELS, batch=64, dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = built(taps).float()
        # bfloat16 keeps 8 bits: errors of a few percent, save for a gate that falls the other way now and then.
        assert (output - built(taps)).abs().median() < 0.05


OPERATION_CHECKS: Sequence[Callable[[type[Operation], int], None]] = (
    check_it_describes_itself,
    check_output_has_the_longest_time,
    check_every_parameter_and_input_learns,
    check_a_sample_does_not_see_its_batch_mates,
    check_it_is_of_its_interaction_order,
    check_gradients_are_those_of_the_value,
    check_multiply_adds_are_as_counted,
    check_it_refuses_what_it_was_not_built_for,
    check_its_state_makes_another_one_equal,
    check_it_runs_in_half_precision,
)


def check_taps_have_the_declared_form(encoder: Encoder, inputs: Sequence[Tensor]) -> None:
    taps = encoder(inputs)
    assert len(taps) == encoder.num_taps == len(encoder.channels)
    for tap, channels in zip(taps, encoder.channels, strict=True):
        batch, time, width = tap.shape
        assert (batch, width) == (len(inputs[0]), channels)
        assert 1 <= time <= MAX_TIME


def check_fewer_taps_are_the_first_ones(encoder: Encoder, inputs: Sequence[Tensor]) -> None:
    whole = encoder(inputs)
    for wanted in range(1, encoder.num_taps + 1):
        taps = encoder(inputs, wanted)
        assert len(taps) == wanted
        assert all(torch.equal(tap, same) for tap, same in zip(taps, whole, strict=False))


def check_fewer_taps_run_fewer_layers(encoder: Encoder, inputs: Sequence[Tensor]) -> None:
    if isinstance(encoder, ModuleEncoder):  # the user's forward runs whole, as it says
        return
    run = []
    for wanted in range(1, encoder.num_taps + 1):
        with counted_calls(encoder) as calls:
            encoder(inputs, wanted)
        assert max(calls.values()) == 1
        run.append(set(calls))
    assert all(fewer < more for fewer, more in pairwise(run))


def check_it_goes_on_where_it_stopped(encoder: Encoder, inputs: Sequence[Tensor]) -> None:
    """With some of the samples, by the taps of the whole, and no layer runs a second time."""
    encoder = copy.deepcopy(encoder).double()
    rows = torch.tensor([7, 2, 2, 5])
    whole = encoder(inputs)
    for first in range(1, encoder.num_taps):
        with counted_calls(encoder) as calls:
            taps, state = encoder.extend(encoder.start(inputs), 0, first)
            later, _ = encoder.extend(tuple(part[rows] for part in state), first)
        assert max(calls.values()) == 1
        for tap, same in zip(taps, whole, strict=False):
            assert torch.equal(tap, same)
        for tap, same in zip(later, whole[first:], strict=True):
            torch.testing.assert_close(tap, same[rows], rtol=0, atol=ROUNDING)


def check_a_sample_of_a_batch_is_alone(encoder: Encoder, inputs: Sequence[Tensor]) -> None:
    encoder = copy.deepcopy(encoder).double()
    mates = [torch.cat([values[:1], values[1:].flip(0)]) for values in inputs]
    for tap, alone, among_others in zip(
        encoder(inputs), encoder([values[:1] for values in inputs]), encoder(mates), strict=True
    ):
        torch.testing.assert_close(alone[0], tap[0], rtol=0, atol=ROUNDING)
        torch.testing.assert_close(among_others[0], tap[0], rtol=0, atol=ROUNDING)


def check_every_trainable_parameter_learns(encoder: Encoder, inputs: Sequence[Tensor]) -> None:
    # In evaluation mode, since in training BatchNorm takes the mean away and with it every bias right before it.
    encoder = copy.deepcopy(encoder).double()
    taps = encoder(inputs)
    if not any(parameter.requires_grad for parameter in encoder.parameters()):
        assert not any(tap.requires_grad for tap in taps)
        return
    generator = torch.Generator().manual_seed(1)
    torch.stack([(tap * torch.randn(tap.shape, generator=generator)).sum() for tap in taps]).sum().backward()
    assert_learns(encoder)


def check_narrow_number_types_give_the_same_taps(encoder: Encoder, inputs: Sequence[Tensor]) -> None:
    whole = [(values.double() * 2).round().clamp(0, 7) for values in inputs]
    tokens = not inputs[0].is_floating_point()
    expected = encoder([values.long() if tokens else values.float() for values in whole])
    for dtype in (torch.uint8, torch.int8, torch.int16, *([] if tokens else [torch.float16])):
        taps = encoder([values.to(dtype) for values in whole])
        assert all(torch.equal(tap, same) for tap, same in zip(taps, expected, strict=True)), dtype


def check_blueprint_and_state_make_another_one_equal(encoder: Encoder, inputs: Sequence[Tensor]) -> None:
    if isinstance(encoder, ModuleEncoder):
        assert encoder.blueprint is None
        return
    again = from_blueprint(json.loads(json.dumps(encoder.blueprint))).eval()
    again.load_state_dict(encoder.state_dict())
    assert again.channels == encoder.channels
    assert again.blueprint == encoder.blueprint
    for tap, same in zip(again(inputs), encoder(inputs), strict=True):
        assert torch.equal(tap, same)


def check_a_copy_stands_alone(encoder: Encoder, inputs: Sequence[Tensor]) -> None:
    before = encoder(inputs)
    twin = copy.deepcopy(encoder)
    assert all(torch.equal(tap, same) for tap, same in zip(twin(inputs), before, strict=True))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert all(torch.equal(tap, same) for tap, same in zip(encoder(inputs), before, strict=True))


ENCODER_CHECKS: Sequence[Callable[[Encoder, Sequence[Tensor]], None]] = (
    check_taps_have_the_declared_form,
    check_fewer_taps_are_the_first_ones,
    check_fewer_taps_run_fewer_layers,
    check_it_goes_on_where_it_stopped,
    check_a_sample_of_a_batch_is_alone,
    check_every_trainable_parameter_learns,
    check_narrow_number_types_give_the_same_taps,
    check_blueprint_and_state_make_another_one_equal,
    check_a_copy_stands_alone,
)


def data_for(space: SearchSpace) -> FusionData:
    """Vectors, whose taps all have one time step; or maps, where one is added into the encoder of another."""
    return tiny_data(dict.fromkeys(space.depths, "map" if space.joins_encoders else "vector"))


def kinds_for(space: SearchSpace) -> Sequence[Sequence[Kind]]:
    """Kinds of the modalities, so that taps have one time step and several; joined encoders are of one kind."""
    kinds: Sequence[tuple[Kind, Kind]] = [("vector", "vector"), ("vector", "sequence")]
    if space.joins_encoders:
        kinds = [("map", "map"), ("sequence", "sequence")]
    return [[first, *[other] * (len(space.depths) - 1)] for first, other in kinds]


def check_the_count_is_that_of_the_enumeration(space: SearchSpace) -> None:
    architectures = list(space.enumerate())
    assert len(set(architectures)) == len(architectures) == space.size()
    for architecture in architectures:
        space.validate(architecture)
        assert space.at(space.index(architecture)) == architecture
        assert Architecture.from_json(architecture.to_json()) == architecture


def check_every_spelling_is_an_architecture_of_the_enumeration(space: SearchSpace) -> None:
    every = set(space.enumerate())
    for index in itertools.product(*(range(len(node.choices)) for node in space.nodes)):
        assert space.at(index) in every
        assert space.at(space.own_spelling(index)) == space.at(index)


def check_words_and_tags_are_unique(space: SearchSpace) -> None:
    architectures = list(space.enumerate())
    assert len({one.in_words() for one in architectures}) == len(architectures)
    assert len({one.in_short() for one in architectures}) == len(architectures)
    for node in space.nodes:
        assert len(set(node.labels())) == len(node.choices)


def check_samples_and_mutations_are_valid(space: SearchSpace) -> None:
    generator = random.Random(0)
    for _ in range(30):
        architecture = space.sample(generator)
        mutated = space.mutate(architecture, generator)
        assert mutated != architecture
        for one in (architecture, mutated):
            space.validate(one)
            assert space.at(space.index(one)) == one


def check_a_one_hot_supernet_is_the_derived_network(space: SearchSpace) -> None:
    data = data_for(space)
    supernet, batch = tiny_network(space, data).double(), tiny_batch(data)
    answers = {one: derive(supernet, data, one)(batch.inputs) for one in space.enumerate()}
    for index in itertools.product(*(range(len(node.choices)) for node in space.nodes)):
        forms = {form: supernet(batch.inputs, None, make(space, index, len(batch))) for form, make in FORMS.items()}
        expected = forms["index"]
        if index == space.own_spelling(index):  # others make the same network of other weights
            torch.testing.assert_close(expected, answers[space.at(index)], rtol=0, atol=ROUNDING)
        for form, found in forms.items():
            message = f"{form}: {index}, {space.at(index).in_words()}"
            torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING, msg=message)
    assert len({answer.sum().item() for answer in answers.values()}) == len(answers)  # no two are one network


def check_costs_are_as_counted(space: SearchSpace) -> None:
    for kinds in kinds_for(space):
        data = tiny_data(dict(zip(space.depths, kinds, strict=True)))
        sample = tiny_batch(data).take(slice(0, 1))
        table = CostTable.measure(tiny_network(space, data), sample.inputs)
        for architecture in space.enumerate():
            network = tiny_network(space.restrict(architecture), data)
            assert table.total(architecture) == multiply_adds(network, sample.inputs), architecture.in_words()
            assert CostTable.measure(network, sample.inputs).total(architecture) == table.total(architecture)


def check_paths_are_scored_as_the_derived_networks_are(space: SearchSpace) -> None:
    """Also by the general way where there is a faster one."""
    data = tiny_data(dict(zip(space.depths, kinds_for(space)[-1], strict=True)))
    network, batch = tiny_network(space, data), tiny_batch(data, "architecture")
    scorer, rows = PathScorer(network, "classification", batch, CPU), np.array(list(space.indices()))
    scale, targets = network.head.scale, batch.targets
    found = scorer.losses(rows)
    for row, outputs, losses in zip(rows, scorer.run(rows), found, strict=True):
        with torch.no_grad():
            expected = derive(network, data, space.at(row.tolist())).float()(batch.inputs)
        # The same float32 numbers, summed in another order.
        torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            losses, sample_losses("classification", expected, targets, scale), rtol=1e-4, atol=1e-5
        )


def check_every_choice_learns_in_a_mixture(space: SearchSpace) -> None:
    data = data_for(space)
    supernet, batch = Supernet(tiny_network(space, data).double()).train(), tiny_batch(data)
    sample_losses(
        "classification", supernet.network(batch.inputs, None, softmax(supernet.logits())), batch.targets
    ).sum().backward()
    free = {node.name for node in space.nodes if len(node.choices) > 1}
    assert_finite_and_nonzero((name, logits.grad) for name, logits in supernet.arch_logits.items() if name in free)
    nodes = supernet.network.nodes.named_parameters()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for _, parameter in nodes)


SPACE_CHECKS: Sequence[Callable[[SearchSpace], None]] = (
    check_the_count_is_that_of_the_enumeration,
    check_every_spelling_is_an_architecture_of_the_enumeration,
    check_words_and_tags_are_unique,
    check_samples_and_mutations_are_valid,
    check_a_one_hot_supernet_is_the_derived_network,
    check_costs_are_as_counted,
    check_paths_are_scored_as_the_derived_networks_are,
    check_every_choice_learns_in_a_mixture,
)
