"""Networks of timm and torchvision as encoders, in an environment where both load: `make vision`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import nas
from nas import FusionData
from nas.data.tables.needs import Needs
from nas.encoders import from_blueprint
from nas.encoders.names import builders_of
from nas.encoders.pretrained.encoder import PretrainedBuilder, PretrainedEncoder
from nas.encoders.pretrained.torchvision_models import TorchvisionBackbone
from nas.errors import UserError
from nas.seeding import seeded
from tests.tiny_runs import no_report, tiny_search

try:
    timm: Any = import_module("timm")
    torchvision: Any = import_module("torchvision")
except (ImportError, RuntimeError) as error:
    pytest.skip(f"timm and torchvision do not load here ({error}); see make vision", allow_module_level=True)

pytestmark = [pytest.mark.vision, pytest.mark.filterwarnings("default")]

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2}
VIT = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A resnet18 and a small ViT with random weights, as timm saves them; a resnet18 of torchvision; and data."""
    path = tmp_path_factory.mktemp("vision")
    with seeded(0):
        for name, sizes in (("resnet18", {}), (VIT, SMALL)):
            (path / name).mkdir()
            model = timm.create_model(name, **sizes)
            about = {"mean": [0.5] * 3, "std": [0.25] * 3, "input_size": [3, 32, 32]}
            told = {"architecture": name, "model_args": sizes, "pretrained_cfg": about, "num_classes": 1000}
            (path / name / "config.json").write_text(json.dumps(told))
            save_file(model.state_dict(), path / name / "model.safetensors")
        save_file(torchvision.models.resnet18().state_dict(), path / "own.safetensors")
    generator = np.random.default_rng(0)
    label = np.arange(90) % 2
    front, side = generator.integers(0, 156, (2, 90, 3, 32, 32)) + 60 * label[:, None, None, None]
    split = np.repeat([0, 1, 2], (50, 20, 20))
    np.savez(path / "two.npz", front=front.astype(np.uint8), side=side.astype(np.uint8), label=label, split=split)
    return path


def built(name: str, mode: str = "frozen") -> PretrainedEncoder:
    builder = builders_of({"front": name}, {"front": mode})["front"]
    assert isinstance(builder, PretrainedBuilder)
    generator = np.random.default_rng(1)
    pictures = generator.integers(0, 256, (30, 3, 32, 32)).astype(np.uint8)
    data = FusionData.from_arrays({"front": pictures, "side": pictures}, np.arange(30) % 2)
    encoder = builder(data, "front")
    assert isinstance(encoder, PretrainedEncoder)
    return encoder.eval()


PICTURES = torch.arange(2 * 3 * 32 * 32, dtype=torch.float32).reshape(2, 3, 32, 32).remainder(256).to(torch.uint8)


@pytest.mark.parametrize("name", ["timm:{}/resnet18", f"timm:{{}}/{VIT}", "torchvision:resnet18@{}/own.safetensors"])
def test_taps_are_the_features_of_the_network_with_the_weights_given(folder: Path, name: str) -> None:
    encoder = built(name.format(folder))
    taps = encoder([PICTURES])
    assert [tap.shape[2] for tap in taps] == list(encoder.channels)
    shown = encoder.shown(PICTURES)
    if "resnet18/" in f"{name}/" and name.startswith("timm"):
        whole = timm.create_model("resnet18", checkpoint_path=str(folder / "resnet18" / "model.safetensors")).eval()
        assert encoder.backbone.tap_names == ("act1", "layer1", "layer2", "layer3", "layer4")
        assert torch.allclose(shown, (PICTURES / 255 - 0.5) / 0.25, atol=1e-6)
        expected = whole.forward_features(shown)  # 1 × 1 at the end, so that a grid is the map itself
        assert torch.allclose(taps[-1][:, 0], expected.flatten(1), atol=1e-5)
    again = from_blueprint(json.loads(json.dumps(encoder.blueprint))).eval()
    again.load_state_dict(encoder.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(again([PICTURES]), taps, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(again([PICTURES], 2), taps, strict=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "hf-hub:someone/net"}, "unknown network of timm 'hf-hub:someone/net'"),
        ({"architecture": "local-dir:/tmp"}, "unknown network of timm"),
        ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "checkpoint_path.*not known"),
        ({"model_args": {"pretrained": True}}, "pretrained.*not known"),
        ({"model_args": {"pretrained_cfg": {"url": "http://a"}}}, "pretrained_cfg.*not known"),
        ({"model_args": {"depth": 10**6}}, "at most 512"),
    ],
)
def test_a_blueprint_leads_to_no_file_and_no_address(folder: Path, changes: dict[str, Any], message: str) -> None:
    blueprint = dict(built(f"timm:{folder}/{VIT}").blueprint or {})
    with pytest.raises(UserError, match=message):
        from_blueprint({**blueprint, "config": {**blueprint["config"], **changes}})


