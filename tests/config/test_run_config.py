"""An option is declared once: its flag, its key in config.toml, its share of the identity and its checks follow."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import pytest
import typer

import nas
from nas import FusionClassifier, RunConfig, SearchConfig, TrainingConfig, UserError
from nas.config import EvaluationConfig, Option, OutputConfig, SourceConfig
from nas.config.flags import with_flags
from nas.fields import Whole, setting
from nas.pipeline.estimators import FusionEstimator
from nas.pipeline.resume import open_checkpoints
from nas.runs.folder import RunFolder
from nas.saved.run import read_config
from tests.tiny_runs import as_data, tiny_arrays


@dataclass(frozen=True, kw_only=True)
class WiderTraining(TrainingConfig):
    """The options of trainings and one more."""

    panel: ClassVar[str] = "Training, and more"

    warm_up_epochs: int = setting(3, Whole(0, 9), "Epochs of warming up.")


@dataclass(frozen=True, kw_only=True)
class WiderRun(RunConfig):
    """A configuration with that section."""

    training: WiderTraining = field(default_factory=WiderTraining)


def ran(config: type[RunConfig], *words: str) -> dict[str, Any]:
    """The options that a command with flags for all of them is given."""
    found: dict[str, Any] = {}
    app = typer.Typer()

    @app.command()
    @with_flags(config=config)
    def command(options: dict[str, Any]) -> None:
        """Keeps them."""
        found.update(options)

    app(list(words), standalone_mode=False)
    return found


def test_an_option_that_is_added_is_a_flag_a_key_a_part_of_the_identity_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    ran(WiderRun, "--help")
    printed = capsys.readouterr().out
    assert "--warm-up-epochs" in printed
    assert "Epochs of warming up." in printed
    assert "Training, and more" in printed
    assert ran(WiderRun, "--warm-up-epochs", "5") == {"warm_up_epochs": 5}
    assert "warm_up_epochs: Epochs of warming up." in str(WiderTraining.__doc__)

    config = WiderRun.of(preset="quick", warm_up_epochs=5)
    folder = RunFolder.create(tmp_path / "run")
    folder.write_config(config.to_dict())
    assert folder.read_config()["training"]["warm_up_epochs"] == 5
    assert WiderRun.from_dict(folder.read_config()) == config
    with pytest.raises(UserError, match="warm_up_epochs must be 0 or more, at most 9"):
        WiderRun.from_dict({**config.to_dict(), "training": {"warm_up_epochs": 10}})

    with open_checkpoints(folder, config.identity(), resume=False, every_seconds=0):
        pass
    with pytest.raises(UserError, match=r"was begun with training\.warm_up_epochs 5, now it is 6"):
        open_checkpoints(folder, WiderRun.of(config, warm_up_epochs=6).identity(), resume=True, every_seconds=0)


def test_every_option_says_what_it_means_under_a_name_of_its_own() -> None:
    options = RunConfig.options()
    declared = [one.name for kind in RunConfig.sections().values() for one in fields(kind)]
    assert list(options) == declared
    names = [*declared, *RunConfig.sections(), "preset", "base"]
    assert len(set(names)) == len(names)
    flags = [option.flag for option in options.values() if option.flag is not None]
    assert len(set(flags)) == len(flags)
    for option in options.values():
        assert option.form.allows(option.default), option.name
        assert option.meaning.endswith("."), option.name
        documented = [str(base.__doc__) for base in RunConfig.sections()[option.section].__mro__]
        assert any(f"{option.name}: {option.meaning}" in one for one in documented)


@pytest.mark.parametrize(
    "option", [one for one in RunConfig.options().values() if one.spelling], ids=lambda one: one.name
)
def test_what_is_written_for_the_command_line_is_read_back(option: Option) -> None:
    values = {
        "TIME": (0.5, 30.0, 600.0),
        "SHARE": (0.01, 0.4, 1.0),
        "SIZE": (1, 1_500_000, 2 * 10**9),
        "NAME,NAME": (("one",), ("one", "two")),
        "MODALITY=VALUE": (("one=a.b:C",), ("one=a.b:C", "two=d:E")),
    }
    for value in values[option.spelling.metavar]:
        assert option.spelling.read(option.spelling.write(value), option.name) == value


def test_only_flags_that_are_given_are_options() -> None:
    assert ran(RunConfig) == ran(RunConfig, "--budget", "", "--operations", "", "--dynamic", "") == {}
    assert ran(RunConfig, "--objective", "") == {"objective": ""}
    given = ("--budget", "2m", "--dynamic", "none", "--no-refit", "--operations", "additive, mlp", "--resume")
    assert ran(RunConfig, *given, "--max-multiply-adds", "40%", "--out", "there") == {
        "budget_seconds": 120.0,
        "dynamic": (),
        "refit": False,
        "operations": ("additive", "mlp"),
        "resume": True,
        "max_multiply_adds": 0.4,
        "out": Path("there"),
    }


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    config = RunConfig(
        source=SourceConfig(data="täble.csv", modalities="a:sequence,b", builders=("a",)),
        search=SearchConfig(operations=("additive", "mlp"), dynamic=("modality",), budget_seconds=1.5, seed=7),
        training=TrainingConfig(epochs=3, gate="gumbel", compile=True),
        evaluation=EvaluationConfig(retrain_seeds=2, ensemble=True, prefer="simplicity"),
    )
    folder = RunFolder.create(tmp_path / "run")
    folder.write_config(config.to_dict())
    assert read_config(folder) == config
    assert set(config.to_dict()) == {"source", "search", "training", "evaluation"}
    assert set(config.identity()) == {"search", "training", "evaluation"}


def test_a_run_of_an_earlier_version_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    values = RunConfig().to_dict()
    folder.write_config({**values, "search": {**values["search"], "seeds": 3}})
    with pytest.raises(UserError, match=r"unknown setting 'seeds'.*run the search again"):
        read_config(folder)


def test_what_is_given_wins_over_sections_over_the_preset_over_the_base() -> None:
    base = RunConfig(training=TrainingConfig(max_epochs=70, channels=20, patience=3))
    assert RunConfig.of(base).training == base.training
    assert RunConfig.of(base, preset="quick").training.max_epochs == 40
    assert RunConfig.of(base, preset="quick").training.channels == 20
    section = TrainingConfig(max_epochs=50)
    found = RunConfig.of(base, preset="quick", training=section, epochs=5, metric=None)
    assert found.training == TrainingConfig(max_epochs=50, epochs=5)
    assert not found.evaluation.refit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retrain_sedes": 1}, "unknown option 'retrain_sedes'; did you mean 'retrain_seeds'"),
        ({"seeds": 1}, "unknown option 'seeds'"),
        ({"training": {"epochs": 1}}, "training must be a TrainingConfig, got a dict of 1; give single options by"),
        ({"encoders": "frozen"}, "unknown encoder mode 'frozen'.*Known: auto, joint, pretrained"),
        ({"operations": "additive"}, "operations must be a list of names, got 'additive'"),
        ({"ensemble": True, "retrain_seeds": 1}, "an ensemble averages the networks of several seeds"),
        ({"seed": 2**32 - 1, "retrain_seeds": 2}, "2 retrain_seeds from seed 4294967295 on go beyond 4294967295"),
        ({"seed": 2**32 - 1, "search_seeds": 2, "retrain_seeds": 1}, "2 search_seeds from seed"),
        ({"resume": True}, "resume needs the run folder"),
        ({"resume": True, "overwrite": True, "out": "run"}, "--resume goes on with a run and --overwrite begins"),
        ({"checkpoint_seconds": -1.0}, r"checkpoint_seconds must be 0 \(every epoch\) or more"),
        ({"out": 3}, "out must be the path of a folder, or left out, got 3"),
    ],
)
def test_contradictions_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RunConfig.of(**options)


def test_a_search_takes_every_option_by_name_or_a_whole_config() -> None:
    parameters = inspect.signature(nas.search).parameters
    for name, option in RunConfig.options().items():
        if name == "fold":  # which `nas.cross_validate` sets
            continue
        assert name in parameters  # those without a flag are objects here, which are recorded by name
        if option.flag is not None:
            assert parameters[name].default == option.default
            assert f"{name}: {option.meaning}" in str(nas.search.__doc__)
    data = as_data(tiny_arrays())
    config = RunConfig(search=SearchConfig(strategy="drats"), output=OutputConfig())
    with pytest.raises(UserError, match="unknown strategy 'drats'"):
        nas.search(data, config)
    with pytest.raises(UserError, match="unknown discretization 'max'"):
        nas.search(data, config, strategy="darts", discretization="max")


def test_a_retraining_takes_options_of_the_run() -> None:
    taken = inspect.signature(nas.retrain).parameters.keys() - {
        *("run", "data", "builders", "progress", "command", "on_record", "started")
    }
    assert taken <= RunConfig.options().keys()
    assert inspect.signature(nas.retrain).parameters["checkpoint_seconds"].default == OutputConfig().checkpoint_seconds


def test_an_estimator_has_the_defaults_of_a_search() -> None:
    own = {"self", "modalities", "kinds", "random_state", "training"}
    parameters = inspect.signature(FusionEstimator.__init__).parameters
    given = {name: one.default for name, one in parameters.items() if name not in own}
    assert given.keys() - {"preset"} <= RunConfig.options().keys()
    assert RunConfig.of(**given) == RunConfig()
    assert FusionClassifier().get_params().keys() == parameters.keys() - {"self"}
