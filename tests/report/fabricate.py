"""Small run folders as a finished run leaves them, made up from a seed."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from nas.architecture import Architecture, Choice, read_choice
from nas.report.verdict import verdict
from nas.tournament import DEPOSED

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
    seed: int = 0,
) -> dict[str, Any]:
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
        summary["stability"] = _stability(summary, num_searches)
    if late_won:
        summary = _won_by_late_fusion(summary)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary, indent=2))
    lines = [json.dumps(record) + "\n" for record in _metrics(nodes, names, num_records, generator)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return summary


def _node(
    index: int,
    depths: Mapping[str, int],
    chosen: Mapping[int, tuple[str, Sequence[str]]],
    generator: random.Random,
    largest: int,
) -> dict[str, Any]:
    num_nodes = max(depths.values())
    tap = {m: f"{m}@{int(index / max(1, num_nodes - 1) * (taps - 1) + 0.5)}" for m, taps in depths.items()}
    choices = [{"operation": "none", "inputs": [], "label": "nothing"}]
    choices += [{"operation": "carry", "inputs": [tap[m]], "label": f"{m} alone"} for m in depths]
    for operation in OPERATIONS:
        for size in range(2, largest + 1):
            for subset in combinations(depths, size):
                sign = {"additive": " + ", "multiplicative": " × "}.get(operation)
                label = sign.join(subset) if sign else f"{operation}({', '.join(subset)})"
                choices.append({"operation": operation, "inputs": [tap[m] for m in subset], "label": label})
    operation, modalities = chosen.get(index, ("none", ()))
    at = next(
        i
        for i, choice in enumerate(choices)
        if choice["operation"] == operation and choice["inputs"] == [tap[m] for m in modalities]
    )
    raw = [generator.random() ** 3 for _ in choices]
    raw[at] = sum(raw) * generator.uniform(0.4, 1.5)
    return {
        "name": f"fusion{index}",
        "residual": f"fusion{index - 1}" if index else None,
        "choices": choices,
        "chosen": at,
        "beliefs": [value / sum(raw) for value in raw],
    }


def _summary(
    nodes: list[dict[str, Any]], depths: Mapping[str, int], metric: str, task: str, generator: random.Random
) -> dict[str, Any]:
    picked = [(node["name"], node["choices"][node["chosen"]]) for node in nodes]
    sense = -1 if metric == "mae" else 1
    rows = [_row("found", "found", 0.0, metric, generator)]
    rows += [_row(m, "modality", -0.06 * sense * (i + 1), metric, generator) for i, m in enumerate(depths)]
    rows.append(_row("late fusion", "late", -0.02 * sense, metric, generator))
    rows.append(_row("early fusion", "early", -0.035 * sense, metric, generator))
    for i, operation in enumerate(OPERATIONS):
        gap = sense * (-0.01 - 0.006 * i)
        rows.append(_row(f"{operation} at depth {i % len(nodes)}", "operation", gap, metric, generator))
    for i, control in enumerate(("gradient boosting", "logistic regression")):
        row = _row(control, "control", sense * (-0.05 - 0.03 * i), metric, generator)
        rows.append({**row, "in_words": "all inputs, no network", "parameters": None, "multiply_adds": None})
    rows += [_row(f"random {i}", "random", sense * (-0.03 - 0.02 * i), metric, generator) for i in range(3)]
    for row in rows[1:]:
        mean = sense * (rows[0]["mean"] - row["mean"])
        row["difference"] = {"mean": mean, "low": mean - 0.015, "high": mean + 0.015}
    in_words = "; ".join(f"depth {i}: {choice['label']}" for i, (_, choice) in enumerate(picked))
    data: dict[str, Any] = {
        "name": "emoji",
        "task": task,
        "classes": 1 if task == "regression" else 8,
        "class_names": [],
        "fingerprint": "9f2c7a31",
        "modalities": {
            m: {"kind": "map", "shapes": [[1, 16, 16]], "dtype": "uint8", "present_share": 1.0} for m in depths
        },
        "splits": {"weights": 1034, "architecture": 345, "test": 346},
    }
    summary: dict[str, Any] = {
        "format_version": 1,
        "data": data,
        "space": "layerwise",
        "strategy": "sampled",
        "discretization": "greedy",
        "encoders": "pretrained",
        "architecture": _architecture(picked),
        "in_words": in_words,
        "depths": dict(depths),
        "nodes": nodes,
        "interaction_order": 2,
        "metric": metric,
        "higher_is_better": metric != "mae",
        "leaderboard": rows,
        "diagnosis": _diagnosis(list(depths)),
        "mistakes": _mistakes(task, generator),
        "search_seconds": 12.4,
        "training_seconds": 41.0,
        "search_cost": 2.2,
        "discretization_loss": -0.013,
        "guards": {
            "tripped": "nothing",
            "epoch": 40,
            "restored_epoch": 34,
            "values": {"none_share": 0.35, "nothing_nodes": 3, "eigenvalue": 1.2, "discretization": 0.0},
            "fell_back": True,
            "in_words": "The search was stopped by the guard 'nothing' in epoch 40.",
        },
        "seed": 0,
        "seeds": [0, 1, 2, 3, 4],
        "device": "cpu",
        "hardware": "8 cores of an imaginary machine",
        "started_at": "2025-01-31T12:00:00+00:00",
        "total_seconds": 83.5,
        "commit": None,
        "versions": {"fusenas": "0.1.0", "torch": "2.6.0", "python": "3.11.9"},
        "command": "fusenas search emoji --seed 0 --out run",
    }
    return {**summary, "verdict": verdict(summary, {}).to_dict()}


def _won_by_late_fusion(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The same, had the tournament taken late fusion: the last node adds all modalities, and the others do nothing."""
    nodes = [dict(node) for node in summary["nodes"]]
    for node in nodes:
        wanted = ("additive", len(summary["depths"])) if node is nodes[-1] else ("none", 0)
        made = [(choice["operation"], len(choice["inputs"])) for choice in node["choices"]]
        node["chosen"] = made.index(wanted)
    architecture = _architecture([(node["name"], node["choices"][node["chosen"]]) for node in nodes])
    (deposed, *others) = summary["leaderboard"]
    late = next(row for row in others if row["kind"] == "late")
    late.update(architecture=architecture, difference={"mean": 0.0, "low": 0.0, "high": 0.0}, architecture_score=0.91)
    own: dict[str, Any] = {
        "name": DEPOSED,
        "kind": "proposal",
        "difference": {"mean": -0.02, "low": -0.035, "high": -0.005},
    }
    own |= {"architecture": summary["architecture"], "in_words": summary["in_words"], "architecture_score": 0.9}
    found = {**late, "name": "found", "kind": "found", "difference": None}
    summary = {
        **summary,
        "nodes": nodes,
        "architecture": architecture,
        "leaderboard": [found, {**deposed, **own}, *others],
        "tournament": {
            "prefer": "accuracy",
            "proposed": summary["architecture"],
            "winner": "late fusion",
            "behind": {"found": 1.26, "late fusion": 0.0, "early fusion": -0.04},
        },
    }
    return {**summary, "verdict": verdict(summary, {}).to_dict()}


