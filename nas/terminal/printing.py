"""The results of a search as text on a terminal: verdict, leaderboard, agreement of several searches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas.data.tables import TableRecipe
from nas.data.tables.cells import shown
from nas.report.numbers import PERCENT_METRICS, metric_name, node_titles
from nas.report.stability import SPREADS
from nas.report.verdict import recorded_verdict
from nas.report.words import advice_in_words, capital
from nas.statistics import Interval
from nas.summary import Agreement, Objectives, Summary


def print_result(console: Console, summary: Summary, page: Path | None) -> None:
    """Prints what a search or a retraining found: the verdict, the leaderboard, and what explains them.

    Args:
        console: Where to print.
        summary: Of the run.
        page: The report, if one was written.
    """
    percent = summary.metric in PERCENT_METRICS
    if verdict := recorded_verdict(summary):
        console.print(verdict.headline, style="bold", markup=False)
        for sentence in verdict.sentences:
            console.print(sentence, markup=False)
    of_what = f"{summary.data.name}: {metric_name(summary.metric)}"
    table = Table(title=f"{escape(of_what)} on the test split, mean \\[95 % interval]")
    for title, side in (("", "left"), ("score", "right"), ("found is better by", "right"), ("multiply-adds", "right")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]  # rich wants a Literal
    for row in summary.leaderboard:
        table.add_row(
            row.name if row.kind != "found" else "[bold]found[/bold]",
            _interval(row.score, percent=percent),
            "same network" if summary.is_found_again(row) else _interval(row.difference, percent=percent),
            "–" if row.multiply_adds is None else f"{row.multiply_adds:,}",
        )
    console.print(table)
    console.print(f"{summary.diagnosis.in_words[0]}.")
    for clause in advice_in_words(summary.advice):
        console.print(f"{capital(clause)}.", markup=False)
    if summary.objectives:
        print_objectives(console, summary.objectives, percent=percent)
    if summary.stability:
        _print_stability(
            console,
            summary.stability,
            node_titles(summary.search.nodes),
            competed=summary.tournament is not None,
        )
    _print_reservations(console, summary)
    search = summary.search
    if search.pareto:
        console.print("not beaten in both loss and multiply-adds, by what the search tried:")
    for point in search.pareto:
        line = f"  loss {point.loss:.4f}, {point.multiply_adds:,} multiply-adds: {point.in_words}"
        console.print(line, markup=False, soft_wrap=True)
    if search.guards and search.guards.tripped:
        console.print(search.guards.in_words)
    how_many = f"{len(summary.stability.seeds)} searches" if summary.stability else "search"
    console.print(
        f"{how_many} {search.search_seconds:.1f} s ({summary.search_cost:.1f} trainings of one architecture), "
        f"all {summary.total_seconds:.0f} s"
    )
    if page is not None:
        console.print(f"report: {page}", soft_wrap=True)


def print_objectives(console: Console, objectives: Objectives, *, percent: bool) -> None:
    """Prints what came of every objective that was tried on the found architecture."""
    table = Table(title="found, by objective: test split, mean [95 % interval]; taken by the architecture split")
    for title in ("", "score", "better than plain by"):
        table.add_column(title, justify="right" if title else "left")
    for row in objectives.tried:
        name = escape(row.objective or "plain training")
        better = _interval(row.difference, percent=percent)
        is_taken = row.objective == objectives.chosen
        score = _interval(row.score, percent=percent)
        table.add_row(f"[bold]{name}, taken[/bold]" if is_taken else name, score, better)
    console.print(table)
    if objectives.left_out:
        console.print(f"no time for {', '.join(objectives.left_out)}", markup=False)


def _print_reservations(console: Console, summary: Summary) -> None:
    """What there was no time for, and what was made on a part of the samples."""
    if summary.left_out:
        console.print(f"left out to keep the time limit: {'; '.join(summary.left_out)}", markup=False)
    for words in summary.on_fewer:
        console.print(f"{capital(words)}, drawn at random.", markup=False)


def _print_stability(console: Console, stability: Agreement, titles: Mapping[str, str], *, competed: bool) -> None:
    """Prints how far several searches agree, and what the next one may come to."""
    percent = stability.metric in PERCENT_METRICS
    count = len(stability.seeds)
    table = Table(title=f"{count} searches: {stability.metric} on the test split, mean [95 % interval over searches]")
    for title in ("", "score", "lowest", "highest", "proposal is better by"):
        table.add_column(title, justify="right" if title else "left")
    rows = ((SPREADS["found"], stability.found, None), (SPREADS["late"], stability.late, stability.difference))
    for name, spread, difference in rows:
        if spread is not None:
            ends = (f"{100 * end:.1f}" if percent else f"{end:.4g}" for end in (spread.min, spread.max))
            score, better = (_interval(values, percent=percent) for values in (spread.score, difference))
            table.add_row(name, score, *ends, better)
    console.print(table)
    for node in stability.choices:
        made = ", ".join(f"{escape(choice.label)} {choice.count}" for choice in node.choices)
        console.print(f"{escape(titles[node.node])}, of {count}: {made}")
    kappa, distinct = stability.kappa, stability.num_distinct
    told = (
        "all proposed the same architecture" if distinct == 1 else f"they proposed {distinct} different architectures"
    )
    beyond = "" if math.isnan(kappa) else f" (Fleiss' kappa {kappa:.2f})"
    console.print(f"{told}; two agree on {100 * stability.agreement:.0f} % of the nodes{beyond}")
    came_to = "entered the tournament" if competed else "was taken"
    console.print(f"that of seed {stability.consensus_seed}, which agrees most with all others, {came_to}")


def _interval(values: Interval | None, *, percent: bool) -> str:
    """A mean with its interval; "" if there is none."""
    if values is None:
        return ""
    if percent:
        return f"{100 * values.mean:.1f} \\[{100 * values.low:.1f}, {100 * values.high:.1f}]"
    return f"{values.mean:.4g} \\[{values.low:.4g}, {values.high:.4g}]"


def print_evaluation(console: Console, found: Mapping[str, Any]) -> None:
    """Prints what judging a run's network again came to, see `nas.evaluate`."""
    judged = f"{found['metric']} {found['score']:.4f} on {found['samples']} test samples"
    weighted = found["weighted_metrics"]
    lines = [
        found["in_words"],
        f"{judged}, recorded {found['recorded']:.4f}",
        *([f"by sample weights: {found['metric']} {weighted[found['metric']]:.4f}"] if weighted else []),
        *(f"{sentence}." for sentence in found["diagnosis"].in_words),
    ]
    if not found["same_data"]:
        lines.append("note: this is not the data of the search")
    elif not found["repeated"]:
        why = "another machine may round otherwise, or the run is damaged"
        lines.append(f"note: the recorded score is not repeated; {why}")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def print_plan(console: Console, planned: Mapping[str, Any]) -> None:
    """Prints what a search or a retraining would do, see `nas.plan`.

    Args:
        console: Where to print.
        planned: A `nas.RunPlan` as plain values.
    """
    data, encoders = planned["data"], planned["encoders"]
    of_task = data["task"] if data["task"] == "regression" else f"{data['task']}, {data['classes']} outputs"
    splits = ", ".join(f"{count:,} {name}" for name, count in data["splits"].items())
    console.print(f"{data['name']}: {of_task}; samples: {splits}", markup=False)
    table = Table(title="modalities")
    for title, side in (
        ("", "left"),
        ("kind", "left"),
        ("of one sample", "left"),
        ("encoder", "left"),
        ("taps", "right"),
    ):
        table.add_column(title, justify=side)  # type: ignore[arg-type]  # rich wants a Literal
    for name, one in data["modalities"].items():
        shapes = " and ".join("×".join(map(str, shape)) or "1" for shape in one["shapes"])
        encoder = encoders[name]
        told = f"{encoder['name']}, {encoder['parameters']:,} parameters"
        table.add_row(*map(escape, (name, one["kind"], shapes, told, str(encoder["taps"]))))
    console.print(table)
    space = f"space {planned['space']}: {planned['nodes']} fusion nodes, {planned['architectures']:,} architectures, "
    searched = (
        f"{space}searched by {planned['strategy']}" if planned["strategy"] else "nothing is searched again: trained"
    )
    console.print(f"{searched} on {planned['device']}", markup=False)
    of_folds = f" of each of {planned['folds']} folds" if planned["folds"] > 1 else ""
    table = Table(title=f"trainings{of_folds}, of {planned['epochs']} epochs where they are whole")
    for title in ("", "how many", "seconds"):
        table.add_column(title, justify="right" if title else "left")
    for stage in planned["stages"]:
        many = _from_to(stage["fewest"], stage["most"])
        table.add_row(escape(stage["words"]), many, _from_to(*stage["seconds"]))
    console.print(table)
    console.print(planned["in_words"], markup=False)


