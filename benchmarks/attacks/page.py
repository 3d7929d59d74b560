"""The page of the last run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.attacks.processes import BYTES, SECONDS
from benchmarks.attacks.world import CATEGORIES
from benchmarks.pages import origin_told
from nas.summary import Provenance

if TYPE_CHECKING:
    from benchmarks.attacks.trial import Trial

ABOUT = {
    "folders": "run folders, damaged, garbled, linked or planted with modules, then one command",
    "data files": "data files and folders: bombs, damaged archives, odd types, names and values",
    "tables": "tables, pictures, preprocessing, tokenizers, cached taps and folders of pretrained networks",
    "command lines": "odd arguments, environments, limits and read-only folders",
    "pairs": "two commands on one run folder at once",
    "signals": "SIGKILL, SIGTERM or SIGINT at a random moment, then the same again, partly while the folder is read",
}


def page(trials: Sequence[Trial], origin: Provenance, *, jobs: int, seconds: float) -> str:
    """The page as Markdown.

    Args:
        trials: All of them.
        origin: As `nas.runs.provenance.provenance` returns it.
        jobs: How many trials ran at once.
        seconds: Wall time of all of them.
    """
    kinds = [kind for kind in ABOUT if any(trial.kind == kind for trial in trials)]
    lines = [f"| attack | trials | {' | '.join(CATEGORIES)} |", "| --- |" + " ---: |" * (1 + len(CATEGORIES))]
    for kind in kinds:
        lines.append(_row(f"{kind}: {ABOUT[kind]}", [trial for trial in trials if trial.kind == kind]))
    lines.append(_row("**all**", trials))
    table = "\n".join(lines)
    return f"""# attacks: what a stranger, a second process or a signal can do

Number of trials in which something went wrong, by what it was. Every trial has its own folder with canary files around
the attacked run.

- *Code run*: a planted module or pickle was executed.
- *Writes outside*: a file was created, changed or deleted outside the folder that the command may write.
- *Tracebacks*: a Python traceback, an exit code other than 0, 2 or that of the signal, or an error that is not exactly
  one line.
- *Hangs*: no end within {SECONDS:.0f} s, unless a busy machine gave the process less than half of that.
- *Memory*: more than {BYTES >> 30} GB.
- *Lost or differing*: results of an earlier run are gone after a command that failed, or results differ from those of
  the same command when nobody disturbs it.

{table}

Repeat a trial by its number with `--only-trial NUMBER`. Failures are listed in `failures.json`.

Most garbled folders, data files and command lines are tried in processes forked from one that has loaded torch. They do
not show what happens while modules are imported. Planted modules, environments, limits, pairs and signals are tried
with the installed command in a new interpreter. Root ran it, without the power to ignore permissions where they matter.

{origin_told(origin)}, {jobs} trials at once, {seconds / 60:.0f} minutes, of the processor
{sum(trial.processor_seconds for trial in trials) / 60:.0f} minutes.
"""


def _row(name: str, trials: Sequence[Trial]) -> str:
    counts = Counter(category for trial in trials for category in {category for category, _ in trial.faults})
    return f"| {name} | {len(trials)} | {' | '.join(str(counts[category]) for category in CATEGORIES)} |"
