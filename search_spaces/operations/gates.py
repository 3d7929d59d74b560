"""Gated sums: each modality weighed by a function of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, matched, members, names
from nas.space.operation import DrawingOperation, Operation, match_times


class _Gate(Operation):
    """What all gates share: values Wi xi, and gate logits that are linear in all taps."""

    order = 3

    def __init__(self, num_inputs: int, channels: int, gate_channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.gate_channels = gate_channels
        self.values = nn.ModuleList(nn.Linear(channels, channels) for _ in range(num_inputs))
        self.gate = nn.Linear(num_inputs * channels, num_inputs * gate_channels)

    def values_and_logits(self, taps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Values (batch, max time, inputs, channels) and gate logits (batch, max time, inputs, gate channels)."""
        values = match_times([value(tap) for value, tap in zip(self.values, taps, strict=True)])
        logits = self.gate(torch.cat(match_times(taps), dim=-1))
        return torch.stack(values, dim=2), logits.unflatten(-1, (self.num_inputs, self.gate_channels))

    def gated(self, inputs: Sequence[Term], doc: str, gates: Sequence[str], weights: Sequence[str]) -> Source:
        """The code of a gate: one layer per input, named after it, and one for all gates.

        Args:
            inputs: As `source` has them.
            doc: One sentence.
            gates: Statements that make the weights out of `logits`.
            weights: An expression for the weight of every input.
        """
        values = matched([term.through(f"self.{term.text}") for term in inputs], broadcast=True)
        weighted = [f"{weight} * {value}" for weight, value in zip(weights, values, strict=True)]
        return Source(
            doc=doc,
            arguments=names(inputs),
            members={**members("{}", inputs, "values"), "gate": "gate"},
            forward=[
                f"logits = self.gate(torch.cat([{', '.join(matched(inputs))}], dim=-1))",
                *gates,
                f"return {' + '.join(weighted)}",
            ],
        )

    def multiply_adds(self, times: Sequence[int]) -> int:
        """The values in their own time, the gate at the longest."""
        gate = self.num_inputs**2 * self.channels * self.gate_channels
        return sum(times) * self.channels**2 + max(times) * gate


class SoftGate(_Gate):
    """y = Σ_i σ(Gi [x1; …; xn] + ci) ⊙ (Wi xi + bi), a gate per channel.

    Arevalo et al. 2017, "Gated Multimodal Units for Information Fusion", section 3.1. Departures: any number of
    modalities, each with a gate of its own, and linear values (the adapters before are nonlinear already).
    """

    formula = "Σ_i σ(Gi [x1; …; xn] + ci) ⊙ (Wi xi + bi)"
    sign = "σ"
    phrase = "weigh {all} by learned gates"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels, channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        values, logits = self.values_and_logits(taps)
        return (logits.sigmoid() * values).sum(dim=2)

    def source(self, inputs: Sequence[Term]) -> Source:
        """See `gated`."""
        gates = [f"{term.text}_gate" for term in inputs]
        return self.gated(
            inputs,
            f"Adds linear maps of {listed(inputs)}, each channel weighed by a gate that sees them all.",
            [f"{', '.join(gates)} = logits.sigmoid().chunk({len(inputs)}, dim=-1)"],
            gates,
        )


class ModalityGate(_Gate):
    """y = Σ_i σ(mean over time of gi [x1; …; xn] + ci) (Wi xi + bi), one weight for a whole modality of a sample.

    The gated sum of Liang, Zadeh and Morency 2022, "Foundations and Trends in Multimodal Machine Learning", whose gates
    may be as coarse as this. Departure: gates of different modalities do not compete, as in `SoftGate`.
    """

    formula = "Σ_i σ(mean over time of gi [x1; …; xn] + ci) (Wi xi + bi)"
    sign = "σ₁"
    phrase = "weigh {all} as wholes by learned gates"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels, 1)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        values, logits = self.values_and_logits(taps)
        return (logits.mean(dim=1, keepdim=True).sigmoid() * values).sum(dim=2)

    def source(self, inputs: Sequence[Term]) -> Source:
        """See `gated`."""
        gates = [f"{term.text}_gate" for term in inputs]
        return self.gated(
            inputs,
            f"Adds linear maps of {listed(inputs)}, each weighed as a whole by a gate that sees them all.",
            [f"{', '.join(gates)} = logits.mean(dim=1, keepdim=True).sigmoid().chunk({len(inputs)}, dim=-1)"],
            gates,
        )


class HardGate(_Gate, DrawingOperation):
    """y = Wj xj + bj with j = argmax_i gi [x1; …; xn]: one modality per sample and time step.

    Training passes gradients to the gate straight through (Bengio et al. 2013, "Estimating or Propagating Gradients
    Through Stochastic Neurons"): value one-hot, gradient that of the softmax. There is no noise, so that training and
    evaluation choose alike. The objective `reinforce` draws j from the softmax in training instead, and lets the gate
    learn from the loss of what was drawn.
    """

    formula = "Wj xj + bj, j = argmax_i gi [x1; …; xn]"
    sign = "⇄"
    phrase = "pick one of {all} by a learned switch"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels, 1)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        values, logits = self.values_and_logits(taps)
        if self.training and self.log_probabilities is not None:
            choice = torch.distributions.Categorical(logits=logits.squeeze(3).float(), validate_args=False)
            drawn = choice.sample()
            self.log_probabilities.append(choice.log_prob(drawn).sum(dim=1))
            return values.take_along_dim(drawn[..., None, None], dim=2).squeeze(2)
        soft = logits.softmax(dim=2)
        hard = F.one_hot(soft.argmax(dim=2), self.num_inputs).transpose(2, 3).to(soft.dtype)
        return ((hard + (soft - soft.detach())) * values).sum(dim=2)

    def source(self, inputs: Sequence[Term]) -> Source:
        """See `gated`."""
        return self.gated(
            inputs,
            f"Takes a linear map of one of {listed(inputs)}, chosen for each sample and time step by a gate.",
            ["chosen = logits.argmax(dim=-1, keepdim=True)"],
            [f"(chosen == {index})" for index in range(len(inputs))],
        )
