"""What a retraining is asked for: a finished run, its data, and what shall be other than it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nas.config import EvaluationConfig, RunConfig, SearchConfig
from nas.data import FusionData
from nas.device import pick_device
from nas.encoders import EncoderBuilder, Named, builders_of, parse_encoders, with_named
from nas.encoders.names import pairs_of
from nas.errors import UserError
from nas.objectives import check_objective
from nas.pipeline.search import sketched
from nas.retraining.baselines import Contestant
from nas.retraining.preparation import check_judging
from nas.saved.run import Run, contestants_of, data_of, recorded_preprocessing, recorded_space
from nas.space.search_space import SearchSpace


@dataclass(frozen=True, kw_only=True, eq=False)
class Retraining:
    """All that decides a retraining, checked.

    Attributes:
        run: That is trained again.
        data: On which.
        space: In which it was searched.
        config: Of the run, with what is changed of its training.
        rows: The contestants, the found one first.
        seeds: Of initialisation, order and dropout.
        device: Where it is trained.
        builders: Of encoders, those of the caller and those that are named.
        time_limit_seconds: Of the whole command; 0 for none.
    """

    run: Run
    data: FusionData
    space: SearchSpace
    config: RunConfig
    rows: tuple[Contestant, ...]
    seeds: range
    device: torch.device
    builders: Mapping[str, EncoderBuilder]
    time_limit_seconds: float

    def as_planned(self) -> RunConfig:
        """The options by which its time is estimated and kept: nothing is searched, and encoders are as they were."""
        search = replace(
            self.config.search,
            strategy="random",  # which has no supernet to be timed
            encoders=self.run.summary.encoders,
            search_seeds=1,
            budget_seconds=0.0,
            time_limit_seconds=self.time_limit_seconds,
        )
        evaluation = replace(self.config.evaluation, retrain_seeds=len(self.seeds))
        return replace(self.config, search=search, evaluation=evaluation)


def asked_again(
    loaded: Run,
    *,
    data: FusionData | str | Path | Any | None = None,
    builders: Mapping[str, EncoderBuilder] | None = None,
    encoders: Named | None = None,
    seed: int | None = None,
    retrain_seeds: int | None = None,
    epochs: int | None = None,
    objective: str | None = None,
    device: str = "auto",
    time_limit_seconds: float = 0.0,
) -> Retraining:
    """What a retraining of a run is, see `nas.retrain`.

    Raises:
        UserError: If the data is not there, or something that was given is wrong.
    """
    old = loaded.summary
    found = data_of(loaded, data)
    every = _builders_again(loaded, builders, encoders)
    where = pick_device(device)
    first_seed = old.seeds[0] if seed is None else seed
    count = len(old.seeds) if retrain_seeds is None else retrain_seeds
    RunConfig(  # which refuses what makes no sense
        search=SearchConfig(seed=first_seed, time_limit_seconds=time_limit_seconds),
        evaluation=EvaluationConfig(retrain_seeds=count),
    )
    asked = {"epochs": epochs, "objective": objective, "preprocessing": recorded_preprocessing(old)}
    changed: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    training = replace(loaded.config.training, **changed)
    space, encoders_now = recorded_space(old), sketched(found, every, regions=training.regions)
    depths = {name: encoder.num_taps for name, encoder in encoders_now.items()}
    if dict(space.depths) != depths:
        raise UserError(f"the encoders of the data offer taps {depths}, those of the run {dict(space.depths)}")
    dynamic = loaded.architecture.gating is not None
    check_judging(training, found.task)
    check_objective(
        training.objective,
        found.task,
        space.modalities,
        dynamic=dynamic,
        compiled=training.compile,
        joined=space.joins_encoders,
    )
    return Retraining(
        run=loaded,
        data=found,
        space=space,
        config=replace(loaded.config, training=training),
        rows=tuple(contestants_of(old)),
        seeds=range(first_seed, first_seed + count),
        device=where,
        builders=every,
        time_limit_seconds=time_limit_seconds,
    )


def _builders_again(
    run: Run, builders: Mapping[str, EncoderBuilder] | None, encoders: Named | None
) -> dict[str, EncoderBuilder]:
    """The builders of a run, which the caller has to hand over or name again: no folder may choose them."""
    own, given = list(run.config.source.builders), sorted(builders or ())
    if given != own:
        raise UserError(
            f"builders are given for {given}, but the run was searched with encoders of its own for {own}; hand over "
            "the same"
        )
    names, again = parse_encoders(run.config.search.encoder), parse_encoders(encoders)
    if again != names:
        told = [", ".join(pairs_of(some)) or "none" for some in (again, names)]
        raise UserError(f"encoder is {told[0]}, but the run was searched with {told[1]:.300}; name the same")
    named = builders_of(again, run.config.search.encoder_mode)
    return with_named(builders, named, run.summary.data.modalities)


__all__ = ["Retraining", "asked_again"]
