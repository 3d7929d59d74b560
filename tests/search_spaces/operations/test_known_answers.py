"""Every formula against an answer worked by hand, with weights set to small known numbers.

Unless said otherwise there are two channels, one sample, one time step, and x1 = [1, 2], x2 = [3, 4].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.space.operation import Operation, match_time
from search_spaces.operations import OPERATIONS
from search_spaces.operations.attention import Attention
from search_spaces.operations.shared_transformer import fourier_code
from search_spaces.operations.tensor import MAX_FEATURES
from tests.helpers import random_taps

X1, X2 = [1.0, 2.0], [3.0, 4.0]
ONE = [[1.0, 0.0], [0.0, 1.0]]
TWO = [[2.0, 0.0], [0.0, 2.0]]
ZERO = [[0.0, 0.0], [0.0, 0.0]]


def build(name: str, values: Mapping[str, Any], *, num_inputs: int = 2, channels: int = 2) -> Operation:
    """An operation in float64 with every parameter zero but those given by name."""
    operation = OPERATIONS[name](num_inputs, channels).double()
    with torch.no_grad():
        parameters = dict(operation.named_parameters())
        for parameter in parameters.values():
            parameter.zero_()
        for key, value in values.items():
            parameters[key].copy_(torch.tensor(value, dtype=torch.float64).expand_as(parameters[key]))
    return operation


def answer(operation: Operation, *taps: Sequence[float]) -> list[float]:
    """The output for one sample and one time step."""
    output: Tensor = operation([torch.tensor(tap, dtype=torch.float64)[None, None] for tap in taps])
    assert output.shape == (1, 1, operation.channels)
    values: list[float] = output.flatten().tolist()
    return values


def close(expected: Sequence[float]) -> Any:
    """Equal up to float64 rounding."""
    return pytest.approx(expected, rel=0, abs=1e-12)


def test_none_is_zero() -> None:
    assert answer(build("none", {}), X1, X2) == [0, 0]


def test_none_has_no_shape_without_taps() -> None:
    with pytest.raises(ValueError, match="give it at least one tap"):
        OPERATIONS["none"](0, 2)([])


def test_carry_is_its_input() -> None:
    assert answer(build("carry", {}, num_inputs=1), X1) == X1


def test_additive_sums_linear_maps() -> None:
    operation = build("additive", {"maps.0.weight": ONE, "maps.1.weight": TWO, "bias": [0.5, -0.5]})
    assert answer(operation, X1, X2) == close([1 + 6 + 0.5, 2 + 8 - 0.5])


def test_multiplicative_multiplies_linear_maps() -> None:
    operation = build("multiplicative", {"maps.0.weight": ONE, "maps.1.weight": TWO})
    assert answer(operation, X1, X2) == close([1 * 6, 2 * 8])


def test_multiplicative_has_no_term_of_one_modality_alone() -> None:
    for taps in random_taps((1, 2, 3), 4), random_taps((1, 1, 1), 4):
        for silent in range(3):
            given = [tap * (i != silent) for i, tap in enumerate(taps)]
            assert (OPERATIONS["multiplicative"](3, 4).double()(given) == 0).all()


def test_additive_multiplicative_is_the_sum_of_both() -> None:
    operation = build(
        "additive_multiplicative",
        {
            "additive.maps.0.weight": ONE,
            "additive.maps.1.weight": TWO,
            "additive.bias": [0.5, -0.5],
            "multiplicative.maps.0.weight": ONE,
            "multiplicative.maps.1.weight": ONE,
        },
    )
    assert answer(operation, X1, X2) == close([7.5 + 1 * 3, 9.5 + 2 * 4])


def test_bilinear_weighs_all_products_of_a_pair() -> None:
    # The products x1 ⊗ x2 are 1·3, 1·4, 2·3, 2·4 in this order; on top come 2 x1 and b.
    operation = build(
        "bilinear",
        {
            "narrow.0.weight": ONE,
            "narrow.1.weight": ONE,
            "forms.weight": [[1, 10, 0, 0], [0, 0, 100, 1]],
            "additive.maps.0.weight": TWO,
            "additive.bias": [0.5, 0],
        },
    )
    assert answer(operation, X1, X2) == close([3 + 40 + 2 + 0.5, 600 + 8 + 4])


def test_bilinear_lets_three_meet_in_pairs_only() -> None:
    # One channel: x1 x2 + 10 x1 x3 + 100 x2 x3 at (2, 3, 5); a product of all three would add to it.
    narrow = {f"narrow.{i}.weight": [[1.0]] for i in range(3)}
    operation = build("bilinear", {**narrow, "forms.weight": [[1, 10, 100]]}, num_inputs=3, channels=1)
    assert answer(operation, [2], [3], [5]) == close([6 + 100 + 1500])


def test_tensor_forms_every_product_once() -> None:
    operation = build(
        "tensor",
        {"narrow.0.weight": ONE, "narrow.1.weight": ONE, "combine.weight": 1.0, "combine.bias": [0.5, -0.5]},
    )
    seen: list[Tensor] = []
    combine = operation.get_submodule("combine")
    combine.register_forward_pre_hook(lambda _module, arguments: seen.append(arguments[0]))
    # All weights one: (1 + 1 + 2) · (1 + 3 + 4), the product of the sums.
    assert answer(operation, X1, X2) == close([32.5, 31.5])
    expected = np.outer([1, *X1], [1, *X2]).ravel()
    assert sorted(seen[0].flatten().tolist()) == close(sorted(expected.tolist()))


@pytest.mark.parametrize(("num_inputs", "width"), [(2, 15), (3, 9), (4, 4), (5, 3), (6, 2), (7, 1), (10, 1)])
def test_tensor_never_forms_more_than_1024_features(num_inputs: int, width: int) -> None:
    # The widest d with (d + 1)^n ≤ 1024, at most 15.
    combine = OPERATIONS["tensor"](num_inputs, 48).get_submodule("combine")
    assert isinstance(combine, nn.Linear)
    assert combine.in_features == (width + 1) ** num_inputs <= MAX_FEATURES


def test_tensor_refuses_eleven_inputs() -> None:
    with pytest.raises(ValueError, match="TensorFusion takes 2 to 10 inputs, got 11"):
        OPERATIONS["tensor"](11, 48)


def test_low_rank_sums_products_of_factors() -> None:
    # Rank r has F1r [1; x1] = r x1 and F2r [1; x2] = x2 + 1; weighed by 1, 0, 0, 1/2 they make (1 + 4/2) x1 ⊙ (x2 + 1).
    operation = build(
        "low_rank",
        {
            "factors.0.weight": np.concatenate([r * np.eye(2) for r in (1, 2, 3, 4)]).tolist(),
            "factors.1.weight": ONE * 4,
            "factors.1.bias": 1.0,
            "rank_weights": [1, 0, 0, 0.5],
            "bias": [0.5, -0.5],
        },
    )
    assert answer(operation, X1, X2) == close([3 * 1 * 4 + 0.5, 3 * 2 * 5 - 0.5])


def test_low_rank_equals_the_tensor_that_it_factors() -> None:
    # Liu et al. 2018, Eqs. 4 to 6: the tensor Σ_r w_r F1r ⊗ F2r applied to [1; x1] ⊗ [1; x2].
    operation = OPERATIONS["low_rank"](2, 3).double()
    parameters = {name: value.detach().numpy() for name, value in operation.named_parameters()}
    first, second = (
        np.concatenate([parameters[f"factors.{i}.bias"][:, None], parameters[f"factors.{i}.weight"]], axis=1).reshape(
            4, 3, 4
        )
        for i in (0, 1)
    )
    whole = np.einsum("r,rci,rcj->cij", parameters["rank_weights"], first, second)
    x1, x2 = [0.3, -1.0, 2.0], [1.5, 0.2, -0.7]
    expected = np.einsum("cij,i,j->c", whole, [1, *x1], [1, *x2]) + parameters["bias"]
    assert answer(operation, x1, x2) == close(expected.tolist())


def test_soft_gate_weighs_every_channel_of_every_modality() -> None:
    # Gate logits: x1 channel 0 reads log 3 / 3 · x2[0] = log 3, so σ = 3/4; x2 channel 1 has the bias −log 3, so 1/4.
    # The others are 0, so 1/2. Values are x1 and 2 x2 + 1 = [7, 9].
    weight = np.zeros((4, 4))
    weight[0, 2] = math.log(3) / 3
    operation = build(
        "soft_gate",
        {
            "values.0.weight": ONE,
            "values.1.weight": TWO,
            "values.1.bias": 1.0,
            "gate.weight": weight.tolist(),
            "gate.bias": [0, 0, 0, -math.log(3)],
        },
    )
    assert answer(operation, X1, X2) == close([0.75 * 1 + 0.5 * 7, 0.5 * 2 + 0.25 * 9])


def test_modality_gate_weighs_every_modality_as_a_whole() -> None:
    # Gate logits: x1 reads log 3 / 3 · x2[0], where x2[0] is 3 at one time step and −3 at the other, so 0 in the mean,
    # and has the bias log 3, so 3/4; x2 has −log 3, so 1/4. Values are x1 and 2 x2 + 1 = [[7, 9], [−5, 9]].
    operation = build(
        "modality_gate",
        {
            "values.0.weight": ONE,
            "values.1.weight": TWO,
            "values.1.bias": 1.0,
            "gate.weight": [[0, 0, math.log(3) / 3, 0], [0, 0, 0, 0]],
            "gate.bias": [math.log(3), -math.log(3)],
        },
    )
    one, other = ([[1.0, 2.0]], [[3.0, 4.0], [-3.0, 4.0]])
    output = operation([torch.tensor([tap], dtype=torch.float64) for tap in (one, other)])
    expected = [0.75 * 1 + 0.25 * 7, 0.75 * 2 + 0.25 * 9, 0.75 * 1 - 0.25 * 5, 0.75 * 2 + 0.25 * 9]
    assert output.flatten().tolist() == close(expected)


def test_hard_gate_lets_one_modality_through() -> None:
    # Gate logits x1[0] and x2[0]; values x1 and 2 x2 + 1.
    operation = build(
        "hard_gate",
        {
            "values.0.weight": ONE,
            "values.1.weight": TWO,
            "values.1.bias": 1.0,
            "gate.weight": [[1, 0, 0, 0], [0, 0, 1, 0]],
        },
    )
    assert answer(operation, X1, X2) == [7, 9]  # 3 > 1
    assert answer(operation, [5, 2], X2) == [5, 2]  # 5 > 3


@pytest.mark.parametrize("times", [(1, 1, 1), (3, 1, 2)])
def test_hard_gate_has_the_straight_through_gradient(times: tuple[int, int, int]) -> None:
    """dL/dlogit_j = p_j (s_j − Σ_i p_i s_i), s_i = <dL/dy, v_i>, p the softmax of the logits; and dL/dv_i = h_i dL/dy.

    The gate is linear in the taps at their common time, so that dL/dG is the sum of dL/dlogit ⊗ [x1; x2; x3].
    """
    operation = OPERATIONS["hard_gate"](3, 4).double()
    taps = random_taps(times, 4, batch=8)
    seen: dict[str, np.ndarray] = {}
    gate = operation.get_submodule("gate")
    gate.register_forward_hook(
        lambda _module, arguments, output: seen.update(joined=arguments[0].numpy(), logits=output.detach().numpy())
    )
    output = operation(taps)
    upstream = torch.randn(output.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (output * upstream).sum().backward()

    with torch.no_grad():
        values, _ = operation.values_and_logits(taps)  # type: ignore[operator]
    probabilities = np.exp(seen["logits"]) / np.exp(seen["logits"]).sum(axis=-1, keepdims=True)
    scores = np.einsum("btc,btic->bti", upstream.numpy(), values.numpy())
    slopes = probabilities * (scores - (probabilities * scores).sum(axis=-1, keepdims=True))
    assert isinstance(gate, nn.Linear)
    assert gate.weight.grad is not None
    np.testing.assert_allclose(
        gate.weight.grad.numpy(), np.einsum("bti,btk->ik", slopes, seen["joined"]), rtol=0, atol=1e-12
    )
    chosen = np.eye(3)[seen["logits"].argmax(axis=-1)]
    for i in range(3):
        bias_gradient = operation.get_parameter(f"values.{i}.bias").grad
        assert bias_gradient is not None
        expected = np.einsum("bt,btc->c", chosen[..., i], upstream.numpy())
        np.testing.assert_allclose(bias_gradient.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("secondary", "moved"),
    [
        # Gate ReLU([x2[0] − x1[1], 1, −1]) = [1, 1, 0] and W = I, so H = [4, 0, 0], shorter than x1: s = 1.
        ([4.0, 0.0, 9.0], [2 + 4, 3, 6]),
        # The same gate and H = [4, 7.5, 0] of length 8.5: s = 7 / 8.5.
        ([4.0, 7.5, 9.0], [2 + 4 * 7 / 8.5, 3 + 7.5 * 7 / 8.5, 6]),
        # x2[0] below x1[1] = 3 closes the first gate: H = [0, 14, 0], s = 7 / 14.
        ([1.0, 14.0, 9.0], [2, 3 + 7, 6]),
    ],
)
def test_modality_shift_moves_the_primary_by_no_more_than_its_length(
    secondary: list[float], moved: list[float]
) -> None:
    # x1 = [2, 3, 6] has length 7. The gate reads [x2; x1]. Norm weight 2, bias 1.
    operation = build(
        "modality_shift",
        {
            "gates.0.weight": [[1, 0, 0, 0, -1, 0], [0] * 6, [0] * 6],
            "gates.0.bias": [0, 1, -1],
            "values.0.weight": np.eye(3).tolist(),
            "norm.weight": 2.0,
            "norm.bias": 1.0,
        },
        channels=3,
    )
    mean = sum(moved) / 3
    deviation = math.sqrt(sum((value - mean) ** 2 for value in moved) / 3 + 1e-5)  # 1e-5 is LayerNorm's
    # The lengths' own 1e-12 under the root shows at 1e-12 of their size.
    expected = pytest.approx([2 * (value - mean) / deviation + 1 for value in moved], abs=1e-10)
    assert answer(operation, [2, 3, 6], secondary) == expected


def test_modality_shift_stays_finite_where_nothing_moves_or_nothing_is_there() -> None:
    operation = OPERATIONS["modality_shift"](2, 4)
    for primary, secondary in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0)):
        taps = [torch.full((2, 1, 4), value).requires_grad_() for value in (primary, secondary)]
        with torch.no_grad():
            operation.get_parameter("values.0.bias").zero_()
        output = operation(taps)
        output.square().sum().backward()
        assert output.isfinite().all()
        assert all(tap.grad is not None and tap.grad.isfinite().all() for tap in taps)


def test_mlp_is_a_hidden_layer_on_the_concatenation() -> None:
    # GELU(x) = x Φ(x); the hidden layer is [x1; x2] + [0, 0, 0, −4], so its last unit is GELU(0) = 0.
    operation = build(
        "mlp",
        {
            "hidden.weight": np.eye(4).tolist(),
            "hidden.bias": [0, 0, 0, -4],
            "output.weight": [[1, 1, 0, 0], [0, 0, 1, 1]],
            "output.bias": [0.5, -0.5],
        },
    )
    gelu = {x: x * NormalDist().cdf(x) for x in (1.0, 2.0, 3.0)}
    assert answer(operation, X1, X2) == close([gelu[1] + gelu[2] + 0.5, gelu[3] - 0.5])


def test_cross_attention_reads_the_others_or_rests() -> None:
    """Scores are log 3 / 2 times a key's first channel (query [√2, 0], scaled by 1/√2), values are the keys themselves.

    x1 asks x2 = [3, 4] and rest = [5, 0]: scores differ by log 3, weights 1/4 and 3/4, read [4.5, 1].
    x2 asks x1 = [1, 2] and rest: scores differ by 2 log 3, weights 1/10 and 9/10, read [4.6, 0.2].
    The sum is [1, 2] + [4.5, 1] + [3, 4] + [4.6, 0.2] = [13.1, 7.2]; the output map doubles it and adds [1, 0].
    """
    operation = build(
        "cross_attention",
        {
            "attention.query.bias": [math.sqrt(2), 0],
            "attention.key.weight": [[math.log(3) / 2, 0], [0, 0]],
            "attention.value.weight": ONE,
            "rest": [5, 0],
            "output.weight": TWO,
            "output.bias": [1, 0],
        },
    )
    assert answer(operation, X1, X2) == close([27.2, 14.4])


def test_attention_is_that_of_torch() -> None:
    """Four heads of two channels, against `nn.MultiheadAttention` with the same projections and no output map."""
    ours = Attention(8).double()
    theirs = nn.MultiheadAttention(8, 4, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.zeros(8), ours.value.bias]))
        theirs.out_proj.weight.copy_(torch.eye(8))
        theirs.out_proj.bias.zero_()
    asking, asked = random_taps((3, 5), 8)
    expected, _ = theirs(asking, asked, asked)
    torch.testing.assert_close(ours(asking, asked), expected, rtol=0, atol=1e-12)


def test_bottleneck_modalities_meet_in_the_tokens() -> None:
    """All attention is uniform, all values are what is asked; x1 = [3, 13], x2 = [8, 3], tokens sum to [2, 2].

    Gathering: ([3, 13] + [2, 2]) / 5 = [1, 3] and ([8, 3] + [2, 2]) / 5 = [2, 1], of mean [1.5, 2].
    Spreading: every modality reads the mean of the shared tokens, [0.5, 0.5] + [1.5, 2] = [2, 2.5].
    The sum is [3, 13] + [8, 3] + 2 · [2, 2.5] = [15, 21]; the output map doubles the second and adds [0, 1].
    """
    operation = build(
        "bottleneck",
        {
            "tokens": [[1, 0], [0, 1], [1, 0], [0, 1]],
            "gather.value.weight": ONE,
            "spread.value.weight": ONE,
            "output.weight": [[1, 0], [0, 2]],
            "output.bias": [0, 1],
        },
    )
    assert answer(operation, [3, 13], [8, 3]) == close([15, 43])


@pytest.mark.parametrize("times", [(1, 1), (2, 3), (4, 1, 2)])
def test_single_stream_is_a_transformer_layer_of_torch_over_all_tokens(times: tuple[int, ...]) -> None:
    """Eight channels, four heads; then every modality's own tokens are brought to the longest time and averaged."""
    ours = OPERATIONS["single_stream"](len(times), 8).double()
    with torch.no_grad():  # norms of their own, as after training
        for number, name in enumerate(("before_attention", "before_hidden", "norm")):
            for parameter in ours.get_submodule(name).parameters():
                parameter.add_(torch.linspace(-0.5, 0.5 + number, 8))
    theirs = nn.TransformerEncoderLayer(8, 4, 16, 0.0, "gelu", batch_first=True, norm_first=True).double()
    part = {name: ours.get_parameter(name) for name, _ in ours.named_parameters()}
    layers = [f"attention.{name}.weight" for name in ("query", "key", "value")]
    biases = [part["attention.query.bias"], torch.zeros(8), part["attention.value.bias"]]
    theirs.load_state_dict(
        {
            "self_attn.in_proj_weight": torch.cat([part[name] for name in layers]),
            "self_attn.in_proj_bias": torch.cat(biases),
            **{
                f"{torch_name}.{kind}": part[f"{name}.{kind}"]
                for torch_name, name in (
                    ("self_attn.out_proj", "attended"),
                    ("linear1", "hidden"),
                    ("linear2", "output"),
                    ("norm1", "before_attention"),
                    ("norm2", "before_hidden"),
                )
                for kind in ("weight", "bias")
            },
        }
    )
    taps = random_taps(times, 8)
    tokens = theirs(torch.cat([tap + code for tap, code in zip(taps, part["codes"], strict=True)], dim=1))
    apart = ours.get_submodule("norm")(tokens).split(list(times), dim=1)
    expected = sum(match_time(one, max(times)) for one in apart) / len(times)
    torch.testing.assert_close(ours(taps), expected, rtol=0, atol=1e-12)


