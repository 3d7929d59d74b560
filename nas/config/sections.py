"""The options of a run by what they are about; each is declared here and nowhere else.

Flags of the command line, keywords of `nas.search`, `config.toml`, what a resumed run must have in common with the one
that was stopped, and the checks when a run is loaded all follow from these classes. They need no torch, so that
`--help` does not wait for it: whether a name is registered, such as that of a strategy, is checked where it is looked
up.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

from nas.config.spelling import DURATION, INTERVAL, NAMES, NAMES_OR_NONE, PAIRS, SHARE_OF_ONE, SIZE
from nas.errors import UserError
from nas.fields import (
    AMOUNT,
    MAX_CHANNELS,
    POSITIVE,
    SHARE,
    Absent,
    Flag,
    FolderPath,
    Number,
    OneOf,
    Several,
    Text,
    Whole,
    check_settings,
    setting,
)

EncoderMode = Literal["auto", "pretrained", "joint"]
Baselines = Literal["few", "quick", "full"]
Preference = Literal["accuracy", "simplicity"]
Relaxation = Literal["soft", "gumbel", "reinforce"]
Schedule = Literal["exponential", "linear"]
ClassWeights = Literal["none", "balanced"]

RELAXATIONS: tuple[Relaxation, ...] = get_args(Relaxation)

SEED = Whole(0, 2**32 - 1)
"""What a random generator takes."""

COUNT = Whole(1, 2**32)

SHORTEST_RUN = 20
"""Seconds of a time limit: less is not enough for the report alone."""

LONG = Text(1_000_000)
"""Names of many columns."""

SOME_NAMES = Several(Text(), 0, 1000, "a list of names")
"""Far more names than there are operations or modalities."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Options that belong together.

    A subclass documents itself by what its options mean.

    Attributes:
        panel: Title of its options in the help of a command.
        is_recorded: Whether `config.toml` holds it.
        is_identity: Whether a run that goes on must have it in common with the one that was stopped.
    """

    panel: ClassVar[str]
    is_recorded: ClassVar[bool] = True
    is_identity: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        lines = [
            f"    {name}: {declared.metadata['meaning']}"
            for name, declared in vars(cls).items()
            if isinstance(declared, dataclasses.Field)
        ]
        cls.__doc__ = "\n".join([cls.__doc__ or "", "", "Attributes:", *lines])

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class SourceConfig(Section):
    """Which data is read. A resumed run is held to the contents of its data, not to how they were named."""

    panel: ClassVar[str] = "Data"
    is_identity: ClassVar[bool] = False

    data: str = setting("", LONG, "Where the data was read from; empty for data in memory.", flag=None)
    modalities: str = setting(
        "",
        LONG,
        "Arrays to fuse, with their kind where it cannot be read off, such as image,words:tokens; of a table groups of "
        "columns, such as meta=year+author,picture,title or motion=acc_*,title.",
    )
    target: str = setting("", Text(), "Array or column of the target.")
    split: str = setting(
        "", Text(), "Array or column that holds 0/1/2 or train/val/test; if left out, splits are drawn from the seed."
    )
    task: str = setting("", Text(), "classification, multilabel or regression; if left out, read off the target.")
    group: str = setting(
        "", Text(), "Array or column, such as patient; all samples of one group come into the same split."
    )
    weight: str = setting(
        "", Text(), "Array or column of numbers, 0 or more: how much each sample counts while weights learn."
    )
    columns: str = setting(
        "",
        LONG,
        "What columns of a table hold, where it is not told right: image, frames, audio, text, number, category, "
        "date or ignore, such as picture:image,zip:category,id:ignore.",
    )
    memory_bytes: int = setting(
        0,
        Whole(0, 10**15, zero="no limit"),
        "Memory that data may take, such as 2G; what takes more is read from disk batch by batch.",
        flag="memory",
        spelling=SIZE,
    )
    fold: str = setting("", Text(), "Which part of the samples is the test split, such as 2/5; see --folds.", flag=None)
    builders: tuple[str, ...] = setting(
        (), SOME_NAMES, "Modalities with an encoder of your own, handed over in Python.", flag=None
    )


@dataclass(frozen=True, kw_only=True)
class SearchConfig(Section):
    """What is searched, and how."""

    panel: ClassVar[str] = "Search"

    space: str = setting(
        "layerwise",
        Text(),
        "Search space, with options of its own after a colon, such as graph:steps=2; see `fusenas list`.",
    )
    operations: tuple[str, ...] = setting(
        (),
        SOME_NAMES,
        "Candidate operations, see `fusenas list`; if left out, all that the space knows.",
        spelling=NAMES,
    )
    dynamic: tuple[str, ...] | None = setting(
        None,
        Absent(SOME_NAMES),
        "What to decide per sample: modality (which to read), fusion (how deep) or operation (which), by a learned "
        "gate; cascade: cheap answers first, dearer ones while unsure (not for regression); none. If left out, up to "
        "the space.",
        spelling=NAMES_OR_NONE,
    )
    strategy: str = setting("sampled", Text(), "How to search, see `fusenas list`.")
    discretization: str = setting(
        "one_standard_error",
        Text(),
        "How one architecture is read out of a supernet, see `fusenas list`; strategies without one decide themselves.",
    )
    encoders: EncoderMode = setting(
        "auto",
        OneOf(get_args(EncoderMode), "encoder mode"),
        "Whether encoders are first trained alone and then frozen (pretrained), or trained with the rest (joint); auto "
        "decides.",
    )
    encoder: tuple[str, ...] = setting(
        (),
        SOME_NAMES,
        "Encoders by name: picture=timm:resnet18, title=hf:./folder, picture=torchvision:resnet18, or a module of your "
        "own that is imported, picture=mypackage.models:MyNet.",
        spelling=PAIRS,
    )
    encoder_mode: tuple[str, ...] = setting(
        (),
        SOME_NAMES,
        "How far pretrained encoders learn, such as picture=lora: frozen (default), finetune, last:K (blocks) or lora.",
        spelling=PAIRS,
    )
    seed: int = setting(0, SEED, "Seed of the search and the first retraining; others count up from it.")
    search_seeds: int = setting(
        1, COUNT, "How many searches, each with a seed and encoders of its own; several show how far they agree."
    )
    budget_seconds: float = setting(
        0.0,
        Number("0 (no limit) or more", below=False),
        "Time of each search proper; trainings from scratch come on top.",
        flag="budget",
        spelling=DURATION,
    )
    time_limit_seconds: float = setting(
        0.0,
        Number("0 (no limit) or more", below=False),
        "Time of the whole command, from reading the data to the report; trainings get shorter and baselines fewer "
        "until they fit, and the report says what was left out.",
        flag="time-limit",
        spelling=DURATION,
    )
    max_trials: int = setting(
        0,
        Whole(0, 10**12, zero="automatic"),
        "Most architectures that a strategy without a supernet trains: automatic is 3 for random, 40 for strategies "
        "that learn from what they tried, all for exhaustive.",
    )
    length: float = setting(
        0.0,
        Number("0 (automatic) or positive, at most 1000000", high=1e6, below=False),
        "Length of the search as a multiple of the epochs of one training; automatic is 0.5 to 2, by strategy and "
        "encoders.",
    )
    architecture_learning_rate: float = setting(
        3e-3, POSITIVE, "Learning rate of the architecture logits (Adam).", flag="architecture-rate"
    )
    architecture_weight_decay: float = setting(
        1e-3, AMOUNT, "Weight decay of the architecture logits.", flag="architecture-decay"
    )
    guards: bool = setting(True, Flag(), "Stop a gradient search that collapses, and read it out safely.")
    device: str = setting("auto", Text(), "auto, cpu, cuda or cuda:1.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.time_limit_seconds < SHORTEST_RUN:
            raise UserError(
                f"time_limit_seconds is {self.time_limit_seconds:g}; expected {SHORTEST_RUN} or more, which it takes "
                "to begin and to write the report"
            )


@dataclass(frozen=True, kw_only=True)
class RoutingConfig(Section):
    """How a network learns what it decides per sample, where it decides anything."""

    panel: ClassVar[str] = "Deciding per sample"

    gate: Relaxation = setting(
        "soft",
        OneOf(RELAXATIONS),
        "How a gate learns: soft, gumbel or reinforce; a cascade has no use for it.",
    )
    gate_temperature: Schedule = setting(
        "exponential", OneOf(get_args(Schedule)), "How the temperature of gumbel falls: exponential or linear."
    )
    cost_weight: float = setting(
        0.1, AMOUNT, "Loss worth taking to skip all multiply-adds of a sample; higher saves more."
    )
    max_multiply_adds: float = setting(
        0.0,
        Number("from 0 (no budget) to 1", high=1.0, below=False),
        "Budget of a dynamic network as a share of the static one's multiply-adds; it takes the place of cost-weight.",
        spelling=SHARE_OF_ONE,
    )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(RoutingConfig):
    """How networks are trained: AdamW with a one-cycle learning rate, the best epoch kept."""

    panel: ClassVar[str] = "Training"

    epochs: int = setting(
        0,
        Whole(0, 10**12, zero="automatic"),
        "Passes over the weights split; automatic gives small sets more, from 10 to max-epochs.",
    )
    max_epochs: int = setting(60, Whole(10, 10**12), "Most passes that automatic epochs come to.")
    batch_size: int = setting(64, Whole(2, 10**9), "Samples per step.")  # BatchNorm needs two samples
    learning_rate: float = setting(3e-3, POSITIVE, "Highest learning rate of the cycle.")
    weight_decay: float = setting(1e-2, AMOUNT, "Weight decay of AdamW.")
    patience: int = setting(
        0,
        Whole(0, 10**12, zero="never stop early"),
        "Epochs without a better one on the architecture split after which a training stops; the best epoch is kept "
        "either way.",
    )
    label_smoothing: float = setting(
        0.1,
        SHARE,
        "Share of the target that is spread evenly over all classes while weights learn; only for classification, and "
        "not where a network decides per sample.",
    )
    gradient_clip: float = setting(5.0, Number("positive", above=True, below=False), "Largest norm of the gradient.")
    channels: int = setting(48, Whole(1, MAX_CHANNELS), "Width of adapters, fusion nodes and head.")
    dropout_rate: float = setting(0.2, SHARE, "Dropout in the adapters.", flag="dropout")
    shift: float = setting(
        0.08,
        SHARE,
        "Largest random shift of maps in trainings of 30 epochs or more, as a share of their height and width; for "
        "default encoders.",
    )
    peaks: bool = setting(
        True, Flag(), "Let default encoders of sequences offer the power mean over time beside the mean."
    )
    regions: bool = setting(
        False,
        Flag(),
        "Let taps of maps have a token for every region, which attention can look at one by one, and the first tap be "
        "the picture itself in patches; for default encoders.",
    )
    preprocessing: str = setting(
        "auto",
        Text(),
        "What default encoders see: standardize, pairs such as emg:magnitudes,genes:piecewise, or auto, which tries.",
    )
    compile: bool = setting(False, Flag(), "Compile static networks; pays on a GPU and in long runs.")
    objective: str = setting(
        "",
        Text(),
        "Cures to train networks of several modalities by, such as gradient_blending or modality_dropout:0.2, "
        "comma-separated; auto tries what suits the data; see `fusenas list`.",
    )
    class_weights: ClassWeights = setting(
        "none", OneOf(get_args(ClassWeights)), "balanced lets rare classes count more while weights learn."
    )
    metric: str = setting(
        "",
        Text(),
        "What networks are judged by, such as balanced_accuracy, auroc or rmse, see `fusenas list`; if left out, the "
        "task's own.",
    )

    def num_epochs(self, num_samples: int) -> int:
        """Epochs for a weights split of this size: as given, else about 90 000 samples seen, 10 to `max_epochs`."""
        return self.epochs or max(10, min(self.max_epochs, round(90_000 / max(1, num_samples))))


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Section):
    """What is retrained, compared and kept."""

    panel: ClassVar[str] = "Retraining and choice"

    retrain_seeds: int = setting(3, COUNT, "How often everything on the leaderboard is trained from scratch.")
    baselines: Baselines = setting(
        "quick",
        OneOf(get_args(Baselines)),
        "Single operations that every seed trains: the 3 best of the first seed (quick), or all (full); few trains "
        "each modality alone and late fusion, and neither operations, random search nor variations.",
    )
    prefer: Preference = setting(
        "accuracy",
        OneOf(get_args(Preference), "preference"),
        "Which row of the leaderboard is found, by held-out samples: the best (accuracy), or the simplest within one "
        "standard error of it (simplicity).",
    )
    refit: bool = setting(
        True, Flag(), "Train what was found on both training splits, too, and keep that; not what decides per sample."
    )
    ensemble: bool | None = setting(
        None,
        Absent(Flag()),
        "Average the found networks of all seeds, as a row of its own; if left out, where there are several seeds.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ensemble and self.retrain_seeds < 2:
            raise UserError(
                f"an ensemble averages the networks of several seeds, got retrain_seeds {self.retrain_seeds}; ask for "
                "2 or more"
            )

    @property
    def has_ensemble(self) -> bool:
        """Whether there is one in the end."""
        return self.retrain_seeds > 1 if self.ensemble is None else self.ensemble


@dataclass(frozen=True, kw_only=True)
class OutputConfig(Section):
    """Where a run is written, and whether it is begun or resumed. The run is the same wherever it is written."""

    panel: ClassVar[str] = "Run folder"
    is_recorded: ClassVar[bool] = False
    is_identity: ClassVar[bool] = False

    out: str | Path | None = setting(None, Absent(FolderPath()), "Run folder to write.")
    overwrite: bool = setting(False, Flag(), "Replace an earlier run in the run folder.")
    resume: bool = setting(
        False, Flag(), "Go on with the run in the run folder that was stopped; begin it if there is none."
    )
    checkpoint_seconds: float = setting(
        30.0,
        Number("0 (every epoch) or more"),
        "Shortest time between two checkpoints; 0s writes one every epoch.",
        flag="checkpoint-every",
        spelling=INTERVAL,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume and self.out is None:
            raise UserError("resume needs the run folder to go on in; name it as `out`")
        if self.resume and self.overwrite:
            raise UserError("--resume goes on with a run and --overwrite begins it anew; give one of them")
