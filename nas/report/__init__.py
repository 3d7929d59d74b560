"""The report of a run: figures with the numbers behind them, and one self-contained page that tells what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.errors import UserError
from nas.report.figures import Drawn, draw_all
from nas.report.film import film
from nas.report.page import inline_svg, render
from nas.report.style import to_png, to_svg
from nas.report.tables import own_records
from nas.runs import RunFolder

__all__ = ["report"]


def report(run: str | Path, out: str | Path | None = None) -> Path:
    """Writes figures/*.svg, *.png and *.csv and report.html.

    Args:
        run: The run folder; needs summary.json, and metrics.jsonl for what happened over time.
        out: Folder to write to; None for the run folder itself.

    Returns:
        The path of report.html.

    Raises:
        UserError: If the folder is no run, or its files are damaged or cannot be written.
    """
    folder = RunFolder.open(run)
    summary = folder.read_summary()
    metrics = folder.read_metrics() if folder.metrics.is_file() else []
    figures, html = _make(summary, metrics, folder.summary)
    target = RunFolder(out) if out is not None else folder
    try:
        for name, figure, csv in figures:
            target.write_bytes(f"figures/{name}.svg", figure[0])
            target.write_bytes(f"figures/{name}.png", figure[1])
            target.write_bytes(f"figures/{name}.csv", csv)
        return target.write_bytes("report.html", html)
    except OSError as error:
        raise UserError(
            f"cannot write the report to {str(target.path)!r}: {error.strerror}; name another --out"
        ) from error


def _make(
    summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], source: Path
) -> tuple[list[tuple[str, tuple[bytes, bytes], bytes]], bytes]:
    """All content, before a single file is written; damage in the summary is told as the user's."""
    try:
        figures: list[Drawn] = draw_all(summary, metrics)
        files = [
            (drawn.name, (to_svg(drawn.figure), to_png(drawn.figure)), drawn.csv.encode(errors="replace"))
            for drawn in figures
        ]
        svgs = {
            drawn.name: inline_svg(svg, drawn.name, drawn.alt, drawn.tips)
            for drawn, (_, (svg, _), _) in zip(figures, files, strict=True)
        }
        moving = film(summary, own_records(summary, metrics))
        return files, render(summary, svgs, moving).encode(errors="replace")
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
        message = (
            f"{str(source)!r} or metrics.jsonl beside it lacks or garbles something: {type(error).__name__} {error}"
        )
        raise UserError(" ".join(message.split())) from error