def test_single_stream_tells_modalities_apart_by_their_codes_alone() -> None:
    operation = OPERATIONS["single_stream"](2, 8).double()
    one, other = random_taps((3, 3), 8)
    assert not torch.allclose(operation([one, other]), operation([other, one]))
    with torch.no_grad():
        operation.get_parameter("codes").fill_(1.0)
    torch.testing.assert_close(operation([one, other]), operation([other, one]), rtol=0, atol=1e-12)


def test_shared_transformer_averages_what_the_latents_of_each_modality_read() -> None:
    """All attention is uniform, so that a block adds the mean of what it asks, once normed, to each token.

    Layers are zero but for values and output maps, and codes of modalities are zero. Latents are [1, 3] twice and
    [3, 1] twice, normed to ±[−1, 1], which cancel. x1 has the code [sin, cos](−π/2) = [−1, 0], so that it is [0, 4],
    normed [−1, 1]; x2 is [5, 0], normed [1, −1]. With five keys, latents of the first move by [−1, 1] / 5 and those
    of the second by [1, −1] / 5; that makes them [0.8, 3.2], [2.8, 1.2] and [1.2, 2.8], [3.2, 0.8], still normed to
    ±[−1, 1], so that nothing is exchanged. The mean is [2, 2] for both; the output map doubles the second channel and
    adds [0, 1].
    """
    operation = build(
        "shared_transformer",
        {
            "latents": [[1, 3], [1, 3], [3, 1], [3, 1]],
            **{f"{block}.norm_asked.weight": 1.0 for block in ("read", "exchange")},
            **{f"{block}.norm_asking.weight": 1.0 for block in ("read", "exchange")},
            **{f"{block}.attention.value.weight": ONE for block in ("read", "exchange")},
            **{f"{block}.attended.weight": ONE for block in ("read", "exchange")},
            "output.weight": [[1, 0], [0, 2]],
            "output.bias": [0, 1],
        },
    )
    read: list[Tensor] = []
    operation.get_submodule("read").register_forward_hook(lambda _module, _arguments, output: read.append(output))
    operation.get_buffer("codes").zero_()
    near = partial(pytest.approx, abs=1e-5)  # LayerNorm's epsilon is 1e-5
    assert answer(operation, [1, 4], [6, 0]) == near([2, 5])
    assert read[0].flatten().tolist() == near([0.8, 3.2, 0.8, 3.2, 2.8, 1.2, 2.8, 1.2])


