"""Networks of other libraries as encoders: modes, padding, saved form, and what a stranger may not ask for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from nas import FusionData
from nas.encoders import from_blueprint
from nas.encoders.names import builders_of
from nas.encoders.pretrained.encoder import Opened, PretrainedBuilder, PretrainedEncoder, merge_all
from nas.encoders.pretrained.name import PretrainedName
from nas.errors import UserError
from nas.training.epoch_loop import make_optimizer
from tests.encoders.models import save_tiny
from tests.tiny_runs import TRAINING

KINDS = {"text": "bert", "wave": "wav2vec2", "picture": "vit"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pretrained")
    for kind in KINDS.values():
        save_tiny(kind, path)
    return path


@pytest.fixture(scope="module")
def data() -> FusionData:
    generator = np.random.default_rng(0)
    return FusionData.from_arrays(
        {
            "text": generator.integers(1, 51, (40, 12)),
            "wave": generator.normal(size=(40, 800, 1)).astype(np.float32),
            "picture": generator.integers(0, 256, (40, 1, 16, 16)).astype(np.uint8),
        },
        np.arange(40) % 2,
        kinds={"text": "tokens", "wave": "sequence"},
    )


def built(folder: Path, data: FusionData, modality: str, mode: str = "frozen") -> PretrainedEncoder:
    opened = Opened.of(PretrainedName(library="hf", name=str(folder / KINDS[modality])))
    encoder = PretrainedBuilder(opened, mode)(data, modality)
    assert isinstance(encoder, PretrainedEncoder)
    return encoder.eval()


def batch(data: FusionData, modality: str, count: int = 3) -> list[torch.Tensor]:
    return [torch.from_numpy(data.modalities[modality].arrays[0][:count])]


@pytest.mark.parametrize("modality", KINDS)
def test_the_weights_given_are_kept(folder: Path, data: FusionData, modality: str) -> None:
    given = pytest.importorskip("transformers").AutoModel.from_pretrained(folder / KINDS[modality]).state_dict()
    assert sum(map(torch.Tensor.numel, load_file(folder / KINDS[modality] / "model.safetensors").values())) > 1000
    state = built(folder, data, modality).backbone.model.state_dict()
    assert given.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in given.items())


@pytest.mark.parametrize("modality", KINDS)
@pytest.mark.parametrize("mode", ["frozen", "finetune", "last:1", "lora"])
def test_what_learns_is_what_the_mode_says(folder: Path, data: FusionData, modality: str, mode: str) -> None:
    if mode == "lora":
        pytest.importorskip("peft")
    encoder = built(folder, data, modality, mode).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    expected = [tap.detach() for tap in encoder.eval()(batch(data, modality))]
    learning = {name for name, one in encoder.named_parameters() if one.requires_grad}
    if mode == "frozen":
        assert not learning
        return
    blocks = encoder.backbone.blocks()
    of_last = {id(one) for one in blocks[-1].parameters()}
    if mode == "last:1":
        assert {id(one) for one in encoder.parameters() if one.requires_grad} == of_last
    elif mode == "lora":
        assert learning
        assert all("lora_" in name for name in learning)
    else:
        assert len(learning) == len(list(encoder.parameters()))
    optimizer, _ = make_optimizer(nn.ModuleList([encoder, nn.Linear(1, 1)]), TRAINING, 10)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert len(rates) == 2
    assert rates[1] < 0.2 * rates[0]
    for _ in range(3):
        encoder.train()(batch(data, modality))[-1][..., 0].sum().backward()
        optimizer.step()
    changed = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert changed <= learning
    learned = encoder.eval()(batch(data, modality))
    assert not torch.equal(learned[-1], expected[-1])
    merge_all(encoder)
    assert not any("lora" in name for name in encoder.state_dict())
    for tap, same in zip(encoder(batch(data, modality)), learned, strict=True):
        assert torch.allclose(tap, same, atol=1e-5)


def test_padding_of_texts_changes_nothing(folder: Path, data: FusionData) -> None:
    encoder = built(folder, data, "text").double()
    short = torch.tensor([[5, 9, 2, 7]])
    padded = torch.nn.functional.pad(short, (0, 6))
    for tap, same in zip(encoder([padded]), encoder([short]), strict=True):
        assert torch.allclose(tap.mean(dim=1), same.mean(dim=1), atol=1e-9)
        assert torch.equal(tap[:, 4:], torch.zeros_like(tap[:, 4:]))
    assert all(tap.isfinite().all() for tap in encoder([torch.zeros(1, 6, dtype=torch.int64)]))


def of_folder(folder: Path, data: FusionData, modality: str, mode: str = "frozen") -> PretrainedEncoder:
    encoder = PretrainedBuilder(Opened.of(PretrainedName(library="hf", name=str(folder))), mode)(data, modality)
    assert isinstance(encoder, PretrainedEncoder)
    return encoder.eval()


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_silence_behind_a_recording_is_left_out(tmp_path: Path, data: FusionData, norm: str) -> None:
    """Networks with group normalisation were trained without a mask, on recordings padded with zeros."""
    encoder = of_folder(save_tiny("wav2vec2", tmp_path, feat_extract_norm=norm), data, "wave")
    quiet = batch(data, "wave", 1)[0][:, :300].clone()
    quiet[:, 200:] = 0
    wave = quiet[:, :200, 0]
    padded = torch.nn.functional.pad((wave - wave.mean()) / wave.std(correction=0), (0, 100))
    there = None if norm == "group" else (torch.arange(300) < 200)[None].long()
    with torch.no_grad():
        hidden = encoder.backbone.model(
            input_values=padded, attention_mask=there, output_hidden_states=True
        ).hidden_states
        tap = encoder([quiet])[0]
    # 300 samples are 13 frames, of which the first 9 hold some of the first 200 samples.
    assert tap.shape[1] == 13
    assert torch.allclose(tap.mean(dim=1), hidden[1][:, :9].mean(dim=1), atol=1e-5)
    assert torch.equal(tap[:, 9:], torch.zeros(1, 4, 16))
    assert all(tap.isfinite().all() for tap in encoder([torch.zeros(1, 800, 1)]))


@pytest.mark.parametrize(
    ("kind", "modality"), [("bert", "text"), ("wav2vec2", "wave"), ("wavlm", "wave"), ("vit", "picture")]
)
def test_every_adapter_gets_a_gradient(tmp_path: Path, data: FusionData, kind: str, modality: str) -> None:
    """WavLM takes weights out of its projections, and no tap is based on BERT's pooler: these are left alone."""
    pytest.importorskip("peft")
    encoder = of_folder(save_tiny(kind, tmp_path), data, modality, "lora").train()
    sum(tap.square().sum() for tap in encoder(batch(data, modality))).backward()
    slopes = {name: one.grad for name, one in encoder.named_parameters() if "lora_B" in name}
    assert len(slopes) >= 4
    assert [name for name, slope in slopes.items() if slope is None or not slope.any()] == []
    assert any("query" in name or "q_proj" in name for name in slopes) == (kind != "wavlm")


