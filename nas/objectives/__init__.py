"""Training objectives: cures for what goes wrong when modalities are trained together.

A text such as "align:image+text,modality_dropout" asks for one or several; each name may have an argument after a
colon. They are used wherever a network of two modalities or more is trained: supernets, what is found, baselines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nas.errors import UserError, unknown_name
from nas.network.fusion_network import FusionNetwork
from nas.objectives.align import Align, pair_of
from nas.objectives.base import Combined, Fit, ForwardPass, Objective, deepest_taps
from nas.objectives.gradient_blending import GradientBlending
from nas.objectives.gradient_modulation import GradientModulation, alpha_of
from nas.objectives.reinforce import Reinforce, drawing
from nas.objectives.residual import Residual
from nas.objectives.rubi import Rubi, check_biased
from nas.tasks import Task

AUTO = "auto"
"""Stands for what `nas.retraining.cures` finds suitable; a single training takes it for none."""

DROPOUT_RATE = 0.3
"""How often `modality_dropout` drops a modality if it is given no rate."""

Make = Callable[[FusionNetwork, Task, str], Objective | None]
"""From a network to be trained, its task and an argument to the objective; None if it has nothing to act on there."""


@dataclass(frozen=True)
class ObjectiveRequest:
    """One objective that is asked for.

    Attributes:
        name: Of `OBJECTIVES`.
        argument: What stands after the colon; empty for none.
    """

    name: str
    argument: str = ""


@dataclass(frozen=True)
class ObjectiveInfo:
    """What is known of an objective before it is made.

    Attributes:
        words: What it does, for people.
        make: Builds it; None for what acts on the data.
        replaces_loss: Whether it stands in place of the task's loss, so that no two of these go together.
        trains_paths: Whether it can train single paths alone, and no mixture of choices.
        check: Refuses an argument that makes no sense with these modalities.
        takes: The form of its argument, for people, in brackets where it may be left out; empty for none.
        tasks: Tasks that it is made for; None for all.
    """

    words: str
    make: Make | None
    replaces_loss: bool = False
    trains_paths: bool = False
    check: Callable[[str, tuple[str, ...]], object] = lambda _argument, _modalities: None
    takes: str = ""
    tasks: tuple[Task, ...] | None = None


def _rubi(network: FusionNetwork, _task: Task, argument: str) -> Objective | None:
    return Rubi(network, argument) if argument in deepest_taps(network) else None


def _align(network: FusionNetwork, _task: Task, argument: str) -> Objective | None:
    pair = pair_of(argument, network.space.modalities)
    return Align(network, pair) if set(pair) <= set(deepest_taps(network)) else None


OBJECTIVES: Mapping[str, ObjectiveInfo] = {
    "gradient_blending": ObjectiveInfo(
        "a loss for every modality beside the joint one, weighted by how well each generalizes, measured once",
        lambda network, task, _argument: GradientBlending(network, task, online=False),
        replaces_loss=True,
    ),
    "gradient_blending_online": ObjectiveInfo(
        "likewise, measured anew four times on the way",
        lambda network, task, _argument: GradientBlending(network, task, online=True),
        replaces_loss=True,
    ),
    "residual": ObjectiveInfo(
        "simple interactions first, each higher one on what the simpler leave over; for architectures of both",
        lambda network, _task, _argument: Residual(network, sequential=False),
        replaces_loss=True,
        trains_paths=True,
    ),
    "residual_sequential": ObjectiveInfo(
        "likewise, each level trained in full after the one below, which is frozen",
        lambda network, _task, _argument: Residual(network, sequential=True),
        replaces_loss=True,
        trains_paths=True,
    ),
    "rubi": ObjectiveInfo(
        "what one modality answers by itself is masked out",
        _rubi,
        replaces_loss=True,
        check=check_biased,
        takes=":MODALITY",
        tasks=("classification", "multilabel"),
    ),
    "gradient_modulation": ObjectiveInfo(
        "the modality that is ahead takes smaller steps (OGM-GE)",
        lambda network, _task, argument: GradientModulation(network, alpha_of(argument)),
        check=lambda argument, _modalities: alpha_of(argument),
        takes="[:ALPHA]",
    ),
    "reinforce": ObjectiveInfo(
        "hard gates of operations draw what they pass and learn from its loss, instead of straight through",
        lambda network, _task, _argument: Reinforce(network) if drawing(network) else None,
        replaces_loss=True,
    ),
    "align": ObjectiveInfo(
        "two modalities are drawn together before they are fused, then matched, and masked tokens predicted (ALBEF)",
        _align,
        check=pair_of,
        takes="[:ONE+OTHER]",
    ),
    "modality_dropout": ObjectiveInfo(
        "samples are shown without a modality now and then",
        None,
        check=lambda argument, _modalities: _rate(argument),
        takes="[:RATE]",
    ),
}


def parse(text: str) -> tuple[ObjectiveRequest, ...]:
    """The objectives that a text such as "align,modality_dropout:0.2" asks for; none for an empty one, or for "auto".

    Raises:
        UserError: If a name is unknown or comes twice, one has an argument that takes none, or two do not go together.
    """
    if text in ("", AUTO):
        return ()
    asked = []
    for part in text.split(","):
        name, _, argument = part.strip().partition(":")
        if name not in OBJECTIVES:
            raise unknown_name("objective", name, [*OBJECTIVES, AUTO])
        if argument and not OBJECTIVES[name].takes:
            raise UserError(f"objective {name} takes no argument, got {argument!r}")
        asked.append(ObjectiveRequest(name, argument))
    names = [one.name for one in asked]
    if len(set(names)) < len(names):
        raise UserError(f"objectives are each given once, got {text!r}")
    replacing = [name for name in names if OBJECTIVES[name].replaces_loss]
    if len(replacing) > 1:
        raise UserError(f"{' and '.join(replacing)} each stand in place of the loss; take one of them")
    return tuple(asked)


def check_objective(
    text: str,
    task: Task,
    modalities: tuple[str, ...],
    *,
    dynamic: bool = False,
    compiled: bool = False,
    joined: bool = False,
) -> None:
    """Refuses what cannot be applied to these data.

    Args:
        text: What is asked for.
        task: What the target is.
        modalities: Of the data.
        dynamic: Whether architectures may decide per sample.
        compiled: Whether networks shall be compiled.
        joined: Whether one modality is added into the encoder of another.

    Raises:
        UserError: If there are fewer than two modalities, an objective is not made for the task, for gates, for
            compiling or for joined encoders, or an argument makes no sense.
    """
    for one in parse(text):
        known = OBJECTIVES[one.name]
        if len(modalities) < 2:
            raise UserError(f"objective {one.name} needs two modalities or more, got {', '.join(modalities)}")
        if known.tasks and task not in known.tasks:
            raise UserError(f"objective {one.name} is for {' and '.join(known.tasks)}, and the task is {task}")
        if dynamic and known.make is not None:
            raise UserError(f"objective {one.name} cannot train a gate; leave dynamic out, or take modality_dropout")
        if joined and known.make is not None:
            raise UserError(
                f"objective {one.name} acts on each modality before they meet, and here they meet within an encoder; "
                "leave it out, or take modality_dropout"
            )
        if compiled and known.make is not None:
            raise UserError(f"objective {one.name} runs networks in parts, which are not compiled; leave one out")
        known.check(one.argument, modalities)


def make_objective(text: str, network: FusionNetwork, task: Task) -> Combined | None:
    """What a network is trained by beside, or in place of, its task's loss.

    Args:
        text: What is asked for.
        network: To be trained, on its device.
        task: What the target is.

    Returns:
        None if nothing is asked for, or nothing of it has anything to act on: the network reads one modality alone, or
        not the one that an objective is about. It is then trained as without.

    Raises:
        UserError: See `check_objective`.
    """
    asked = parse(text)
    if not asked or len(deepest_taps(network)) < 2:
        return None
    check_objective(text, task, network.space.modalities)
    makers = [(make, one.argument) for one in asked if (make := OBJECTIVES[one.name].make) is not None]
    parts = [part for make, argument in makers if (part := make(network, task, argument)) is not None]
    return Combined(parts) if parts else None


def dropout_rate(text: str) -> float:
    """How often what is asked for drops a modality of a sample; 0 for never."""
    return next((_rate(one.argument) for one in parse(text) if one.name == "modality_dropout"), 0.0)


def _rate(text: str) -> float:
    try:
        rate = float(text) if text else DROPOUT_RATE
    except ValueError:
        rate = math.nan
    if not 0 < rate < 1:
        raise UserError(f"modality_dropout takes a rate between 0 and 1, got {text!r}; {DROPOUT_RATE} is the default")
    return rate


__all__ = [
    "AUTO",
    "OBJECTIVES",
    "Combined",
    "Fit",
    "ForwardPass",
    "Objective",
    "ObjectiveRequest",
    "check_objective",
    "dropout_rate",
    "make_objective",
    "parse",
]