def test_what_is_unknown_lists_the_nearest() -> None:
    for name in ("timm:resnet81", "torchvision:resnet81"):
        with pytest.raises(UserError, match="resnet18"):
            builders_of({"front": name}, None)


def test_a_run_with_both_is_searched_kept_loaded_and_exported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    tiny_search(
        str(folder / "two.npz"),
        modalities="front,side",
        target="label",
        split="split",
        encoders={"front": f"timm:{folder}/resnet18", "side": f"timm:{folder}/{VIT}"},
        encoder_mode={"side": "lora"},
        out=tmp_path / "run",
    )
    assert nas.evaluate(tmp_path / "run", device="cpu")["repeated"]
    files = nas.export(tmp_path / "run", ["python", "torch", "onnx"], out=tmp_path / "files")
    assert all(one.difference is not None and one.difference < 1e-4 for one in files)
    code = "import sys, nas; print(nas.predict(sys.argv[1], sys.argv[2]).outputs.sum())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run"), str(folder / "two.npz")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(nas.__file__).parents[1])},
    )
    expected = float(nas.predict(tmp_path / "run", folder / "two.npz").outputs.sum())
    assert float(done.stdout) == pytest.approx(expected, rel=1e-4)


def test_tables_that_are_computed_and_not_saved_are_counted(folder: Path) -> None:
    """Positions of 512 × 512 patches relative to one another are more numbers than memory holds."""
    config = {"architecture": "beit_base_patch16_224", "model_args": {"img_size": 8192}}
    blueprint = dict(built(f"timm:{folder}/{VIT}").blueprint or {})
    with pytest.raises(UserError, match="numbers, more than"):
        from_blueprint({**blueprint, "config": config, "channels": [768] * 6})


def needs(name: str) -> Needs:
    builder = builders_of({"front": f"{name}:random"}, None)["front"]
    assert isinstance(builder, PretrainedBuilder)
    return builder.opened.needs


@pytest.mark.parametrize(
    ("name", "size", "mean"),
    [
        ("timm:mobilenetv3_large_100", 224, 0.485),
        ("timm:mobilenetv3_large_100.miil_in21k", 224, 0.0),
        ("timm:convnext_nano.r384_ad_in12k", 384, 0.485),
        ("torchvision:efficientnet_b1", 240, 0.485),
        ("torchvision:googlenet", 224, 0.5),  # whose own transform_input makes that of ImageNet's statistics
        ("torchvision:inception_v3", 299, 0.5),
    ],
)
def test_size_and_normalisation_are_those_of_the_weights_named(name: str, size: int, mean: float) -> None:
    found = needs(name)
    assert (found.height, found.width, found.mean[0]) == (size, size, mean)


def test_a_tag_that_timm_does_not_know_lists_those_that_it_knows() -> None:
    with pytest.raises(
        UserError, match=r"unknown weights of timm 'resnet18.a9_in1k'; did you mean 'resnet18.a[123]_in1k'"
    ):
        needs("timm:resnet18.a9_in1k")


def test_taps_of_a_swin_transformer_have_their_channels_first() -> None:
    backbone = TorchvisionBackbone({"architecture": "swin_t"}).eval()
    with torch.no_grad():
        taps = backbone.taps(torch.rand(1, 3, 64, 64), 6)
    assert [tap.shape[2] // 4 for tap in taps] == [96, 192, 192, 384, 768, 768]


@pytest.mark.parametrize("name", [f"timm:{{}}/{VIT}", "torchvision:resnet18@{}/own.safetensors"])
def test_every_adapter_gets_a_gradient(folder: Path, name: str) -> None:
    encoder = built(name.format(folder), "lora").train()
    sum(tap.square().sum() for tap in encoder([PICTURES])).backward()
    slopes = [one.grad for name, one in encoder.named_parameters() if "lora_B" in name]
    assert len(slopes) > 8
    assert all(slope is not None and bool(slope.any()) for slope in slopes)


@pytest.mark.parametrize("mode", ["finetune", "last:1", "lora"])
def test_statistics_over_batches_are_kept_in_every_mode(folder: Path, mode: str) -> None:
    encoder = built(f"timm:{folder}/resnet18", mode).train()
    before = {name: one.clone() for name, one in encoder.named_buffers()}
    encoder([PICTURES])[-1].sum().backward()
    assert all(torch.equal(one, before[name]) for name, one in encoder.named_buffers())
    assert any(one.grad is not None for one in encoder.parameters())
