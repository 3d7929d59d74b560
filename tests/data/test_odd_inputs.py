"""Whatever a person hands over as data is read, or refused in one clear line before memory or time is spent on it."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data import FusionData, load_data, memory
from nas.data.npz import HARMLESS_BYTES, MAX_EXPANSION, Member
from nas.data.targets import MAX_OUTPUTS, make_targets
from tests.data.helpers import AUDIO, COUNT, IMAGE, LABEL, SPLIT, WORDS, refused, small

ARRAYS: dict[str, Any] = {"x/image": IMAGE, "x/audio": AUDIO, "y": LABEL, "split": SPLIT}

SAME = small(modalities={"audio": AUDIO, "image": IMAGE}).fingerprint()
"""Of these arrays, in the order of their keys."""

HUGE = 10**30


def npy(array: Any) -> bytes:
    """An array as numpy writes it."""
    written = io.BytesIO()
    np.lib.format.write_array(written, np.asanyarray(array))
    return written.getvalue()


def with_header(header: str | bytes, *, length: int | None = None, version: int = 1, values: bytes = b"") -> bytes:
    """An array with a header of its own, whose length is told as `length`."""
    text = header.encode() if isinstance(header, str) else header
    told = len(text) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + told.to_bytes(2 if version == 1 else 4, "little") + text + values


def of_shape(shape: object, descr: object = "<f4") -> bytes:
    """An array that claims a shape and number type, with hardly any values."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape})
    return with_header(header, version=1 if len(header) < 2**16 else 2, values=bytes(64))