def test_codes_of_time_steps_and_of_modalities_all_differ() -> None:
    taps = torch.zeros(1, 12, 6)
    places = fourier_code(taps)
    # At the first step, the angles are −π/2, −π and −3π/2.
    torch.testing.assert_close(places[0], torch.tensor([-1.0, 0, 0, -1, 1, 0]), rtol=0, atol=1e-6)
    codes = OPERATIONS["shared_transformer"](6, 6).get_buffer("codes")
    for some in (places, codes):
        assert (torch.cdist(some, some) + 10 * torch.eye(len(some)) > 0.3).all()


@pytest.mark.parametrize(("name", "growth"), [("shared_transformer", 0), ("single_stream", 48), ("cross_attention", 0)])
def test_transformers_grow_by_their_modality_codes_at_most(name: str, growth: int) -> None:
    two, three, six = (OPERATIONS[name](count, 48).num_parameters() for count in (2, 3, 6))
    assert (three - two, six - two) == (growth, 4 * growth)


def test_mlp_block_adds_a_small_network_of_the_normed_input() -> None:
    # LN([1, 3]) is [−1, 1] but for its epsilon, which the weights 2 and a bias of 1 make [−1, 3]; GELU(x) = x Φ(x).
    operation = build(
        "mlp_block",
        {
            "norm.weight": 2.0,
            "norm.bias": 1.0,
            "hidden.weight": [*ONE, *ZERO],
            "hidden.bias": [0, 0, 1, 0],
            "output.weight": [[1, 0, 0, 0], [0, 1, 1, 0]],
            "output.bias": [0.5, -0.5],
        },
        num_inputs=1,
    )
    gelu = {x: x * NormalDist().cdf(x) for x in (-1.0, 1.0, 3.0)}
    expected = [1 + gelu[-1] + 0.5, 3 + gelu[3] + gelu[1] - 0.5]
    assert answer(operation, [1, 3]) == pytest.approx(expected, abs=2e-5)  # LayerNorm's epsilon is 1e-5


