"""Some 1,500 attacks with real processes: code run, writes outside, tracebacks, hangs, memory, lost results.

    python -m benchmarks.attacks --out results/attacks

Every trial has a folder of its own, with files around the attacked run that must not change, and is drawn from the seed
and its number alone, so that `--only-trial 17` repeats it. What a garbled folder, data file or command line comes to is
tried in processes forked from one that has loaded torch: to start an interpreter each time would take ten times as
long. Such a process says nothing about what is imported, and how, which is why planted modules, environments, pairs of
processes and signals get interpreters of their own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.attacks import trial as preloaded
from benchmarks.attacks.page import page
from benchmarks.attacks.trial import KINDS, Trial, attempt, kept_targets, kind_of
from nas.records import plain
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(KINDS), action="append", help="one kind; several times")
    parser.add_argument("--only-trial", type=int, action="append", help="one trial by its number; several times")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--targets", type=Path, help="folder to keep what is attacked in, for the next time")
    parser.add_argument("--out", type=Path, help="folder of the page and of the failures; nothing is written without")
    given = parser.parse_args(arguments)
    numbers = [
        number
        for number in given.only_trial or range(given.trials)
        if given.only is None or kind_of(number) in given.only
    ]
    origin = provenance(f"python -m benchmarks.attacks --trials {given.trials} --seed {given.seed}")
    started = time.monotonic()
    with TemporaryDirectory(prefix="attacks-") as temporary:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([preloaded.__name__])
        trials: list[Trial] = []
        with ProcessPoolExecutor(given.jobs, mp_context=context) as pool:
            targets = pool.submit(kept_targets, (given.targets or Path(temporary) / "targets").absolute()).result()
            ready = time.monotonic()
            print(f"ready after {ready - started:.0f} s", file=sys.stderr, flush=True)
            futures = [pool.submit(attempt, number, given.seed, targets, Path(temporary)) for number in numbers]
            for future in as_completed(futures):
                trial = future.result()
                trials.append(trial)
                for category, words in trial.faults:
                    print(f"{trial.number} {trial.kind}: {category}: {trial.what}: {words}", flush=True)
                if len(trials) % 50 == 0:
                    print(f"{len(trials)} trials, {time.monotonic() - ready:.0f} s", file=sys.stderr, flush=True)
    for kind in KINDS:
        some = [trial.processor_seconds for trial in trials if trial.kind == kind]
        print(f"{kind}: {sum(some) / max(1, len(some)):.1f} s of the processor a trial", file=sys.stderr)
    trials.sort(key=lambda trial: trial.number)
    text = page(trials, origin, jobs=given.jobs, seconds=time.monotonic() - started)
    print(text)
    if given.out is not None:
        failures = [asdict(trial) for trial in trials if trial.faults]
        write_atomically(given.out / "README.md", text.encode())
        told = json.dumps({"failures": failures, **plain(origin)}, indent=1)
        write_atomically(given.out / "failures.json", (told + "\n").encode())


if __name__ == "__main__":
    main()