def save(
    path: Path, change: dict[str, Any], *, claim: dict[str, int] | None = None, method: int = zipfile.ZIP_DEFLATED
) -> Path:
    """Writes the usual arrays with some of them changed: to an array, or to the bytes of a member.

    Args:
        path: Of the file.
        change: Key to what stands there instead.
        claim: Key to the size that the directory of the archive tells of its member.
        method: Of compression.
    """
    with zipfile.ZipFile(path, "w", method) as archive:
        for key, value in {**ARRAYS, **change}.items():
            archive.writestr(f"{key}.npy", value if isinstance(value, bytes) else npy(value))
        for key, size in (claim or {}).items():
            archive.getinfo(f"{key}.npy").file_size = size
    return path


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if an array is read."""

    def fail(member: Member) -> None:
        raise AssertionError(f"{member.key} was read")

    monkeypatch.setattr(Member, "read", fail)


DAMAGED = "key 'x/image' of .*mine.npz' cannot be read: .*; write it again with numpy.savez"


@pytest.mark.parametrize(
    "member",
    [
        of_shape((-1, 3)),
        of_shape((-4, -5)),
        of_shape((HUGE,)),
        of_shape((2**32, 2**32)),  # wraps to 0 in 64 bits
        of_shape((10**9, 10**9)),
        of_shape((1,) * 10**6),
        of_shape((20, 3), "<U1000000000"),
        of_shape((20, 3), "V1000000000"),
        of_shape((10**18,), "<U0"),  # no bytes at all
        of_shape((20, 3), "nonsense"),
        of_shape((20, 3), ()),
        of_shape((20, 3), [("a",)]),
        of_shape((20, 3), {"names": 5}),
        of_shape("text"),
        of_shape(None),
        with_header("[" * 9000),
        with_header("-" * 9000 + "1"),
        with_header("(" * 90 + ")" * 90),
        with_header("{'a': 1"),
        with_header("'"),
        with_header("1" * 9000),
        with_header(b"\x00\xff\xfe"),
        with_header("os.system('true')"),
        with_header(" " * 30_000),
        with_header("{", length=60_000),
        with_header("{", length=2**32 - 1, version=2),
        with_header("{}", version=9),
        b"",
        b"\x93NUM",
        b"text",
    ],
    ids=lambda member: repr(member[10:70]),
)
@pytest.mark.usefixtures("unread")
def test_an_absurd_header_is_one_line_and_nothing_is_read(tmp_path: Path, member: bytes) -> None:
    path = save(tmp_path / "mine.npz", {"x/image": member})
    with refused(DAMAGED) as caught:
        load_data(path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("axes", [65, 3000])
def test_more_axes_than_numpy_knows_are_one_line(tmp_path: Path, axes: int) -> None:
    with refused(DAMAGED):
        load_data(save(tmp_path / "mine.npz", {"x/image": of_shape((1,) * axes)}))


def bomb(path: Path, sizes: dict[str, int]) -> Path:
    """A small file whose arrays, of 4 bytes a number, claim these numbers of bytes in header and directory alike."""
    change: dict[str, Any] = {key: of_shape((size // 4,)) for key, size in sizes.items()}
    return save(path, change, claim={key: size + 128 for key, size in sizes.items()})


@pytest.mark.parametrize(
    "sizes",
    [
        {"x/image": 6_500_000_000},
        {"y": 10**15},
        {"split": HARMLESS_BYTES + 4},
        {"x/image": HARMLESS_BYTES // 2, "x/audio": HARMLESS_BYTES // 2, "y": 400},
    ],
    ids=str,
)
@pytest.mark.usefixtures("unread")
def test_a_bomb_is_refused_before_anything_is_read(tmp_path: Path, sizes: dict[str, int]) -> None:
    path = bomb(tmp_path / "mine.npz", sizes)
    with refused(rf"mine.npz' would take .*B of memory, .* expected at most {MAX_EXPANSION} times as much: .*savez"):
        load_data(path)


def test_what_a_bomb_holds_besides_is_read(tmp_path: Path) -> None:
    path = bomb(tmp_path / "mine.npz", {"x/other": 10**12})
    (tmp_path / "data.toml").write_text('modalities = "image,audio"\n')
    data = load_data(path)
    assert data.fingerprint() == small().fingerprint()  # the data.toml names image first


def test_a_member_that_holds_more_than_the_archive_says_is_cut_there(tmp_path: Path) -> None:
    path = save(tmp_path / "mine.npz", {"x/image": np.zeros((20, 1000), np.float32)}, claim={"x/image": 500})
    with refused(DAMAGED):
        load_data(path)


@pytest.mark.usefixtures("unread")
def test_what_takes_more_than_half_of_the_free_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "mine.npz", {"x/image": np.ones((20, 1000), np.float32)})  # 80 kB
    monkeypatch.setattr(memory, "available_bytes", lambda: 100_000)
    with refused(r"would take 81\.\d kB of memory, the largest is 'x/image' with 80\.0 kB; expected at most 50\.0 kB"):
        load_data(path)


@pytest.mark.parametrize("free", [200_000, None])
def test_what_fits_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    path = save(tmp_path / "mine.npz", {"x/image": np.ones((20, 1000), np.float32)})
    monkeypatch.setattr(memory, "available_bytes", lambda: free)
    assert len(load_data(path)) == COUNT


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_than_of_numpy_is_refused(tmp_path: Path, method: int) -> None:
    with refused("is compressed in a way that numpy does not; write it again"):
        load_data(save(tmp_path / "mine.npz", {}, method=method))


def test_keys_of_several_lines_are_refused(tmp_path: Path) -> None:
    with refused(r"holds an array under the name 'x/a\\nb'; rename it in printable letters"):
        load_data(save(tmp_path / "mine.npz", {"x/a\nb": IMAGE}))


def test_memory_that_is_short_after_all_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise MemoryError("Unable to allocate 3 GiB")

    monkeypatch.setattr(FusionData, "from_arrays", fail)
    with refused("the data of .* does not fit in memory .Unable to allocate 3 GiB.; use a smaller number type"):
        load_data(save(tmp_path / "mine.npz", {}))


STRUCTURED = np.zeros(COUNT, dtype=[("a", "<f4"), ("b\n", "<i4")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x/image": STRUCTURED}, r"modality 'image' is a structured array with fields 'a', 'b\\n'; .*of its own"),
        ({"y": STRUCTURED}, "the target is a structured array with fields 'a'"),
        ({"split": STRUCTURED}, "split is a structured array"),
        ({"present/image": STRUCTURED}, "present of modality 'image' is a structured array"),
        ({"y": np.zeros(COUNT, [("a", object)])}, "key 'y' of .* holds Python objects"),
        ({"y": np.zeros(COUNT, "V8")}, r"the target is \|V8 of shape"),
        ({"x/image": np.zeros((COUNT, 3), "V8")}, r"modality 'image' is of type \|V8; expected numbers"),
        ({"x/image": np.zeros((COUNT, 3), "M8[s]")}, r"'image' is of type datetime64\[s\]; expected numbers"),
        ({"y": np.zeros(COUNT, "M8[D]")}, r"the target is datetime64\[D\]"),
        ({"y": np.zeros(COUNT, "m8[s]")}, r"the target is timedelta64\[s\]"),
        ({"split": np.zeros(COUNT, "M8[s]")}, "split holds datetime.datetime.*expected 0, 1, 2"),
        ({"x/image": np.zeros((COUNT, 3), np.complex64)}, "'image' is of type complex64"),
        ({"y": np.zeros(COUNT, np.complex128)}, "the target is complex128"),
        ({"split": SPLIT + 0j + 5}, r"split holds \(5\+0j\); expected 0, 1, 2"),
        ({"x/image": np.full((COUNT, 3), b"word")}, r"'image' is of type \|S4; expected numbers .words"),
        ({"y": np.where(LABEL == 0, np.nan, 1)}, "the target has NaN or infinity in 10 places"),
        ({"y": np.zeros(COUNT, int)}, "the target is constant in the weights split"),
        ({"y": np.array(["same"] * COUNT)}, "the target is constant in the weights split"),
        ({"y": np.zeros((COUNT, 0))}, r"the target is empty: shape \(20, 0\)"),
        ({"y": np.zeros(0)}, r"the target is empty: shape \(0,\)"),
        ({"y": of_shape((10**18, 0))}, "the target is empty"),
        ({"y": np.array(3)}, "key 'y' of .* is a single value"),
        ({"x/image": np.array(3.0)}, "key 'x/image' of .* is a single value"),
        ({"x/image": np.zeros((0, 3))}, r"modality 'image' is empty: shape \(0, 3\)"),
        ({"x/image": np.zeros((COUNT, 0))}, "modality 'image' is empty"),
        ({"x/image": of_shape((10**18, 0))}, "modality 'image' is empty"),
        ({"split": np.zeros(COUNT, int)}, "the split has no test samples; mark some with 2 or 'test'"),
        ({"split": np.ones(COUNT, int) * 2}, "the split has no weights samples; mark some with 0 or 'train'"),
        ({"split": np.zeros(0, int)}, r"split has shape \(0,\), but there are 20 samples"),
        ({"split": np.array([b"tr\xffin"] * COUNT)}, r"split holds 'tr\\\\xffin'; expected 0, 1, 2 or weights"),
        ({"y": with_header(repr({"descr": "<U1", "fortran_order": False, "shape": (20,)}), values=b"\xff" * 80)},
         "the target holds words with the letter number 4294967295, which is none"),
    ],
)  # fmt: skip
def test_odd_arrays_are_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with refused(message):
        load_data(save(tmp_path / "mine.npz", change))


@pytest.mark.parametrize(
    "change",
    [
        {"x/image": np.asfortranarray(IMAGE)},
        {"x/image": IMAGE.astype(">f4")},
        {"x/image": IMAGE.astype(np.longdouble)},
        {"y": LABEL.astype(">i8"), "split": SPLIT.astype(">u2")},
        {"y": LABEL.astype(np.uint64)},
        {"y": np.where(LABEL == 0, b"0", b"1"), "split": np.array([b"train", b"val", b"test"])[SPLIT]},
        {"y": np.where(LABEL == 0, "0", "1").astype(">U1")},
        {"present/image": np.ones(COUNT, ">i2")},
    ],
    ids=lambda change: ", ".join(f"{key} {np.asarray(value).dtype.str}" for key, value in change.items()),
)
def test_arrays_in_any_order_of_bytes_and_axes_are_the_same_data(tmp_path: Path, change: dict[str, Any]) -> None:
    data = load_data(save(tmp_path / "mine.npz", change))
    assert data.fingerprint() == SAME


def test_byte_labels_in_any_encoding_are_words() -> None:
    made = make_targets(np.array(["café".encode(), "café".encode("latin-1")]))
    assert made.class_names == ("caf\\xe9", "café")


def test_names_of_classes_may_be_in_any_order_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "data.toml").write_text('class_names = "names"\n')
    path = save(tmp_path / "mine.npz", {"names": np.array(["off", "on"]).astype(">U3")})
    assert load_data(path).class_names == ("off", "on")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (WORDS.astype(np.int64) - 1, "tokens 'words' hold -1; expected ids from 0"),
        (WORDS.astype(np.uint64) + 2**63, r"tokens 'words' hold 922337\d+; expected at most 1000000"),
        (np.full((COUNT, 5), -(2**63)), "tokens 'words' hold -9223372036854775808"),
        (WORDS.astype(bool), "tokens 'words' are of type bool; expected integers"),
        (WORDS * 1.0, "tokens 'words' are of type float64; expected integers"),
    ],
)
def test_odd_token_ids_are_one_line(ids: Any, message: str) -> None:
    with refused(message):
        small(modalities={"words": ids, "image": IMAGE}, kinds={"words": "tokens"})


@pytest.mark.parametrize(
    ("value", "task", "message"),
    [
        (np.arange(10_000), None, f"10000 classes; expected at most {MAX_OUTPUTS}.*merge or drop .*task='regression'"),
        (np.eye(MAX_OUTPUTS + 1, dtype=int), None, f"the target has {MAX_OUTPUTS + 1} labels; .*drop rare ones"),
        (np.zeros((2, MAX_OUTPUTS + 1)), "regression", f"{MAX_OUTPUTS + 1} columns; expected .*components of a PCA"),
    ],
)
def test_too_many_outputs_are_refused_at_once(value: Any, task: str | None, message: str) -> None:
    with refused(message):
        make_targets(value, task)


def test_so_many_classes_are_accepted() -> None:
    assert len(make_targets(np.arange(MAX_OUTPUTS)).class_names) == MAX_OUTPUTS


# Paths.


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("mine.npz", Path.mkdir, "folder .*mine.npz' has no train.npz"),
        ("data.toml", Path.mkdir, "data.toml' is no file; expected a data.toml"),
        ("mine.npz", fifo, "mine.npz' is no file; expected an .npz"),
        ("data.toml", fifo, "data.toml' is no file; expected a data.toml"),
        ("mine.npz", zeros, "mine.npz' is no file; expected an .npz"),
        ("data.toml", zeros, "data.toml' is no file"),
        ("mine.npz", loop, "mine.npz' cannot be read: Too many levels of symbolic links; give another"),
        ("a" * 300 + ".npz", None, "the path '.*a…a.*.npz' cannot be read: File name too long; give another one"),
        ("a/" * 3000, None, "the path '.*….*' cannot be read: File name too long"),
        ("a\0b", None, r"the path '.*a\\x00b' cannot be read: embedded null"),
        ("a\0b.toml", None, "cannot be read: embedded null"),
        ("mine.npz/x.npz", None, "no file or folder at '.*mine.npz/x.npz'"),
        (
            "\udcff\udcfe.npz",
            None,
            r"the path '.*\\udcff\\udcfe.npz' is not UTF-8, so that no run can note it; rename it",
        ),
    ],
)
def test_odd_paths_are_one_line(tmp_path: Path, name: str, make: Callable[[Path], object] | None, message: str) -> None:
    if make is not None:
        make(tmp_path / name)
    with refused(message):
        load_data(str(tmp_path / name))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("name", ["train.npz", "data.toml"])
def test_a_folder_with_a_pipe_in_place_of_a_file_does_not_hang(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with refused("has no train.npz"):
        load_data(tmp_path)


@pytest.mark.parametrize("call", ["stat", "open"])
def test_what_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = save(tmp_path / "mine.npz", {})

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, call, refuse)
    with refused("mine.npz' cannot be read: .*Permission denied"):
        load_data(path)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode there")
def test_in_a_folder_that_is_not_utf_8_data_has_a_name_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    for part in ("train", "test"):
        save(folder / f"{part}.npz", {"split": b""})  # a folder of three has its splits by file, this key is not read
    monkeypatch.chdir(folder)
    assert load_data(".").name == "caf\\udce9"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# " + b"a" * 1_000_000, "has 1000002 bytes; expected a data.toml of at most 1000000"),
        (b"features.text." + b"a." * 5000 + b"b = 1", r"features.text is {'a': .*; expected a list of keys"),
        (b"features.text = " + b"[" * 90 + b"]" * 90, r"features.text is \[\[.*; expected a list of keys"),
        (b"a." * 5000 + b"b = 1", "unknown key in .*: 'a'"),
        (b"modalities = [" + b"[" * 90 + b"]" * 90 + b"]", r"modalities \[\[.* hold \[\[.*; expected names"),
        (b"modalities." + b"a." * 5000 + b"b = 1", "kind of modality 'a' is {'a': .*; expected a word"),
        (b"present." + b"image." * 5000 + b"b = 1", "present of modality 'image' is {'image': .*; expected the key"),
        (b'file = "a\\u0000b"', "cannot be read: embedded null"),
        (b"file = '" + b"a" * 300 + b"'", "cannot be read: File name too long"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_odd_descriptions_are_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    save(tmp_path / "mine.npz", {})
    (tmp_path / "data.toml").write_bytes(content)
    with refused(message) as caught:
        load_data(tmp_path / "data.toml" if b"file" in content else tmp_path / "mine.npz")
    assert len(str(caught.value)) < 2000


# Free memory.


def test_a_limit_on_the_address_space_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(memory, "_machine", lambda: 10**12)
    monkeypatch.setattr(memory, "_CONTAINER", ())
    assert memory.available_bytes() == 10**12
    mapped = 10**12 - 5_000_000
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (mapped, mapped))
    left = memory.available_bytes()
    assert left is not None
    assert 0 < left < mapped  # what Python and torch have mapped already is not free


def test_the_limit_of_a_container_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("123456\n")
    monkeypatch.setattr(memory, "_CONTAINER", (tmp_path / "absent", tmp_path / "memory.max"))
    assert memory.available_bytes() == 123456
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes() != 123456


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (6_500_000_000, "6.5 GB"), (10**15, "1,000.0 TB")],
)
def test_sizes_in_words(size: int, text: str) -> None:
    assert memory.in_units(size) == text