def test_what_a_network_cannot_read_as_it_learns_is_told_in_one_line(folder: Path, data: FusionData) -> None:
    encoder = built(folder, data, "text", "finetune").train()
    with pytest.raises(UserError, match=r"transformers cannot read values of shape \(1, 3\): .*out of range") as told:
        encoder([torch.tensor([[1, 2, 70]])])  # of 50 subwords
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"image_mean": 0.5}, "the mean of pictures for hf:.* must be a list of 3 to 3 values"),
        ({"image_mean": [0.5, 0.5]}, "the mean of pictures"),
        ({"image_mean": ["a", 0.5, 0.5]}, "the mean of pictures"),
        ({"image_std": [0.5, 0, 0.5]}, "the deviation of pictures .* positive"),
        ({"image_std": None}, "the deviation of pictures"),
    ],
)
def test_a_normalisation_that_is_none_is_told_in_one_line(tmp_path: Path, about: Any, message: str) -> None:
    save_tiny("vit", tmp_path)
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=message) as told:
        builders_of({"picture": f"hf:{tmp_path / 'vit'}"}, None)
    assert "\n" not in str(told.value)


def test_a_rate_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    save_tiny("wav2vec2", tmp_path)
    (tmp_path / "wav2vec2" / "preprocessor_config.json").write_text('{"sampling_rate": "high"}')
    with pytest.raises(UserError, match=r"sampling_rate of hf:.* must be at least 1"):
        builders_of({"wave": f"hf:{tmp_path / 'wav2vec2'}"}, None)


