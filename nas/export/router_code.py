"""The class of what decides which route a sample takes: of a gate, or of a cascade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.codegen import Method, Source
from nas.export.names import used
from nas.routing.cascade import LEVER, Cascade
from nas.routing.gates import Gate
from nas.space.architecture import tap_modality
from nas.streams import stream_modalities
from nas.tasks import Task


def gate_source(gate: Gate, taps: Sequence[str], masks: Mapping[str, str]) -> Source:
    """How a gate is written.

    Args:
        gate: Of the network.
        taps: Names of what it reads.
        masks: Modality to the name of its mask, for those that some samples lack.
    """
    first = [stream_modalities(tap_modality(name))[0] for name in gate.reads]
    pooled = [
        f"{tap}.mean(dim=1)" + (f" * {masks[name]}[:, None]" if name in masks else "")
        for name, tap in zip(first, taps, strict=True)
    ]
    body = [
        f"pooled = {pooled[0]}" if len(pooled) == 1 else f"pooled = torch.cat([{', '.join(pooled)}], dim=1)",
        "logits = self.output(F.relu(self.hidden(pooled)))",
    ]
    if there := there_source(gate.routes, masks):
        body += [
            "# No route that reads what a sample lacks, unless all do.",
            f"allowed = {there}",
            "logits = logits.masked_fill(",
            "    ~allowed & allowed.any(dim=1, keepdim=True), -torch.inf",
            ")",
        ]
    return Source(
        doc=f"Picks one of {len(gate.routes)} routes for every sample, by means over time of {' and '.join(taps)}.",
        arguments=[*taps, *used(list(masks.values()), body)],
        members={"hidden": "hidden", "output": "output"},
        forward=[*body, "return logits.argmax(dim=1)"],
    )


CONFIDENCE: Mapping[Task, Method] = {
    "classification": Method(
        name="confidence",
        doc="Log-odds of the most probable class.",
        arguments=["outputs"],
        body=[
            "ordered = outputs.sort(dim=1, descending=True).values",
            "return ordered[:, 0] - ordered[:, 1:].logsumexp(dim=1)",
        ],
    ),
    "multilabel": Method(
        name="confidence",
        doc="Log-odds that the more probable answer is right for every label.",
        arguments=["outputs"],
        body=[
            "right = F.logsigmoid(outputs.abs()).sum(dim=1)",
            "return right - torch.log(-torch.expm1(right).clamp(max=-1e-7))",
        ],
    ),
}
"""As `nas.routing.cascade.confidence` has it."""


def cascade_source(cascade: Cascade, masks: Mapping[str, str]) -> tuple[Source, list[str]]:
    """How a cascade is written.

    Args:
        cascade: Of the network.
        masks: Modality to the name of its mask, for those that some samples lack.

    Returns:
        The class, and the names of the masks that its method `allowed` takes; none if there is no such method.
    """
    methods, there = [CONFIDENCE[cascade.task]], there_source(cascade.routes, masks)
    given = used(list(masks.values()), [there])
    sure = f"self.slope[route] * self.confidence(outputs) > {LEVER:g} * self.threshold[route]"
    forward = [f"return ~({sure})"]
    if there:
        methods.append(
            Method(
                name="allowed",
                doc="Which routes read nothing that a sample lacks; all, if every one does.",
                arguments=given,
                body=[f"allowed = {there}", "return allowed | ~allowed.any(dim=1, keepdim=True)"],
            )
        )
        forward = [
            f"sure = {sure}",
            "# It stops where all that is read is there, at the last such route if not before.",
            "last = ~allowed[:, route + 1 :].any(dim=1)",
            "return ~(allowed[:, route] & (sure | last))",
        ]
    source = Source(
        doc="Tells which samples go on after a route: those whose answer is not sure enough.",
        arguments=["route: int", "outputs", *(["allowed"] if there else [])],
        members={"slope": "slope", "threshold": "threshold"},
        forward=forward,
        methods=methods,
    )
    return source, given


def there_source(routes: Sequence[Sequence[str]], masks: Mapping[str, str]) -> str:
    """An expression for whether a sample has all that a route reads, (batch, routes); "" if no route is masked.

    Args:
        routes: For every route the modalities that it reads.
        masks: Modality to the name of its mask, for those that some samples lack.
    """
    lacking = [[masks[name] for name in modalities if name in masks] for modalities in routes]
    if not any(lacking):
        return ""
    everywhere = f"torch.ones_like({next(iter(masks.values()))})"
    return f"torch.stack([{', '.join(' & '.join(some) or everywhere for some in lacking)}], dim=1)"
