"""The command line: each command parses, calls one function and prints a summary."""

from __future__ import annotations

import atexit
import json
import os
import re
import shlex
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, cast

try:
    import typer

    from nas.config.spelling import duration, names, share
    from nas.errors import UserError, is_full_disk, told_of_the_machine
    from nas.terminal.output import (
        console_for,
        give_up,
        leave_stdout,
        mend_streams,
        print_json,
        show_bar,
        show_progress,
    )
    from nas.terminal.stopping import Stopped, held_back, resumable
except KeyboardInterrupt:  # these take a tenth of a second, in which somebody may think better of it
    raise SystemExit(130) from None

app = typer.Typer(
    name="fusenas",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


UsageError: Any = typer.BadParameter.__base__
"""What typer raises for a wrong option; it comes from click, which some versions of typer carry inside them."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while it works.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)]
RunsArgument = Annotated[
    list[Path], typer.Argument(help="Folder of a finished run; several are compared.", show_default=False)
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the output folder.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped; begin it if there is none.")]
CheckpointEvery = Annotated[str, typer.Option(help="Time between checkpoints, such as 30s; 0s for every epoch.")]


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
def search(
    data: Annotated[
        str,
        typer.Argument(
            help="A table (.csv, .tsv, .parquet, .jsonl), an .npz, a folder of three, a data.toml, or an embedded set.",
            show_default=False,
        ),
    ],
    modalities: Annotated[
        str,
        typer.Option(
            help="Arrays to fuse, such as image,words:tokens, the kind where it cannot be read off; of a table groups "
            "of columns, such as meta=year+author,picture,title."
        ),
    ] = "",
    target: Annotated[str, typer.Option(help="Array or column of the target.")] = "",
    split: Annotated[
        str, typer.Option(help="Array or column that holds 0/1/2 or train/val/test; drawn if absent.")
    ] = "",
    task: Annotated[str, typer.Option(help="classification, multilabel or regression; read off if absent.")] = "",
    columns: Annotated[
        str,
        typer.Option(
            help="What columns of a table hold, where it is not told right: image, audio, text, number, category, date "
            "or ignore, such as picture:image,zip:category,id:ignore."
        ),
    ] = "",
    space: Annotated[str, typer.Option(help="Search space.")] = "layerwise",
    operations: Annotated[str, typer.Option(help="Candidate operations, comma-separated; all if absent.")] = "",
    dynamic: Annotated[
        str,
        typer.Option(
            help="What to decide per sample, comma-separated: modality (which to read), fusion (how deep), operation "
            "(which), by a learned gate; cascade: cheap answers first, on while unsure (not for regression); none."
        ),
    ] = "",
    cost_weight: Annotated[
        float, typer.Option(help="Loss worth taking to skip all multiply-adds of a sample; higher saves more.")
    ] = 0.1,
    max_multiply_adds: Annotated[
        str, typer.Option(help="Budget of a dynamic network, such as 40% of the static one's; in place of cost-weight.")
    ] = "",
    gate: Annotated[
        str, typer.Option(help="How a gate learns: soft, gumbel or reinforce. Says nothing to a cascade.")
    ] = "soft",
    gate_temperature: Annotated[
        str, typer.Option(help="How the temperature of gumbel falls: exponential or linear.")
    ] = "exponential",
    modality_dropout: Annotated[
        float, typer.Option(help="How often a training sample is shown without a modality, 0 to 1.")
    ] = 0.0,
    objective: Annotated[
        str,
        typer.Option(
            help="Cures to train by, such as gradient_blending, comma-separated, or auto; see `fusenas list`."
        ),
    ] = "",
    strategy: Annotated[str, typer.Option(help="How to search; see `fusenas list`.")] = "sampled",
    discretization: Annotated[str, typer.Option(help="How to decide.")] = "one_standard_error",
    encoders: Annotated[
        str, typer.Option(help="Train encoders alone and freeze them (pretrained), with the rest (joint), or auto.")
    ] = "auto",
    baselines: Annotated[
        str,
        typer.Option(
            help="Single operations that every seed trains: the 3 best of the first seed (quick), or all (full)."
        ),
    ] = "quick",
    prefer: Annotated[
        str,
        typer.Option(
            help="What is found, of all rows of the leaderboard, by held-out samples: the best (accuracy), or the "
            "simplest within one standard error of it (simplicity)."
        ),
    ] = "accuracy",
    preset: Annotated[
        str,
        typer.Option(help="Several options at once: best trains longer, quick is a first look; see `fusenas list`."),
    ] = "default",
    metric: Annotated[
        str, typer.Option(help="What to judge by, such as balanced_accuracy, auroc or rmse; see `fusenas list`.")
    ] = "",
    class_weights: Annotated[
        str, typer.Option(help="balanced lets rare classes count more while networks are trained; or none.")
    ] = "none",
    preprocessing: Annotated[
        str,
        typer.Option(
            help="What encoders see: auto, standardize, or pairs such as emg:magnitudes,genes:piecewise; up to the "
            "preset if absent."
        ),
    ] = "",
    refit: Annotated[
        bool | None,
        typer.Option(
            "--refit/--no-refit",
            help="Train what was found on both training splits, too, and keep that; up to the preset if absent.",
            show_default=False,
        ),
    ] = None,
    ensemble: Annotated[
        bool | None,
        typer.Option(
            "--ensemble/--no-ensemble",
            help="Average the found networks of all seeds, as a row of its own; up to the preset if absent.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the search and the first retraining.")] = 0,
    retrain_seeds: Annotated[int, typer.Option(help="How many retrainings.")] = 3,
    search_seeds: Annotated[int, typer.Option(help="How many searches; several tell how sure the answer is.")] = 1,
    epochs: Annotated[int, typer.Option(help="Passes per training; 0 chooses by size.")] = 0,
    budget: Annotated[
        str,
        typer.Option(help="Time of each search proper, such as 90s, 10m or 1h; trainings from scratch come on top."),
    ] = "",
    max_trials: Annotated[
        int, typer.Option(help="Architectures that a search without a supernet trains; 0 chooses by strategy.")
    ] = 0,
    device: Device = "auto",
    compile_: Annotated[bool, typer.Option("--compile", help="Compile networks; pays on a GPU and long runs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Run folder; results/runs/DATA-SEED if absent.")] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    checkpoint_every: CheckpointEvery = "30s",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find when and how to fuse, retrain the answer and its baselines, and write a report.

    Example: fusenas search sensors.npz --modalities audio:sequence,image --target label --split split
    """
    name = re.sub(r"[^\w.-]+", "-", Path(data).stem if Path(data).exists() else data)
    out = out or Path("results/runs") / f"{name}-{seed}"
    nas = _nas()
    console = console_for(sys.stderr)

    def print_what_was_read(found: Any) -> None:
        from nas.report.terminal import print_columns  # noqa: PLC0415  # it needs torch

        if found.recipe is not None and not (as_json or quiet):
            print_columns(console, found.recipe)

    with resumable(out), show_progress(console, as_json=as_json, quiet=quiet) as progress:
        result = nas.search(
            data,
            modalities=modalities or None,
            target=target or None,
            split=split or None,
            task=task or None,
            columns=columns or None,
            space=space,
            operations=names(operations),
            dynamic=[] if dynamic.strip() == "none" else names(dynamic),
            strategy=strategy,
            discretization=discretization,
            encoders=cast(Any, encoders),  # names are checked there
            baselines=cast(Any, baselines),
            prefer=cast(Any, prefer),
            preset=preset,
            metric=metric or None,
            refit=refit,
            ensemble=ensemble,
            seed=seed,
            retrain_seeds=retrain_seeds,
            search_seeds=search_seeds,
            budget_seconds=duration(budget),
            device=device,
            training={
                "epochs": epochs,
                "compile": compile_,
                "gate": gate,
                "gate_temperature": gate_temperature,
                "cost_weight": cost_weight,
                "max_multiply_adds": share(max_multiply_adds),
                "modality_dropout_rate": modality_dropout,
                "objective": objective,
                "class_weights": class_weights,
                **({"preprocessing": preprocessing} if preprocessing else {}),
            },
            search_config=nas.SearchConfig(max_trials=max_trials),
            out=out,
            overwrite=overwrite,
            resume=resume,
            checkpoint_seconds=duration(checkpoint_every, "checkpoint-every", zero=True),
            command=_command(),
            progress=progress,
            on_data=print_what_was_read,
        )
    _print_result(result, as_json=as_json)


@app.command()
def retrain(
    run: RunArgument,
    seed: Annotated[int | None, typer.Option(help="Of the first retraining; the run's if absent.")] = None,
    retrain_seeds: Annotated[int | None, typer.Option(help="How many retrainings; the run's if absent.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes per training; the run's if absent.")] = None,
    objective: Annotated[
        str | None,
        typer.Option(help='Cures to train by, or auto, see `fusenas list`; the run\'s if absent, "" for none.'),
    ] = None,
    device: Device = "auto",
    out: Annotated[Path | None, typer.Option(help="Another run folder; the run itself if absent.")] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    checkpoint_every: CheckpointEvery = "30s",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a run's architecture and its baselines from scratch again.

    Example: fusenas retrain results/runs/demo --retrain-seeds 10 --out results/runs/demo-10
    """
    nas = _nas()
    with resumable(out or run), show_progress(console_for(sys.stderr), as_json=as_json, quiet=quiet) as progress:
        result = nas.retrain(
            run,
            seed=seed,
            retrain_seeds=retrain_seeds,
            epochs=epochs,
            objective=objective,
            device=device,
            out=out,
            overwrite=overwrite,
            resume=resume,
            checkpoint_seconds=duration(checkpoint_every, "checkpoint-every", zero=True),
            progress=progress,
            command=_command(),
        )
    _print_result(result, as_json=as_json)


@app.command()
def evaluate(
    run: RunArgument,
    data: Annotated[str, typer.Option(help="Other data than the run's.")] = "",
    recombinations: Annotated[
        int, typer.Option(help="Most recombinations of samples that tell interaction from addition.")
    ] = 250_000,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Judge a run's saved network on the test split again, and say whether its fusion helps.

    Example: fusenas evaluate results/runs/demo
    """
    nas = _nas()
    from nas.runs import plain  # noqa: PLC0415

    with show_bar("recombining modalities", as_json=as_json) as progress:
        found = nas.evaluate(run, data=data or None, device=device, recombinations=recombinations, progress=progress)
    if as_json:
        print_json(plain(found))
        return
    print(f"{found['in_words']}")
    print(
        f"{found['metric']} {found['score']:.4f} on {found['samples']} test samples, recorded {found['recorded']:.4f}"
    )
    for sentence in found["diagnosis"]["in_words"]:
        print(f"{sentence}.")
    if not found["same_data"]:
        print("note: this is not the data of the search")
    elif not found["repeated"]:
        print("note: the recorded score is not repeated; another machine may round otherwise, or the run is damaged")


@app.command()
def predict(
    run: RunArgument,
    data: Annotated[
        str,
        typer.Argument(
            help="New samples: a table, an .npz, a folder of three or a data.toml; no target is needed.",
            show_default=False,
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="CSV file to write; printed if absent.")] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Predict new samples with a run's saved network: labels and probabilities, or values, and the route taken.

    Example: fusenas predict results/runs/demo new.npz --out predictions.csv
    """
    nas = _nas()
    from nas.runs import plain, write_atomically  # noqa: PLC0415

    with show_progress(console_for(sys.stderr), as_json=as_json, quiet=quiet) as progress:
        progress(f"predicting {data} with {run}")
        found = nas.predict(run, data, device=device)
        if out is not None:
            try:
                write_atomically(out, found.to_csv().encode(errors="backslashreplace"))
            except OSError as error:
                if is_full_disk(error):
                    raise
                raise UserError(f"cannot write {str(out)!r}: {error.strerror}; name another --out") from error
    if out is not None and not quiet:
        print(f"{len(found)} predictions written to {out}", file=sys.stderr)
    if as_json:
        told = {"run": str(run), "task": found.task, "samples": len(found), "temperature": found.temperature}
        rows = {"out": str(out)} if out is not None else {"predictions": found.to_rows()}
        print_json(plain({**told, **rows}))
    elif out is None:
        print(found.to_csv(), end="")


@app.command()
def export(
    run: RunArgument,
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

    files = nas.export(run, format_, out=out, data=data or None, encoders=not taps_only)
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
def list_(as_json: AsJson = False) -> None:
    """List data sets, spaces, operations, strategies, objectives, metrics, presets, formats and all else with a name.

    Example: fusenas list --json
    """
    from nas.routing import cascade  # noqa: PLC0415

    _nas()
    from nas.config.gate import RELAXATIONS  # noqa: PLC0415
    from nas.data import EMBEDDED  # noqa: PLC0415
    from nas.discretize import DISCRETIZATIONS  # noqa: PLC0415
    from nas.export import FORMATS  # noqa: PLC0415
    from nas.metrics import METRICS  # noqa: PLC0415
    from nas.objectives import OBJECTIVES  # noqa: PLC0415
    from nas.presets import PRESETS  # noqa: PLC0415
    from nas.routing.levels import CASCADE, LEVELS  # noqa: PLC0415
    from nas.space import space_names  # noqa: PLC0415
    from nas.strategies import STRATEGIES  # noqa: PLC0415
    from search_spaces import OPERATIONS  # noqa: PLC0415

    found: dict[str, dict[str, str]] = {
        "data": {name: _first_line(builder) for name, builder in EMBEDDED.items()},
        "spaces": dict.fromkeys(space_names(), ""),
        "operations": {name: f"order {op.order}: {op.formula}" for name, op in OPERATIONS.items()},
        "strategies": {name: _first_line(sys.modules[run.__module__]) for name, run in STRATEGIES.items()},
        "dynamic": {name: _first_line(level) for name, level in LEVELS.items()} | {CASCADE: _first_line(cascade)},
        "gates": dict.fromkeys(map(str, RELAXATIONS), ""),
        "discretizations": {name: _first_line(decide) for name, decide in DISCRETIZATIONS.items()},
        "objectives": {f"{name}{known.takes}": known.words for name, known in OBJECTIVES.items()},
        "metrics": {name: f"{one.words} ({', '.join(one.tasks)})" for name, one in METRICS.items()},
        "presets": {name: preset.words for name, preset in PRESETS.items()},
        "formats": {name: format_.words for name, format_ in FORMATS.items()},
    }
    if as_json:
        print_json(found)
        return
    for kind, names in found.items():
        print(f"{kind}:")
        for name, words in names.items():
            print(f"  {name:28}{words}".rstrip())


def main() -> None:
    """Entry point of the console command `fusenas`: exit code 2 and one line for a mistake of the user's."""
    # OpenMP's threads spin while they wait. Where other processes want the cores too, that makes small steps many times
    # slower; to wait asleep costs next to nothing where they do not. It is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Should a library start a Python of its own, that shall not look for modules in the current folder either.
    os.environ["PYTHONSAFEPATH"] = "1"
    # What has ended cannot be stopped any more: an interrupt while Python takes itself down would say that it was.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    mend_streams()
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="fusenas", standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        give_up(str(error))
    except UsageError as error:
        give_up(f"{' '.join(error.format_message().split()).removesuffix('.')}; see --help")
    except (KeyboardInterrupt, typer.Abort):
        give_up("stopped", 130)
    except Stopped as stopped:  # it came just as the command had done its work
        give_up("stopped", 128 + stopped.number)
    except BrokenPipeError:
        leave_stdout()
        raise SystemExit(1) from None  # as typer does, where a command is told so while it prints
    except Exception as error:
        told = told_of_the_machine(error)
        if told is None:
            raise
        leave_stdout()
        give_up(told)
    raise SystemExit(code or 0)


def _nas() -> Any:
    """The package with all that it needs, imported now: torch takes seconds, for which --help shall not wait.

    Signals are held back meanwhile: of a torch that was imported by halves, nothing can be used to end in good order.
    """
    with held_back():
        import nas  # noqa: PLC0415

        for name in nas.__all__:
            getattr(nas, name)
    return nas


def _print_result(result: Any, *, as_json: bool) -> None:
    """Prints what a search or a retraining found."""
    from nas.report.terminal import print_result  # noqa: PLC0415  # it needs torch
    from nas.runs import plain  # noqa: PLC0415

    if as_json:
        print_json(plain(result.summary))
    else:
        print_result(console_for(sys.stdout), result.summary, result.report)


def _first_line(documented: Any) -> str:
    return (documented.__doc__ or "").strip().splitlines()[0]


def _command() -> str:
    return shlex.join(["fusenas", *sys.argv[1:]])


if __name__ == "__main__":
    main()
