"""What to try next: training objectives that suit what the diagnostics of a run have found.

Nothing here is read off the test split: courses of trainings and contributions are those of the weights and
architecture splits, so that what is chosen among the advice is still judged by samples that had no say in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nas.diagnostics.diagnosis import FASTER, HEEDLESS
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.streams import is_joined
from nas.summary import Advice, Contribution, Overfitting
from nas.tasks import TASKS, Task


def advise(
    task: Task,
    space: SearchSpace,
    architecture: Architecture,
    *,
    overfitting: Mapping[str, Sequence[Overfitting]],
    contributions: Sequence[Contribution],
    lacking: Sequence[str] = (),
) -> tuple[Advice, ...]:
    """What suits a found architecture, each objective once, the best founded first; nothing for one modality.

    Args:
        task: What the target is.
        space: Of the architecture.
        architecture: Whose trainings these were.
        overfitting: Modality to the course of its training alone, by seed.
        contributions: Of the trained networks, on the architecture split.
        lacking: Modalities that some samples do not have.
    """
    read = architecture.modalities()
    if len(read) < 2:
        return ()
    found = [
        *_of_overfitting(task, {name: some for name, some in overfitting.items() if name in read and some}),
        *_of_contributions(contributions),
        *_of_interactions(space, architecture),
    ]
    if any(map(is_joined, architecture.taps())):  # where others have nothing to act on
        found = [one for one in found if one.objective == "modality_dropout"]
    if missing := [name for name in lacking if name in read]:
        found.append(Advice(objective="modality_dropout", because=f"some samples lack {' and '.join(missing)}"))
    return tuple({one.objective: one for one in reversed(found)}[name] for name in dict.fromkeys(map(_name, found)))


def _name(advice: Advice) -> str:
    return advice.objective


def _of_overfitting(task: Task, courses: Mapping[str, Sequence[Overfitting]]) -> list[Advice]:
    ratios = {modality: float(np.mean([one.ratio for one in some])) for modality, some in courses.items()}
    finite = {modality: ratio for modality, ratio in ratios.items() if math.isfinite(ratio)}
    found = []
    for modality in ratios:
        if modality not in finite and finite and TASKS[task].has_probabilities:
            because = f"{modality} alone learns its training samples and nothing of others"
            found.append(Advice(objective=f"rubi:{modality}", because=because))
            found.append(Advice(objective="modality_dropout", because=because))
    if len(finite) > 1:
        fast, slow = max(finite, key=finite.__getitem__), min(finite, key=finite.__getitem__)
        if finite[fast] > FASTER * finite[slow]:
            times = f"{finite[fast] / finite[slow]:.1f} times" if finite[slow] > 0 else "many times"
            because = f"{fast} overfits {times} as fast as {slow}"
            found.append(Advice(objective="gradient_blending", because=because))
            found.append(Advice(objective="gradient_modulation", because=because))
    return found


def _of_contributions(contributions: Sequence[Contribution]) -> list[Advice]:
    found = []
    for one in contributions:
        if one.unchanged > HEEDLESS:
            because = f"in {100 * one.unchanged:.0f} % of all cases the answer does not depend on {one.modality}"
            found.append(Advice(objective="gradient_modulation", because=because))
            found.append(Advice(objective="modality_dropout", because=because))
    return found


def _of_interactions(space: SearchSpace, architecture: Architecture) -> list[Advice]:
    orders = space.step_orders(architecture)
    found = []
    if min(orders.values()) < 2 <= max(orders.values()):
        because = "it both adds modalities and lets them interact"
        found.append(Advice(objective="residual", because=because))
    joined = [step.choice for step in architecture.steps if orders[step.name] > 1]
    pairs = {frozenset(choice.modalities[:2]) for choice in joined if len(choice.modalities) > 1}
    if pairs:
        *first, last = sorted(frozenset().union(*pairs))
        because = f"the network lets {', '.join(first)} and {last} interact, which need not lie in the same space"
        for one, other in sorted(map(sorted, pairs)):
            found.append(Advice(objective=f"align:{one}+{other}", because=because))
    return found
