"""Networks of transformers (Hugging Face): text, speech and pictures. A tap is the output of a layer.

Wolf et al. 2020, "Transformers: State-of-the-Art Natural Language Processing". Only types of networks are built whose
code is in the package itself; `trust_remote_code` is never on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from nas.codegen import Construction
from nas.data.fusion_data import Kind
from nas.data.tables.needs import Needs
from nas.encoders.base import MAX_TIME, map_tap_source, sequence_tap_source, tap_from_map, tap_from_sequence
from nas.encoders.module import spread
from nas.encoders.pretrained.backbone import Backbone
from nas.encoders.pretrained.config import checked_config
from nas.encoders.pretrained.masking import frames_mask, masked_tokens, normalised_wave
from nas.encoders.pretrained.name import PretrainedName
from nas.encoders.pretrained.pictures import picture_needs
from nas.encoders.pretrained.weights import how_to_get, read_json, read_weights, take_weights
from nas.errors import UserError, one_line, unknown_name
from nas.fields import Whole, check

KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(
        ("albert", "bert", "camembert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta"), "tokens"
    ),
    **dict.fromkeys(("data2vec-audio", "hubert", "wav2vec2", "wavlm"), "sequence"),
    **dict.fromkeys(("beit", "deit", "dinov2", "vit"), "map"),
}
"""Type of a network to the kind of modality that it reads."""

_LEFT_OUT = frozenset(
    [
        *("architectures", "auto_map", "dtype", "torch_dtype", "transformers_version", "quantization_config"),
        *(
            "id2label",
            "label2id",
            "problem_type",
            "num_labels",
            "return_dict",
            "output_hidden_states",
            "attn_implementation",
        ),
        *(
            "output_attentions",
            "use_cache",
            "is_decoder",
            "add_cross_attention",
            "is_encoder_decoder",
            "chunk_size_feed_forward",
        ),
        *("apply_spec_augment", "layerdrop"),
    ]
)
"""Says nothing of the layers, or how they are trained."""

_CALM: Mapping[str, Any] = {"apply_spec_augment": False, "layerdrop": 0.0}
"""Of speech: random masks and skipped layers draw from generators that are not seeded here."""

_TRANSFORMERS_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, SafetensorError,
    TypeError, UnpicklingError, ValueError,
)  # fmt: skip


def plain_config(config: Any) -> dict[str, Any]:
    """What a config of transformers says of the layers, in plain values."""
    known = type(config)().to_dict()
    values = {
        name: value
        for name, value in config.to_dict().items()
        if name in known and name not in _LEFT_OUT and not name.startswith("_") and value != known[name]
    }
    return {
        "model_type": str(config.model_type),
        **{n: list(v) if isinstance(v, tuple) else v for n, v in values.items()},
    }


class TransformersBackbone(Backbone):
    """A network of transformers.

    Args:
        config: With its `model_type`, as `plain_config` has it.
        model: With its weights; None to build it anew.
    """

    def __init__(self, config: Mapping[str, Any], model: nn.Module | None = None) -> None:
        super().__init__()
        self.config = dict(config)
        kind = config.get("model_type")
        if not isinstance(kind, str) or kind not in KINDS:
            raise unknown_name("type of network of transformers", str(kind)[:60], KINDS)
        self.reads = KINDS[kind]
        transformers = import_transformers()
        try:
            made = transformers.CONFIG_MAPPING[kind]
            checked_config({n: v for n, v in config.items() if n != "model_type"}, allowed(made), f"a {kind}")
            values = {n: v for n, v in config.items() if n != "model_type"}
            calm = {n: v for n, v in _CALM.items() if n in made().to_dict()}
            self.settings = made(**values, **calm)
            self.settings._attn_implementation = "eager"
            self.model = model or transformers.AutoModel.from_config(self.settings, attn_implementation="eager")
        except UserError:
            raise
        except errors() as error:
            raise UserError(f"a {kind} cannot be built: {one_line(error)}") from error
        count = int(self.settings.num_hidden_layers)
        self.layers = [number + 1 for number in spread(count)]
        self.tap_names = tuple(f"layer {number}" for number in self.layers)
        # Networks of speech that normalise groups of channels over all time were trained without a mask, on padded
        # recordings; see Wav2Vec2FeatureExtractor.return_attention_mask.
        self.is_masked = getattr(self.settings, "feat_extract_norm", "layer") != "group"
        self.model.construction = self.made()

    @classmethod
    def rebuild(cls, config: Mapping[str, Any]) -> TransformersBackbone:
        """See the base class."""
        return cls(config)

    def blocks(self) -> list[nn.Module]:
        """The layers of the transformer; where several share their weights, one for each group.

        Raises:
            UserError: If the network does not say which they are.
        """
        lists = [one for one in self.model.modules() if isinstance(one, nn.ModuleList)]
        for count in (self.settings.num_hidden_layers, getattr(self.settings, "num_hidden_groups", None)):
            if found := [one for one in lists if len(one) == count]:
                return list(found[-1])
        told = type(self.model).__name__
        raise UserError(f"{told} does not tell its layers apart; use it frozen, or train all of it")

    def taps(self, values: Tensor, num_taps: int) -> list[Tensor]:
        """See the base class. All layers run, whatever taps are wanted."""
        layers = self.layers[:num_taps]
        if self.reads == "map":
            hidden = self.model(pixel_values=values, output_hidden_states=True).hidden_states
            rows, columns = self.grid
            maps = [hidden[n][:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns)) for n in layers]
            return [tap_from_map(one) for one in maps]
        if self.reads == "tokens":
            mask = (values > 0).long()
            ids = (values.long() - 1).clamp(min=0)
            hidden = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        else:
            wave, mask = normalised_wave(values)
            shown = mask.long() if self.is_masked else None
            hidden = self.model(input_values=wave, attention_mask=shown, output_hidden_states=True).hidden_states
            mask = frames_mask(mask, hidden[0].shape[1])
        return [tap_from_sequence(masked_tokens(hidden[n], mask)) for n in layers]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches of a picture."""
        size, patch = self.settings.image_size, self.settings.patch_size
        rows, columns = (size, size) if isinstance(size, int) else (size[0], size[1])
        high, wide = (patch, patch) if isinstance(patch, int) else (patch[0], patch[1])
        return rows // high, columns // wide

    def made(self) -> Construction:
        """See the base class."""
        return Construction(
            imports=("from transformers import AutoModel, CONFIG_MAPPING",),
            text=f"AutoModel.from_config(CONFIG_MAPPING[{self.config['model_type']!r}](**"
            f'{ {n: v for n, v in self.config.items() if n != "model_type"}!r}), attn_implementation="eager")',
        )

    def code(self, values: str, depths: Sequence[int], example: Tensor) -> tuple[list[str], list[str]]:
        """See the base class."""
        numbers = [self.layers[depth] for depth in depths]
        if self.reads == "map":
            rows, columns = self.grid
            body = [f"hidden = self.model(pixel_values={values}, output_hidden_states=True).hidden_states"]
            width = int(self.settings.hidden_size)
            maps = [
                f"hidden[{n}][:, -{rows * columns}:].transpose(1, 2).unflatten(2, ({rows}, {columns}))" for n in numbers
            ]
            return body, [map_tap_source(one, width, rows, columns) for one in maps]
        if self.reads == "tokens":
            body = [
                f"mask = ({values} > 0).long()",
                f"ids = ({values}.long() - 1).clamp(min=0)",
                "hidden = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states",
            ]
        else:
            body = [
                f"wave, mask = normalised_wave({values})",
                f"hidden = self.model(input_values=wave, attention_mask={'mask.long()' if self.is_masked else None}, "
                "output_hidden_states=True).hidden_states",
                "mask = frames_mask(mask, hidden[0].shape[1])",
            ]
        time = self.taps(example, 1)[0].shape[1]
        longer = time if time < MAX_TIME else MAX_TIME + 1  # what has just as many is shortened to itself
        return body, [sequence_tap_source(f"masked_tokens(hidden[{n}], mask)", longer) for n in numbers]


