"""Loading: the call comes before a data.toml, which comes before the keys inside the file; nothing is guessed."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.data import EMBEDDED, FusionData, load_data
from nas.errors import UserError
from tests.data.helpers import AUDIO, COUNT, IMAGE, LABEL, SPLIT, WORDS, refused, small

HALF = np.arange(COUNT) % 4 < 2
OTHER_LABEL = np.array([0, 0, 1, 2] * 5)

PLAIN: dict[str, Any] = {"image": IMAGE, "audio": AUDIO, "label": LABEL, "part": SPLIT}
"""Names of the user's own."""

KEYED: dict[str, Any] = {"x/image": IMAGE, "x/audio": AUDIO, "y": LABEL, "split": SPLIT}
"""Names that say what the arrays are."""

SORTED = {"audio": AUDIO, "image": IMAGE}
"""The modalities in the order in which keys inside a file are read."""


def _save(path: Path, arrays: dict[str, Any]) -> Path:
    contents: dict[str, Any] = dict(arrays)  # typed so that no key is taken for an option of numpy
    np.savez(path, **contents)
    return path


def _save_parts(folder: Path, arrays: dict[str, Any], parts: dict[str, int]) -> Path:
    """Writes one file per part, whose samples are those of one number in `SPLIT`."""
    folder.mkdir(exist_ok=True)
    for name, number in parts.items():
        _save(folder / f"{name}.npz", {key: array[number == SPLIT] for key, array in arrays.items()})
    return folder


def _kinds(data: FusionData) -> dict[str, str]:
    return {name: modality.kind for name, modality in data.modalities.items()}


def test_a_data_set_passes_through() -> None:
    data = small()
    assert load_data(data) is data


@pytest.mark.parametrize("name", list(EMBEDDED))
def test_embedded_sets_are_loaded_by_name(name: str) -> None:
    data = load_data(name)
    assert data.name == name
    assert data.fingerprint() == EMBEDDED[name](0).fingerprint()


