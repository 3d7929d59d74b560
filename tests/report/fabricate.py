"""Small run folders as a finished run leaves them, made up from a seed."""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from nas.discretize.tournament import DEPOSED
from nas.report.verdict import verdict
from nas.space.architecture import Architecture, Choice
from nas.statistics import Interval
from nas.summary import (
    Agreement,
    Attention,
    AttentionMap,
    AttentionSample,
    AttentionTokens,
    Coefficient,
    Contribution,
    Diagnosis,
    Guards,
    LinearModel,
    Mistakes,
    NodeVotes,
    OneSearch,
    Overfitting,
    Picture,
    Row,
    RowKind,
    SearchedNode,
    Spread,
    Standings,
    Summary,
    Votes,
)
from tests.helpers import dynamic
from tests.summaries import (
    NO_GAP,
    make_data,
    make_diagnosis,
    make_node,
    make_row,
    make_search,
    make_summary,
    spread,
    write_summary,
)

OPERATIONS = (
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
)


def fabricate_run(
    folder: Path,
    depths: Mapping[str, int] | None = None,
    *,
    metric: str = "accuracy",
    task: str = "classification",
    num_records: int = 40,
    num_searches: int = 1,
    chosen: Mapping[int, tuple[str, Sequence[str]]] | None = None,
    largest: int | None = None,
    late_won: bool = False,
    with_attention: bool = False,
    seed: int = 0,
) -> Summary:
    """Writes summary.json and metrics.jsonl; returns the summary.

    Args:
        folder: The run folder, made if needed.
        depths: Modality to number of taps.
        metric: Of the scores.
        task: Of the data.
        num_records: Records of the search.
        num_searches: How many searches there were; the first one's architecture is the run's.
        chosen: Node index to (operation, modalities); a node that is not named does nothing.
        largest: Most modalities that a choice reads, beside that which is chosen; None for all.
        late_won: Whether late fusion won the tournament against what was chosen; without, there was no tournament.
        with_attention: Whether it tells of attention of the words to a picture and of the picture to the words, on a
            sample that it gets right and one that it gets wrong.
        seed: Of the made-up numbers.
    """
    depths = depths or {"image": 3, "words": 3}
    names = list(depths)
    if chosen is None:
        chosen = {1: ("multiplicative", names[:2]), max(depths.values()) - 1: ("additive", names)}
    generator = random.Random(seed)
    nodes = [_node(index, depths, chosen, generator, largest or len(depths)) for index in range(max(depths.values()))]
    summary = _summary(nodes, depths, metric, task, generator)
    if num_searches > 1:
        summary = replace(summary, stability=_stability(summary, num_searches))
    if late_won:
        summary = _won_by_late_fusion(summary)
    if with_attention:
        summary = replace(summary, attention=_attention())
    summary = replace(summary, verdict=verdict(summary, {}))
    write_summary(folder, summary)
    lines = [json.dumps(record) + "\n" for record in _metrics(nodes, names, num_records, generator)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return summary


def _node(
    index: int,
    depths: Mapping[str, int],
    chosen: Mapping[int, tuple[str, Sequence[str]]],
    generator: random.Random,
    largest: int,
) -> SearchedNode:
    num_nodes = max(depths.values())
    tap = {m: f"{m}@{int(index / max(1, num_nodes - 1) * (taps - 1) + 0.5)}" for m, taps in depths.items()}
    choices = [Choice("none"), *(Choice("carry", (tap[m],)) for m in depths)]
    for operation in OPERATIONS:
        for size in range(2, largest + 1):
            choices += [Choice(operation, tuple(tap[m] for m in some)) for some in combinations(depths, size)]
    operation, modalities = chosen.get(index, ("none", ()))
    at = choices.index(Choice(operation, tuple(tap[m] for m in modalities)))
    raw = [generator.random() ** 3 for _ in choices]
    raw[at] = sum(raw) * generator.uniform(0.4, 1.5)
    return make_node(
        f"fusion{index}",
        choices,
        f"fusion{index - 1}" if index else None,
        title=f"depth {index}",
        chosen=at,
        choice_weights=tuple(value / sum(raw) for value in raw),
    )


def architecture_of(nodes: Sequence[SearchedNode], picks: Sequence[int] | None = None) -> Architecture:
    """What is chosen at some nodes; other choices of them if their places are given."""
    places = picks or [node.chosen or 0 for node in nodes]
    made = [node.choices[place] for node, place in zip(nodes, places, strict=True)]
    return _chain([Choice(one.operation, one.inputs) for one in made])


def _late(nodes: Sequence[SearchedNode], num_modalities: int) -> list[int]:
    """The places of late fusion: the last node adds all modalities, and the others do nothing."""
    counts = [(one.operation, len(one.inputs)) for one in nodes[-1].choices]
    wanted = ("additive", num_modalities)
    return [0] * (len(nodes) - 1) + [counts.index(wanted) if wanted in counts else nodes[-1].chosen or 0]


def _summary(
    nodes: list[SearchedNode], depths: Mapping[str, int], metric: str, task: str, generator: random.Random
) -> Summary:
    found, late = architecture_of(nodes), architecture_of(nodes, _late(nodes, len(depths)))
    sense = -1 if metric == "mae" else 1

    def row(name: str, kind: RowKind, gap: float, architecture: Architecture | None = late) -> Row:
        scores = tuple(0.88 + gap + generator.gauss(0, 0.008) for _ in range(5))
        cost = {"modality": 60_000, "early": 90_000, "late": 140_000}.get(kind, generator.randint(120_000, 900_000))
        size = (
            {}
            if architecture is None
            else {"parameters": cost // 3, "multiply_adds": cost + generator.randint(0, 9000)}
        )
        words = late.in_words() if kind == "late" else "" if architecture else "all inputs, no network"
        mean = sum(scores) / 5
        told: dict[str, Any] = {"in_words": words, "score": spread(mean, 0.012), "scores": scores}
        return make_row(name, kind, architecture, **told, **size, metrics={metric: scores})

    rows = [row("found", "found", 0.0, found)]
    for i, m in enumerate(depths):
        nothing = [Choice("none")] * (len(nodes) - 1)
        alone = _chain([*nothing, Choice("carry", (f"{m}@{depths[m] - 1}",))])
        rows.append(row(m, "modality", -0.06 * sense * (i + 1), alone))
    rows.append(row("late fusion", "late", -0.02 * sense))
    rows.append(row("early fusion", "early", -0.035 * sense))
    for i, operation in enumerate(OPERATIONS):
        rows.append(row(f"{operation} at depth {i % len(nodes)}", "operation", sense * (-0.01 - 0.006 * i)))
    for i, control in enumerate(("gradient boosting", "logistic regression")):
        rows.append(row(control, "control", sense * (-0.05 - 0.03 * i), None))
    rows += [row(f"random {i}", "random", sense * (-0.03 - 0.02 * i)) for i in range(3)]
    gaps = [sense * (rows[0].score.mean - one.score.mean) for one in rows]
    compared = [replace(one, difference=spread(gap, 0.015)) for one, gap in zip(rows[1:], gaps[1:], strict=True)]
    numbers = task == "regression"
    data = make_data(tuple(depths), task=task, classes=1 if numbers else 8, **({"class_names": ()} if numbers else {}))
    guards = Guards(
        tripped="nothing",
        epoch=40,
        restored_epoch=34,
        values={"none_share": 0.35, "nothing_nodes": 3.0, "eigenvalue": 1.2, "discretization": 0.0},
        fell_back=True,
        in_words="The search was stopped by the guard 'nothing' in epoch 40.",
    )
    return make_summary(
        found,
        dict(depths),
        metric=metric,
        leaderboard=(rows[0], *compared),
        diagnosis=_diagnosis(list(depths)),
        mistakes=_mistakes(task, generator),
        data=data,
        search=make_search(dict(depths), nodes=tuple(nodes), guards=guards),
        preprocessing={},
        training_seconds=41.0,
    )


def _won_by_late_fusion(summary: Summary) -> Summary:
    """The same, had the tournament taken late fusion."""
    places = _late(summary.search.nodes, len(summary.search.depths))
    nodes = tuple(replace(node, chosen=place) for node, place in zip(summary.search.nodes, places, strict=True))
    architecture = architecture_of(nodes)
    deposed, *others = summary.leaderboard
    number = next(i for i, row in enumerate(others) if row.kind == "late")
    others[number] = replace(others[number], architecture=architecture, difference=NO_GAP, architecture_score=0.91)
    own = replace(
        deposed,
        name=DEPOSED,
        kind="proposal",
        difference=Interval(-0.02, -0.035, -0.005),
        architecture=summary.architecture,
        in_words=summary.in_words,
        architecture_score=0.9,
    )
    found = replace(others[number], name="found", kind="found", difference=None)
    tournament = Standings(
        prefer="accuracy",
        proposed=summary.architecture,
        winner="late fusion",
        errors_behind={"found": 1.26, "late fusion": 0.0, "early fusion": -0.04},
        trainings=6,
        seconds=12.0,
    )
    return replace(
        summary,
        search=replace(summary.search, nodes=nodes),
        architecture=architecture,
        leaderboard=(found, own, *others),
        tournament=tournament,
    )


def _diagnosis(names: Sequence[str]) -> Diagnosis:
    """Every modality contributes a little less than the one before, and the second overfits twice as fast."""

    def term(name: str, estimate: float) -> Coefficient:
        errors = {"standard_error": 0.1, "t": 10 * estimate, "p": 0.03}
        return Coefficient(name=name, estimate=estimate, low=estimate - 0.2, high=estimate + 0.2, **errors)

    terms = tuple(term(name, 0.5) for name in ("constant", *names, " × ".join(names)))
    counts = (2, len(names) + 1, len(terms))
    nan = float("nan")
    tests = ((nan, nan), (20.0, 1e-6), (4.5, 0.034))
    return make_diagnosis(
        spread(0.02),
        contributions=tuple(
            Contribution(
                modality=name,
                left_out=spread(0.1 / (i + 1)),
                permuted=spread(0.2 / (i + 1)),
                shapley=spread(0.15 / (i + 1)),
                unchanged=0.5,
            )
            for i, name in enumerate(names)
        ),
        regression=tuple(
            LinearModel(
                coefficients=terms[:count],
                r_squared=0.1 * count,
                log_likelihood=-100.0 / count,
                samples=346,
                likelihood_ratio=ratio,
                p=p,
            )
            for count, (ratio, p) in zip(counts, tests, strict=True)
        ),
        overfitting={
            name: (Overfitting(overfitting=0.1, generalization=0.2, ratio=0.5 * (i + 1), best_epoch=3),)
            for i, name in enumerate(names)
        },
    )


def _mistakes(task: str, generator: random.Random) -> Mistakes | None:
    """Of 8 classes most are right, and class 2 is taken for class 5 four times, the most; or errors of about 0.1."""
    if task == "multilabel":
        return None
    if task == "regression":
        return Mistakes(points=(tuple((target / 50, generator.gauss(target / 50, 0.1)) for target in range(200)),))
    counts = [[40 if i == j else generator.randint(0, 3) for j in range(8)] for i in range(8)]
    counts[2][5] = 4
    return Mistakes(classes=tuple(f"class {i}" for i in range(8)), counts=tuple(map(tuple, counts)))


def _attention() -> Attention:
    """The second word of every text looks at the region in row 2, column 3; regions look at all words alike."""
    places = tuple(f"row {row}, column {column}" for row in range(1, 5) for column in range(1, 5))
    red = np.zeros((8, 8, 3), dtype=np.uint8)
    red[2:4, 4:6, 0] = 255
    shot = Picture(height=8, width=8, channels=3, pixels=base64.b64encode(red.tobytes()).decode())
    regions = AttentionTokens(source="image@0", labels=(places, places), grid=(4, 4), pictures=(shot, shot))
    words = AttentionTokens(source="words@0", labels=(("a", "<b>cat</b>", "sat", ""), ("no", "cat", "", "")))
    nothing = AttentionTokens(source="", labels=(("nothing",),) * 2)
    even = (0.05,) * 16 + (0.2,)
    peak = (*(0.7 if place == 6 else 0.01 for place in range(16)), 0.15)
    asking = {"node": "fusion1", "operation": "cross_attention"}
    return Attention(
        samples=(
            AttentionSample(sample=0, target="class 1", answer="class 1", is_right=True),
            AttentionSample(sample=7, target="class 2", answer="class 5", is_right=False),
        ),
        maps=(
            AttentionMap(**asking, asking=(words,), asked=(regions, nothing), weights=((even, peak, even, even),) * 2),
            AttentionMap(**asking, asking=(regions,), asked=(words, nothing), weights=(((0.2,) * 5,) * 16,) * 2),
        ),
        left_out=1,
    )


def _stability(summary: Summary, num_searches: int) -> Agreement:
    """Every other search does nothing where the run's architecture does its last thing, and every fifth multiplies."""
    nodes, metric = summary.search.nodes, summary.metric
    picks = [[node.chosen or 0 for node in nodes] for _ in range(num_searches)]
    for search in range(1, num_searches):
        if search % 2:
            picks[search][-1] = 0
        if search % 5 == 0:
            operations = [choice.operation for choice in nodes[0].choices]
            picks[search][0] = operations.index("multiplicative")
    votes = []
    for column, node in enumerate(nodes):
        made = Counter(pick[column] for pick in picks)
        some = [(node.choices[index], count) for index, count in made.most_common()]
        choices = [
            Votes(label=one.label, operation=one.operation, inputs=one.inputs, count=count) for one, count in some
        ]
        votes.append(NodeVotes(node=node.name, choices=tuple(choices)))
    scores = [0.88 + 0.004 * (search % 4) for search in range(num_searches)]
    late_scores = [score - 0.01 for score in scores]
    searches = []
    for search, pick in enumerate(picks):
        found = architecture_of(nodes, pick)
        searches.append(
            OneSearch(
                seed=search,
                architecture=found,
                in_words=found.in_words(),
                interaction_order=2,
                agreement=0.75,
                encoders="pretrained",
                parameters=40_000,
                multiply_adds=120_000 + search,
                encoder_seconds=5.0,
                search_seconds=10.0 + search,
                discretization_loss=0.01,
                score=scores[search],
                late_score=late_scores[search],
            )
        )
    return Agreement(
        seeds=tuple(range(num_searches)),
        consensus_seed=0,
        num_distinct=len({tuple(pick) for pick in picks}),
        agreement=0.8125,
        chance_agreement=0.4,
        kappa=0.6875,
        choices=tuple(votes),
        modalities=dict.fromkeys(summary.search.depths, num_searches),
        depths={str(depth): num_searches - depth for depth in range(len(nodes))},
        interaction_orders={"0": 0, "1": 1, "2": num_searches - 1, "3": 0},
        metric=metric,
        higher_is_better=metric != "mae",
        found=_spread(scores),
        late=_spread(late_scores),
        difference=Interval(0.01, 0.002, 0.018),
        searches=tuple(searches),
    )


def _chain(choices: Sequence[Choice]) -> Architecture:
    """One choice per depth."""
    return Architecture.chain("layerwise", [(f"fusion{depth}", choice) for depth, choice in enumerate(choices)])


def add_routes(summary: Summary, reads: Sequence[str], *routes: Sequence[Choice]) -> Summary:
    """The same with a dynamic architecture: cheaper routes, of one choice per depth, before its own."""
    return replace(summary, architecture=dynamic([*map(_chain, routes), summary.architecture], reads))


def gated(reads: Sequence[str], *routes: Sequence[Choice]) -> Architecture:
    """A dynamic architecture of routes of one choice per depth."""
    return dynamic([*map(_chain, routes)], reads)


def _spread(scores: Sequence[float]) -> Spread:
    mean = sum(scores) / len(scores)
    return Spread(score=spread(mean, 0.012), min=min(scores), max=max(scores), scores=tuple(scores))


def _metrics(
    nodes: Sequence[SearchedNode], names: Sequence[str], num_records: int, generator: random.Random
) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [
        {
            "phase": "encoders",
            "modality": name,
            "seed": 0,
            "epoch": epoch + 1,
            "train_loss": 2 * 0.9**epoch,
            "architecture_loss": 2.1 * 0.92**epoch,
            "architecture_score": 0.8 - 0.6 * 0.85**epoch - 0.05 * i,
        }
        for i, name in enumerate(names)
        for epoch in range(20)
    ]
    for i in range(num_records):
        share = (i + 1) / num_records
        weights = {
            node.name: [
                (1 - share) / len(node.choice_weights) + share * choice_weight for choice_weight in node.choice_weights
            ]
            for node in nodes
        }
        records.append(
            {
                "phase": "search",
                "step": 20 * (i + 1),
                "epoch": i + 1,
                "seconds": 0.3 * i,
                "train_loss": 2 * 0.95**i + 0.02 * generator.random() if i else None,
                "architecture_loss": 2.1 * 0.96**i + 0.03 * generator.random(),
                "mixing_weights": weights,
                "entropy": {node.name: 2.8 - share * (j + 1) / 2 for j, node in enumerate(nodes)},
                "guards": {
                    "none_share": 0.1 + share / 4,
                    "nothing_nodes": round(2 * share),
                    "eigenvalue": 0.2 + share**2,
                    "discretization": 1.5 * (1 - share),
                },
            }
        )
    records += [
        {
            "phase": "retrain",
            "row": "found",
            "seed": seed,
            "epoch": epoch + 1,
            "train_loss": 2 * 0.88**epoch + 0.03 * generator.random(),
            "architecture_loss": 2 * 0.9**epoch + 0.2 + 0.05 * generator.random(),
            "architecture_score": 0.88 - 0.7 * 0.8**epoch + 0.01 * generator.random(),
        }
        for seed in range(3)
        for epoch in range(20)
    ]
    return records