def import_transformers() -> Any:
    """The package.

    Raises:
        UserError: If it is not installed or does not load.
    """
    try:
        return import_module("transformers")
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"an encoder hf:… needs transformers: pip install 'fusenas[text]' ({one_line(error)})"
        ) from error


def errors() -> tuple[type[Exception], ...]:
    """What the package raises on configs and files that it cannot use."""
    return (*_TRANSFORMERS_ERRORS, import_module("huggingface_hub.errors").StrictDataclassError)


def allowed(made: Any) -> set[str]:
    """Names of settings that a class of configs knows, of those that say something of the layers."""
    return {name for name in made().to_dict() if name not in _LEFT_OUT and not name.startswith("_")} - {"model_type"}


def open_transformers(name: PretrainedName) -> tuple[TransformersBackbone, Needs]:
    """A network with its weights, and what it wants to be shown.

    Raises:
        UserError: If its type is unknown, or its weights are not there.
    """
    transformers, folder = import_transformers(), name.folder
    if folder is not None and not (folder / "config.json").is_file():
        raise UserError(f"there is no config.json in {str(folder)!r}; expected a folder that save_pretrained wrote")
    where = name.name if folder is None else str(folder)
    try:
        config = plain_config(transformers.AutoConfig.from_pretrained(where, trust_remote_code=False))
    except errors() as error:
        raise how_to_get(f"hf:{name.name}", "transformers", error) from error
    backbone = TransformersBackbone(config)
    if name.file:
        take_weights(backbone.model, read_weights(Path(name.file).expanduser()), name.file)
    elif not name.is_random:
        backbone = TransformersBackbone(config, _loaded(transformers, where, backbone.settings))
    return backbone, _needs(transformers, where, folder, backbone)


