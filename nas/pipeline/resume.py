"""Whether a run is begun or gone on with, and what it must have in common with the one that it goes on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from nas.data.fusion_data import FusionData
from nas.encoders import EncoderBuilder
from nas.encoders.pretrained.encoder import PretrainedBuilder
from nas.errors import UserError
from nas.records import plain
from nas.runs.checkpoint import Checkpoints, read_run
from nas.runs.folder import RunFolder
from nas.space.search_space import SearchSpace


def what_decides(
    data: FusionData, space: SearchSpace, device: torch.device, builders: Mapping[str, EncoderBuilder] | None
) -> dict[str, Any]:
    """What decides a run besides its options, in plain values.

    Code of the user's own, such as that of an encoder, is known by its name alone.
    """
    references = [(one.name, one.kind, one.architecture.to_dict()) for one in space.references]
    told = repr((space.nodes, references, space.warm_up and space.warm_up.to_dict()))
    return {
        "data": data.fingerprint(),
        "space": hashlib.sha256(told.encode(errors="backslashreplace")).hexdigest()[:12],
        "device": str(device),
        "builders": sorted(builders or ()),
        "pretrained": {
            name: one.digest() for name, one in (builders or {}).items() if isinstance(one, PretrainedBuilder)
        },
        "torch": torch.__version__,
    }


def open_checkpoints(
    folder: RunFolder, run: Mapping[str, Any], *, resume: bool, every_seconds: float, in_place: bool = False
) -> Checkpoints:
    """The checkpoints of a run in its folder, new or gone on with; `finished` if it has ended already.

    Args:
        folder: Of the run.
        run: All that decides it, in plain values.
        resume: Whether to go on with what is there; without anything, the run is begun.
        every_seconds: Shortest time between two states of a training that are written; 0 writes each.
        in_place: Whether the folder holds a finished run that this one changes.

    Raises:
        UserError: If the folder holds another run that was stopped, or a finished run that says nothing of its options.
    """
    run = json.loads(json.dumps(plain(run)))  # as it is read back
    there = read_run(folder.checkpoints) if resume else None
    if there is not None and in_place and there["finished"] and there["run"] != run:
        there = None  # that is the run to change, not a change of it
    if there is None:
        if resume and not in_place:
            if folder.exists("summary.json"):
                raise UserError(
                    f"{str(folder.path)!r} holds a finished run and nothing to go on with; --overwrite replaces it"
                )
            folder.clear()
        else:
            folder.remove("checkpoints")
        return Checkpoints(folder.checkpoints, run, every_seconds=every_seconds)
    _refuse_another(folder, there["run"], run)
    checkpoints = Checkpoints(folder.checkpoints, run, every_seconds=every_seconds, finished=there["finished"])
    if checkpoints.finished:
        checkpoints.remove_states()  # of a process that was killed as it did so
    return checkpoints


def going_on(checkpoints: Checkpoints) -> str:
    """What to tell people where a run goes on that was stopped."""
    return f"going on with what was stopped: {checkpoints.kept()} trainings come back, whole or as far as they came"


def _refuse_another(folder: RunFolder, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    before, wanted = dict(_flat(then)), dict(_flat(now))
    for name in dict.fromkeys([*wanted, *before]):  # in the order in which options are told, causes before effects
        if before.get(name) != wanted.get(name):
            raise UserError(
                f"the run in {str(folder.path)!r} was begun with {name} {before.get(name)!r}, now it is "
                f"{wanted.get(name)!r}; resume it with what it was begun with, or begin anew without --resume"
            )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