@pytest.mark.parametrize("time", [1, 5])
def test_attention_block_is_a_transformer_layer_of_torch_beside_a_step_to_rest_on(time: int) -> None:
    """What torch's layer makes of the steps of a sequence whose last one, once normed, is the learned rest."""
    ours = OPERATIONS["attention_block"](1, 8).double()
    rest = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        ours.get_parameter("rest").copy_(ours.get_submodule("norm")(rest))
    theirs = nn.TransformerEncoderLayer(8, 4, 16, 0.0, "gelu", batch_first=True, norm_first=True).double()
    part = {name: ours.get_parameter(name) for name, _ in ours.named_parameters()}
    renamed = {
        "self_attn.out_proj": "attended",
        "linear1": "feed_forward.hidden",
        "linear2": "feed_forward.output",
        "norm1": "norm",
        "norm2": "feed_forward.norm",
    }
    projections: list[Tensor] = [part[f"attention.{name}.weight"] for name in ("query", "key", "value")]
    biases = [part["attention.query.bias"], torch.zeros(8), part["attention.value.bias"]]
    theirs.load_state_dict(
        {
            "self_attn.in_proj_weight": torch.cat(projections),
            "self_attn.in_proj_bias": torch.cat(biases),
            **{f"{to}.{kind}": part[f"{own}.{kind}"] for to, own in renamed.items() for kind in ("weight", "bias")},
        }
    )
    (tap,) = random_taps((time,), 8)
    beside = theirs(torch.cat([tap, rest.expand(5, 1, 8)], dim=1))[:, :time]
    torch.testing.assert_close(ours([tap]), beside, rtol=0, atol=1e-12)


