"""A map as tokens of its regions: what they hold, where they are, and that attention can find one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nas
from nas.encoders import build_encoders, from_blueprint
from nas.encoders.base import Standardize
from nas.encoders.regions import PLACE, RegionEncoder, patches, place_tokens
from nas.network.fusion_network import Adapter
from nas.seeding import seeded
from search_spaces.operations import OPERATIONS
from tests.helpers import tiny_data
from tests.tiny_runs import TRAINING, no_report, tiny_search


def test_a_patch_holds_its_own_numbers() -> None:
    feature_map = torch.arange(2 * 4 * 6).view(1, 2, 4, 6)
    cut = patches(feature_map, 2, 3)
    assert cut.shape == (1, 12, 2, 2)
    assert cut[0, :, 1, 0].tolist() == feature_map[0, :, 2:4, 0:3].flatten().tolist()


def test_a_token_tells_where_it_is() -> None:
    feature_map = torch.zeros(3, 2, 2, 4)
    feature_map[:, :, 1, 3] = 7.0
    tokens = place_tokens(feature_map)
    assert tokens.shape == (3, 8, 2 + PLACE)
    assert tokens[0, :, 0].tolist() == [0.0] * 7 + [7.0]  # row by row
    assert tokens[0, 7, 2:4].tolist() == [0.5, 0.75]  # the middle of the region, from -1 to 1
    assert len({tuple(token) for token in tokens[0, :, 2:].tolist()}) == 8


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 9), (7, 5), (8, 8), (33, 64), (200, 100)])
def test_maps_of_any_size_have_a_token_for_every_region(height: int, width: int) -> None:
    encoder = RegionEncoder(Standardize.blank(3, 1, 1), (3, height, width)).eval()
    taps = encoder([torch.randn(2, 3, height, width)])
    assert [tap.shape[2] for tap in taps] == list(encoder.channels)
    assert taps[0].shape[1] == min(4, height) * min(4, width)
    assert all(tap.shape[1] <= 16 for tap in taps)


def test_the_first_tap_runs_no_layer() -> None:
    encoder = RegionEncoder(Standardize.blank(1, 1, 1), (1, 8, 8)).eval()
    ran: list[nn.Module] = []
    for stage in encoder.stages:
        stage.register_forward_hook(lambda stage, _given, _out: ran.append(stage))
    maps = torch.randn(2, 1, 8, 8)
    (tap,) = encoder([maps], 1)
    assert not ran
    assert tap[0, 5, :4].tolist() == maps[0, 0, 2:4, 2:4].flatten().tolist()


def test_maps_alone_have_regions_and_their_blueprint_says_so() -> None:
    data = tiny_data({"picture": "map", "numbers": "vector"})
    plain, found = build_encoders(data), build_encoders(data, regions=True)
    assert found["picture"].num_taps == plain["picture"].num_taps + 1
    assert found["numbers"].blueprint == plain["numbers"].blueprint
    blueprint = found["picture"].blueprint
    assert blueprint is not None
    again = from_blueprint(blueprint)
    again.load_state_dict(found["picture"].state_dict())
    maps = [torch.from_numpy(array[:3]) for array in data.modalities["picture"].arrays]
    for one, other in zip(again.eval()(maps), found["picture"].eval()(maps), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_search_reads_them_and_its_run_goes_on_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    data = tiny_data({"picture": "map", "numbers": "vector"})
    training = replace(TRAINING, regions=True)
    found = tiny_search(
        data, training=training, operations=["cross_attention"], encoders="joint", out=tmp_path / "run"
    ).summary
    assert found.search.depths == {"picture": 4, "numbers": 3}
    again = nas.retrain(tmp_path / "run", data=data, device="cpu", out=tmp_path / "again").summary
    assert [row.scores for row in again.leaderboard] == [row.scores for row in found.leaderboard]
    assert nas.evaluate(tmp_path / "run", data=data, device="cpu")["repeated"]


@pytest.mark.parametrize("is_found", [False, True])
def test_attention_reads_the_region_that_another_modality_names(*, is_found: bool) -> None:
    """A number lies at each of sixteen places; the answer is the one at the place that a vector names."""
    with seeded(0):
        encoder = RegionEncoder(Standardize.blank(1, 1, 1), (1, 4, 4))
        adapters = nn.ModuleList([Adapter(encoder.channels[0], 32, 0.0), Adapter(16, 32, 0.0)])
        operation = OPERATIONS["cross_attention" if is_found else "additive"](2, 32)
        head = nn.Linear(32, 1)
        modules = nn.ModuleList([adapters, operation, head])
        optimizer = torch.optim.Adam(modules.parameters(), 2e-2)
        generator = np.random.default_rng(0)

        def loss() -> torch.Tensor:
            maps = torch.from_numpy(generator.normal(size=(256, 1, 4, 4)).astype(np.float32))
            named = torch.from_numpy(generator.integers(0, 16, 256))
            (tap,) = encoder([maps], 1)
            vector = torch.eye(16)[named][:, None]
            fused = operation([adapters[1](vector), adapters[0](tap)])
            answer = head(fused.mean(dim=1))[:, 0]
            return nn.functional.mse_loss(answer, maps.flatten(1).gather(1, named[:, None])[:, 0])

        for _ in range(200):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        error = float(loss().detach())
    assert error < 0.3 if is_found else error > 0.8  # a constant has 1
