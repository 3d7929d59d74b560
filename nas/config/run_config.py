"""`RunConfig`: all options of a run, and what follows from their declarations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar, cast

from nas.config.presets import preset_of
from nas.config.sections import (
    SEED,
    EvaluationConfig,
    OutputConfig,
    SearchConfig,
    Section,
    SourceConfig,
    TrainingConfig,
)
from nas.errors import UserError, unknown_name
from nas.fields import Form, make_config, told

Config = TypeVar("Config", bound="RunConfig")


@dataclass(frozen=True)
class Option:
    """One option as it is declared in its section.

    Attributes:
        name: Its keyword in Python and its key in `config.toml`.
        section: The name of its section in `RunConfig`.
        panel: Title of the options that it is listed with.
        default: Its value where none is given.
        form: What it may hold.
        meaning: What it does, in a sentence.
        flag: Its name on the command line without the dashes; None for an option without a flag.
        spelling: How it is written there, a `nas.config.spelling.Spelling`; None for as it is.
    """

    name: str
    section: str
    panel: str
    default: Any
    form: Form
    meaning: str
    flag: str | None
    spelling: Any


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All options of a run.

        config = RunConfig(search=SearchConfig(strategy="darts"), training=TrainingConfig(epochs=20))
        config = RunConfig.of(preset="quick", strategy="darts", epochs=20)

    Attributes:
        source: Which data is read.
        search: What is searched, and how.
        training: How networks are trained, those that decide per sample included.
        evaluation: What is retrained, compared and kept.
        output: Where the run is written.
    """

    source: SourceConfig = field(default_factory=SourceConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        for name, kind in self.sections().items():
            if not isinstance(getattr(self, name), kind):
                raise UserError(
                    f"{name} must be a {kind.__name__}, got {told(getattr(self, name))}; give single options by their "
                    "own names"
                )
        seed = self.search.seed
        for name, count in (
            ("search_seeds", self.search.search_seeds),
            ("retrain_seeds", self.evaluation.retrain_seeds),
        ):
            if seed + count - 1 > SEED.high:
                raise UserError(f"{count} {name} from seed {seed} on go beyond {SEED.high}; begin with a lower seed")

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """Name to the class of every section."""
        return {one.name: cast("type[Section]", one.default_factory) for one in dataclasses.fields(cls)}

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Name to every option, in the order of their declaration."""
        return {
            one.name: Option(
                name=one.name,
                section=section,
                panel=_panel(kind, one.name),
                default=one.default,
                form=one.metadata["form"],
                meaning=one.metadata["meaning"],
                flag=one.name.replace("_", "-") if one.metadata["flag"] == "" else one.metadata["flag"],
                spelling=one.metadata["spelling"],
            )
            for section, kind in cls.sections().items()
            for one in dataclasses.fields(kind)
        }

    @classmethod
    def of(cls, base: Self | None = None, *, preset: str = "default", **given: Any) -> Self:
        """A configuration from single options.

        Args:
            base: What is not given is as it is here; None for the defaults.
            preset: A name of `nas.config.presets.PRESETS`. It changes `base`; whatever is given by name wins over it.
            given: Name of an option to its value, or name of a section to the whole section. None stands for an option
                that is not given.

        Raises:
            UserError: If a name is unknown, with the nearest one, or a value is refused.
        """
        sections, options = cls.sections(), cls.options()
        given = {name: value for name, value in given.items() if value is not None}
        for name in given:
            if name not in options and name not in sections:
                raise unknown_name("option", name[:60], options)
        config = _with_options(base or cls(), preset_of(preset).options)
        config = replace(config, **{name: value for name, value in given.items() if name in sections})
        return _with_options(config, {name: value for name, value in given.items() if name in options})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads back what `to_dict` gave; an option that is not there has its default.

        Raises:
            UserError: If a section is missing, a name is unknown or a value is refused.
        """
        kinds = {name: kind for name, kind in cls.sections().items() if kind.is_recorded}
        for name in values:
            if name not in kinds:
                raise unknown_name("section", str(name)[:60], kinds)
        for name in kinds:
            if name not in values:
                raise UserError(f"section {name!r} is missing")
        sections: dict[str, Any] = {name: make_config(kind, _as_tuples(values[name])) for name, kind in kinds.items()}
        return cls(**sections)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """What `config.toml` holds: section to option to value; what is yet to be decided is left out."""
        return {name: _plain(getattr(self, name)) for name, kind in self.sections().items() if kind.is_recorded}

    def identity(self) -> dict[str, dict[str, Any]]:
        """What a run must have in common with the one that it goes on with, as in `to_dict`."""
        kinds = self.sections()
        return {name: values for name, values in self.to_dict().items() if kinds[name].is_identity}


def _panel(kind: type[Section], name: str) -> str:
    """That of the class that declares an option, which may be a base of its section."""
    declaring = [base for base in kind.__mro__ if issubclass(base, Section) and name in vars(base)]
    return declaring[-1].panel


def _plain(section: Section) -> dict[str, Any]:
    values = {one.name: getattr(section, one.name) for one in dataclasses.fields(section)}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items() if value is not None
    }


def _as_tuples(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _with_options(config: Config, options: Mapping[str, Any]) -> Config:
    """The same with some options changed."""
    declared = config.options()
    changed = {
        section: replace(
            getattr(config, section),
            **{name: value for name, value in _as_tuples(options).items() if declared[name].section == section},
        )
        for section in dict.fromkeys(declared[name].section for name in options)
    }
    return replace(config, **changed)
