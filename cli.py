"""The command line: each command parses, calls one function and prints a summary."""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

try:
    import typer

    from nas.config.flags import with_flags
    from nas.errors import UserError
    from nas.terminal.entry import run_command
    from nas.terminal.output import console_for, print_json, show_bar, show_progress, show_run
    from nas.terminal.stopping import held_back, resumable
except KeyboardInterrupt:  # these take a tenth of a second, in which somebody may think better of it
    raise SystemExit(130) from None

STARTED = time.perf_counter()
"""When the command began, which imports torch before it does anything."""

app = typer.Typer(
    name="fusenas",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while it works.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and how long it would take, and write nothing.")
]
Data = Annotated[str, typer.Option(help="Other data than the run's, or the run's where it has moved.")]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)]
RunsArgument = Annotated[
    list[Path], typer.Argument(help="Folder of a finished run; several are compared.", show_default=False)
]

KEPT = dict.fromkeys(("seed", "retrain_seeds", "epochs", "objective"), "as in the run")
"""Options of a run that a retraining may change."""


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fusenas {version('fusenas')}")
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Learns when, how and whether to fuse several modalities, and says honestly what fusion bought."""


@app.command()
@with_flags(absent={"out": "results/runs/DATA-SEED"})
def search(
    data: Annotated[
        str,
        typer.Argument(
            help="A table (.csv, .tsv, .parquet, .jsonl), an .npz, a folder of arrays, a data.toml or an embedded set.",
            show_default=False,
        ),
    ],
    options: dict[str, Any],
    preset: Annotated[
        str,
        typer.Option(help="Several options at once: best trains longer, quick is a first look; see `fusenas list`."),
    ] = "default",
    folds: Annotated[
        int,
        typer.Option(
            help="Search once for each of so many folds, so that every sample is predicted once; 0 for one split."
        ),
    ] = 0,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find when and how to fuse, retrain the answer and its baselines, and write a report.

    Example: fusenas search sensors.npz --modalities audio:sequence,image --target label --split split
    """
    name = re.sub(r"[^\w.-]+", "-", Path(data).stem if Path(data).exists() else data)
    out = options.setdefault("out", Path("results/runs") / f"{name}-{options.get('seed', 0)}")
    nas = _nas()
    console = console_for(sys.stderr)

    read: list[Any] = []

    def print_what_was_read(found: Any) -> None:
        from nas.terminal.printing import print_columns  # noqa: PLC0415  # it needs torch

        if found.recipe is not None and not (as_json or quiet or read):
            print_columns(console, found.recipe)
        read.append(found.name)  # every fold is read, and one table is enough

    if dry_run:
        with show_progress(console, as_json=as_json, quiet=quiet) as progress:
            progress("timing a few steps of every kind of training")
            planned = nas.plan(data, preset=preset, folds=folds, on_data=print_what_was_read, **options)
        _print_plan(planned, as_json=as_json)
        return
    if folds:
        with resumable(out), show_progress(console, as_json=as_json, quiet=quiet) as progress:
            validated = nas.cross_validate(
                data,
                folds=folds,
                preset=preset,
                command=_command(),
                progress=progress,
                on_data=print_what_was_read,
                started=STARTED,
                **options,
            )
        _print_folds(validated, out, as_json=as_json)
        return
    with resumable(out), show_run(console, as_json=as_json, quiet=quiet) as shown:
        result = nas.search(
            data,
            preset=preset,
            command=_command(),
            progress=shown.line,
            on_record=shown.record,
            on_data=print_what_was_read,
            started=STARTED,
            **options,
        )
    _print_result(result, as_json=as_json)


