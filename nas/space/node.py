"""A fusion node of a search space: what may be chosen there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nas.space.architecture import Choice, is_tap


@dataclass(frozen=True)
class FusionNode:
    """A place where inputs are chosen and one candidate operation is applied.

    Attributes:
        name: Unique in its space, such as "fusion1".
        choices: All that it may do, each at most once.
        residual: Earlier node whose fused state is added to this node's output, or None.
        any_subset: Whether an architecture may also apply an operation to a part of what it reads in some choice. A
            supernet does not hold these, for of many modalities they are too many to learn each.
        any_inputs: Whether an architecture may also apply an operation to any of what the node reads in some choice, as
            many as the operation reads in one. A supernet does not hold these either.
        title: For people, such as "depth 1"; "" where the name says it.
    """

    name: str
    choices: tuple[Choice, ...]
    residual: str | None = None
    any_subset: bool = False
    any_inputs: bool = False
    title: str = ""

    @cached_property
    def index(self) -> Mapping[Choice, int]:
        """Every choice to its index."""
        return {choice: number for number, choice in enumerate(self.choices)}

    def offers(self, choice: Choice) -> bool:
        """Whether an architecture may choose this here."""
        if choice in self.index:
            return True
        like = [set(one.inputs) for one in self.choices if one.operation == choice.operation]
        read = set(choice.inputs)
        if not like or len(read) < len(choice.inputs):
            return False
        if self.any_subset and len(read) > 1 and any(read < inputs for inputs in like):
            return True
        counts = [len(inputs) for inputs in like]
        return self.any_inputs and min(counts) <= len(read) <= max(counts) and read <= set(self.sources)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Taps and earlier nodes that some choice reads, each once, in order of first use."""
        return tuple(dict.fromkeys(name for choice in self.choices for name in choice.inputs))

    @cached_property
    def least_reading(self) -> int:
        """Index of the choice that reads least: nothing where that is offered; of equals the first."""
        return min(range(len(self.choices)), key=lambda index: len(self.choices[index].inputs))

    def edges(self) -> dict[frozenset[str], list[int]]:
        """Every set of inputs that some choice reads, with the indices of those choices, in order of first use."""
        found: dict[frozenset[str], list[int]] = {}
        for index, choice in enumerate(self.choices):
            found.setdefault(frozenset(choice.inputs), []).append(index)
        return found

    @cached_property
    def by_operation(self) -> Mapping[str, Sequence[int]]:
        """Every operation that reads something to the indices of its choices, in order of first use."""
        found: dict[str, list[int]] = {}
        for index, choice in enumerate(self.choices):
            if choice.inputs:
                found.setdefault(choice.operation, []).append(index)
        return found

    @cached_property
    def nested(self) -> Sequence[bool]:
        """For every choice whether it reads another node."""
        return [not all(map(is_tap, choice.inputs)) for choice in self.choices]

    @cached_property
    def idle(self) -> Sequence[int]:
        """Indices of the choices that read nothing."""
        return [index for index, choice in enumerate(self.choices) if not choice.inputs]

    def labels(self) -> list[str]:
        """Every choice in words, all different; depths of taps are told unless each modality is read at one alone."""
        taps = [name for name in self.sources if is_tap(name)]
        read_once = len(taps) == len(Choice("", tuple(taps)).modalities)
        return [choice.in_words(with_depths=not read_once) for choice in self.choices]
