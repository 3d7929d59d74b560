"""Training a derived network from scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from nas.config.gate import GateConfig
from nas.data.fusion_data import FusionData
from nas.encoders import Encoder, EncoderBuilder, build_encoders
from nas.encoders.preprocessing import AUTO, parse_preprocessing
from nas.errors import UserError, unknown_name
from nas.fields import AMOUNT, MAX_CHANNELS, POSITIVE, SHARE, Flag, Number, Text, Whole, setting
from nas.graph import FusionNetwork, Head
from nas.objectives import dropout_rate, parse
from nas.space import SearchSpace
from nas.tasks import TASKS

Log = Callable[[Mapping[str, Any]], None]
"""Takes a record of how a search or a training goes."""

CLASS_WEIGHTS = ("none", "balanced")

MANY_PASSES = 30
"""Epochs from which on a map is seen so often that it may be known by heart; automatic up to some 3 000 samples."""

MAX_WEIGHTS = 2**28
"""Of adapters, fusion nodes and head together: 1 GiB, and four times that with gradients and what AdamW remembers."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(GateConfig):
    """How a network is trained, its gate included: AdamW with one-cycle learning rate, the best epoch kept.

    Attributes:
        epochs: Passes over the weights split, of every stage where an objective has several; 0 chooses by its size, so
            that small sets get more.
        batch_size: Samples per step, at least 2.
        learning_rate: Highest of the cycle.
        weight_decay: Of AdamW.
        max_epochs: Most passes that automatic `epochs` come to.
        patience: Epochs without a better epoch on the architecture split before it stops; 0 never stops early, but
            still keeps the best epoch.
        label_smoothing: Share of the target that is spread evenly over all classes while weights learn, 0 to 1, so that
            a network that knows its training samples does not go on to be ever surer of them. Nothing is judged so, and
            what decides per sample does not learn so, for it has to know how sure an answer is. Says nothing to other
            tasks than classification.
        gradient_clip: Largest norm of the gradient.
        channels: Width of adapters, fusion nodes and head.
        dropout_rate: In the adapters, 0 to 1.
        shift: Largest random shift of maps while the weights of default encoders learn, as a share of their height and
            width, 0 to 1, see `nas.augmentation`, in trainings of `MANY_PASSES` or more. Encoders of your own see their
            input as it is.
        peaks: Whether the taps of sequences hold the power mean over time beside the means, see
            `nas.encoders.base.beside_peaks`. Encoders of your own are as they are.
        preprocessing: What default encoders do with their input first: `standardize`, or pairs of a modality and a name
            of `nas.encoders.preprocessing.PREPROCESSING`, such as emg:magnitudes,genes:piecewise, where all else is
            standardized; or `auto`, by which a search decides, see `nas.preprocessing`. Undecided, it standardizes.
        compile: Whether to use `torch.compile` where a static network is trained; pays on a GPU and long runs.
        objective: What networks of two modalities or more are trained by beside, or in place of, the task's loss: names
            of `nas.objectives.OBJECTIVES`, comma-separated; empty for none.
        class_weights: Whether rare classes and labels count more while weights learn: `none`, or `balanced` for weights
            in inverse proportion to how frequent they are in the weights split. Nothing is judged so.
        metric: What networks are judged by, a name of `nas.metrics.METRICS`; empty for the task's own.
    """

    epochs: int = setting(0, Whole(0, 10**12, zero="automatic"))
    max_epochs: int = setting(60, Whole(10, 10**12))
    batch_size: int = setting(64, Whole(2, 10**9))  # BatchNorm needs two samples
    learning_rate: float = setting(3e-3, POSITIVE)
    weight_decay: float = setting(1e-2, AMOUNT)
    patience: int = setting(0, Whole(0, 10**12, zero="never stop early"))
    label_smoothing: float = setting(0.1, SHARE)
    gradient_clip: float = setting(5.0, Number("positive", above=True, below=False))
    channels: int = setting(48, Whole(1, MAX_CHANNELS))
    dropout_rate: float = setting(0.2, SHARE)
    shift: float = setting(0.08, SHARE)
    peaks: bool = setting(True, Flag())
    preprocessing: str = setting(AUTO, Text())
    compile: bool = setting(False, Flag())
    objective: str = setting("", Text())
    class_weights: str = setting("none", Text())
    metric: str = setting("", Text())

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.class_weights not in CLASS_WEIGHTS:
            raise unknown_name("class_weights", self.class_weights, CLASS_WEIGHTS)
        parse_preprocessing(self.preprocessing)
        if self.modality_dropout_rate and dropout_rate(self.objective):
            raise UserError("modality dropout is asked for twice, as an option and as an objective; leave one out")
        if parse(self.objective) and self.compile:
            raise UserError(
                f"objective {self.objective!r} runs networks in parts, which are not compiled; leave one out"
            )

    @property
    def dropped(self) -> float:
        """How often a training sample is shown without a modality, whichever way that is asked for, 0 to 1."""
        return self.modality_dropout_rate or dropout_rate(self.objective)

    def num_epochs(self, num_samples: int) -> int:
        """Epochs for a weights split of this size: as given, else about 90 000 samples seen, 10 to `max_epochs`."""
        return self.epochs or max(10, min(self.max_epochs, round(90_000 / max(1, num_samples))))


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Seeds initialisation and dropout inside the block, leaves the outer random state as it was.

    Yields:
        A CPU generator of the same seed for everything that takes one.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def build_network(
    space: SearchSpace,
    data: FusionData,
    config: TrainingConfig,
    builders: Mapping[str, EncoderBuilder] | None = None,
) -> FusionNetwork:
    """A fresh network for a space, its sizes and statistics read off the weights split.

    Args:
        space: A whole space for the supernet, a restricted one for a derived network.
        data: Its architecture and test splits are not read.
        config: Channels, dropout, peaks and preprocessing.
        builders: Encoder builders that replace the defaults, by modality.

    Raises:
        UserError: If it would have more than `MAX_WEIGHTS`.
    """
    shift = scale = None
    if not TASKS[data.task].has_probabilities:
        targets = torch.from_numpy(data.targets[data.splits["weights"]]).float()
        shift, scale = targets.mean(dim=0), targets.std(dim=0).clamp(min=1e-12)
    _refuse_vast(config.channels * data.num_outputs, config)
    head = Head(config.channels, data.num_outputs, shift, scale)
    chosen = parse_preprocessing(config.preprocessing)
    encoders = build_encoders(data, builders, peaks=config.peaks, preprocessing=chosen)
    _refuse_vast(_count_weights(space, data, config, encoders), config)
    return FusionNetwork(space, encoders, head, channels=config.channels, dropout_rate=config.dropout_rate)