def test_the_seed_reaches_what_is_drawn(tmp_path: Path) -> None:
    assert load_data("digits_sum", seed=1).fingerprint() == EMBEDDED["digits_sum"](1).fingerprint()
    path = _save(tmp_path / "a.npz", {key: KEYED[key] for key in ("x/image", "x/audio", "y")})
    drawn = [load_data(path, seed=seed).splits["test"].tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_keys_inside_the_file_say_what_is_what(tmp_path: Path) -> None:
    arrays = {
        **KEYED,
        "x/text/10": IMAGE * 3,  # depths are numbers: 10 comes after 2
        "x/text/2": AUDIO * 2,
        "x/deep/0": IMAGE * 5,  # ready-made features, though of one depth
        "present/audio": HALF,
        "speaker": OTHER_LABEL,
    }
    data = load_data(_save(tmp_path / "mine.npz", arrays))
    assert data.name == "mine"
    assert _kinds(data) == {"image": "vector", "audio": "sequence", "text": "features", "deep": "features"}
    np.testing.assert_array_equal(data.modalities["text"].arrays[0], AUDIO * 2)
    np.testing.assert_array_equal(data.modalities["text"].arrays[1], IMAGE * 3)
    np.testing.assert_array_equal(data.modalities["audio"].present, HALF)
    assert data.modalities["image"].present is None
    expected = small(
        modalities={"audio": AUDIO, "deep": [IMAGE * 5], "image": IMAGE, "text": [AUDIO * 2, IMAGE * 3]},
        present={"audio": HALF},
    )
    assert data.fingerprint() == expected.fingerprint()


@pytest.mark.parametrize(
    "modalities",
    [
        "image,audio:sequence",
        " image , audio:sequence ",
        ["image", "audio:sequence"],
        {"image": "", "audio": "sequence"},
    ],
)
def test_the_call_says_what_is_what(tmp_path: Path, modalities: Any) -> None:
    path = _save(tmp_path / "mine.npz", PLAIN)
    for source in (path, str(path)):
        data = load_data(source, modalities=modalities, target="label", split="part")
        assert data.fingerprint() == small().fingerprint()


def test_kinds_and_task_in_the_call_are_heeded(tmp_path: Path) -> None:
    path = _save(tmp_path / "mine.npz", {**PLAIN, "words": WORDS})
    data = load_data(path, modalities="audio:map,words:tokens", target="label", split="part", task="regression")
    assert _kinds(data) == {"audio": "map", "words": "tokens"}
    assert data.task == "regression"


def test_a_description_beside_the_file_says_what_is_what(tmp_path: Path) -> None:
    arrays = {
        **PLAIN,
        "has_audio": HALF,
        "layer1": AUDIO * 2,
        "layer2": IMAGE * 2,
        "only": IMAGE * 7,
        "names": np.array([b"off", b"on"]),
    }
    path = _save(tmp_path / "mine.npz", arrays)
    description = tmp_path / "data.toml"
    description.write_text("""
        file = "mine.npz"
        modalities = ["image:vector", "audio"]
        target = "label"
        split = "part"
        task = "classification"
        class_names = "names"
        [present]
        audio = "has_audio"
        [features]
        text = ["layer1", "layer2"]
        single = ["only"]
    """)
    expected = small(
        modalities={"image": IMAGE, "audio": AUDIO, "text": [AUDIO * 2, IMAGE * 2], "single": [IMAGE * 7]},
        present={"audio": HALF},
        class_names=["off", "on"],
    )
    for source in (path, description, tmp_path):
        data = load_data(source)
        assert data.name == "mine"
        assert data.fingerprint() == expected.fingerprint()


@pytest.mark.parametrize("written", ['"image,audio"', '["image", "audio"]', '{image = "vector", audio = ""}'])
def test_modalities_of_a_description_are_words_a_list_or_a_table(tmp_path: Path, written: str) -> None:
    path = _save(tmp_path / "mine.npz", PLAIN)
    (tmp_path / "data.toml").write_text(f'modalities = {written}\ntarget = "label"\nsplit = "part"\n')
    assert load_data(path).fingerprint() == small().fingerprint()


def test_a_description_of_another_file_is_not_heeded(tmp_path: Path) -> None:
    path = _save(tmp_path / "mine.npz", KEYED)
    (tmp_path / "data.toml").write_text('file = "theirs.npz"\ntarget = "absent"\n')
    assert load_data(path).fingerprint() == small(modalities=SORTED).fingerprint()


def test_the_call_comes_before_the_description_and_that_before_the_keys(tmp_path: Path) -> None:
    arrays = {
        **KEYED,
        "x/more": IMAGE * 3,
        "label": 1 - LABEL,
        "third": OTHER_LABEL,
        "part": np.roll(SPLIT, 2),
        "rest": np.roll(SPLIT, 4),
    }
    path = _save(tmp_path / "mine.npz", arrays)
    by_keys = load_data(path)
    assert list(by_keys.modalities) == ["audio", "image", "more"]
    assert (by_keys.num_outputs, by_keys.targets.tolist()) == (2, LABEL.tolist())

    (tmp_path / "data.toml").write_text('modalities = "image,more"\ntarget = "label"\nsplit = "part"\n')
    by_description = load_data(path)
    assert list(by_description.modalities) == ["image", "more"]
    assert by_description.targets.tolist() == (1 - LABEL).tolist()
    assert by_description.splits["test"].tolist() == np.flatnonzero(np.roll(SPLIT, 2) == 2).tolist()

    by_call = load_data(path, modalities="more,audio", target="third", split="rest", task="regression")
    assert list(by_call.modalities) == ["more", "audio"]
    assert (by_call.task, by_call.targets[:, 0].tolist()) == ("regression", OTHER_LABEL.tolist())
    assert by_call.splits["test"].tolist() == np.flatnonzero(np.roll(SPLIT, 4) == 2).tolist()

    mixed = load_data(path, target="third")  # what the call leaves open is still read from the description
    assert (list(mixed.modalities), mixed.num_outputs) == (["image", "more"], 3)


def test_what_is_not_named_is_not_read(tmp_path: Path) -> None:
    path = _save(tmp_path / "mine.npz", {**PLAIN, "bookkeeping": np.array([{}] * COUNT)})
    assert (
        load_data(path, modalities="image,audio", target="label", split="part").fingerprint() == small().fingerprint()
    )


@pytest.mark.parametrize("middle", ["val", "valid", "validation"])
def test_a_folder_of_three_is_joined_by_split(tmp_path: Path, middle: str) -> None:
    arrays = {**KEYED, "present/audio": HALF}
    del arrays["split"]
    folder = _save_parts(tmp_path / "three", arrays, {"train": 0, middle: 1, "test": 2})
    data = load_data(folder)
    assert data.name == "three"
    assert data.fingerprint() == small(modalities=SORTED, present={"audio": HALF}).fingerprint()


def test_a_folder_without_validation_gets_an_architecture_split(tmp_path: Path) -> None:
    folder = _save_parts(tmp_path / "two", PLAIN, {"train": 0, "test": 2})
    data = load_data(folder, modalities="image,audio", target="label")
    assert {split: len(indices) for split, indices in data.splits.items()} == {
        "weights": 10,  # 12 samples dealt out by fives, of which the third is for the architecture
        "architecture": 2,
        "test": 4,
    }
    assert sorted([*data.splits["weights"], *data.splits["architecture"]]) == list(range(12))
    np.testing.assert_array_equal(data.modalities["image"].arrays[0], IMAGE[SPLIT != 1])


def test_a_folder_of_three_may_hold_a_description(tmp_path: Path) -> None:
    folder = _save_parts(tmp_path / "three", PLAIN, {"train": 0, "val": 1, "test": 2})
    (folder / "data.toml").write_text('modalities = "image,audio"\ntarget = "label"\nsplit = "part"\n')
    for source in (folder, folder / "data.toml"):
        assert load_data(source).fingerprint() == small().fingerprint()


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("emojy", {}, "unknown data set 'emojy'; did you mean 'emoji'"),
        ("digits_summ", {}, "did you mean 'digits_sum'"),
        ("mine.npz", {}, "no file or folder at 'mine.npz'; expected a table, an .npz, a folder of .npy or a"),
        ("no/where", {}, "no file or folder at 'no/where'"),
        ("emoji", {"target": "label"}, "the embedded set 'emoji' has .* of its own; drop the options"),
        (small(), {"split": "part"}, "belong to a file or a table; this data set has its own: drop them"),
    ],
)  # fmt: skip
def test_sources_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Any, options: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with refused(message):
        load_data(source, **options)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        (PLAIN, {}, r"does not say which arrays are modalities and target; add --modalities A,B --target T. "
                    "It holds: audio, image, label, part"),
        (PLAIN, {"modalities": "image,audio"}, "which arrays are target; add --target T. It holds: audio, image"),
        (PLAIN, {"target": "label"}, "which arrays are modalities; add --modalities A,B. It holds: audio"),
        (PLAIN, {"modalities": "image,audoi", "target": "label"}, "unknown key in .*: 'audoi'; did you mean 'audio'"),
        (PLAIN, {"modalities": "image,audio", "target": "lable"}, "unknown key in .*: 'lable'; did you mean 'label'"),
        (PLAIN, {"modalities": "image,audio", "target": "label", "split": "prt"}, "unknown key .*: 'prt'; .*'part'"),
        (PLAIN, {"modalities": "image,image", "target": "label"}, "modality 'image' is named twice; name it once"),
        (PLAIN, {"modalities": "image,,audio", "target": "label"}, "hold an empty name; expected such as image,words"),
        (PLAIN, {"modalities": [3, "image"], "target": "label"}, "modalities .* hold 3; expected names"),
        (PLAIN, {"modalities": "image", "target": "label"}, "two or more modalities, got image"),
        (PLAIN, {"modalities": "image,label", "target": "label"}, r"'label' is the target and among the modalities \("),
        (PLAIN, {"modalities": "image,part", "target": "label", "split": "part"}, "'part' is the split and among"),
        (PLAIN, {"modalities": "image:vectr,audio", "target": "label"}, "unknown kind of modality 'image': 'vectr'"),
        (PLAIN, {"modalities": "image,audio", "target": "label", "task": "rank"}, "unknown task 'rank'"),
        ({**PLAIN, "wide": IMAGE}, {"modalities": "image,audio", "target": "label", "split": "wide"},
         r"split has shape \(20, 3\), but there are 20 samples"),
        ({**PLAIN, "a-b": IMAGE}, {"modalities": "image,a-b", "target": "label"}, "'a-b' cannot be used; .*rename it"),
        ({**PLAIN, "label": 1}, {"modalities": "image,audio", "target": "label"}, "key 'label' of .* a single value"),
        ({**PLAIN, "label": LABEL[1:]}, {"modalities": "image,audio", "target": "label"}, "20 samples, .* 19; align"),
        ({**KEYED, "x/image": IMAGE + np.nan}, {}, "modality 'image' has NaN or infinity in 20 of 20 samples"),
        ({**KEYED, "x/image/first": IMAGE}, {}, "key 'x/image/first' is of no known form; expected x/<modality>"),
        ({**KEYED, "x/image/0": IMAGE}, {}, "key 'x/image.*' gives modality 'image' twice"),
        ({**KEYED, "x/a/0": IMAGE, "x/a/00": IMAGE}, {}, "key 'x/a/00' gives modality 'a' twice"),
        ({**KEYED, "present/image": IMAGE}, {}, r"present of modality 'image' is float32 of shape \(20, 3\)"),
        ({**KEYED, "y": np.array([{}] * COUNT)}, {}, "key 'y' of .* would have to be unpickled; store numbers"),
        ({**KEYED, "split": SPLIT + 5}, {}, "split holds 5; expected 0, 1, 2"),
        ({**KEYED, "x/audio": LABEL[:, None].astype(np.float32)}, {}, "modality 'audio' is the target itself"),
    ],
)  # fmt: skip
def test_malformed_files_are_told_in_one_line(
    tmp_path: Path, arrays: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    path = _save(tmp_path / "mine.npz", arrays)
    with refused(message):
        load_data(path, **options)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("modalties = 'image,audio'", "unknown key in .*data.toml': 'modalties'; did you mean 'modalities'"),
        ("target = 3", "target in .* is a int; see `nas.load_data`"),
        ("modalities = 3", "modalities in .* is a int"),
        ("present = 'audio'", "present in .* is a str"),
        ("features = ['layer1']", "features in .* is a list"),
        ("[features]\ntext = 'layer1'", "features.text is 'layer1'; expected a list of keys, one per depth"),
        ("[features]\ntext = []", r"features.text is \[\]; expected a list of keys"),
        ("[features]\ntext = ['layer1', 2]", "features.text is .* expected a list of keys"),
        ("[features]\ntext = ['layer1']\nmore = ['image']", "unknown key in .*mine.npz': 'layer1'"),
        ("[present]\naudoi = 'part'", "unknown modality in present: 'audoi'; did you mean 'audio'"),
        ("[present]\naudio = 'has_audio'", "unknown key in .*mine.npz': 'has_audio'"),
        ("class_names = 'image'", r"key 'image' has shape \(20, 3\); expected the names of the classes"),
        ("class_names = 'names'", "unknown key in .*: 'names'"),
        ("modalities = ['image', 3]", "modalities .* hold 3; expected names"),
        ("modalities = 'image'", "two or more modalities, got image"),
        ("modalities = 'image,label'\ntarget = 'label'", "'label' is the target and among the modalities"),
        ("task = 'rank'", "unknown task 'rank'"),
        ("file = '../mine.npz'", "file in .* is '../mine.npz'; expected the name of a file beside it"),
        ("file = '/etc/passwd'", "file in .* is '/etc/passwd'; expected the name of a file beside it"),
        ("file = 'sub/mine.npz'", "expected the name of a file beside it"),
        ("file = '..'", r"file in .* is '\.\.'; expected the name of a file beside it"),
        ("file = '.'", r"file in .* is '\.'; expected the name of a file beside it"),
        ("file = ''", "file in .* is ''; expected the name of a file beside it"),
        ("file = 'yours.npz'", "names file 'yours.npz', which is not beside it"),
        ("file = 'data.toml'", "is no .npz"),
        ("file", "is not TOML: "),
        ("a = " + "[" * 100_000, "is not TOML: "),
        ("a = '\udc80'", "is not TOML: "),
    ],
)
def test_malformed_descriptions_are_told_in_one_line(tmp_path: Path, written: str, message: str) -> None:
    _save(tmp_path / "mine.npz", PLAIN)
    usual = {"file": "'mine.npz'", "modalities": "'image,audio'", "target": "'label'"}
    lines = [f"{key} = {value}" for key, value in usual.items() if f"{key} =" not in written]
    (tmp_path / "data.toml").write_bytes("\n".join([*lines, written]).encode(errors="surrogateescape"))
    with refused(message):
        load_data(tmp_path / "data.toml")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda parts: parts.pop("train"), {}, "has no train.npz; expected train.npz, val.npz and test.npz"),
        (lambda parts: parts.pop("test"), {}, "has no test.npz; expected .* name it as file in the data.toml"),
        (lambda parts: parts["val"].pop("audio"), {}, "the architecture file of .* in key 'audio'; give all"),
        (lambda parts: parts["test"].update(more=IMAGE), {}, "the test file of .* differs .* in key 'more'"),
        (lambda parts: parts["test"].update(image=IMAGE[:4, :2]), {},
         r"key 'image' has samples of different shape in the files: \(12, 3\), \(4, 3\), \(4, 2\); pad or crop"),
        (lambda parts: parts["test"].update(label=LABEL[:4, None]), {}, "key 'label' has samples of different shape"),
        (lambda parts: parts["val"].update(label=1), {}, "key 'label' of .* is a single value"),
        (lambda parts: (parts["val"].update(image=IMAGE[:5]), parts["test"].update(image=IMAGE[:3])), {},
         r"'image' has \[12, 5, 3\] samples in the files weights, architecture, test, but 'label' has \[12, 4, 4\]"),
        (lambda parts: None, {"target": "lable"}, "unknown key in .*: 'lable'; did you mean 'label'"),
        (lambda parts: None, {"split": "part"}, "has its splits by file; drop the split 'part'"),
    ],
)  # fmt: skip
def test_malformed_folders_are_told_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, dict[str, Any]]], object], options: dict[str, str], message: str
) -> None:
    parts: dict[str, dict[str, Any]] = {
        name: {key: array[number == SPLIT] for key, array in PLAIN.items()}
        for number, name in enumerate(["train", "val", "test"])
    }
    change(parts)
    named: dict[str, Any] = {"modalities": "image,audio", "target": "label", **options}
    for name, arrays in parts.items():
        _save(tmp_path / f"{name}.npz", arrays)
    with refused(message):
        load_data(tmp_path, **named)