def test_projection_is_a_linear_map() -> None:
    assert answer(build("projection", {"maps.0.weight": TWO, "bias": [0.5, 0]}, num_inputs=1), X1) == close([2.5, 4])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("concat_relu", [1 + 3 + 0.5, 0.0]),
        ("concat_sigmoid", [1 / (1 + math.exp(-4.5)), 1 / (1 + math.exp(6))]),
    ],
)
def test_one_layer_reads_the_concatenation(name: str, expected: list[float]) -> None:
    # W [x1; x2] + b = [1 + 3 + 0.5, −2 − 4].
    weight = [[1, 0, 1, 0], [0, -1, 0, -1]]
    assert answer(build(name, {"linear.weight": weight, "linear.bias": [0.5, 0]}), X1, X2) == close(expected)


def test_linear_glu_gates_one_half_by_the_other() -> None:
    # Values [x1 + x2], gates of logits log 3 · [1, −1].
    weight = [[1, 0, 1, 0], [0, 1, 0, 1], [math.log(3), 0, 0, 0], [-math.log(3), 0, 0, 0]]
    assert answer(build("linear_glu", {"linear.weight": weight}), X1, X2) == close([4 * 0.75, 6 * 0.25])


def test_dot_attention_asks_the_other_or_itself() -> None:
    # x1 = √2 [log 3, 0] asks x2 = [0, 2]: scores 0 and √2 (log 3)², so that y = LN of a mean of both.
    one, other = [math.sqrt(2) * math.log(3), 0], [0.0, 2.0]
    weight = 1 / (1 + math.exp(-math.sqrt(2) * math.log(3) ** 2))
    read = [weight * one[0], (1 - weight) * 2]
    operation = build("dot_attention", {"norm.weight": 2.0, "norm.bias": 1.0})
    half = (read[0] - read[1]) / 2
    normed = half / math.sqrt(half**2 + 1e-5)  # 1e-5 is LayerNorm's
    assert answer(operation, one, other) == close([1 + 2 * normed, 1 - 2 * normed])


