"""Takes a finished run away: its architecture as JSON, its weights, its graph."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nas.errors import UserError, is_full_disk, unknown_name
from nas.export.graph import to_dot, to_graphml
from nas.export.record import to_json
from nas.runs import RunFolder, write_atomically
from nas.weights import MAX_BYTES, load_weights


def _json(run: RunFolder) -> dict[str, bytes]:
    text = json.dumps(to_json(run.read_summary()), indent=2, ensure_ascii=False) + "\n"
    # A name that is no valid Unicode, as from a file system, stays readable: JSON escapes it the same way.
    return {"architecture.json": text.encode(errors="backslashreplace")}


def _safetensors(run: RunFolder) -> dict[str, bytes]:
    load_weights(run)  # a file that could not be loaded again shall not be handed out
    return {"weights.safetensors": run.read_bytes("weights.safetensors", max_bytes=MAX_BYTES)}


def _graph(run: RunFolder) -> dict[str, bytes]:
    summary = run.read_summary()
    return {"architecture.graphml": to_graphml(summary), "architecture.dot": to_dot(summary).encode()}


FORMATS: Mapping[str, Callable[[RunFolder], Mapping[str, bytes]]] = {
    "json": _json,
    "safetensors": _safetensors,
    "graph": _graph,
}


def export(run: str | Path, formats: Sequence[str] | None = None, *, out: str | Path | None = None) -> list[Path]:
    """Writes a run's architecture in other programs' formats.

    Args:
        run: Folder of a finished run.
        formats: Names of `FORMATS`; None for all.
        out: Folder to write to; None for `exports` in the run folder.

    Returns:
        The files written.

    Raises:
        UserError: If a format is unknown the run lacks a file that it needs, or `out` cannot be written.
    """
    for name in formats or ():
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
    folder = RunFolder.open(run)
    files = {name: content for format_ in formats or FORMATS for name, content in FORMATS[format_](folder).items()}
    where = Path(out) if out is not None else folder.exports
    try:
        where.mkdir(parents=True, exist_ok=True)
        return [write_atomically(where / name, content) for name, content in files.items()]
    except OSError as error:
        if is_full_disk(error):  # no mistake in what was given, and no reason to give up the run
            raise
        raise UserError(f"cannot write to {str(where)!r}: {error.strerror}; name another --out") from error


__all__ = ["FORMATS", "export"]
