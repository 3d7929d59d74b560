"""A space that was made by hand is searched, saved, and lives on in a process that knows nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.space.architecture import Choice
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from search_spaces import OPERATIONS
from tests.tiny_runs import as_data, tiny_arrays, tiny_search, write_npz

CROSSED = SearchSpace(
    "by hand",
    {"sound": 3, "sight": 3},
    (
        FusionNode("join", tuple(Choice(name, ("sound@0", "sight@2")) for name in ("additive", "mlp"))),
        FusionNode(
            "again",
            (Choice("multiplicative", ("join", "sound@2")), Choice("bilinear", ("sight@1", "join"))),
            residual="join",
        ),
        FusionNode("last", (Choice("low_rank", ("again", "join", "sight@0")), Choice("mlp", ("again", "sound@1")))),
    ),
    OPERATIONS,
    options=(("cells", 3), ("steps", (1, 2))),
)
"""Every architecture reads taps of different depths and earlier steps; there are no references."""

LATER = """
import json, sys, nas
run, out = sys.argv[1:]
loaded = nas.load_run(run)
again = nas.evaluate(run)
retrained = nas.retrain(run, out=out, retrain_seeds=1, device="cpu")
from nas.export.formats import FORMATS
files = [file for file in nas.export(out, list(FORMATS))]
print(json.dumps({
    "words": loaded.architecture.in_words(),
    "repeated": again["repeated"],
    "retrained": retrained.architecture.in_words(),
    "differences": {str(file.path): file.difference for file in files},
    "report": retrained.report.read_text()[:9] if retrained.report else "",
}))
"""


@pytest.mark.slow
def test_a_hand_made_space_is_searched_and_lives_on_in_a_fresh_process(tmp_path: Path) -> None:
    run = tiny_search(
        write_npz(tmp_path),
        modalities="sound,sight",
        target="label",
        split="split",
        space=CROSSED,
        operations=None,
        encoders="joint",
        out=tmp_path / "run",
    )
    assert CROSSED.offers(run.architecture)
    assert len(run.architecture.steps) == 3
    assert run.architecture.options == CROSSED.options
    done = subprocess.run(
        [sys.executable, "-c", LATER, str(tmp_path / "run"), str(tmp_path / "again")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["words"] == told["retrained"] == run.architecture.in_words()
    assert told["repeated"]
    assert max(difference or 0 for difference in told["differences"].values()) < 1e-4
    assert told["report"].lower().startswith("<!doctype")


def test_a_space_for_other_taps_is_refused() -> None:
    with pytest.raises(nas.UserError, match="space 'by hand' is made for taps"):
        tiny_search(as_data({**tiny_arrays(), "third": tiny_arrays()["sound"]}), space=CROSSED, operations=None)
