"""What a candidate operation is: it combines taps into one, and tells its own order and cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from nas.codegen import Source, Term
from nas.errors import UserError


@dataclass(frozen=True, eq=False)
class AttentionWeights:
    """How one attention of an operation shares out what is read.

    Attributes:
        asking: Numbers of the inputs whose time steps ask, side by side; learned tokens follow them.
        asked: Likewise, of those that are asked.
        weights: (batch, queries, keys), mean over heads; they sum to one over the keys.
        learned: What a learned token is called.
    """

    asking: Sequence[int]
    asked: Sequence[int]
    weights: Tensor
    learned: str


class Operation(nn.Module, ABC):
    """One way to combine or carry taps.

    Every operation is built as `Operation(num_inputs, channels)` and maps a list of `num_inputs` taps, each
    (batch, time_i, channels), to one tensor (batch, time, channels), where time is the longest of the inputs'.

    Attributes:
        order: Interaction order: 0 carries one modality, 1 is exactly additive in evaluation mode, 2 multiplicative,
            3 nonlinear.
        min_inputs: Fewest taps that it takes.
        max_inputs: Most taps that it takes, or None for any number.
        formula: The formula in plain text, with x1, x2, … for the inputs.
        sign: A short sign for drawings.
        is_infix: Whether words set the sign between the inputs, such as "image + audio"; if not, "mlp(image, audio)".
        is_ordered: Whether the first input differs from the others, so that another order is another choice.
        carries: Whether it hands on its only input as it is.
        is_linear: Whether it is Σ maps[i](x_i) + bias, with these two names.
        phrase: What it does as an instruction, for people. {all} stands for its modalities; {first} and {rest} where
            the first one differs from the others. If empty, reports say "combine {all} by" and the operation's name.
    """

    order: ClassVar[int]
    min_inputs: ClassVar[int] = 2
    max_inputs: ClassVar[int | None] = None
    formula: ClassVar[str]
    sign: ClassVar[str] = "∘"
    is_infix: ClassVar[bool] = False
    is_ordered: ClassVar[bool] = False
    carries: ClassVar[bool] = False
    is_linear: ClassVar[bool] = False
    phrase: ClassVar[str] = ""

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__()
        if num_inputs < self.min_inputs or (self.max_inputs is not None and num_inputs > self.max_inputs):
            expected = f"{self.min_inputs} to {self.max_inputs or 'any number'}"
            # An architecture from a stranger's file may ask for it.
            raise UserError(f"{type(self).__name__} takes {expected} inputs, got {num_inputs}")
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        self.num_inputs = num_inputs
        self.channels = channels
        self.register_forward_pre_hook(_check_taps)

    @abstractmethod
    def forward(self, taps: list[Tensor]) -> Tensor:
        """Combines the taps.

        Args:
            taps: One tensor per input, each (batch, time_i, channels); times may differ.

        Returns:
            The combined tap, (batch, max time_i, channels).

        Raises:
            ValueError: If there are more or fewer taps than `num_inputs`, or one has other channels.
        """

    @abstractmethod
    def multiply_adds(self, times: Sequence[int]) -> int:
        """Multiplications with an addition for one sample, as half of what `torch.utils.flop_counter` counts.

        Only matrix products and convolutions count, in evaluation mode; elementwise work does not.

        Args:
            times: Number of time steps of every input.
        """

    def attention_weights(self, taps: list[Tensor]) -> Sequence[AttentionWeights]:  # noqa: ARG002  # for those with some
        """What attends to what in `forward`, in evaluation mode; nothing where the operation has no attention.

        Args:
            taps: As in `forward`.
        """
        return ()

    def source(self, inputs: Sequence[Term]) -> Source:  # noqa: ARG002  # for those that say
        """The operation as ordinary code, in evaluation mode, for the stand-alone Python file.

        Args:
            inputs: Name of the argument and time steps of every input.

        Raises:
            UserError: If the operation does not say.
        """
        raise UserError(f"operation {type(self).__name__} has no source(); leave the python format out or write one")

    def num_parameters(self) -> int:
        """Number of trainable scalars."""
        return sum(parameter.numel() for parameter in self.parameters())


class DrawingOperation(Operation):
    """An operation that can draw what it does for every sample while it is trained, see `nas.objectives.reinforce`.

    Attributes:
        log_probabilities: Where a training notes log p(drawn) of every call, (batch,) each; None if nothing is drawn.
    """

    log_probabilities: list[Tensor] | None = None


@cache
def installed_operations() -> Mapping[str, type[Operation]]:
    """Name to class of all operations that installed packages offer: by this table a saved architecture is built again.

    Every entry of the entry-point group `fusenas.operations` is such a table. All of them are read, whatever an
    architecture asks for, so that a file from a stranger does not choose what is imported.

    Raises:
        UserError: If two packages give one name to different operations.
    """
    found: dict[str, type[Operation]] = {}
    for entry in entry_points(group="fusenas.operations"):
        table: Mapping[str, type[Operation]] = entry.load()
        for name, operation in table.items():
            if found.setdefault(name, operation) is not operation:
                raise UserError(f"two installed packages offer an operation {name!r}; uninstall one of them")
    return found


def carries(name: str) -> bool:
    """Whether an installed operation hands on its only input as it is."""
    operation = installed_operations().get(name)
    return operation is not None and operation.carries


def _check_taps(operation: nn.Module, arguments: tuple[list[Tensor], ...]) -> None:
    """Refuses taps that an operation was not built for; attention, for one, would compute something all the same."""
    assert isinstance(operation, Operation)
    count, channels = operation.num_inputs, operation.channels
    for taps in arguments:
        shapes = [tuple(tap.shape) for tap in taps]
        if len(shapes) != count or any(len(shape) != 3 or shape[2] != channels for shape in shapes):
            name = type(operation).__name__
            raise ValueError(f"{name} was built for {count} taps of (batch, time, {channels}), got {shapes}")


def match_time(tap: Tensor, time: int) -> Tensor:
    """Brings a tap to a number of time steps: one step is repeated, more are interpolated linearly.

    Args:
        tap: (batch, time_in, channels).
        time: Number of steps wanted, at least 1.

    Returns:
        (batch, time, channels).
    """
    if tap.shape[1] == time:
        return tap
    if tap.shape[1] == 1:
        return tap.expand(-1, time, -1)
    return stretch(tap, time)


def stretch(tap: Tensor, time: int) -> Tensor:
    """Interpolates a tap (batch, time, channels) linearly to other time steps."""
    return F.interpolate(tap.transpose(1, 2), size=time, mode="linear").transpose(1, 2)


def match_times(taps: Sequence[Tensor]) -> list[Tensor]:
    """Brings all taps to the time of the longest: a list of (batch, max time_i, channels)."""
    longest = max(tap.shape[1] for tap in taps)
    return [match_time(tap, longest) for tap in taps]