def test_pictures_are_normalised_as_the_weights_expect(folder: Path, data: FusionData) -> None:
    encoder = built(folder, data, "picture")
    shown = encoder.shown(torch.full((1, 1, 16, 16), 255, dtype=torch.uint8))
    assert shown.shape == (1, 3, 32, 32)
    assert torch.allclose(shown, torch.ones(()))  # (1 - 0.5) / 0.5
    assert encoder.channels == (256, 256)  # 16 channels on a grid of 4 × 4


@pytest.mark.parametrize("modality", KINDS)
def test_it_is_built_again_from_its_blueprint_without_a_file(
    folder: Path, data: FusionData, modality: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = built(folder, data, modality)
    transformers = pytest.importorskip("transformers")
    for one in (transformers.AutoConfig, transformers.AutoModel):
        monkeypatch.setattr(one, "from_pretrained", lambda *_, **__: pytest.fail("something was read"))
    again = from_blueprint(json.loads(json.dumps(encoder.blueprint))).eval()
    again.load_state_dict(encoder.state_dict())
    for tap, same in zip(again(batch(data, modality)), encoder(batch(data, modality)), strict=True):
        assert torch.equal(tap, same)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"library": "pickle"}, "library must be one of hf, timm, torchvision"),
        ({"config": {"model_type": "evil"}}, "unknown type of network of transformers 'evil'"),
        ({"config": {"model_type": ["bert"]}}, "unknown type of network"),
        ({"config": {"model_type": "bert", "auto_map": {"AutoModel": "a.B"}}}, "auto_map.*not known"),
        ({"config": {"model_type": "bert", "_attn_implementation": "hub/kernel"}}, "_attn_implementation.*not known"),
        ({"config": {"model_type": "bert", "attn_implementation": "hub/kernel"}}, "attn_implementation.*not known"),
        ({"config": {"model_type": "bert", "quantization_config": {}}}, "quantization_config.*not known"),
        ({"config": {"model_type": "bert", "num_hidden_layers": 10**7}}, "num_hidden_layers .* at most 512"),
        ({"config": {"model_type": "bert", "hidden_size": 10**12}}, "plain value of usual size"),
        ({"config": {"model_type": "bert", "num_hidden_layers": 3, "vocab_size": 10**8}}, "numbers, more than"),
        ({"config": {"model_type": "bert", "hidden_act": "import os"}}, "cannot be built"),
        ({"config": {"model_type": "bert", "hidden_size": "x"}}, "garbled|cannot be built"),
        ({"channels": [16]}, "do not suit the network"),
        ({"scale": 0.0}, "scale must be"),
        ({"size": [10**9, 1]}, "size must be"),
    ],
)
def test_a_blueprint_asks_for_no_more_than_a_network(
    folder: Path, data: FusionData, changes: dict[str, Any], message: str
) -> None:
    blueprint = {**(built(folder, data, "text").blueprint or {}), **changes}
    with pytest.raises(UserError, match=message):
        from_blueprint(blueprint)


class _Mark:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def test_weights_that_hold_code_are_refused(folder: Path, tmp_path: Path) -> None:
    for file in ("config.json",):
        (tmp_path / file).write_bytes((folder / "bert" / file).read_bytes())
    torch.save({"embeddings.word_embeddings.weight": _Mark(str(tmp_path / "mark"))}, tmp_path / "pytorch_model.bin")
    for name in (f"hf:{tmp_path}", f"hf:{folder / 'bert'}@{tmp_path / 'pytorch_model.bin'}"):
        with pytest.raises(UserError) as told:
            builders_of({"text": name}, None)
        assert "\n" not in str(told.value)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("start", [2**62, 0, 10**6])