def _loaded(transformers: Any, where: str, settings: Any) -> nn.Module:
    """The network with its weights, from safetensors or by `weights_only=True`, which transformers does by itself."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model, told = transformers.AutoModel.from_pretrained(
            where, config=settings, trust_remote_code=False, attn_implementation="eager", output_loading_info=True
        )
    except errors() as error:
        if any(one.suffix in (".safetensors", ".bin") for one in Path(where).glob("*")):
            raise UserError(f"the weights in {where!r} cannot be read ({one_line(error)}); save them again") from error
        raise how_to_get(f"hf:{where}", "transformers", error) from error
    finally:
        transformers.logging.set_verbosity(level)
        transformers.logging.enable_progress_bar()
    missing = [key for key in told["missing_keys"] if "pooler" not in key]
    if missing or told.get("mismatched_keys"):
        raise UserError(
            f"weights in {where!r} lack {missing or told['mismatched_keys']!r:.100}; are they of another network?"
        )
    loaded: nn.Module = model.float()
    return loaded


def _needs(transformers: Any, where: str, folder: Path | None, backbone: TransformersBackbone) -> Needs:
    """What the files beside the weights say of preprocessing."""

    def read(file: str) -> dict[str, Any]:
        if folder is not None:
            return read_json(folder / file)
        found = transformers.utils.cached_file(
            where, file, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False
        )
        return {} if found is None else read_json(Path(found))

    settings = backbone.settings
    if backbone.reads == "tokens":
        places = int(getattr(settings, "max_position_embeddings", MAX_TOKENS))
        padding = int(getattr(settings, "pad_token_id", 0) or 0)
        tokenizer = read("tokenizer.json")
        text = json.dumps(tokenizer, ensure_ascii=False) if tokenizer else ""
        return Needs(tokenizer=text, length=min(MAX_TOKENS, places - padding - 1))
    told = read("preprocessor_config.json")
    if backbone.reads == "sequence":
        rate = told.get("sampling_rate", 16_000)
        check(f"sampling_rate of hf:{where}", rate, Whole(1, 10**6))
        return Needs(rate=rate)
    mean, deviation = told.get("image_mean", (0.5,) * 3), told.get("image_std", (0.5,) * 3)
    return picture_needs(settings.image_size, mean, deviation, f"hf:{where}")


MAX_TOKENS = 256
"""Of a text that are read."""