@app.command()
@with_flags(
    (*KEPT, "encoder", "device", "time_limit_seconds", "out", "overwrite", "resume", "checkpoint_seconds"),
    absent={**KEPT, "out": "the run itself"},
)
def retrain(
    run: RunArgument,
    options: dict[str, Any],
    data: Data = "",
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a run's architecture and its baselines from scratch again.

    Example: fusenas retrain results/runs/demo --retrain-seeds 10 --out results/runs/demo-10
    """
    nas = _nas()
    console = console_for(sys.stderr)
    if dry_run:
        planned_by = ("seed", "retrain_seeds", "epochs", "objective", "encoder", "device", "time_limit_seconds")
        some = _named({name: value for name, value in options.items() if name in planned_by})
        with show_progress(console, as_json=as_json, quiet=quiet) as progress:
            progress("timing a few steps of every kind of training")
            planned = nas.plan_retraining(run, data=data or None, **some)
        _print_plan(planned, as_json=as_json)
        return
    with resumable(options.get("out", run)), show_run(console, as_json=as_json, quiet=quiet) as shown:
        result = nas.retrain(
            run,
            data=data or None,
            progress=shown.line,
            on_record=shown.record,
            command=_command(),
            started=STARTED,
            **_named(options),
        )
    _print_result(result, as_json=as_json)


@app.command()
@with_flags(["encoder", "device", "memory_bytes"])
def evaluate(
    run: RunArgument,
    options: dict[str, Any],
    data: Data = "",
    recombinations: Annotated[
        int, typer.Option(help="Most recombinations of samples that tell interaction from addition.")
    ] = 250_000,
    as_json: AsJson = False,
) -> None:
    """Judge a run's saved network on the test split again, and say whether its fusion helps.

    Example: fusenas evaluate results/runs/demo
    """
    nas = _nas()
    from nas.records import plain  # noqa: PLC0415
    from nas.terminal.printing import print_evaluation  # noqa: PLC0415

    with show_bar("recombining modalities", as_json=as_json) as progress:
        found = nas.evaluate(
            run, data=data or None, recombinations=recombinations, progress=progress, **_named(options)
        )
    if as_json:
        print_json(plain(found))
        return
    print_evaluation(console_for(sys.stdout), found)


@app.command()
@with_flags(["encoder", "device", "memory_bytes"])
def predict(
    run: RunArgument,
    options: dict[str, Any],
    data: Annotated[
        str,
        typer.Argument(
            help="New samples: a table, an .npz, a folder of arrays or a data.toml; no target is needed.",
            show_default=False,
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="CSV file to write; printed if absent.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Predict new samples with a run's saved network: labels and probabilities, or values, and the route taken.

    Example: fusenas predict results/runs/demo new.npz --out predictions.csv
    """
    nas = _nas()
    from nas.records import plain  # noqa: PLC0415

    with show_progress(console_for(sys.stderr), as_json=as_json, quiet=quiet) as progress:
        progress(f"predicting {data} with {run}")
        found = nas.predict(run, data, **_named(options))
        if out is not None:
            found.write_csv(out)
    if out is not None and not quiet:
        print(f"{len(found)} predictions written to {out}", file=sys.stderr)
    if as_json:
        told = {"run": str(run), "task": found.task, "samples": len(found), "temperature": found.temperature}
        rows = {"out": str(out)} if out is not None else {"predictions": found.to_rows()}
        print_json(plain({**told, **rows}))
    elif out is None:
        print(found.to_csv(), end="")


@app.command()
@with_flags(["encoder"])
def export(
    run: RunArgument,
    options: dict[str, Any],
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="json, safetensors, python, torch, onnx, graph or card; several times; all installed if absent.",
        ),
    ] = None,
    taps_only: Annotated[
        bool, typer.Option("--taps-only", help="Leave the encoders out of torch and onnx: they take encoder taps.")
    ] = False,
    data: Annotated[str, typer.Option(help="The run's data, if it has moved; networks are tried on it.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder to write to; RUN/exports if absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's network and architecture for other programs, each tried on test samples in a fresh process.

    Example: fusenas export results/runs/demo --format python --format onnx
    """
    nas = _nas()

    files = nas.export(run, format_, out=out, data=data or None, taps_only=taps_only, **_named(options))
    if as_json:
        print_json({"files": [file.to_dict() for file in files]})
        return
    for file in files:
        print(file.path if file.difference is None else f"{file.path}  (differs by {file.difference:.1e})")


@app.command()
def report(
    runs: RunsArgument,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; the run itself if absent. Several runs need one.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve one run's page to this machine's browser, also while it goes on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Draw a run's figures and its page again, or compare several runs on one page.

    Example: fusenas report results/runs/demo
    """
    if serve:
        _serve(runs, out, as_json=as_json)
        return
    nas = _nas()

    page = str(nas.report(runs, out))
    if as_json:
        print_json({"report": page}, indent=None)
    else:
        print(page)


def _serve(runs: list[Path], out: Path | None, *, as_json: bool) -> None:
    """Serves a run's page until it is interrupted."""
    _nas()
    from nas.report.serve import address, server  # noqa: PLC0415

    if len(runs) != 1 or out is not None:
        raise UserError("--serve takes one run and no --out")
    with server(runs[0]) as serving:
        where = address(serving)
        print(json.dumps({"address": where}) if as_json else f"{where}\nstop with Ctrl-C", flush=True)
        serving.serve_forever()


@app.command()
def compare(
    runs: RunsArgument,
    out: Annotated[Path, typer.Option(help="Folder to write to.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Hold several runs side by side: scores with intervals, gains, costs. The same as report with several runs.

    Example: fusenas compare results/runs/demo results/runs/other --out results/comparison
    """
    report(runs, out, as_json=as_json)


@app.command(name="list")
def list_(
    encoder: Annotated[
        str, typer.Option(help="List the taps of an encoder instead, such as timm:resnet18 or hf:./folder.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List data sets, spaces, operations, strategies, objectives, metrics, presets, formats and all else with a name.

    Example: fusenas list --json
    """
    _nas()
    from nas.terminal.names import known_names, taps_of  # noqa: PLC0415
    from search_spaces import OPERATIONS  # noqa: PLC0415

    found = taps_of(encoder) if encoder else known_names(OPERATIONS)
    if as_json:
        print_json(found)
        return
    for kind, names in found.items():
        print(f"{kind}:")
        for name, words in names.items():
            print(f"  {name:28}{words}".rstrip())


def main() -> None:
    """Entry point of the console command `fusenas`: exit code 2 and one line for a mistake of the user's."""
    run_command(app)


def _nas() -> Any:
    """The package with all that it needs, imported now: torch takes seconds, for which --help shall not wait.

    Signals are held back meanwhile: of a torch that was imported by halves, nothing can be used to end in good order.
    """
    with held_back():
        import nas  # noqa: PLC0415

        for name in nas.__all__:
            getattr(nas, name)
    return nas


def _named(options: dict[str, Any]) -> dict[str, Any]:
    """Options as functions on a finished run take them: encoders by name are `encoders` there."""
    return {"encoders" if name == "encoder" else name: value for name, value in options.items()}


def _print_folds(validated: Any, out: Path, *, as_json: bool) -> None:
    """Prints what cross-validation came to."""
    from nas.terminal.printing import print_folds  # noqa: PLC0415  # it needs torch

    if as_json:
        print_json({**validated.to_dict(), "out": str(out)})
    else:
        print_folds(console_for(sys.stdout), validated.to_dict(), out)


def _print_plan(planned: Any, *, as_json: bool) -> None:
    """Prints what a search would do."""
    from nas.records import plain  # noqa: PLC0415
    from nas.terminal.printing import print_plan  # noqa: PLC0415  # it needs torch

    told = {**plain(planned), "in_words": planned.in_words}
    if as_json:
        print_json(told)
    else:
        print_plan(console_for(sys.stdout), told)


def _print_result(result: Any, *, as_json: bool) -> None:
    """Prints what a search or a retraining found."""
    from nas.records import plain  # noqa: PLC0415
    from nas.terminal.printing import print_result  # noqa: PLC0415  # it needs torch

    if as_json:
        print_json(plain(result.summary))
    else:
        print_result(console_for(sys.stdout), result.summary, result.report)


def _command() -> str:
    return shlex.join(["fusenas", *sys.argv[1:]])


if __name__ == "__main__":
    main()