def test_glu_block_adds_a_gated_layer_of_the_normed_input() -> None:
    # LN([1, 3]) is ±[−1, 1] but for its epsilon; values are twice that, gates of logits log 3 · [1, −1].
    operation = build(
        "glu_block",
        {
            "norm.weight": 1.0,
            "linear.weight": [[2, 0], [0, 2], [-math.log(3), 0], [0, -math.log(3)]],
        },
        num_inputs=1,
    )
    assert answer(operation, [1, 3]) == pytest.approx([1 - 2 * 0.75, 3 + 2 * 0.25], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("convolution_block", {"convolution.weight": [[[1, 2, 4], [0, 0, 0]], [[0, 0, 0], [1, 2, 4]]]}),
        (
            "separable_convolution_block",
            {"over_time.weight": [[[1, 2, 4]], [[1, 2, 4]]], "over_channels.weight": [[[1], [0]], [[0], [1]]]},
        ),
    ],
)
def test_convolutions_read_the_steps_beside(name: str, weights: dict[str, Any]) -> None:
    # Three steps, normed to ±[−1, 1] each: signs + + −. The kernel weighs before, now and after by 1, 2 and 4.
    operation = build(name, {"norm.weight": 1.0, **weights}, num_inputs=1)
    tap = torch.tensor([[[1.0, 3.0], [1.0, 3.0], [3.0, 1.0]]], dtype=torch.float64)
    second = torch.tensor([2 + 4, 1 + 2 - 4, 1 - 2], dtype=torch.float64)
    moved = torch.stack([-second, second], dim=1)
    expected = tap[0] + nn.functional.gelu(moved)
    torch.testing.assert_close(operation([tap])[0], expected, rtol=0, atol=2e-4)  # LayerNorm's epsilon is 1e-5