def _bytes_of(arrays: dict[str, Any], *, compressed: bool = False) -> bytes:
    written = io.BytesIO()
    contents: dict[str, Any] = dict(arrays)
    (np.savez_compressed if compressed else np.savez)(written, **contents)
    return written.getvalue()


def _bare(array: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.save(written, array, allow_pickle=True)
    return written.getvalue()


def _zip_of(members: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'.*mine.npz' is empty; write it again with numpy.savez"),
        (_bytes_of(KEYED)[:-30], "is no .npz, or is damaged: .*write it again with numpy.savez"),
        (_bytes_of(KEYED)[:400], "is no .npz, or is damaged"),
        (b"label,image\n1,2\n", "is no .npz, or is damaged: .*not a zip file"),
        (pickle.dumps({"x/image": 1}), "is no .npz, or is damaged"),
        (_bare(IMAGE), "holds one bare array; expected an .npz with named arrays"),
        (_bare(np.array([{}])), "holds one bare array"),
        (_bytes_of({}), "holds no arrays"),
        (_zip_of({"x/image": b"text", "readme.txt": b"text"}), "holds no arrays"),
        (_zip_of({"x/a.npy": b"text", "x/b.npy": b"text", "y.npy": b""}), "key 'y' .* cannot be read: .*numpy.savez"),
        (_bytes_of(KEYED).replace(b"NUMPY", b"NUMPI"), "key 'y' of .* cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_npz_is_told_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "mine.npz").write_bytes(content)
    with refused(message):
        load_data(tmp_path / "mine.npz")


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("key", ["x/image", "y", "split", "present/image"])
def test_nothing_is_ever_unpickled(tmp_path: Path, key: str) -> None:
    sprung = tmp_path / "sprung"
    trap = np.empty(COUNT, dtype=object)
    trap[:] = [_Trap(sprung)] * COUNT
    path = _save(tmp_path / "mine.npz", {**KEYED, key: trap})
    with refused(f"key '{key}' of .* holds Python objects, which would have to be unpickled; store numbers"):
        load_data(path)
    assert not sprung.exists()
    np.load(path, allow_pickle=True)[key]  # the trap is one: whoever unpickles it springs it
    assert sprung.exists()


_STORED, _DEFLATED = (_bytes_of(KEYED, compressed=compressed) for compressed in (False, True))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([_STORED, _DEFLATED]),
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=4),
    st.none() | st.integers(0, 2**20),
)
@pytest.mark.filterwarnings("ignore:Reading `.npy`")  # numpy, of a header that a flip makes look like Python 2's
def test_a_damaged_file_is_read_or_refused_in_one_line(
    tmp_path: Path, content: bytes, flips: list[tuple[int, int]], length: int | None
) -> None:
    damaged = bytearray(content)
    for place, value in flips:
        damaged[place % len(damaged)] = value
    path = tmp_path / "mine.npz"
    path.write_bytes(damaged if length is None else damaged[: length % len(damaged)])
    try:
        data = load_data(path)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert len(data) == COUNT
