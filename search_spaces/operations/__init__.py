"""Candidate operations: name to class. A new one is one new file (or class) and one new entry here."""

from __future__ import annotations

from collections.abc import Mapping

from nas.space.operation import Operation
from search_spaces.operations.additive import Additive, Projection
from search_spaces.operations.attention import CrossAttention
from search_spaces.operations.blocks import AttentionBlock, GLUBlock, MLPBlock
from search_spaces.operations.bottleneck import Bottleneck
from search_spaces.operations.carry import Carry, Nothing
from search_spaces.operations.concatenation import ConcatReLU, ConcatSigmoid, LinearGLU
from search_spaces.operations.convolution import ConvolutionBlock, SeparableConvolutionBlock
from search_spaces.operations.dot_attention import DotAttention
from search_spaces.operations.gates import HardGate, ModalityGate, SoftGate
from search_spaces.operations.low_rank import LowRank
from search_spaces.operations.mlp import MLP
from search_spaces.operations.modality_shift import ModalityShift
from search_spaces.operations.multiplicative import AdditiveMultiplicative, Multiplicative
from search_spaces.operations.shared_transformer import SharedTransformer
from search_spaces.operations.single_stream import SingleStream
from search_spaces.operations.tensor import Bilinear, TensorFusion

OPERATIONS: Mapping[str, type[Operation]] = {
    "none": Nothing,
    "carry": Carry,
    "additive": Additive,
    "multiplicative": Multiplicative,
    "additive_multiplicative": AdditiveMultiplicative,
    "bilinear": Bilinear,
    "tensor": TensorFusion,
    "low_rank": LowRank,
    "soft_gate": SoftGate,
    "hard_gate": HardGate,
    "modality_shift": ModalityShift,
    "mlp": MLP,
    "cross_attention": CrossAttention,
    "bottleneck": Bottleneck,
    "single_stream": SingleStream,
    "shared_transformer": SharedTransformer,
    "modality_gate": ModalityGate,
    "mlp_block": MLPBlock,
    "attention_block": AttentionBlock,
    "glu_block": GLUBlock,
    "convolution_block": ConvolutionBlock,
    "separable_convolution_block": SeparableConvolutionBlock,
    "projection": Projection,
    "concat_relu": ConcatReLU,
    "concat_sigmoid": ConcatSigmoid,
    "linear_glu": LinearGLU,
    "dot_attention": DotAttention,
}

DEFAULT_OPERATIONS: tuple[str, ...] = (
    "additive",
    "multiplicative",
    "additive_multiplicative",
    "bilinear",
    "tensor",
    "low_rank",
    "soft_gate",
    "hard_gate",
    "modality_shift",
    "mlp",
    "cross_attention",
    "bottleneck",
    "single_stream",
)
"""What spaces that join taps offer beside `none` and `carry` when no operation is named; name others to search them."""

__all__ = ["DEFAULT_OPERATIONS", "OPERATIONS"]