# Counted by hand for three inputs, or as many as there may be, of four channels: square maps have 16 weights.
PARAMETERS = {
    "none": 0,
    "carry": 0,
    "additive": 3 * 16 + 4,
    "multiplicative": 3 * 16,
    "additive_multiplicative": 52 + 48,
    "bilinear": 3 * 16 + 3 * 16 * 4 + 52,  # three maps to width 4, three pairs of 4 × 4 products
    "tensor": 3 * 16 + 5**3 * 4 + 4,
    "low_rank": 3 * (4 * 16 + 4 * 4) + 4 + 4,
    "soft_gate": 3 * 20 + 12 * 12 + 12,
    "hard_gate": 3 * 20 + 12 * 3 + 3,
    "modality_shift": 2 * (8 * 4 + 4) + 2 * 20 + 8,
    "mlp": 12 * 8 + 8 + 8 * 4 + 4,
    "cross_attention": 20 + 16 + 20 + 4 + 20,  # query, key without bias, value, rest, output
    "bottleneck": 2 * (20 + 16 + 20) + 4 * 4 + 20,
    # Codes, attention and its output map, two layers with eight hidden units, three norms.
    "single_stream": 3 * 4 + (20 + 16 + 20 + 20) + (4 * 8 + 8 + 8 * 4 + 4) + 3 * 8,
    # Latents, two blocks of three norms, attention, its output map and two layers, and the output map.
    "shared_transformer": 4 * 4 + 2 * (3 * 8 + (20 + 16 + 20) + 20 + 76) + 20,
    "modality_gate": 3 * 20 + 12 * 3 + 3,
    "mlp_block": 8 + (4 * 8 + 8 + 8 * 4 + 4),
    "glu_block": 8 + 4 * 8 + 8,
    "convolution_block": 8 + 3 * 16 + 4,
    "separable_convolution_block": 8 + 3 * 4 + 20,
    "projection": 20,
    "concat_relu": 3 * 16 + 4,
    "concat_sigmoid": 3 * 16 + 4,
    "linear_glu": 2 * (3 * 16 + 4),
    "dot_attention": 8,
    "attention_block": 8 + (20 + 16 + 20) + 4 + 20 + 84,  # norm, attention, rest, its output map, an MLP block
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_parameters_are_as_counted_by_hand(name: str) -> None:
    num_inputs = min(3, OPERATIONS[name].max_inputs or 3)
    assert OPERATIONS[name](num_inputs, 4).num_parameters() == PARAMETERS[name]
