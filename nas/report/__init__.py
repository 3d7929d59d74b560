"""The report of a run, or of several: figures with the numbers behind them, and one self-contained page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

import nas.report.import_matplotlib  # noqa: F401  # before anything else imports it
from nas.errors import UserError
from nas.report.animation import animation
from nas.report.comparison import groups
from nas.report.comparison_page import render_comparison
from nas.report.damage import report_damage
from nas.report.extent import drawable
from nas.report.figures import Drawn, draw_all, draw_comparison
from nas.report.frame import inline_svg
from nas.report.page import render
from nas.report.style import to_png, to_svg
from nas.report.tables import own_records
from nas.runs.files import Folder, folder_to_write
from nas.runs.folder import RunFolder
from nas.runs.locking import owned

__all__ = ["draw_report", "render_report", "report"]

_File = tuple[Drawn, bytes, bytes]  # a figure as SVG and as PNG


def report(run: str | Path | Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Writes figures/*.svg, *.png and *.csv and report.html.

    Args:
        run: The run folder; needs summary.json, and metrics.jsonl for what happened over time. Several give a page that
            compares them.
        out: Folder to write to; None for the run folder itself. Several runs need one.

    Returns:
        The path of report.html.

    Raises:
        UserError: If a folder is no run, its files are damaged or cannot be written, or several runs are named without
            a folder for their page, or with one that is a run.
    """
    if not isinstance(run, str | Path):
        if len(run) != 1:
            return _compare([RunFolder.open(one) for one in run], out)
        (run,) = run
    if out is None:
        with RunFolder.claimed(run) as folder:
            return draw_report(folder, folder)
    target = folder_to_write(out)
    with owned(target):
        return draw_report(RunFolder.open(run), target)


def draw_report(run: RunFolder, target: Folder) -> Path:
    """The same for one run and a folder to write to that the caller owns; see `report`."""
    return _write(target, *render_report(run))


def render_report(run: RunFolder) -> tuple[list[_File], str]:
    """The figures of a run as files, and its page; nothing is written.

    Raises:
        UserError: If a file of the run is missing or damaged.
    """
    summary = run.read_summary()
    metrics = run.read_metrics() if run.exists("metrics.jsonl") else []
    with report_damage(f"{str(run.summary)!r} or metrics.jsonl beside it"):
        summary, metrics, left_out = drawable(summary, metrics)
        drawn = _files(draw_all(summary, metrics))
        return drawn, render(summary, _inlined(drawn), animation(summary, own_records(summary, metrics)), left_out)


def _compare(folders: Sequence[RunFolder], out: str | Path | None) -> Path:
    """The page that holds several runs side by side."""
    if len(folders) < 2 or len({folder.path.resolve() for folder in folders}) < len(folders):
        raise UserError(f"expected different runs to compare, got {[str(folder.path) for folder in folders]}")
    if out is None:
        raise UserError("a comparison needs a folder of its own; name one with --out")
    target = folder_to_write(out)
    if any(target.exists(name) for name in ("config.toml", "summary.json", "metrics.jsonl")):
        raise UserError(
            f"{str(target.path)!r} is a run, whose own report would be lost; choose another folder with --out"
        )
    summaries = {name: folder.read_summary() for name, folder in zip(_names(folders), folders, strict=True)}
    pages = {
        name: quote(os.path.relpath(folder.report.resolve(), target.path.resolve()), errors="surrogateescape")
        for name, folder in zip(summaries, folders, strict=True)
        if folder.is_file("report.html")
    }
    with report_damage(f"summary.json of one of {[str(folder.path) for folder in folders]}"):
        found = groups(summaries, pages)
        drawn = _files(draw_comparison(found))
        page = render_comparison(found, _inlined(drawn))
    with owned(target):
        return _write(target, drawn, page)


def _names(folders: Sequence[RunFolder]) -> list[str]:
    """Names of folders, with as many of their parents' as it takes to tell them apart."""
    parts = [folder.path.resolve().parts for folder in folders]
    depth = 1
    while len({path[-depth:] for path in parts}) < len(parts):
        depth += 1
    return ["/".join(path[-depth:]) for path in parts]


def _files(figures: Sequence[Drawn]) -> list[_File]:
    return [(drawn, to_svg(drawn.figure), to_png(drawn.figure)) for drawn in figures]


def _inlined(files: Sequence[_File]) -> dict[str, Markup]:
    return {drawn.name: inline_svg(svg, drawn.name, drawn.alt, drawn.tooltips) for drawn, svg, _ in files}


def _write(target: Folder, files: Sequence[_File], page: str) -> Path:
    try:
        for drawn, svg, png in files:
            target.write_bytes(f"figures/{drawn.name}.svg", svg)
            target.write_bytes(f"figures/{drawn.name}.png", png)
            target.write_bytes(f"figures/{drawn.name}.csv", drawn.csv.encode(errors="replace"))
        return target.write_bytes("report.html", page.encode(errors="replace"))
    except OSError as error:
        raise UserError(
            f"cannot write the report to {str(target.path)!r}: {error.strerror}; name another --out"
        ) from error