def _diagnosis(names: Sequence[str]) -> dict[str, Any]:
    """Every modality contributes a little less than the one before, and the second overfits twice as fast."""

    def spread(mean: float) -> dict[str, float]:
        return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}

    def term(name: str, estimate: float) -> dict[str, Any]:
        errors = {"standard_error": 0.1, "t": 10 * estimate, "p": 0.03}
        return {"name": name, "estimate": estimate, **errors, "low": estimate - 0.2, "high": estimate + 0.2}

    terms = [term(name, 0.5) for name in ("constant", *names, " × ".join(names))]
    counts = (2, len(names) + 1, len(terms))
    tests = ((None, None), (20.0, 1e-6), (4.5, 0.034))
    return {
        "additivity": {
            "score": spread(0.88),
            "additive_score": spread(0.86),
            "gain": spread(0.02),
            "samples": 346,
            "of": 346,
            "grid": 346**2,
            "standard_error": 0.0,
        },
        "contributions": [
            {
                "modality": name,
                "left_out": spread(0.1 / (i + 1)),
                "permuted": spread(0.2 / (i + 1)),
                "shapley": spread(0.15 / (i + 1)),
                "unchanged": 0.5,
            }
            for i, name in enumerate(names)
        ],
        "regression": [
            {
                "coefficients": terms[:count],
                "r_squared": 0.1 * count,
                "log_likelihood": -100.0 / count,
                "samples": 346,
                "likelihood_ratio": ratio,
                "p": p,
            }
            for count, (ratio, p) in zip(counts, tests, strict=True)
        ],
        "overfitting": {
            name: [{"overfitting": 0.1, "generalization": 0.2, "ratio": 0.5 * (i + 1), "best_epoch": 3}]
            for i, name in enumerate(names)
        },
        "in_words": ["2.0 ± 1.0 points of this accuracy come from cross-modal interaction"],
    }


def _mistakes(task: str, generator: random.Random) -> dict[str, Any] | None:
    """Of 8 classes most are right, and class 2 is taken for class 5 four times, the most; or errors of about 0.1."""
    if task == "multilabel":
        return None
    if task == "regression":
        return {"points": [[[target / 50, generator.gauss(target / 50, 0.1)] for target in range(200)]]}
    counts = [[40 if i == j else generator.randint(0, 3) for j in range(8)] for i in range(8)]
    counts[2][5] = 4
    return {"classes": [f"class {i}" for i in range(8)], "counts": counts, "others": 0}


