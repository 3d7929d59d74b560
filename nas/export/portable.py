"""A derived network as other programs call it: one tensor an argument, under a name, in a fixed order."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from nas.data.batches import Batch
from nas.encoders import Encoder
from nas.encoders.features import FeaturesEncoder
from nas.errors import UserError
from nas.network.fusion_network import FusionNetwork, Inputs, Presence, with_streams
from nas.routing.network import DerivedNetwork, RoutedNetwork
from nas.space.architecture import tap_depth, tap_modality, tap_name
from nas.streams import identifier, is_joined, stream_modalities, tap_modalities


class Portable(nn.Module):
    """Runs a derived network on positional tensors.

    The inputs are, for every modality that the architecture reads, its array (of ready-made features, the arrays as
    deep as they are read), then a mask for every modality that may be absent.

    Args:
        network: Its space holds one architecture.
        masked: Modalities that samples may lack.
        encoders: Whether raw arrays go in; if not, the encoders' taps that are read, each (batch, time, channels).

    Attributes:
        depths: Modality or joined stream to the depths that are read.
        arrays: Modality or joined stream to the names of its inputs.
        masks: Modality to the name of its mask, (batch,) bool.
        names: Of all inputs, in order.
        tap_names: Of the taps that are read, in the order of `taps`.

    Raises:
        UserError: If the architecture reads nothing, so that there is nothing to run.
    """

    def __init__(self, network: DerivedNetwork, masked: Collection[str] = (), *, encoders: bool = True) -> None:
        super().__init__()
        found: dict[str, set[int]] = {}
        read = network.architecture.taps()
        for tap in read:
            found.setdefault(tap_modality(tap), set()).add(tap_depth(tap))
        if not found:
            raise UserError(
                "the architecture reads no modality, so there is no network to export; json, graph and card remain"
            )
        self.depths = {modality: sorted(depths) for modality, depths in found.items()}
        self.arrays = {}
        for modality, depths in self.depths.items():
            if is_joined(modality) and encoders:
                taps = [tap for tap in read if tap_modality(tap) == modality]
                self.arrays[modality] = tuple(dict.fromkeys(name for tap in taps for name in tap_modalities(tap)))
                continue
            ready_made = isinstance(network.encoders[modality], FeaturesEncoder)
            numbers = range(depths[-1] + 1) if encoders and ready_made else depths
            self.arrays[modality] = (
                (modality,)
                if encoders and not ready_made
                else tuple(f"{identifier(modality)}_{number}" for number in numbers)
            )
        modalities = network.architecture.modalities()
        self.masks = {modality: f"{modality}_present" for modality in modalities if modality in masked}
        arrays = dict.fromkeys(name for names in self.arrays.values() for name in names)
        self.names = (*arrays, *self.masks.values())
        self.tap_names = tuple(tap_name(name, depth) for name, depths in self.depths.items() for depth in depths)
        self.network = network if encoders else _without_encoders(network, self.depths)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Maps the inputs, in the order of `names`, to logits or predictions, (batch, outputs)."""
        outputs: Tensor = self.network(*self.named(inputs))
        return outputs

    def named(self, inputs: Sequence[Tensor]) -> tuple[Inputs, Presence]:
        """The inputs, in the order of `names`, as the network takes them."""
        given = dict(zip(self.names, inputs, strict=True))
        present = {modality: given[name] for modality, name in self.masks.items()}
        arrays: dict[str, Sequence[Tensor]] = {}
        for modality, names in self.arrays.items():
            raw = is_joined(modality) and names[0] in stream_modalities(modality)
            arrays |= {name: [given[name]] for name in names} if raw else {modality: [given[name] for name in names]}
        return with_streams(arrays, self.arrays, present), present

    def inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """The inputs for some samples, in the order of `names`; raw arrays, so only for one with encoders."""
        found: dict[str, Tensor] = {}
        for modality, names in self.arrays.items():
            of_each = [batch.inputs[name][0] for name in names] if is_joined(modality) else batch.inputs[modality]
            found |= dict(zip(names, of_each, strict=False))
        all_there = torch.ones(len(batch), dtype=torch.bool)
        masks = [batch.present.get(modality, all_there) for modality in self.masks]
        return (*found.values(), *masks)

    def taps(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What `inputs` become behind the encoders: the inputs of the same network without them."""
        arrays, present = self.named(inputs)
        taps = []
        for modality, depths in self.depths.items():
            encoder = self.network.encoders[modality]
            assert isinstance(encoder, Encoder)
            every = encoder.taps_at(arrays[modality], depths)
            taps += [every[depth] for depth in depths]
        return (*taps, *(present[modality] for modality in self.masks))


class _Given(Encoder):
    """Stands in for an encoder whose taps are handed in."""

    def __init__(self, depths: Sequence[int]) -> None:
        super().__init__()
        self.depths = depths

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:  # noqa: ARG002
        """The taps of all depths; one that nobody reads is another one's."""
        given = dict(zip(self.depths, inputs, strict=True))
        return [given.get(depth, inputs[0]) for depth in range(self.depths[-1] + 1)]


def _without_encoders(network: DerivedNetwork, depths: dict[str, list[int]]) -> DerivedNetwork:
    """The same network, weights shared, that takes taps."""
    if isinstance(network, RoutedNetwork):
        return RoutedNetwork(_static_without_encoders(network.network, depths), network.router)
    return _static_without_encoders(network, depths)


def _static_without_encoders(network: FusionNetwork, depths: dict[str, list[int]]) -> FusionNetwork:
    # The parts that stay keep their weights; only the encoders are replaced, and only in the copy.
    memo = {id(part): part for name, part in network.named_children() if name != "encoders"}
    stripped = copy.deepcopy(network, memo)
    stripped.encoders = nn.ModuleDict({modality: _Given(found) for modality, found in depths.items()})
    return stripped


def routed_network(portable: Portable) -> RoutedNetwork:
    """Its network, where that decides per sample."""
    assert isinstance(portable.network, RoutedNetwork)
    return portable.network
