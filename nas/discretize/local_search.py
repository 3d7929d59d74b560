"""Local search: what leads after the first seed's trainings is varied, and what is better takes its place.

White, Nolen and Savani 2021, "Exploring the Loss Landscape in Neural Architecture Search", and Den Ottelander et al.
2021, "Local Search is a Remarkably Strong Baseline for Neural Architecture Search": move to the best neighbour until
none is better. Departures: of the neighbours only those are trained that something speaks for, each from scratch.

- *Where*: the same at every other depth, and where a node may read several taps of a modality, with one of them moved.
- *What*: the same without the modalities that the trained network does not use.
- *How*: the operations that did best elsewhere, wherever the leader fuses.
- *More*: the leader with one more node, the one by which the supernet gains most; or with one more step after it, in
  the ways in which the supernet makes most of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import torch

from nas.data.batches import split_batch
from nas.diagnostics import Recombined
from nas.discretize.evidence import Evidence
from nas.metrics import sample_losses
from nas.retraining.baselines import Contestant
from nas.retraining.preparation import PreparedEncoders, TrainingSetup
from nas.retraining.retrain import Entry, train_all
from nas.space.architecture import Architecture, Choice, Step, is_tap, tap_modality, tap_name
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from nas.streams import joined_tap, num_taps, tap_modalities
from nas.supernet.candidates import Candidates
from nas.supernet.path_scorer import scored_samples, standard_errors

ROUNDS = 3
"""How often what leads is varied at most; it ends as soon as no variation is better."""

OPERATIONS = 2
"""How many other operations are tried in place of the leader's."""

MOVES = 3
"""How many ways to move one tap are tried at once."""

GROWN = 2
"""How many ways to go on after the leader are tried at once."""

USED = 2.0
"""Standard errors of the loss that it costs to take a used modality from other samples."""


def local_search(
    setup: TrainingSetup, prepared: PreparedEncoders, entries: Sequence[Entry], candidates: Candidates | None, name: str
) -> list[Entry]:
    """Trains variations of what leads until none is better.

    The test split is not read.

    Args:
        setup: Of the run.
        prepared: For the first seed.
        entries: Of that seed, trained.
        candidates: What the supernet thinks of its paths; None for a search without one, which tries no further node.
        name: Of the leaderboard's row that the best variation may stand in.

    Returns:
        The entries and those of the variations, which stand for that row. Of what decides per sample there are none.
    """
    trained = list(entries)
    known = {one.architecture for one in trained if not one.contestant.separate}
    before = None
    for _ in range(ROUNDS):
        leader, operations = _standing(setup, trained)
        if leader is None or leader is before:
            break
        if setup.checkpoints.time_is_up():
            setup.checkpoints.leave_out("variations of what leads")
            break
        proposed = dict.fromkeys(map(setup.space.named, variations(setup, leader, operations, candidates)))
        fresh = [one for one in proposed if one not in known and setup.space.offers(one)]
        known.update(fresh)
        rows = [
            Contestant(f"variation {number}", "proposal", one, instead_of=name)
            for number, one in enumerate(fresh, start=1 + len(trained) - len(entries))
        ]
        trained += train_all(setup, prepared, rows)
        before = leader
    return trained


def variations(
    setup: TrainingSetup, leader: Entry, operations: Sequence[str], candidates: Candidates | None
) -> Iterator[Architecture]:
    """The neighbours of a trained architecture that are worth a training, whether or not the space offers them.

    Args:
        setup: Of the run.
        leader: What leads.
        operations: All that were trained, the best first.
        candidates: See `local_search`.
    """
    space, architecture = setup.space, leader.architecture
    yield from (one for _, one in at_other_taps(space, architecture))
    yield from promising(space, with_one_tap_moved(space, architecture), candidates)[:MOVES]
    if len(architecture.modalities()) > 2:
        yield without(space, architecture, unused(setup, leader))
    own = {step.operation for step in architecture.steps}
    others = [name for name in operations if name not in own][:OPERATIONS]
    yield from (_fused_by(space, architecture, name) for name in others)
    if candidates is not None and (more := _with_one_more_node(space, architecture, candidates)) is not None:
        yield more
    if space.interchangeable:
        yield from promising(space, space.grown(architecture), candidates)[:GROWN]


def able_to_lead(setup: TrainingSetup, entries: Sequence[Entry]) -> list[Entry]:
    """What the space offers, reads something, is static and was trained as one network; random search is a control."""
    return [
        one
        for one in entries
        if one.contestant.kind != "random" and not one.contestant.separate and one.architecture.taps()
        if len(one.held_out) and setup.space.offers(one.architecture)
    ]


def _standing(setup: TrainingSetup, entries: Sequence[Entry]) -> tuple[Entry | None, list[str]]:
    """Who leads, and the single operations, best first."""
    able = able_to_lead(setup, entries)
    if not able or entries[0].architecture.gating is not None:
        return None, []
    merits = Evidence(setup, [[one] for one in able]).merits()
    order = sorted(range(len(able)), key=lambda number: -merits[number])
    return able[order[0]], [able[i].contestant.name for i in order if able[i].contestant.kind == "operation"]