def _stability(summary: Mapping[str, Any], num_searches: int) -> dict[str, Any]:
    """Every other search does nothing where the run's architecture does its last thing, and every fifth multiplies."""
    nodes, metric = summary["nodes"], summary["metric"]
    picks = [[node["chosen"] for node in nodes] for _ in range(num_searches)]
    for search in range(1, num_searches):
        if search % 2:
            picks[search][-1] = 0
        if search % 5 == 0:
            picks[search][0] = next(
                i for i, choice in enumerate(nodes[0]["choices"]) if choice["operation"] == "multiplicative"
            )
    counts = []
    for column, node in enumerate(nodes):
        made = Counter(pick[column] for pick in picks)
        choices = [{**node["choices"][index], "count": count} for index, count in made.most_common()]
        counts.append({"node": node["name"], "choices": choices})
    scores = [0.88 + 0.004 * (search % 4) for search in range(num_searches)]
    late_scores = [score - 0.01 for score in scores]
    searches = []
    for search, pick in enumerate(picks):
        found = [(node["name"], node["choices"][index]) for node, index in zip(nodes, pick, strict=True)]
        searches.append(
            {
                "seed": search,
                "architecture": _architecture(found),
                "in_words": "; ".join(f"depth {i}: {choice['label']}" for i, (_, choice) in enumerate(found)),
                "interaction_order": 2,
                "agreement": 0.75,
                "encoders": "pretrained",
                "parameters": 40_000,
                "multiply_adds": 120_000 + search,
                "encoder_seconds": 5.0,
                "search_seconds": 10.0 + search,
                "discretization_loss": 0.01,
                "score": scores[search],
                "late_score": late_scores[search],
            }
        )
    return {
        "seeds": list(range(num_searches)),
        "consensus_seed": 0,
        "num_distinct": len({tuple(pick) for pick in picks}),
        "agreement": 0.8125,
        "chance_agreement": 0.4,
        "kappa": 0.6875,
        "choices": counts,
        "modalities": dict.fromkeys(summary["depths"], num_searches),
        "depths": {str(depth): num_searches - depth for depth in range(len(nodes))},
        "interaction_orders": {"0": 0, "1": 1, "2": num_searches - 1, "3": 0},
        "metric": metric,
        "higher_is_better": metric != "mae",
        "found": _spread(scores),
        "late": _spread(late_scores),
        "difference": {"mean": 0.01, "low": 0.002, "high": 0.018},
        "searches": searches,
    }


def _architecture(picked: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    return _chain([read_choice(choice) for _, choice in picked]).to_dict()


def _chain(choices: Sequence[Choice]) -> Architecture:
    """One choice per depth."""
    return Architecture.chain("layerwise", [(f"fusion{depth}", choice) for depth, choice in enumerate(choices)])


def add_routes(summary: dict[str, Any], reads: Sequence[str], *routes: Sequence[Choice]) -> None:
    """Makes a summary's architecture dynamic: cheaper routes, of one choice per depth, before its own."""
    found = Architecture.from_dict(summary["architecture"])
    summary["architecture"] = Architecture.gated([*map(_chain, routes), found], reads).to_dict()


def gated(reads: Sequence[str], *routes: Sequence[Choice]) -> dict[str, Any]:
    """A dynamic architecture of routes of one choice per depth."""
    return Architecture.gated([*map(_chain, routes)], reads).to_dict()


def _spread(scores: Sequence[float]) -> dict[str, Any]:
    mean = sum(scores) / len(scores)
    spread = {"mean": mean, "low": mean - 0.012, "high": mean + 0.012}
    return {**spread, "min": min(scores), "max": max(scores), "scores": list(scores)}


def _row(name: str, kind: str, gap: float, metric: str, generator: random.Random) -> dict[str, Any]:
    scores = [0.88 + gap + generator.gauss(0, 0.008) for _ in range(5)]
    mean = sum(scores) / 5
    cost = {"modality": 60_000, "early": 90_000, "late": 140_000}.get(kind, generator.randint(120_000, 900_000))
    return {
        "name": name,
        "kind": kind,
        "in_words": "depth 2: image + words" if kind == "late" else "",
        "mean": mean,
        "low": mean - 0.012,
        "high": mean + 0.012,
        "scores": scores,
        "parameters": cost // 3,
        "multiply_adds": cost + generator.randint(0, 9000),
        "train_seconds": generator.uniform(2, 5),
        "difference": None,
        "metrics": {metric: scores},
    }


def _metrics(
    nodes: list[dict[str, Any]], names: Sequence[str], num_records: int, generator: random.Random
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
            node["name"]: [(1 - share) / len(node["beliefs"]) + share * belief for belief in node["beliefs"]]
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
                "entropy": {node["name"]: 2.8 - share * (j + 1) / 2 for j, node in enumerate(nodes)},
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
