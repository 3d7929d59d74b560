"""The command line: each command parses, calls one function and prints a summary."""

from __future__ import annotations

import atexit
import io
import json
import math
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

try:
    import typer
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, TaskID
    from rich.table import Table

    from nas.errors import LONGEST, UserError, is_full_disk, told_of_the_machine
except KeyboardInterrupt:  # these take a tenth of a second, in which somebody may think better of it
    raise SystemExit(130) from None

if TYPE_CHECKING:
    from nas.tables import TableRecipe

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
    seeds: Annotated[int, typer.Option(help="How many retrainings.")] = 3,
    searches: Annotated[int, typer.Option(help="How many searches; several tell how sure the answer is.")] = 1,
    epochs: Annotated[int, typer.Option(help="Passes per training; 0 chooses by size.")] = 0,
    budget: Annotated[
        str,
        typer.Option(help="Time of each search proper, such as 90s, 10m or 1h; trainings from scratch come on top."),
    ] = "",
    trainings: Annotated[
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
    console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 120)
    with _resumable(out), _progress(as_json, quiet, console) as progress:
        result = nas.search(
            data,
            modalities=modalities or None,
            target=target or None,
            split=split or None,
            task=task or None,
            columns=columns or None,
            space=space,
            operations=_names(operations),
            dynamic=[] if dynamic.strip() == "none" else _names(dynamic),
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
            seeds=seeds,
            searches=searches,
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
            search_config=nas.SearchConfig(trainings=trainings),
            out=out,
            overwrite=overwrite,
            resume=resume,
            checkpoint_seconds=duration(checkpoint_every, "checkpoint-every", zero=True),
            command=_command(),
            progress=progress,
            on_data=lambda found: None if as_json or quiet else _print_columns(console, found.recipe),
        )
    _finish(result.summary, result.report, as_json=as_json)


