"""How a gate learns: options of every training, which say nothing to a static network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from nas.errors import unknown_name
from nas.fields import AMOUNT, SHARE, Number, Text, check_settings, setting

Relaxation = Literal["soft", "gumbel", "reinforce"]
Schedule = Literal["exponential", "linear"]

RELAXATIONS: tuple[Relaxation, ...] = get_args(Relaxation)


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """How a gate learns, if there is one.

    Attributes:
        gate: A name of `RELAXATIONS`. A cascade, which is fitted to what its routes answer, needs none.
        gate_temperature: How the temperature of `gumbel` falls: exponential or linear.
        cost_weight: Loss that the static architecture's multiply-adds are worth to the gate that skips some of them.
        max_multiply_adds: Budget of a dynamic network as a share of the static one's, up to 1, held by a dual variable
            in place of `cost_weight`; 0 for none.
        modality_dropout_rate: How often a training sample is shown without a modality, 0 to 1; one at least is left.
            This goes for static networks, too.
    """

    gate: Relaxation = setting("soft", Text())
    gate_temperature: Schedule = setting("exponential", Text())
    cost_weight: float = setting(0.1, AMOUNT)
    max_multiply_adds: float = setting(0.0, Number("from 0 (no budget) to 1", high=1.0, below=False))
    modality_dropout_rate: float = setting(0.0, SHARE)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.gate not in RELAXATIONS:
            raise unknown_name("gate", self.gate, RELAXATIONS)
        if self.gate_temperature not in get_args(Schedule):
            raise unknown_name("gate_temperature", self.gate_temperature, get_args(Schedule))
