"""Summaries made of explicit values, for tests of whatever reads one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from nas.records import plain
from nas.space.architecture import Architecture, Choice
from nas.statistics import Interval
from nas.summary import (
    Additivity,
    Confidence,
    Costs,
    DataDescription,
    Decisions,
    Diagnosis,
    ModalityDescription,
    Preprocessing,
    Provenance,
    Route,
    Row,
    RowKind,
    Sample,
    Search,
    SearchedChoice,
    SearchedNode,
    Summary,
)

NO_GAP = Interval(0.0, 0.0, 0.0)

Part = TypeVar("Part")


def known(part: Part | None) -> Part:
    """A part of a summary that not every run has, and this one does."""
    assert part is not None
    return part


def spread(mean: float, margin: float = 0.01) -> Interval:
    """An interval around a mean."""
    return Interval(mean, mean - margin, mean + margin)


def make_row(name: str, kind: RowKind, architecture: Architecture | None = None, **changes: Any) -> Row:
    """A row of the leaderboard."""
    usual: dict[str, Any] = {
        "in_words": architecture.in_words() if architecture else "",
        "score": spread(0.88, 0.012),
        "scores": (0.87, 0.89),
        "metrics": {},
        "difference": None if kind == "found" else spread(0.05, 0.015),
        "architecture_score": float("nan"),
        "parameters": None if kind == "control" else 40_000,
        "multiply_adds": None if kind == "control" else 120_000,
        "train_seconds": 3.0,
    }
    return Row(name=name, kind=kind, architecture=architecture, **{**usual, **changes})


def make_node(name: str, choices: Sequence[Choice], residual: str | None = None, **changes: Any) -> SearchedNode:
    """A fusion node that was searched."""
    searched = tuple(
        SearchedChoice(
            operation=one.operation, inputs=one.inputs, label=one.in_words(with_depths=False), order=1, formula="x1"
        )
        for one in choices
    )
    return SearchedNode(name=name, residual=residual, choices=searched, **changes)


def make_diagnosis(gain: Interval | None = None, **changes: Any) -> Diagnosis:
    """A diagnosis that says nothing but how much interaction gains."""
    additivity = Additivity(
        score=spread(0.88),
        additive_score=spread(0.86),
        gain=gain or spread(float("nan")),
        samples=346,
        of=346,
        grid=346**2,
        standard_error=0.0,
    )
    usual: dict[str, Any] = {
        "contributions": (),
        "regression": (),
        "overfitting": {},
        "in_words": ("2.0 ± 1.0 points of this accuracy come from cross-modal interaction",),
    }
    return Diagnosis(additivity=additivity, **{**usual, **changes})


def make_data(names: Sequence[str] = ("image", "sound"), **changes: Any) -> DataDescription:
    """A data set of maps."""
    usual: dict[str, Any] = {
        "name": "emoji",
        "task": "classification",
        "classes": 8,
        "class_names": tuple(f"class {number}" for number in range(8)),
        "fingerprint": "9f2c7a31",
        "modalities": {
            name: ModalityDescription(kind="map", shapes=((1, 16, 16),), dtype="uint8", present_share=1.0)
            for name in names
        },
        "splits": {"weights": 1034, "architecture": 345, "test": 346},
    }
    return DataDescription(**{**usual, **changes})


def make_search(depths: dict[str, int], **changes: Any) -> Search:
    """A search, as far as it can be told without its nodes."""
    usual: dict[str, Any] = {
        "space": "layerwise",
        "nodes": (),
        "search_seconds": 12.4,
        "encoder_seconds": 5.0,
        "discretization": "one_standard_error",
        "discretization_loss": -0.013,
        "seed": 0,
    }
    return Search(depths=depths, **{**usual, **changes})


def make_summary(architecture: Architecture, depths: dict[str, int], **changes: Any) -> Summary:
    """A summary of a run whose leaderboard has but the found row."""
    usual: dict[str, Any] = {
        "in_words": architecture.in_words(),
        "interaction_order": 2,
        "encoders": "pretrained",
        "metric": "accuracy",
        "leaderboard": (make_row("found", "found", architecture),),
        "costs": Costs(encoders={}, nodes={}, head=0),
        "diagnosis": make_diagnosis(),
        "seeds": (0, 1, 2, 3, 4),
        "objective": "",
        "data": make_data(tuple(depths)),
        "search": make_search(depths),
        "device": "cpu",
        "preprocessing": {name: Preprocessing(chosen="standardize", scores={}) for name in depths},
        "training_seconds": 5.6,
        "search_cost": 2.2,
        "strategy": "sampled",
        "provenance": Provenance(
            command="fusenas search emoji --seed 0 --out run",
            commit=None,
            versions={"fusenas": "0.1.0", "torch": "2.6.0", "python": "3.11.9"},
            hardware="8 cores of an imaginary machine",
            started_at="2025-01-31T12:00:00+00:00",
        ),
        "total_seconds": 83.5,
    }
    return Summary(architecture=architecture, **{**usual, **changes})


def write_summary(folder: Path, summary: Summary | dict[str, Any]) -> None:
    """Writes summary.json: of a typed summary, or of values that were changed by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(plain(summary)))


def make_route(modalities: Sequence[str], share: float = 0.5, multiply_adds: float = 10.0, **changes: Any) -> Route:
    """A route of a network that decides per sample."""
    usual: dict[str, Any] = {"in_words": " + ".join(modalities), "shares": {}, "score": 0.8}
    return Route(modalities=tuple(modalities), share=share, multiply_adds=multiply_adds, **{**usual, **changes})


def make_decisions(routes: Sequence[Route], **changes: Any) -> Decisions:
    """What a network does that decides per sample: by a cascade, unless its gate reads something."""
    usual: dict[str, Any] = {
        "decider": "gate" if changes.get("reads") else "cascade",
        "reads": (),
        "lacking": 0.0,
        "multiply_adds": 75.0,
        "static_multiply_adds": 100.0,
        "curve": ((50.0, 0.7), (100.0, 0.8)),
        "random": ((50.0, 0.6), (100.0, 0.8)),
        "oracle": (40.0, 0.9),
        "most_fused": (Sample(sample=3, target="class 1", fused=0.9),),
        "least_fused": (Sample(sample=4, target="class 2", fused=0.1),),
        "confidence": Confidence(unimodal={}),
        "missing": {},
    }
    return Decisions(routes=tuple(routes), **{**usual, **changes})


def change_row(summary: Summary, which: int | str, **changes: Any) -> Summary:
    """A summary one row of whose leaderboard, by its place or name, is another."""
    rows = list(summary.leaderboard)
    place = which if isinstance(which, int) else [row.name for row in rows].index(which)
    rows[place] = replace(rows[place], **changes)
    return replace(summary, leaderboard=tuple(rows))
