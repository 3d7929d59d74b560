"""Shifts of maps while weights learn: by whole pixels, the edge repeated, alike in all modalities."""

from __future__ import annotations

import pytest
import torch

from nas.config import TrainingConfig
from nas.data.batches import Batch
from nas.training.augmentation import shifted
from nas.training.build import build_network
from nas.training.train import MANY_PASSES, train
from search_spaces import layerwise
from tests.helpers import CPU, tiny_batch, tiny_data


def batch(count: int = 400) -> Batch:
    """Pictures of 25 rows and 50 columns whose pixels say where they were, and others of half that size likewise."""

    def picture(height: int, width: int) -> torch.Tensor:
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        return torch.stack([rows, columns]).to(torch.uint8).expand(count, 2, height, width)

    inputs = {"large": (picture(25, 50),), "small": (picture(12, 25),), "words": (torch.arange(count)[:, None],)}
    return Batch(inputs, {}, torch.arange(count))


def test_maps_are_moved_by_whole_pixels_and_edges_repeated() -> None:
    moved = shifted(batch(), ["large", "small"], 0.1, torch.Generator().manual_seed(0))
    (large,), (small,) = moved.inputs["large"], moved.inputs["small"]
    assert (large.dtype, large.shape) == (torch.uint8, (400, 2, 25, 50))
    # In the middle one reads how far it was moved.
    down, right = large[:, 0, 12, 25].int() - 12, large[:, 1, 12, 25].int() - 25
    assert sorted(set(down.tolist())) == [-2, -1, 0, 1, 2]
    assert sorted(set(right.tolist())) == list(range(-5, 6))
    assert torch.equal(large[:, 0, :, 7].long(), (torch.arange(25)[None] + down[:, None]).clamp(0, 24))
    assert torch.equal(large[:, 1, 3].long(), (torch.arange(50)[None] + right[:, None]).clamp(0, 49))
    # All maps of a sample by the same share of their size: of 25 columns 2.
    half = small[:, 1, 6, 12].int() - 12
    assert sorted(set(half.tolist())) == [-2, -1, 0, 1, 2]
    assert bool(((half - 0.4 * right).abs() <= 0.75).all())
    assert torch.equal(moved.targets, batch().targets)
    assert torch.equal(moved.inputs["words"][0], batch().inputs["words"][0])


@pytest.mark.parametrize(("names", "most"), [(["large"], 0.0), (["large"], 0.01), ([], 0.5)])
def test_where_nothing_can_be_moved_nothing_is_drawn(names: list[str], most: float) -> None:
    generator, whole = torch.Generator().manual_seed(0), batch(4)
    before = generator.get_state()
    assert shifted(whole, names, most, generator) is whole
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(
    ("shift", "epochs", "is_moved"),
    [(0.0, MANY_PASSES, False), (0.5, MANY_PASSES - 1, False), (0.5, MANY_PASSES, True)],
)
def test_a_long_training_moves_maps_and_judges_them_as_they_are(shift: float, epochs: int, is_moved: bool) -> None:
    data = tiny_data({"image": "map", "audio": "vector"})
    space = layerwise({"image": 3, "audio": 3}, operations=["additive"])
    config = TrainingConfig(epochs=epochs, channels=4, shift=shift)
    one = next(reference.architecture for reference in space.references if reference.kind == "late")
    network = build_network(space.only(one), data, config)
    seen: list[tuple[bool, torch.Tensor]] = []
    encoder = network.encoders["image"]
    encoder.register_forward_pre_hook(lambda module, given: seen.append((module.training, given[0][0].clone())))
    weights, architecture = tiny_batch(data), tiny_batch(data, "architecture")
    train(network, data.task, weights, architecture, config, seed=0, device=CPU)
    original = {tuple(one.flatten().tolist()) for one in weights.inputs["image"][0]}
    learned = [tuple(one.flatten().tolist()) for training, some in seen if training for one in some]
    assert all(one in original for one in learned) != is_moved
    judged = torch.cat([some for training, some in seen if not training])
    assert torch.equal(judged[: len(architecture)], architecture.inputs["image"][0])
