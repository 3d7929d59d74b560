"""Blocks of modalities and fusion searched together, as MUFASA does, against fusion alone, with as many candidates.

    python -m benchmarks.joint_search FOLDER --only utd_mhad --out results/joint_search

The space `mufasa` is searched by evolution, which is what its paper used (Xu et al. 2021), once as it is, and once
without the blocks of the modalities: then the deepest or any other tap of an encoder enters the fusion as it is. Both
train as many candidates from scratch, with the same encoders, which were trained alone with the seed of the search.
What a search found is then trained twice and judged on the test split. Differences are paired by search.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import ttest_1samp

import nas
from benchmarks.datasets import SOURCES, read
from benchmarks.pages import about, origin_told
from benchmarks.rows import read_rows, write_rows
from nas.data import FusionData
from nas.pipeline.search import make_space
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.space.architecture import is_tap, tap_modality
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace

JOINT, FUSION = "blocks and fusion", "fusion alone"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One search.

    Attributes:
        data: Its data set.
        searched: `JOINT` or `FUSION`.
        search: Its seed.
        size: Architectures of the space.
        seconds: Of the search.
        score: Of what the search found, in percent, on the test split.
        late: Of late fusion with the same seeds.
        found: In words.
    """

    data: str
    searched: str
    search: int
    size: int
    seconds: float
    score: float
    late: float
    found: str


def fusion_alone(space: SearchSpace) -> SearchSpace:
    """The space without the nodes that one modality alone can reach, and without what reads these nodes."""
    reached: dict[str, set[str]] = {}
    for node in space.nodes:
        some = ({tap_modality(name)} if is_tap(name) else reached[name] for name in node.sources)
        reached[node.name] = set().union(*some)
    own = {name for name, modalities in reached.items() if len(modalities) == 1}
    nodes = tuple(
        FusionNode(node.name, tuple(one for one in node.choices if not own & set(one.inputs)))
        for node in space.nodes
        if node.name not in own
    )
    return replace(space, nodes=nodes)


def run(data: FusionData, searched: str, search: int, trials: int) -> Row:
    """One search."""
    space = make_space("mufasa", data)
    space = space if searched == JOINT else fusion_alone(space)
    summary = nas.search(
        data,
        space=space,
        strategy="evolution",
        max_trials=trials,
        preset="quick",
        baselines="few",
        seed=2 * search,
        retrain_seeds=2,
        device="cpu",
    ).summary
    proposed = summary.tournament.proposed if summary.tournament else summary.architecture
    row = next(one for one in summary.leaderboard if one.architecture == proposed)
    late = next(one for one in summary.leaderboard if one.kind == "late")
    return Row(
        data=data.name,
        searched=searched,
        search=search,
        size=space.size(),
        seconds=summary.search.search_seconds,
        score=100 * row.score.mean,
        late=100 * late.score.mean,
        found=proposed.in_words(),
    )


def page(rows: Sequence[Row], trials: int, command: str) -> str:
    """A line per data set and kind of search, means over searches; then what each search found."""
    lines = [
        f"Each search trains {trials} candidates. Scores are in % on the test split, means over searches.",
        "",
        "| data | searched | architectures | searches | found | late fusion | found − fusion alone | search, s |",
        "| --- " * 8 + "|",
    ]
    for data in dict.fromkeys(row.data for row in rows):
        some = {kind: {r.search: r for r in rows if (r.data, r.searched) == (data, kind)} for kind in (JOINT, FUSION)}
        both = sorted(some[JOINT].keys() & some[FUSION].keys())
        gaps = [some[JOINT][search].score - some[FUSION][search].score for search in both]
        for kind, of_kind in some.items():
            if not of_kind:
                continue
            score, late, seconds = (
                np.mean([getattr(row, key) for row in of_kind.values()]) for key in ("score", "late", "seconds")
            )
            gap = _paired(gaps) if kind == JOINT else ""
            size = next(iter(of_kind.values())).size
            lines.append(
                f"| {data} | {kind} | {size:,} | {len(of_kind)} | {score:.1f} | {late:.1f} | {gap} | {seconds:.0f} |"
            )
    lines += ["", "| data | searched | search | score | found |", "| --- " * 5 + "|"]
    lines += [f"| {row.data} | {row.searched} | {row.search} | {row.score:.1f} | {row.found} |" for row in rows]
    text = "\n".join(lines)
    return f"# joint_search: are a modality's own blocks worth searching?\n\n{about(__doc__)}\n\n{text}\n\n{command}.\n"


def _paired(gaps: Sequence[float]) -> str:
    """The mean with its 95 % interval over searches."""
    if len(gaps) < 2:
        return ""
    low, high = ttest_1samp(gaps, 0.0).confidence_interval()
    return f"{np.mean(gaps):+.1f} [{low:.1f}, {high:.1f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds a folder per data set")
    parser.add_argument("--only", nargs="*", default=["utd_mhad"], help="names of the data sets to run")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--trials", type=int, default=20, help="candidates that a search trains")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--out", type=Path, default=Path("results/joint_search"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    file = given.out / "rows.csv"
    rows = read_rows(file, Row)
    command = f"python -m benchmarks.joint_search FOLDER --only {' '.join(given.only)} --searches {given.searches}"
    for source in SOURCES:
        if source.name not in given.only:
            continue
        data = read(source, given.folder)
        for search in range(given.searches):
            for searched in (JOINT, FUSION):
                if any((row.data, row.searched, row.search) == (data.name, searched, search) for row in rows):
                    continue
                rows.append(run(data, searched, search, given.trials))
                print(rows[-1], flush=True)
                write_rows(file, Row, rows, digits=2)
                write_atomically(
                    given.out / "README.md", page(rows, given.trials, origin_told(provenance(command))).encode()
                )


if __name__ == "__main__":
    main()
