"""Takes a finished run away: files for other programs, each tried before it is handed out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nas.data import FusionData
from nas.encoders import Named
from nas.errors import UserError, is_full_disk, unknown_name
from nas.export.formats import FORMATS
from nas.export.subject import Subject
from nas.runs.files import Folder, folder_to_write
from nas.runs.folder import RunFolder
from nas.runs.locking import owned


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """One file that was handed out.

    Attributes:
        path: Where it lies.
        format: Its name in `FORMATS`.
        difference: Largest difference of an output from the network's on real samples, in units of the largest output
            or of 1; None where there is no output.
    """

    path: Path
    format: str
    difference: float | None

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"path": str(self.path), "format": self.format, "difference": self.difference}


def export(
    run: str | Path,
    formats: Sequence[str] | None = None,
    *,
    out: str | Path | None = None,
    data: FusionData | str | Path | None = None,
    taps_only: bool = False,
    encoders: Named | None = None,
) -> list[ExportedFile]:
    """Writes a run's architecture and network in other programs' formats.

    Nothing is handed out that was not read back. A network is run in a fresh process on samples of the test split, one
    alone and up to 63 together, and must agree within `nas.export.verify.TOLERANCE`.

    Args:
        run: Folder of a finished run.
        formats: Names of `FORMATS`; None for all whose packages are installed.
        out: Folder to write to; None for `exports` in the run folder.
        data: The data of the run, where it was not read from a file or has moved.
        taps_only: Whether the formats torch and onnx take the taps of the encoders; if not, raw arrays.
        encoders: See `nas.load_run`, for a run with encoders of your own.

    Returns:
        The files written.

    Raises:
        UserError: If a format is unknown, not installed, cannot do without encoders; the run is
            damaged or its data not there; an exported network disagrees; or `out` cannot be written.
    """
    if out is None:
        with RunFolder.claimed(run) as folder:
            return write_exports(
                folder, folder.inner("exports"), formats, data=data, taps_only=taps_only, encoders=encoders
            )
    target = folder_to_write(out)
    with owned(target):
        return write_exports(RunFolder.open(run), target, formats, data=data, taps_only=taps_only, encoders=encoders)


def write_exports(
    run: RunFolder,
    target: Folder,
    formats: Sequence[str] | None,
    *,
    data: FusionData | str | Path | None = None,
    taps_only: bool = False,
    encoders: Named | None = None,
) -> list[ExportedFile]:
    """The same for a folder to write to that the caller owns; see `export`."""
    names = _chosen(formats, encoders=not taps_only)
    subject = Subject(run, names, data, encoders=not taps_only, named=encoders)
    files: list[ExportedFile] = []
    with TemporaryDirectory() as temporary:
        for name in names:
            Folder(temporary).make(name)
            staged = Path(temporary, name)
            difference = _write(subject, name, staged)
            files += [
                ExportedFile(path=file, format=name, difference=difference)
                for file in sorted(staged.iterdir())
                if file.is_file()
            ]
        try:
            return [replace(file, path=target.write_bytes(file.path.name, file.path.read_bytes())) for file in files]
        except OSError as error:
            if is_full_disk(error):  # no mistake in what was given, and no reason to give up the run
                raise
            raise UserError(f"cannot write to {str(target.path)!r}: {error.strerror}; name another --out") from error


def _chosen(formats: Sequence[str] | None, *, encoders: bool) -> list[str]:
    """The formats that are asked for, each once; all that can be written, if none is named."""
    for name in formats or ():
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
        if missing := FORMATS[name].missing():
            raise UserError(f"format {name!r} needs {', '.join(missing)}: pip install 'fusenas[onnx]'")
        if not (encoders or FORMATS[name].is_program):
            raise UserError(f"format {name!r} cannot do without the encoders; only torch and onnx can")
    if formats:
        return list(dict.fromkeys(formats))
    return [name for name, format_ in FORMATS.items() if not format_.missing() and (encoders or format_.is_program)]


def _write(subject: Subject, name: str, folder: Path) -> float | None:
    try:
        return FORMATS[name].write(subject, folder)
    except UserError:
        raise
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        message = f"cannot export {name} of {str(subject.run_folder.path)!r}: {type(error).__name__} {error}"
        raise UserError(f"{' '.join(message.split())[:300]}; is the run damaged?") from error


__all__ = ["FORMATS", "ExportedFile", "export", "write_exports"]