def _count_weights(
    space: SearchSpace, data: FusionData, config: TrainingConfig, encoders: Mapping[str, Encoder]
) -> int:
    """Those of a network beside its encoders; 0 where they are surely few. No memory is taken for them."""
    widest = max(config.channels, data.num_outputs, *(width for one in encoders.values() for width in one.channels))
    if widest * config.channels * sum(len(node.choices) for node in space.nodes) < MAX_WEIGHTS // 8:
        return 0
    with torch.device("meta"):
        head = Head(config.channels, data.num_outputs)
        network = FusionNetwork(space, encoders, head, channels=config.channels, dropout_rate=0.0)
    return sum(some.numel() for name, some in network.named_parameters() if not name.startswith("encoders."))


def _refuse_vast(count: int, config: TrainingConfig) -> None:
    if count > MAX_WEIGHTS:
        raise UserError(
            f"a network of {config.channels} channels would have {count:,} weights beside its encoders, more than "
            f"{MAX_WEIGHTS:,}; choose fewer channels, operations or modalities"
        )


def pick_device(name: str) -> torch.device:
    """The device of a name: "auto" takes a GPU when there is one.

    Raises:
        UserError: If the name is unknown or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}; expected auto, cpu, cuda or cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported; expected auto, cpu, cuda or cuda:0")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"device {name!r} is not there; use --device auto or cpu")
    return device