def at_other_taps(space: SearchSpace, architecture: Architecture) -> list[tuple[int, Architecture]]:
    """The same at every other node, at the taps that this node reads of the same modalities, with the node's number.

    Of an architecture with several active nodes there are none.
    """
    if len(architecture.steps) != 1:
        return []
    (step,) = architecture.steps
    choice, found = step.choice, dict[Choice, tuple[int, Architecture]]()
    for number, node in enumerate(space.nodes):
        taps = {tap_modality(tap): tap for tap in node.sources if is_tap(tap)}
        inputs = tuple(taps.get(modality, "") for modality in choice.modalities)
        if node.name != step.name and all(inputs) and inputs != choice.inputs:
            moved = Choice(choice.operation, inputs)
            # A modality of few taps is read at the same one by several nodes.
            found.setdefault(moved, (number, space.compose({node.name: moved})))
    return [(number, one) for number, one in found.values() if one.steps]  # the output need not depend on any node


def with_one_tap_moved(space: SearchSpace, architecture: Architecture) -> Iterator[Architecture]:
    """The same with one tap of one step at another depth, where its node may read that one, too."""
    nodes = {node.name: node for node in space.nodes}
    for step in architecture.steps:
        offered = set(nodes[step.name].sources) if step.name in nodes else set()
        for place, tap in enumerate(step.inputs):
            if not is_tap(tap):
                continue
            names = (tap_name(tap_modality(tap), depth) for depth in range(num_taps(tap_modality(tap), space.depths)))
            for name in names:
                if name in offered and name not in step.inputs:
                    inputs = (*step.inputs[:place], name, *step.inputs[place + 1 :])
                    yield space.named(architecture.changed({step.name: Choice(step.operation, inputs)}))


def promising(
    space: SearchSpace, architectures: Iterable[Architecture], candidates: Candidates | None
) -> list[Architecture]:
    """Architectures in the order of what the supernet thinks of them; those that it does not hold come last."""
    every = list(dict.fromkeys(architectures))
    held = [one for one in every if space.holds(one)]
    if candidates is not None and candidates.scorer is not None and held:
        losses = candidates.scorer.losses([space.index(one) for one in held]).mean(dim=1).tolist()
        held = [one for _, one in sorted(zip(losses, held, strict=True), key=lambda pair: pair[0])]
    return [*held, *(one for one in every if one not in set(held))]


def unused(setup: TrainingSetup, entry: Entry) -> list[str]:
    """The modalities that a network does as well with when they come from other samples of the architecture split.

    Breiman 2001, "Random Forests", section 10, with paired losses.
    """
    batch = scored_samples(split_batch(setup.data, "architecture", setup.device)).to(setup.device)
    samples = Recombined.of(entry.network, batch, setup.device)
    targets, scale = batch.targets.cpu(), entry.network.head.scale.cpu()
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))

    def losses(rows: dict[str, torch.Tensor | None]) -> torch.Tensor:
        return sample_losses(setup.data.task, samples.outputs(rows), targets, scale)

    own = losses({})
    return [name for name in samples.modalities if float(standard_errors(losses({name: order}) - own)) <= USED]


def without(space: SearchSpace, architecture: Architecture, modalities: Sequence[str]) -> Architecture:
    """An architecture that reads some modalities less; what then has one input carries it, what has none does nothing.

    An operation that the rest is too few for becomes one that carries, too.
    """
    carrying = next((name for name, operation in space.operations.items() if operation.carries), None)
    choices: dict[str, Choice | None] = {}
    for step in architecture.steps:
        inputs = tuple(tap for name in step.inputs if (tap := _tap_without(name, modalities)))
        if inputs == step.inputs:
            continue
        if len(inputs) >= max(2, space.operations[step.operation].min_inputs):
            choices[step.name] = Choice(step.operation, inputs)
        else:
            choices[step.name] = Choice(carrying, inputs[:1]) if inputs and carrying else None
    return architecture.changed(choices)


def _tap_without(source: str, modalities: Collection[str]) -> str:
    """What is left of a source without some modalities; "" for nothing."""
    if not is_tap(source):
        return source
    main, *added = tap_modalities(source)
    if main in modalities:
        return ""
    return joined_tap(tap_modality(source), 0) if set(added) & set(modalities) else source


def _fused_by(space: SearchSpace, architecture: Architecture, operation: str) -> Architecture:
    """The same with another operation wherever several inputs meet, in the order in which the node offers them."""

    def replaced(node: FusionNode, step: Step) -> Choice:
        same = (one for one in node.choices if one.operation == operation and set(one.inputs) == set(step.inputs))
        return next(same, Choice(operation, step.inputs))

    nodes = {node.name: node for node in space.nodes}
    joins = [step for step in architecture.steps if len(step.inputs) > 1]
    return architecture.changed({step.name: replaced(nodes[step.name], step) for step in joins})


def _with_one_more_node(space: SearchSpace, architecture: Architecture, candidates: Candidates) -> Architecture | None:
    """Of the candidates that do one thing more than an architecture the supernet's best; None if there is none."""
    if not space.holds(architecture):
        return None
    rows = candidates.extending(space, architecture)
    if not rows.size:
        return None
    best = rows[int(candidates.take(rows).losses.mean(dim=1).argmin())]
    return space.at(candidates.indices[best].tolist())


__all__ = ["able_to_lead", "at_other_taps", "local_search", "unused", "variations", "without"]
