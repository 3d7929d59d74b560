"""A cascade as a program: each route is a branch of `torch.cond`, or every route runs on the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from nas.encoders.base import State
from nas.export.portable import Portable, routed_network
from nas.network.fusion_network import Inputs, Presence
from nas.routing.cascade import Cascade
from nas.routing.encoding import EncodingState, extend_taps
from nas.routing.gates import allowed_routes
from nas.space.architecture import deepest, tap_modality

Part = tuple[str, str, int]
"""Of what a route leaves to later ones: "tap", "adapted" and the tap's name, or "state", modality, place in it."""


class Cascaded(nn.Module):
    """Runs one route after another on the samples that are left; once none is left, no further one is run.

    The same as `nas.routing.execution.run_cascade`, in words that a tracer understands: a route is a branch of
    `torch.cond`, which becomes an If in ONNX. Encoders go on from where an earlier route has left them, and what is
    adapted is adapted once: a branch returns what later ones go on from, for the whole batch, with zeros for samples
    that had stopped.

    ONNX has no logarithm that is exact near 1: the confidence in several labels, of log-odds up to 16, is rounded there
    to thousandths at 10, and to tenths at 14.

    Args:
        portable: With a cascade.
        inputs: Some samples for it; the shapes of what routes leave are read off them.

    Attributes:
        needed: For every route the names of its taps.
        left: For every route what is there for later ones after it.
        fresh: For every route what of that it has computed itself: shape of one sample, and type.
    """

    def __init__(self, portable: Portable, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.portable = portable
        routed = routed_network(portable)
        self.needed = [routed.network.needed_taps(selection) for selection in routed.routes]
        self.left: list[list[Part]] = []
        self.fresh: list[dict[Part, tuple[torch.Size, torch.dtype]]] = []
        parts: dict[Part, Tensor] = {}
        with torch.no_grad():
            arrays, present = portable.named(inputs)
            for number in range(len(self.needed)):
                _, found = self._stage(number, arrays, present, parts, len(inputs[0]))
                self.left.append(list(found))
                fresh = {key: part for key, part in found.items() if part is not parts.get(key)}
                self.fresh.append({key: (part.shape[1:], part.dtype) for key, part in fresh.items()})
                parts = found

    def forward(self, *inputs: Tensor) -> Tensor:
        """As `Portable.forward`."""
        cascade = cascade_of(self.portable)
        arrays, present = self.portable.named(inputs)
        outputs, found = self._stage(0, arrays, present, {}, inputs[0].shape[0])
        # Copies, for a branch must not take one tensor twice: taps may be inputs, or views of what is gone on from.
        outputs, parts = outputs.clone(), {key: part.clone() for key, part in found.items()}
        allowed = allowed_routes(cascade.routes, present, like=outputs)
        is_open = ~(cascade.stop(0, outputs, allowed) > 0)
        for number in range(1, len(self.needed)):
            given = (outputs, is_open, allowed, *inputs, *parts.values())
            outputs, is_open, *fresh = torch.cond(
                is_open.any(), self._run(number, list(parts)), self._skip(number), given
            )
            parts |= dict(zip(self.fresh[number], fresh, strict=True))
            parts = {key: parts[key] for key in self.left[number]}
        return outputs

    def _run(self, number: int, keys: Sequence[Part]) -> Callable[..., tuple[Tensor, ...]]:
        """One route as a function of the outputs so far, which samples are left, and what they have to go on from."""
        portable, cascade = self.portable, cascade_of(self.portable)

        def run(outputs: Tensor, is_open: Tensor, allowed: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            rows = torch.nonzero(is_open).flatten()
            count = rows.shape[0]
            torch._check(count > 0)  # a tracer would ask
            own = [tensor[rows] for tensor in given]
            arrays, present = portable.named(own[: len(portable.names)])
            parts = dict(zip(keys, own[len(portable.names) :], strict=True))
            answers, found = self._stage(number, arrays, present, parts, count)
            is_sure = torch.ones_like(rows, dtype=torch.bool)
            if number < len(self.needed) - 1:
                is_sure = cascade.stop(number, answers, allowed[rows]) > 0
            return (
                outputs.index_copy(0, rows, answers),
                is_open.index_copy(0, rows, ~is_sure),
                *(blank(outputs, *form).index_copy(0, rows, found[key]) for key, form in self.fresh[number].items()),
            )

        return run

    def _skip(self, number: int) -> Callable[..., tuple[Tensor, ...]]:
        def skip(outputs: Tensor, is_open: Tensor, *_given: Tensor) -> tuple[Tensor, ...]:
            rest = [blank(outputs, *form) for form in self.fresh[number].values()]
            return outputs.clone(), is_open.clone(), *rest  # a branch must not return what it was given

        return skip

    def _stage(
        self, number: int, arrays: Inputs, present: Presence, parts: Mapping[Part, Tensor], count: int
    ) -> tuple[Tensor, dict[Part, Tensor]]:
        """The answers of one route, and what is there for later ones after it."""
        routed = routed_network(self.portable)
        network = routed.network
        reached = deepest(name for names in self.needed[:number] for name in names)
        taps = {name: part for (kind, name, _), part in parts.items() if kind == "tap"}
        adapted = {name: part for (kind, name, _), part in parts.items() if kind == "adapted"}
        states: dict[str, tuple[int, State]] = {}
        for (kind, name, _), part in parts.items():
            if kind == "state":
                states[name] = (reached[name] + 1, (*states.get(name, (0, ()))[1], part))
        names = [name for name in self.needed[number] if name not in adapted]
        begun = extend_taps(network, EncodingState(arrays, taps, states), names)
        adapted |= network.adapt(begun.taps, names, present)
        answers = network.fuse(adapted, routed.routes[number], batch_size=count)
        there = {**begun.taps, **adapted}
        later = dict.fromkeys(name for names in self.needed[number + 1 :] for name in names)
        found: dict[Part, Tensor] = {
            ("adapted" if name in adapted else "tap", name, 0): there[name] for name in later if name in there
        }
        for modality in dict.fromkeys(tap_modality(name) for name in later if name not in there):
            _, state = begun.states.get(modality, (0, ()))
            found |= {("state", modality, place): part for place, part in enumerate(state)}
        return answers, found


class CascadedDense(nn.Module):
    """Runs every route on every sample, and keeps the first answer that is sure.

    Args:
        portable: With a cascade.
    """

    def __init__(self, portable: Portable) -> None:
        super().__init__()
        self.portable = portable

    def forward(self, *inputs: Tensor) -> Tensor:
        """As `Portable.forward`."""
        routed, cascade = routed_network(self.portable), cascade_of(self.portable)
        network = routed.network
        arrays, present = self.portable.named(inputs)
        taps = network.taps(arrays, routed.taps(), present)
        every = [network.fuse(taps, selection, batch_size=inputs[0].shape[0]) for selection in routed.routes]
        allowed = allowed_routes(cascade.routes, present, like=every[0])
        outputs = every[-1]
        for number in reversed(range(len(every) - 1)):
            is_sure = cascade.stop(number, every[number], allowed) > 0
            outputs = torch.where(is_sure[:, None], every[number], outputs)
        return outputs


def cascade_of(portable: Portable) -> Cascade:
    """The cascade of a network that has one."""
    router = routed_network(portable).router
    assert isinstance(router, Cascade)
    return router


def blank(like: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Zeros of this shape and type for each of as many samples as another tensor has, (batch, …), where that is."""
    return like.new_zeros(like.shape[0], *shape, dtype=dtype)


__all__ = ["Cascaded", "CascadedDense"]