def print_folds(console: Console, found: Mapping[str, Any], out: Path) -> None:
    """Prints what a cross-validation came to.

    Args:
        console: Where to print.
        found: A `nas.CrossValidation` as plain values.
        out: Folder with the runs of its folds.
    """
    percent = found["metric"] in PERCENT_METRICS
    title = f"{found['folds']} folds: {metric_name(found['metric'])}, mean over folds \\[95 % interval]"
    table = Table(title=title)
    for name in ("", "score", "found is better by"):
        table.add_column(name, justify="right" if name else "left")
    for row in found["rows"]:
        gap = row["difference"]
        intervals = (Interval(**values) if values else None for values in (row["score"], gap))
        table.add_row(escape(row["name"]), *(_interval(one, percent=percent) for one in intervals))
    console.print(table)
    for number, words in enumerate(found["in_words"], start=1):
        console.print(f"fold {number}: {words}", markup=False, soft_wrap=True)
    console.print(
        f"every sample is predicted once, by a network that has not seen it: {out / 'predictions.csv'}", soft_wrap=True
    )


def _from_to(low: float, high: float) -> str:
    ends = dict.fromkeys(f"{end:.0f}" if end >= 10 or end == round(end) else f"{end:.1f}" for end in (low, high))
    return " to ".join(ends)


def print_columns(console: Console, recipe: TableRecipe) -> None:
    """Prints what the columns of a table were taken for, and why."""
    modality = {column: name for name, one in recipe.modalities.items() for column in one.columns}
    table = Table(title="columns; --columns NAME:KIND overrules")
    for title in ("column", "taken as", "modality", "because"):
        table.add_column(title, justify="left")
    for column in recipe.columns:
        kind = "left out" if column.kind == "ignore" else column.kind
        table.add_row(*map(escape, (shown(column.name), kind, modality.get(column.name, ""), column.reason)))
    console.print(table)
