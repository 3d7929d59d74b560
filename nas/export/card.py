"""The model card: one page of Markdown for whoever is handed the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nas.report.numbers import clean, count_text, metric_words, score_text, seconds_text
from nas.report.verdict import recorded_verdict
from nas.space.architecture import Architecture, Cascading, deepest
from nas.statistics import Interval
from nas.streams import plain_taps
from nas.summary import Row, Summary
from nas.tasks import TASKS

_LOADING = {
    "python": """\
`network.py` is the network as ordinary PyTorch code, `network.safetensors` its weights.

```python
from pathlib import Path

from network import load

outputs = load(Path("network.safetensors"))({arguments})
```""",
    "torch": """\
`{stem}.pt2` needs torch alone.

```python
import torch

outputs = torch.export.load("{stem}.pt2").module()({arguments})
```""",
    "onnx": """\
`{stem}.onnx` runs in any ONNX runtime.

```python
import onnxruntime

(outputs,) = onnxruntime.InferenceSession("{stem}.onnx").run(None, {{{named}}})
```""",
}


def to_card(summary: Summary, formats: Sequence[str], inputs: Sequence[str], stem: str, *, dropped: float = 0.0) -> str:
    """The card as Markdown.

    Args:
        summary: Of the run.
        formats: What is exported beside it.
        inputs: Names of the exported network's inputs, in order.
        stem: Of the names of the exported programs.
        dropped: How often samples were shown without a modality in training, 0 to 1.
    """
    architecture, data, metric = summary.architecture, summary.data, summary.metric
    given = {
        "stem": stem,
        "arguments": ", ".join(inputs),
        "named": ", ".join(f'"{name}": {name}' for name in inputs),
    }
    reached = deepest(plain_taps(architecture.taps(), summary.search.depths))
    found, origin = summary.saved, summary.provenance
    verdict = recorded_verdict(summary)
    environment = Environment(
        loader=PackageLoader("nas.export", "."), undefined=StrictUndefined, finalize=_cell, keep_trailing_newline=True
    )
    return environment.get_template("card.md.j2").render(
        data=data,
        architecture=_headline(architecture),
        verdict=verdict.lines() if verdict else ["Nothing was compared."],
        modalities=[
            {
                "name": name,
                "kind": modality.kind,
                "shapes": " and ".join(" × ".join(map(str, shape)) for shape in modality.shapes),
                "dtype": modality.dtype,
                "read": f"to depth {reached[name]}" if name in reached else "no",
            }
            for name, modality in data.modalities.items()
        ],
        masked=", ".join(name for name in reached if data.modalities[name].present_share < 1),
        dropped=f"{100 * dropped:.0f} %" if dropped else "",
        task=data.task.capitalize(),
        outputs=f"{TASKS[data.task].output} ({', '.join(data.class_names) or data.classes})",
        depths=_steps(architecture, summary),
        decides=_decider(architecture),
        metric=metric_words(metric).capitalize(),
        seeds=len(summary.seeds),
        kept=found.name,
        first=score_text(found.scores[0], metric),
        rows=[_row(row, metric) for row in summary.leaderboard],
        loading=[_Markdown(text.format(**given)) for kind, text in _LOADING.items() if kind in formats],
        command=origin.command,
        commit=origin.commit or "unknown",
        started_at=origin.started_at,
        hardware=origin.hardware,
        versions=", ".join(f"{name} {version}" for name, version in origin.versions.items()),
    )


def _decider(architecture: Architecture) -> str:
    """What decides per sample; "" for nothing."""
    if architecture.gating is None:
        return ""
    return "cascade" if isinstance(architecture.gating, Cascading) else "gate"


def _steps(architecture: Architecture, summary: Summary) -> list[str]:
    """What it does, a line each; of a route also how many samples take it, and what that costs."""
    if architecture.gating is None:
        return summary.in_words.split("; ")
    gate, *routes = architecture.in_lines()
    known = summary.dynamic.routes if summary.dynamic else ()
    if len(known) != len(routes):
        return [gate, *routes]
    stop, after = (" stop here", "after ") if isinstance(architecture.gating, Cascading) else ("", "")
    told = [
        f"{step}; {100 * route.share:.0f} % of the test samples{stop}, "
        f"{after}{count_text(route.multiply_adds)} multiply-adds each"
        for step, route in zip(routes, known, strict=True)
    ]
    return [gate, *told]


class _Markdown(str):
    """Text that keeps its lines."""


def _cell(value: Any) -> Any:
    """Anything else as one line that cannot break the table it may stand in, nor begin a tag."""
    return value if isinstance(value, _Markdown) else clean(value, 2000).replace("|", "¦").replace("<", "‹")


def _headline(architecture: Architecture) -> str:
    read = architecture.modalities()
    return f"fusing {', '.join(read)}" if len(read) > 1 else f"{read[0]} alone" if read else "nothing"


def _row(row: Row, metric: str) -> dict[str, str]:
    return {
        "name": row.name,
        "score": _interval(row.score, metric),
        "difference": _interval(row.difference, metric) if row.difference else "",
        "parameters": count_text(row.parameters),
        "multiply_adds": count_text(row.multiply_adds),
        "seconds": seconds_text(row.train_seconds),
    }


def _interval(values: Interval, metric: str) -> str:
    mean, low, high = (score_text(value, metric) for value in (values.mean, values.low, values.high))
    return f"{mean} [{low}, {high}]"