@app.command()
def retrain(
    run: RunArgument,
    seed: Annotated[int | None, typer.Option(help="Of the first retraining; the run's if absent.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many retrainings; the run's if absent.")] = None,
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

    Example: fusenas retrain results/runs/demo --seeds 10 --out results/runs/demo-10
    """
    nas = _nas()
    with _resumable(out or run), _progress(as_json, quiet) as progress:
        result = nas.retrain(
            run,
            seed=seed,
            seeds=seeds,
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
    _finish(result.summary, result.report, as_json=as_json)


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

    with Progress(console=Console(stderr=True), transient=True, disable=as_json or not sys.stderr.isatty()) as bar:
        bars: dict[int, TaskID] = {}

        def progress(done: int, total: int) -> None:
            if total not in bars:
                bars[total] = bar.add_task("recombining modalities", total=total)
            bar.update(bars[total], completed=done)

        found = nas.evaluate(run, data=data or None, device=device, recombinations=recombinations, progress=progress)
    if as_json:
        _print_json(plain(found))
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

    with _progress(as_json, quiet) as progress:
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
        _print_json(plain({**told, **rows}))
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
        _print_json({"files": [file.to_dict() for file in files]})
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
        _print_json({"report": page}, indent=None)
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
    from nas import cascade  # noqa: PLC0415

    _nas()
    from nas.data import EMBEDDED  # noqa: PLC0415
    from nas.discretize import DISCRETIZATIONS  # noqa: PLC0415
    from nas.dynamic import CASCADE, LEVELS  # noqa: PLC0415
    from nas.export import FORMATS  # noqa: PLC0415
    from nas.gates import RELAXATIONS  # noqa: PLC0415
    from nas.metrics import METRICS  # noqa: PLC0415
    from nas.objectives import OBJECTIVES  # noqa: PLC0415
    from nas.presets import PRESETS  # noqa: PLC0415
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
        _print_json(found)
        return
    for kind, names in found.items():
        print(f"{kind}:")
        for name, words in names.items():
            print(f"  {name:28}{words}".rstrip())


def _names(text: str) -> list[str] | None:
    """Those that are asked for, comma-separated; None where it is left to the space."""
    return [part.strip() for part in text.split(",")] if text else None


def duration(text: str, name: str = "budget", *, zero: bool = False) -> float:
    """Seconds of a duration such as 90s, 10m or 1h; 0 for an empty text.

    Args:
        text: As it was given.
        name: Of the option, for the error.
        zero: Whether it may be nothing, such as 0s.

    Raises:
        UserError: If it is not a positive number with one of these units.
    """
    if not text:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or (float(match[1]) == 0 and not zero):
        raise UserError(f"{name} {text!r} is no duration; expected such as 90s, 10m or 1h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def share(text: str) -> float:
    """The share that a text such as 40% or 0.4 names; 0 for an empty text.

    Raises:
        UserError: If it is no share above 0 and up to 100%.
    """
    if not text:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    found = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < found <= 1:
        raise UserError(f"max-multiply-adds {text!r} is no share; expected such as 40% or 0.4")
    return found


def main() -> None:
    """Entry point of the console command `fusenas`: exit code 2 and one line for a mistake of the user's."""
    # OpenMP's threads spin while they wait. Where other processes want the cores too, that makes small steps many times
    # slower; to wait asleep costs next to nothing where they do not. It is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Should a library start a Python of its own, that shall not look for modules in the current folder either.
    os.environ["PYTHONSAFEPATH"] = "1"
    # What has ended cannot be stopped any more: an interrupt while Python takes itself down would say that it was.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    _mend_streams()
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="fusenas", standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        _give_up(str(error))
    except UsageError as error:
        _give_up(f"{' '.join(error.format_message().split()).removesuffix('.')}; see --help")
    except (KeyboardInterrupt, typer.Abort):
        _give_up("stopped", 130)
    except Stopped as stopped:  # it came just as the command had done its work
        _give_up("stopped", 128 + stopped.number)
    except BrokenPipeError:
        _leave_stdout()
        raise SystemExit(1) from None  # as typer does, where a command is told so while it prints
    except Exception as error:
        told = told_of_the_machine(error)
        if told is None:
            raise
        _leave_stdout()
        _give_up(told)
    raise SystemExit(code or 0)


def _give_up(told: str, code: int = 2) -> NoReturn:
    """Ends with one line."""
    print(f"fusenas: {told if len(told) <= LONGEST else told[:LONGEST] + '…'}", file=sys.stderr)
    raise SystemExit(code) from None


def _mend_streams() -> None:
    """Has what the terminal cannot show printed as escapes, and what is said to a closed stream go nowhere."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115  # until the end
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors="backslashreplace")


def _leave_stdout() -> None:
    """Sends what is still unwritten nowhere: at its exit, Python would try again and complain."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # not a real file, or no file can be opened
        return


def _print_json(values: Any, *, indent: int | None = 2) -> None:
    """Prints values as JSON; characters that the terminal cannot show as JSON's own escapes."""
    text = json.dumps(values, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(values, indent=indent, allow_nan=False)
    print(text)


def _nas() -> Any:
    """The package with all that it needs, imported now: torch takes seconds, for which --help shall not wait.

    Signals are held back meanwhile: of a torch that was imported by halves, nothing can be used to end in good order.
    """
    stops = {signal.SIGINT, signal.SIGTERM}
    can_hold = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stops) if can_hold else set()
    try:
        import nas  # noqa: PLC0415

        for name in nas.__all__:
            getattr(nas, name)
        return nas
    finally:
        if can_hold:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


AGAIN_SECONDS = 0.05
"""After which a signal is sent again that came where Python swallows exceptions, as in a weak reference's callback."""


class Stopped(BaseException):
    """SIGINT or SIGTERM, on its way out: whoever holds something unwritten writes it as this passes.

    Not a KeyboardInterrupt, which typer turns into a line of its own.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _resumable(out: Path) -> Iterator[None]:
    """Ends a command that a signal, a full disk or a limit stops with one line on how to go on with it.

    Args:
        out: The run folder that it writes.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    def stop_again(swallowed: Any) -> None:
        if not isinstance(swallowed.exc_value, Stopped):
            hook(swallowed)
            return
        again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), swallowed.exc_value.number))
        again.daemon = True
        again.start()

    hook, sys.unraisablehook = sys.unraisablehook, stop_again
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Stopped as stopped:
        print(f"fusenas: stopped{_how_to_go_on(out)}", file=sys.stderr)
        raise SystemExit(128 + stopped.number) from None
    except BrokenPipeError:
        raise
    except Exception as error:
        told = told_of_the_machine(error)
        if told is None or isinstance(error, UserError):
            raise
        if isinstance(error, OSError) and is_full_disk(error):
            told = f"cannot write to {str(out)!r}: {(error.strerror or str(error)).lower()}"
        _give_up(f"{told}{_how_to_go_on(out)}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


def _how_to_go_on(out: Path) -> str:
    """The command that goes on with a run, if there is anything to go on with."""
    from nas.checkpoint import status  # noqa: PLC0415

    try:
        if status(out / "checkpoints") != "stopped":
            return ""
    except UserError:
        return ""
    given = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
    return f"; go on with: {shlex.join(['fusenas', *given, '--resume'])}"


@contextmanager
def _progress(as_json: bool, quiet: bool, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Shows what is being done: a spinner with the last line on a terminal, plain lines in a pipe, both on stderr."""
    if quiet:
        yield lambda _line: None
        return
    console = console or Console(stderr=True, highlight=False)
    if as_json or not console.is_terminal:
        yield lambda line: print(line, file=sys.stderr, flush=True)
        return
    with console.status("starting") as status:

        def show(line: str) -> None:
            status.update(line)

        yield show


def _print_columns(console: Console, recipe: TableRecipe | None) -> None:
    """Prints what the columns of a table were taken for, and why."""
    if recipe is None:
        return
    from nas.tables.cells import shown  # noqa: PLC0415

    modality = {column: name for name, one in recipe.modalities.items() for column in one.columns}
    table = Table(title="columns; --columns NAME:KIND overrules")
    for title in ("column", "taken as", "modality", "because"):
        table.add_column(title, justify="left")
    for column in recipe.columns:
        kind = "left out" if column.kind == "ignore" else column.kind
        table.add_row(*map(escape, (shown(column.name), kind, modality.get(column.name, ""), column.reason)))
    console.print(table)


def _finish(summary: dict[str, Any] | Any, page: Path | None, *, as_json: bool) -> None:
    """Prints what a search or a retraining came to."""
    if as_json:
        from nas.runs import plain  # noqa: PLC0415

        _print_json(plain(summary))
        return
    from nas.report.numbers import PERCENT_METRICS, metric_name  # noqa: PLC0415
    from nas.report.verdict import recorded_verdict  # noqa: PLC0415
    from nas.report.words import capital  # noqa: PLC0415

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    percent = summary["metric"] in PERCENT_METRICS
    if verdict := recorded_verdict(summary):
        console.print(verdict.headline, style="bold", markup=False)
        for sentence in verdict.sentences:
            console.print(sentence, markup=False)
    of_what = f"{summary['data']['name']}: {metric_name(summary['metric'])}"
    table = Table(title=f"{escape(of_what)} on the test split, mean \\[95 % interval]")
    for title, side in (("", "left"), ("score", "right"), ("found is better by", "right"), ("multiply-adds", "right")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]  # rich wants a Literal
    for row in summary["leaderboard"]:
        table.add_row(
            row["name"] if row["kind"] != "found" else "[bold]found[/bold]",
            _interval(row, percent=percent),
            _better_by(row, summary, percent=percent),
            "–" if row["multiply_adds"] is None else f"{row['multiply_adds']:,}",
        )
    console.print(table)
    console.print(f"{summary['diagnosis']['in_words'][0]}.")
    for one in summary.get("advice") or []:
        console.print(f"{capital(one['in_words'])}.", markup=False)
    if "objectives" in summary:
        _print_objectives(console, summary["objectives"], percent=percent)
    if "stability" in summary:
        _print_stability(console, summary["stability"], competed="tournament" in summary)
    how_many = f"{len(summary['stability']['seeds'])} searches" if "stability" in summary else "search"
    if summary.get("pareto"):
        console.print("not beaten in both loss and multiply-adds, by what the search tried:")
    for row in summary.get("pareto") or []:
        line = f"  loss {row['loss']:.4f}, {row['multiply_adds']:,} multiply-adds: {row['in_words']}"
        console.print(line, markup=False, soft_wrap=True)
    if summary.get("guards") and summary["guards"]["tripped"]:
        console.print(summary["guards"]["in_words"])
    console.print(
        f"{how_many} {summary['search_seconds']:.1f} s ({summary['search_cost']:.1f} trainings of one architecture), "
        f"all {summary['total_seconds']:.0f} s"
    )
    if page is not None:
        console.print(f"report: {page}", soft_wrap=True)


def _print_objectives(console: Console, objectives: dict[str, Any], *, percent: bool) -> None:
    """Prints what came of every objective that was tried on the found architecture."""
    table = Table(title="found, by objective: test split, mean [95 % interval]; taken by the architecture split")
    for title in ("", "score", "better than plain by"):
        table.add_column(title, justify="right" if title else "left")
    for row in objectives["tried"]:
        name = escape(row["objective"] or "plain training")
        better = _interval(row["difference"], percent=percent) if row["difference"] else ""
        is_taken = row["objective"] == objectives["chosen"]
        table.add_row(f"[bold]{name}, taken[/bold]" if is_taken else name, _interval(row, percent=percent), better)
    console.print(table)
    if objectives["left_out"]:
        console.print(f"no time for {', '.join(objectives['left_out'])}", markup=False)


def _print_stability(console: Console, stability: dict[str, Any], *, competed: bool) -> None:
    """Prints how far several searches agree, and what the next one may come to."""
    from nas.report.numbers import PERCENT_METRICS, node_words  # noqa: PLC0415

    percent = stability["metric"] in PERCENT_METRICS
    count = len(stability["seeds"])
    table = Table(
        title=f"{count} searches: {stability['metric']} on the test split, mean [95 % interval over searches]"
    )
    for title in ("", "score", "lowest", "highest", "proposal is better by"):
        table.add_column(title, justify="right" if title else "left")
    for name, key in (("proposed by each search", "found"), ("late fusion", "late")):
        row, difference = stability[key], stability["difference"] if key == "late" else None
        if row is not None:
            ends = (f"{100 * row[end]:.1f}" if percent else f"{row[end]:.4g}" for end in ("min", "max"))
            better = _interval(difference, percent=percent) if difference else ""
            table.add_row(name, _interval(row, percent=percent), *ends, better)
    console.print(table)
    for node in stability["choices"]:
        made = ", ".join(f"{escape(choice['label'])} {choice['count']}" for choice in node["choices"])
        console.print(f"{escape(node_words(node['node']))}, of {count}: {made}")
    kappa, distinct = stability["kappa"], stability["num_distinct"]
    told = (
        "all proposed the same architecture" if distinct == 1 else f"they proposed {distinct} different architectures"
    )
    beyond = "" if kappa is None or math.isnan(kappa) else f" (Fleiss' kappa {kappa:.2f})"
    console.print(f"{told}; two agree on {100 * stability['agreement']:.0f} % of the nodes{beyond}")
    came_to = "entered the tournament" if competed else "was taken"
    console.print(f"that of seed {stability['consensus_seed']}, which agrees most with all others, {came_to}")


def _better_by(row: dict[str, Any], summary: dict[str, Any], *, percent: bool) -> str:
    """How much better the found network is than a row of the leaderboard."""
    from nas.report.tables import same_as_found  # noqa: PLC0415

    if same_as_found(row, summary):
        return "same network"
    return _interval(row["difference"], percent=percent) if row["difference"] else ""


def _interval(values: dict[str, float], *, percent: bool) -> str:
    if percent:
        return f"{100 * values['mean']:.1f} \\[{100 * values['low']:.1f}, {100 * values['high']:.1f}]"
    return f"{values['mean']:.4g} \\[{values['low']:.4g}, {values['high']:.4g}]"


def _first_line(documented: Any) -> str:
    return (documented.__doc__ or "").strip().splitlines()[0]


def _command() -> str:
    return shlex.join(["fusenas", *sys.argv[1:]])


if __name__ == "__main__":
    main()