def test_damaged_weights_are_told_in_one_line(folder: Path, tmp_path: Path, start: int) -> None:
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((folder / "bert" / file).read_bytes())
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(start.to_bytes(8, "little") + content[8:])
    for name in (f"hf:{tmp_path}", f"hf:{folder / 'bert'}@{tmp_path / 'model.safetensors'}"):
        with pytest.raises(UserError, match=r"weights in .* cannot be read") as told:
            builders_of({"text": name}, None)
        assert "\n" not in str(told.value)


def test_code_beside_the_weights_is_not_run(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "bert" / "config.json").read_text())
    own = {**config, "model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(own))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\nclass Config: ...\nclass Model: ...\n")
    with pytest.raises(UserError):
        builders_of({"text": f"hf:{tmp_path}"}, None)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("hf:./absent", None, "there is no config.json in 'absent'"),
        ("hf:", None, "is no name of a network"),
        ("hf:{bert}", "frosen", "must be frozen, finetune, last:K or lora, got 'frosen'"),
        ("hf:{bert}", "last:0", "must be frozen"),
        ("hf:{bert}@{bert}/config.json", None, "cannot be read"),
        ("hf:{bert}@{wave}", None, "weights in .* lack"),
        ("own.models:Net", "lora", "has no pretrained encoder"),
    ],
)
def test_a_mistake_is_told_in_one_line(folder: Path, name: str, mode: str | None, message: str) -> None:
    name = name.format(bert=folder / "bert", wave=folder / "wav2vec2" / "model.safetensors")
    with pytest.raises(UserError, match=message) as told:
        builders_of({"text": name}, None if mode is None else {"text": mode})
    assert "\n" not in str(told.value)


def test_random_weights_are_only_drawn_where_they_are_asked_for(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "bert" / "config.json").read_bytes())
    with pytest.raises(UserError, match=r"add :random for weights that are drawn"):
        builders_of({"text": f"hf:{tmp_path}"}, None)
    first, second = (builders_of({"text": f"hf:{tmp_path}:random"}, None)["text"] for _ in range(2))
    assert isinstance(first, PretrainedBuilder)
    assert isinstance(second, PretrainedBuilder)
    assert first.digest() == second.digest()


@pytest.mark.parametrize(
    ("modality", "other", "message"),
    [("text", "picture", "reads tokens, but the modality is of kind map"), ("wave", "text", "reads sequence, but")],
)
def test_a_modality_of_another_kind_is_refused(
    folder: Path, data: FusionData, modality: str, other: str, message: str
) -> None:
    builder = PretrainedBuilder(Opened.of(PretrainedName(library="hf", name=str(folder / KINDS[modality]))))
    with pytest.raises(UserError, match=message):
        builder(data, other)


def test_other_normalisation_is_another_encoder(folder: Path) -> None:
    opened = Opened.of(PretrainedName(library="hf", name=str(folder / "vit")))
    other = replace(opened, needs=replace(opened.needs, mean=(0.1, 0.2, 0.3)))
    assert PretrainedBuilder(opened).digest() != PretrainedBuilder(other).digest()


def test_layers_that_share_their_weights_are_told_by_their_groups(tmp_path: Path, data: FusionData) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(
        "albert", hidden_size=16, embedding_size=8, num_attention_heads=2, intermediate_size=32, vocab_size=60
    )
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "albert")
    opened = Opened.of(PretrainedName(library="hf", name=str(tmp_path / "albert")))
    encoder = PretrainedBuilder(opened, "last:1")(data, "text").train()
    sum(tap.sum() for tap in encoder(batch(data, "text"))).backward()
    assert any(one.grad is not None and bool(one.grad.any()) for one in encoder.parameters())
