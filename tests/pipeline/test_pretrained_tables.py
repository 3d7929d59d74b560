"""Tables for pretrained encoders: each column is shown to its network as the files beside the weights say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import wavfile

import nas
from nas.data.tables import TableRecipe
from nas.data.tables.images import ImageRecipe
from nas.data.tables.needs import Needs
from nas.data.tables.subwords import SubwordRecipe
from nas.data.tables.waves import WaveRecipe
from nas.errors import UserError
from tests.encoders.models import save_tiny
from tests.tiny_runs import no_report, tiny_search

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "good", "bad", "##ly", "day", "night"]


def tokenizer() -> str:
    """Word pieces with marks at both ends, as those of BERT, as JSON."""
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.enable_padding(length=64)  # of which nothing is to be seen
    return str(made.to_str())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of texts, recordings and pictures, and three tiny networks."""
    path = tmp_path_factory.mktemp("tables")
    for kind in ("bert", "wav2vec2", "vit"):
        save_tiny(kind, path)
    (path / "bert" / "tokenizer.json").write_text(tokenizer())
    (path / "wav2vec2" / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 2000}))
    generator, rows = np.random.default_rng(0), []
    for row in range(80):
        label = row % 2
        word = "badly" if (row % 5 == 0) ^ label else "good"
        signal = generator.normal(size=1000 + 8 * row) * (1000 + 4000 * label)
        wavfile.write(path / f"{row}.wav", 4000, signal.astype(np.int16))
        pixels = generator.integers(0, 120, (20, 30, 3)) + 80 * label
        Image.fromarray(pixels.astype(np.uint8)).save(path / f"{row}.png")
        rows.append(
            {"say": f"{word} day {row % 7}", "sound": f"{row}.wav", "picture": f"{row}.png", "label": "ab"[label]}
        )
    pd.DataFrame(rows).to_csv(path / "rows.csv", index=False)
    return path


def options(folder: Path) -> dict[str, Any]:
    encoders = {"say": f"hf:{folder}/bert", "sound": f"hf:{folder}/wav2vec2", "picture": f"hf:{folder}/vit"}
    return {"target": "label", "columns": "say:text", "encoders": encoders}


def test_subwords_are_those_of_the_tokenizer_plus_one() -> None:
    frame = pd.DataFrame({"say": ["good day", "badly night night night", None, "what"]})
    recipe = SubwordRecipe.fit_for(frame, tokenizer(), 256)
    made = recipe.apply(frame, Path())
    assert made.arrays[0].tolist() == [
        [2, 5, 8, 3, 0, 0, 0],
        [2, 6, 7, 9, 9, 9, 3],
        [0, 0, 0, 0, 0, 0, 0],
        [2, 4, 3, 0, 0, 0, 0],
    ]
    assert made.present is not None
    assert made.present.tolist() == [True, True, False, True]
    short = SubwordRecipe.fit_for(frame, tokenizer(), 4).apply(frame, Path())
    assert short.arrays[0].tolist()[1] == [2, 6, 7, 3]  # the mark at the end stays
    again = SubwordRecipe.from_dict(json.loads(json.dumps(recipe.to_dict())), "it")
    assert again == recipe


def test_a_recording_is_brought_to_the_rate_of_the_network(folder: Path) -> None:
    frame = pd.DataFrame({"sound": ["0.wav", "70.wav", None]})
    recipe = WaveRecipe.fit_for(frame, folder, 2000)
    made = recipe.apply(frame, folder)
    # 1000 and 1560 samples at 4000 a second are 500 and 780 at half the rate; the 95 % quantile lies at 766.
    assert recipe.sample_shape == made.arrays[0].shape[1:] == (766, 1)
    assert not made.arrays[0][0, 500:].any()
    assert made.arrays[0][0, 480:500].any()
    assert made.present is not None
    assert made.present.tolist() == [True, True, False]


@pytest.mark.parametrize("garbled", ["{", "[]", '{"version": "1.0"}', '{"model": {"type": "x"}}'])
def test_a_garbled_tokenizer_is_refused_in_one_line(garbled: str) -> None:
    pytest.importorskip("tokenizers")
    recipe = SubwordRecipe(columns=("say",), tokenizer=garbled, length=4)
    with pytest.raises(UserError, match="the tokenizer cannot be read") as told:
        recipe.apply(pd.DataFrame({"say": ["good"]}), Path())
    assert "\n" not in str(told.value)


def test_what_a_network_cannot_read_is_told(folder: Path) -> None:
    for given, message in (
        ({"say": f"hf:{folder}/vit"}, "encoder of 'say' reads image, but its column 'say' is text"),
        ({"picture": f"hf:{folder}/bert"}, "encoder of 'picture' reads text, but its column 'picture' is image"),
        ({"sai": f"hf:{folder}/bert"}, "unknown modality in encoder: 'sai'"),
    ):
        with pytest.raises(UserError, match=message):
            tiny_search(str(folder / "rows.csv"), **{**options(folder), "encoders": given})
    with pytest.raises(UserError, match=r"no tokenizer\.json beside its weights"):
        Needs(length=9).fit("say", pd.DataFrame({"say": ["good"]}), "text", Path())


def test_rows_give_the_same_wherever_they_are_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    result = tiny_search(str(folder / "rows.csv"), **options(folder), out=tmp_path / "run")
    assert result.recipe is not None
    recipe = nas.load_run(tmp_path / "run").recipe
    assert recipe == result.recipe
    assert isinstance(recipe, TableRecipe)
    assert recipe.modalities["picture"] == ImageRecipe(column="picture", mode="RGB", height=32, width=32)
    assert isinstance(recipe.modalities["say"], SubwordRecipe)
    assert isinstance(recipe.modalities["sound"], WaveRecipe)
    assert recipe.modalities["sound"].rate == 2000
    moved = shutil.copytree(tmp_path / "run", tmp_path / "moved")
    rows = pd.read_csv(folder / "rows.csv").drop(columns="label")
    rows.to_csv(folder / "new.csv", index=False)
    found = nas.predict(moved, folder / "new.csv")
    arrays = {name: one.arrays[0] for name, one in recipe.apply(rows, folder).items()}
    assert np.array_equal(found.outputs, nas.predict(result, arrays).outputs)
    assert nas.evaluate(moved, data=folder / "rows.csv", device="cpu")["repeated"]
