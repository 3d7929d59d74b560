"""Gradient modulation: the modality that is ahead takes smaller steps, until the others have caught up (OGM-GE).

Peng et al. 2022, "Balanced Multimodal Learning via On-the-fly Gradient Modulation", Eqs. 8 to 10. With s_u the sum over
the batch of the probability that modality u alone gives to the right class:

    ρ_u = s_u / s_v,    k_u = 1 − tanh(α · ρ_u) if ρ_u > 1, else 1
    θ_u ← θ_u − η · k_u · (gradient + noise),    noise ~ N(0, deviation of the gradient's elements)

for all weights θ_u of that modality's encoder. Departures:

- *m modalities.* ρ_u is the mean of s_u / s_v over all others v, which for two is the paper's.
- *Any fusion.* What u says alone is the output with all other modalities' taps at zero, less (1 − 1/m) of the output
  with all taps at zero. Where fusion is additive that is the paper's W_u h_u + b/m; of a product, which is zero where
  one factor is, no modality says anything alone, all s are equal, and nothing is modulated.
- *Any task.* The probability of the right class is exp(−loss), and so it is for labels and quantities.
- *The step is scaled, not the gradient.* Under the paper's SGD both are the same; see `nas.objectives.steps`.
- *Adapters are among the weights.* With frozen encoders they are all that is modulated. The authors' code acts on
  convolutions alone; here noise goes to all weights of two axes or more, and steps are scaled for all parameters.
- All of a training is modulated; by the defaults of their code, epochs 0 to 50 of 100. Trainings here end when
  they get no better, and what is let go halfway overfits then.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nas.errors import UserError
from nas.network.fusion_network import FusionNetwork
from nas.objectives.base import ForwardPass, Objective, deepest_taps
from nas.objectives.steps import ScaledSteps, parameters_of
from nas.space.architecture import tap_modality

ALPHA = 0.5
"""Between the paper's 0.1 for VGGSound and 0.8 for CREMA-D; it leaves 0.54 of the steps at a ratio of 1."""


def modulation(scores: Tensor, alpha: float) -> Tensor:
    """How much of a step each modality takes, (modalities,), above 0 and at most 1.

    Args:
        scores: s_u of every modality, positive, (modalities,).
        alpha: Positive; the larger, the smaller the steps of those that are ahead.
    """
    ratios = scores[:, None] / scores[None].clamp(min=1e-12)
    mean = (ratios.sum(dim=1) - 1) / (len(scores) - 1)  # without its own ratio, which is 1
    return torch.where(mean > 1, 1 - torch.tanh(alpha * mean), torch.ones_like(mean))


class GradientModulation(Objective):
    """Scales the steps of each modality's encoder and adapters.

    Args:
        network: To be trained.
        alpha: See `modulation`.
    """

    def __init__(self, network: FusionNetwork, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.modalities = list(deepest_taps(network))
        self.coefficients: dict[str, float] = {}
        self._steps = ScaledSteps()

    def loss(self, forward: ForwardPass, progress: float) -> None:  # noqa: ARG002  # the interface of all objectives
        """Adds nothing; notes how much of a step each modality shall take."""
        found = modulation(unimodal_scores(forward, self.modalities), self.alpha)
        self.coefficients = dict(zip(self.modalities, found.tolist(), strict=True))

    @torch.no_grad()
    def before_step(self, network: FusionNetwork) -> None:
        """Adds the noise, and keeps the weights that shall not go all the way."""
        self._steps.start(network, self.coefficients)
        for modality in self.coefficients:
            for parameter in parameters_of(network, modality):
                if parameter.grad is not None and parameter.dim() > 1:
                    deviation = float(parameter.grad.std()) + 1e-8
                    parameter.grad += deviation * torch.randn_like(parameter.grad)

    def after_step(self, network: FusionNetwork) -> None:  # noqa: ARG002  # the interface of all objectives
        """Takes back what was too much of the step."""
        self._steps.end()


@torch.no_grad()
def unimodal_scores(forward: ForwardPass, modalities: list[str]) -> Tensor:
    """s_u of every modality: the sum over the batch of exp(−loss) of what it says alone, (modalities,).

    Of several selections the mean.
    """
    silent = {name: torch.zeros_like(tap) for name, tap in forward.taps.items()}
    nothing = forward.outputs(silent)
    # With smoothing or class weights, exp(−loss) is no probability.
    plain = replace(forward, label_smoothing=0.0, batch=replace(forward.batch, importance=None))
    scores = []
    for modality in modalities:
        heard = {name: tap for name, tap in forward.taps.items() if tap_modality(name) == modality}
        alone = forward.outputs({**silent, **heard}) - (1 - 1 / len(modalities)) * nothing
        scores.append(torch.exp(-plain.losses(alone)).sum(dim=1).mean())
    return torch.stack(scores)


def alpha_of(text: str) -> float:
    """The number of an argument such as "0.8"; `ALPHA` for none.

    Raises:
        UserError: If it is no positive number.
    """
    try:
        alpha = float(text) if text else ALPHA
    except ValueError:
        alpha = 0.0
    if not 0 < alpha < float("inf"):
        raise UserError(f"alpha of gradient_modulation must be a positive number, got {text!r}; {ALPHA} is the default")
    return alpha
