"""Data files as a stranger may hand them over: bombs, damaged archives, odd types, names and values."""

from __future__ import annotations

import io
import os
import random
import shutil
import socket
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from benchmarks.attacks.folders import pickled
from benchmarks.attacks.processes import call
from benchmarks.attacks.targets import OPTIONS, SOURCE, tiny_arrays
from benchmarks.attacks.values import NAMES, hostile, mutated
from benchmarks.attacks.world import World

Arrays = dict[str, Any]


def attack(world: World, generator: random.Random) -> None:
    """One trial."""
    (way,) = generator.choices(list(_WAYS), list(_WAYS.values()))
    source, named = way(world, generator)
    match generator.randrange(20):
        case 0 | 1 | 2 | 3:
            world.note("search")
            body: Any = ["search", source, *(SOURCE if named else ()), *OPTIONS, "--out", "new"]
        case 4 | 5 | 6:
            world.note("evaluate --data")
            shutil.copytree(world.targets.run("static"), world.run)
            body = ["evaluate", "run", "--data", source, "--recombinations", "100"]
        case 7:
            world.note("retrain of a run of this data")
            shutil.copytree(world.targets.run("static"), world.run)
            config = world.run / "config.toml"
            config.write_text(config.read_text().replace('"tiny.npz"', _toml_text(source)))
            body = ["retrain", "run", "--out", "new"]
        case _:
            world.note("load_data")
            body = call(lambda: load(source, named=named))
    may_write = (world.cwd / "new",)
    before = world.snapshot(*may_write)
    world.judge(world.start(body, figures=False, powerless=True).ended())
    world.look_for_code()
    world.compare(before, *may_write)


def load(source: str, *, named: bool) -> None:
    """Reads the data and tells of it.

    Args:
        source: As it is named on the command line.
        named: Whether modalities, target and split are named, too.
    """
    import nas  # noqa: PLC0415

    names = {"modalities": "sound,sight", "target": "label", "split": "split"} if named else {}
    data = nas.load_data(source, **names)  # type: ignore[arg-type]
    data.describe()
    data.fingerprint()


def _toml(described: Mapping[str, Any], generator: random.Random) -> str:
    """A description as TOML, or what no writer of TOML would write."""
    try:
        return tomli_w.dumps(described)
    except (TypeError, ValueError, AttributeError, RecursionError):
        return "x = " + generator.choice(("[" * 3000, "{a=" * 3000, "9" * 5000, "1979-05-27T00:32:00-07:00"))


def _toml_text(text: str) -> str:
    return tomli_w.dumps({"x": text}).removeprefix("x = ").strip()


Given = tuple[str, bool]
"""The data as it is named on the command line, and whether modalities, target and split are named, too."""


def _write(world: World, content: bytes, name: str = "given.npz") -> str:
    (world.cwd / name).write_bytes(content)
    return name


def _npy(array: NDArray[Any]) -> bytes:
    text = io.BytesIO()
    np.lib.format.write_array(text, array, allow_pickle=True)
    return text.getvalue()


def _archive(members: list[tuple[str, bytes]], *, method: int = zipfile.ZIP_STORED) -> bytes:
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in members:
            archive.writestr(name, content)
    return text.getvalue()


def _packed(arrays: Arrays, **options: Any) -> bytes:
    members = [(f"{name}.npy", value if isinstance(value, bytes) else _npy(value)) for name, value in arrays.items()]
    return _archive(members, **options)


def _bytes(world: World, generator: random.Random) -> Given:
    content = bytearray(_packed(tiny_arrays(), method=generator.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))))
    match generator.randrange(3):
        case 0:
            # The central directory is where most of a reader's trust lies.
            start = generator.choice((0, len(content) - 400))
            for _ in range(generator.choice((1, 3, 20))):
                content[generator.randrange(start, len(content))] = generator.randrange(256)
            done = "bytes changed"
        case 1:
            del content[generator.randrange(len(content)) :]
            done = f"cut to {len(content)} bytes"
        case _:
            at = generator.randrange(len(content))
            content[at:at] = bytes(generator.choice((1, 100)))
            done = "with zeros inside"
    world.note(f"an npz {done}")
    return _write(world, bytes(content)), True


def _bomb(world: World, generator: random.Random) -> Given:
    match generator.randrange(4):
        case 0 | 1:
            (world.cwd / "given.npz").symlink_to(world.targets.bomb)
            world.note("a zip bomb of 7 GB")
            return "given.npz", True
        case 2:  # of many rows in every array, each below a limit of a single member
            count = generator.choice((10**7, 4 * 10**7))
            arrays = {
                "sound": np.zeros((count, 8), np.float16),
                "sight": np.zeros((count, 1), np.int8),
                "label": np.zeros(count, np.int8),
                "split": np.zeros(count, np.int8),
            }
            world.note(f"{count} rows of zeros, compressed")
            return _write(world, _packed(arrays, method=zipfile.ZIP_DEFLATED)), True
        case _:
            arrays = {**tiny_arrays(), "sound": np.zeros((120, generator.choice((10**5, 10**6))), np.float16)}
            world.note("a modality of very many numbers a sample, compressed")
            return _write(world, _packed(arrays, method=zipfile.ZIP_DEFLATED)), True


_HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (120, 1000000000000), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (120, -4), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (120, 4.5), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': 120, }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 4), }",
    f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'1, ' * 70}), }}",
    f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'1' * 5000},), }}",
    "{'descr': '<f4', 'fortran_order': 'yes', 'shape': (120, 4), }",
    "{'descr': 'O', 'fortran_order': False, 'shape': (120, 4), }",
    "{'descr': '|V0', 'fortran_order': False, 'shape': (120, 4), }",
    "{'descr': '<U1000000000', 'fortran_order': False, 'shape': (120,), }",
    "{'descr': '|S0', 'fortran_order': False, 'shape': (120,), }",
    "{'descr': [('a', '<f4'), ('b', 'O')], 'fortran_order': False, 'shape': (120, 4), }",
    "{'descr': [('a', '<f4', (1000000000,))], 'fortran_order': False, 'shape': (120, 4), }",
    "{'descr': '(4)f4, (2)i8', 'fortran_order': False, 'shape': (120, 4), }",
    "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (120, 4), }",
    "{'descr': '<f4', 'shape': (120, 4), }",
    "__import__('os').system('touch ran')",
    "[" * 5000,
    "{'descr': '<f4', 'fortran_order': False, 'shape': (120, 4), " + "'x': 1, " * 2000 + "}",
    "(" * 90 + ")" * 90,
    "-" * 9000 + "1",
    "{'descr': '\\x00', 'fortran_order': False, 'shape': (120, 4), }",
    "",
)


def _header(world: World, generator: random.Random) -> Given:
    text = generator.choice(_HEADERS)
    version = generator.choice(((1, 0), (2, 0), (3, 0), (9, 9)))
    told = text.encode() + b" " * 16 + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(told) & 0xFFFF)
    if generator.random() < 0.1:
        size = b"\xff" * len(size)
    member = b"\x93NUMPY" + bytes(version) + size + told + bytes(120 * 16)
    arrays = tiny_arrays()
    name = generator.choice(list(arrays))
    world.note(f"{name} with header {text[:60]!r}, version {version[0]}")
    return _write(world, _packed({**arrays, name: member})), True


def _structured(shape: tuple[int, ...]) -> NDArray[Any]:
    return np.zeros(shape, dtype=[("a", "<f4"), ("b", "<i4")])


def _odd_arrays(world: World) -> dict[str, Callable[[], Any]]:
    """Arrays in place of a modality, the target or the split."""
    count = 120
    generator = np.random.default_rng(1)
    return {
        "structured": lambda: _structured((count, 3)),
        "structured, one": lambda: _structured((count,)),
        "objects": lambda: np.array([{"a": 1}] * count, dtype=object),
        "a pickle that runs code": lambda: _npy(np.zeros((count, 4), "V1"))[:10].replace(b"V", b"O") + pickled(world),
        "a pickle in the place of an array": lambda: (
            (b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (120, 4), }".ljust(127) + b"\n")
            + pickled(world)
        ),
        "bytes": lambda: np.array([b"a", b"b", b"\xff"] * (count // 3)),
        "words": lambda: np.array(["a", "b", "c"] * (count // 3)),
        "hostile words": lambda: np.array([NAMES[n % len(NAMES)][:40] for n in range(count)]),
        "dates": lambda: np.arange(count).astype("M8[D]"),
        "spans of time": lambda: np.arange(count).astype("m8[s]"),
        "complex": lambda: generator.normal(size=(count, 4)) * 1j,
        "long double": lambda: generator.normal(size=(count, 4)).astype(np.longdouble),
        "half": lambda: generator.normal(size=(count, 4)).astype(np.float16),
        "big-endian": lambda: generator.normal(size=(count, 4)).astype(">f8"),
        "booleans": lambda: generator.normal(size=(count, 4)) > 0,
        "unsigned": lambda: generator.integers(0, 2**63, size=(count, 4), dtype=np.uint64),
        "nan": lambda: np.full((count, 4), np.nan),
        "one nan": lambda: np.where(np.arange(count * 4).reshape(count, 4) == 7, np.nan, 1.0),
        "infinite": lambda: np.full((count, 4), np.inf),
        "huge": lambda: np.full((count, 4), 1e308),
        "huge as float32": lambda: np.full((count, 4), 3e38, np.float32),
        "tiny": lambda: np.full((count, 4), 1e-320),
        "constant": lambda: np.zeros((count, 4)),
        "no samples": lambda: np.zeros((0, 4)),
        "no numbers": lambda: np.zeros((count, 0)),
        "no numbers at depth": lambda: np.zeros((count, 3, 0, 5)),
        "a single value": lambda: np.array(3.0),
        "one sample": lambda: np.zeros((1, 4)),
        "too many samples": lambda: np.zeros((count + 1, 4)),
        "ten axes": lambda: np.zeros((count, *[1] * 9)),
        "thirty axes": lambda: np.zeros((count, *[1] * 29)),
        "a picture": lambda: np.zeros((count, 8, 8, 3), np.uint8),
        "a tiny picture": lambda: np.zeros((count, 1, 1, 1), np.uint8),
        "long sequences": lambda: np.zeros((count, 5_000, 2), np.float32),
        "token ids": lambda: generator.integers(0, 50, size=(count, 5)),
        "huge token ids": lambda: generator.integers(0, 10**6, size=(count, 5)),
        "absurd token ids": lambda: generator.integers(0, 2**62, size=(count, 5)),
        "negative token ids": lambda: generator.integers(-5, 5, size=(count, 5)),
        "words as tokens": lambda: np.array([["a", "b"]] * count),
        "as many classes as samples": lambda: np.arange(count),
        "one class": lambda: np.zeros(count, int),
        "classes far apart": lambda: np.arange(count) % 3 * 10**12,
        "negative classes": lambda: -(np.arange(count) % 3),
        "classes as floats": lambda: (np.arange(count) % 3).astype(float),
        "classes with nan": lambda: np.where(np.arange(count) % 7 == 0, np.nan, np.arange(count) % 3),
        "a column of classes": lambda: (np.arange(count) % 3).reshape(count, 1),
        "many labels a sample": lambda: np.ones((count, 5), int),
        "multilabel of many": lambda: generator.integers(0, 2, size=(count, 3000)),
        "split of 3": lambda: np.arange(count) % 4,
        "split of words": lambda: np.array(["train", "val", "test", "other"] * (count // 4)),
        "split with no test": lambda: np.arange(count) % 2,
        "masked": lambda: np.ma.masked_array(np.zeros((count, 4)), np.ones((count, 4), bool)).filled(),
        "fortran": lambda: np.asfortranarray(generator.normal(size=(count, 4))),
    }


def _odd_array(world: World, generator: random.Random) -> Given:
    arrays: Arrays = tiny_arrays()
    choices = _odd_arrays(world)
    for _ in range(generator.choice((1, 1, 2))):
        name, kind = generator.choice(list(arrays)), generator.choice(list(choices))
        arrays[name] = choices[kind]()
        world.note(f"{name}: {kind}")
    return _write(world, _packed(arrays)), True


def _kinds(world: World, generator: random.Random) -> Given:
    """A kind that is declared, and may not fit; in a data.toml."""
    arrays: Arrays = tiny_arrays()
    choices = _odd_arrays(world)
    kind = generator.choice(list(choices))
    arrays["sound"] = choices[kind]()
    declared = generator.choice(("vector", "sequence", "tokens", "map", "features", "x"))
    _write(world, _packed(arrays), "arrays.npz")
    described = {
        "file": "arrays.npz",
        "modalities": [f"sound:{declared}", "sight"],
        "target": "label",
        "split": "split",
    }
    (world.cwd / "data.toml").write_text(_toml(described, generator))
    world.note(f"sound: {kind}, declared {declared}")
    return "data.toml", False


def _names(world: World, generator: random.Random) -> Given:
    """Names of modalities by the keys of the file."""
    arrays: Arrays = tiny_arrays()
    name = generator.choice(NAMES)
    other = generator.choice(("sight", "sight", "SIGHT", "sight/0", "sight/x", "sight/1/2", "ｓｉｇｈｔ"))
    members = [
        (f"x/{name}.npy", _npy(arrays["sound"])),
        (f"x/{other}.npy", _npy(arrays["sight"])),
        ("y.npy", _npy(arrays["label"])),
        ("split.npy", _npy(arrays["split"])),
    ]
    if generator.random() < 0.2:
        members.append((f"present/{name}.npy", _npy(np.arange(120) % 2 == 0)))
    world.note(f"modalities {name[:40]!a} and {other}")
    try:
        return _write(world, _archive(members)), False
    except UnicodeEncodeError:  # a name that no archive holds
        return _write(world, _archive(members[1:4])), False


def _members(world: World, generator: random.Random) -> Given:
    """Archives that are odd as archives."""
    arrays = tiny_arrays()
    members = [(f"{name}.npy", _npy(value)) for name, value in arrays.items()]
    way = generator.choice(
        ("twice", "outside", "absolute", "method", "encrypted", "comment", "many", "nested", "overlap")
    )
    world.note(f"archive: {way}")
    content = bytearray(_archive([*members, *_more_members(way, members)]))
    first = content.index(b"PK\x01\x02")  # where the directory begins
    match way:
        case "method":
            content[first + 10 : first + 12] = generator.choice((1, 9, 12, 14, 93, 99)).to_bytes(2, "little")
        case "encrypted":
            content[first + 8] |= 1
            content[6] |= 1
        case "comment":
            content[-2:] = (60_000).to_bytes(2, "little") + b"x" * 60_000
        case "overlap":  # two entries that name the same bytes
            second = content.index(b"PK\x01\x02", first + 4)
            content[second + 42 : second + 46] = content[first + 42 : first + 46]
    return _write(world, bytes(content)), True


def _more_members(way: str, members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    name, content = members[0]
    return {
        "twice": [(name, content)],
        "outside": [("../../outside/secret.txt.npy", content)],
        "absolute": [("/etc/x.npy", b"x"), ("C:\\x.npy", b"x")],
        "many": [(f"x/m{number}.npy", content) for number in range(20_000 if way == "many" else 0)],
        "nested": [("inner.npy", _archive(members))],
    }.get(way, [])


def _compressed_otherwise(world: World, generator: random.Random) -> Given:
    method = generator.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    count = 3 * 10**8
    arrays: Arrays = {**tiny_arrays(), "sound": np.zeros((120, count // 120), np.int8)}
    world.note(f"{count >> 20} MB of zeros, compressed by method {method}")
    return _write(world, _packed(arrays, method=method)), True


def _described(world: World, generator: random.Random) -> Given:
    """A data.toml that is garbled."""
    arrays: Arrays = tiny_arrays()
    arrays |= {"has": np.arange(120) % 5 > 0, "names": np.array(["a", "b", "c"]), "deep": arrays["sight"]}
    _write(world, _packed(arrays), "arrays.npz")
    described: dict[str, Any] = {
        "file": "arrays.npz",
        "modalities": ["sound:vector", "sight"],
        "target": "label",
        "split": "split",
        "task": "classification",
        "class_names": "names",
        "present": {"sound": "has"},
        "features": {"text": ["sight", "deep"]},
    }
    way = generator.choice(("field", "field", "field", "file", "file", "text", "bytes", "link"))
    path = world.cwd / "data.toml"
    match way:
        case "field":
            described, words = mutated(described, generator)
        case "file":
            os.mkfifo(world.cwd / "pipe.npz")
            (world.cwd / "link.npz").symlink_to(world.outside / "secret.txt")
            (world.cwd / "zero.npz").symlink_to("/dev/zero")
            names = (
                "/dev/zero",
                "/dev/stdin",
                "../outside/secret.txt",
                "pipe.npz",
                "link.npz",
                "zero.npz",
                "data.toml",
            )
            words = described["file"] = generator.choice((*names, ".", "", "\0", "x" * 5000, "é" * 200))
        case _:
            words = way
    content = _toml(described, generator).encode("utf-8", errors="surrogatepass")
    match way:
        case "text":
            content += generator.choice((b"x = " + b"[" * 5000, b'file = "twice.npz"\n', b"\0", b"x = 1e999999\n"))
        case "bytes":
            content = generator.choice((b"\xff\xfe", b"\xef\xbb\xbf", b"x" * 100_000)) + content
    path.write_bytes(content)
    if way == "link":
        path.unlink()
        path.symlink_to(generator.choice(("data.toml", "/dev/zero", str(world.outside / "secret.txt"), "nowhere")))
    world.note(f"data.toml: {ascii(words)[:80]}")
    return generator.choice(("data.toml", ".")), False


def _folder(world: World, generator: random.Random) -> Given:
    """A folder of three."""
    folder = world.cwd / "three"
    folder.mkdir()
    arrays = tiny_arrays()
    for name, some in (("train", slice(0, 72)), ("val", slice(72, 96)), ("test", slice(96, 120))):
        part = {f"x/{key}": arrays[key][some] for key in ("sound", "sight")}
        (folder / f"{name}.npz").write_bytes(_packed({**part, "y": arrays["label"][some]}))
    path = folder / f"{generator.choice(('train', 'val', 'test'))}.npz"
    way = generator.choice(
        ("missing", "pipe", "folder", "link", "loop", "keys", "shape", "rows", "type", "bomb", "sparse")
    )
    path.unlink()
    rows = arrays["sound"][:30]
    match way:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(world.outside / "secret.txt")
        case "loop":
            path.symlink_to(path.name)
        case "keys":
            path.write_bytes(_packed({"x/sound": rows, "y": arrays["label"][:30]}))
        case "shape":
            path.write_bytes(_packed({"x/sound": rows[:, :2], "x/sight": rows, "y": arrays["label"][:30]}))
        case "rows":
            path.write_bytes(_packed({"x/sound": rows, "x/sight": rows[:29], "y": arrays["label"][:28]}))
        case "type":
            words = rows[:, :3].astype(str)
            path.write_bytes(_packed({"x/sound": rows, "x/sight": words, "y": arrays["label"][:30]}))
        case "bomb":
            path.symlink_to(world.targets.bomb)
        case "sparse":
            with path.open("wb") as file:
                file.truncate(1 << 40)
    world.note(f"a folder of three, {path.name}: {way}")
    return "three", False


def _odd_path(world: World, generator: random.Random) -> Given:
    """Paths that are no data."""
    path = world.cwd / "given.npz"
    way = generator.choice(("pipe", "folder", "empty", "zeros", "sparse", "link", "loop", "text", "npy", "socket"))
    match way:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "zeros":
            path.symlink_to("/dev/zero")
        case "sparse":
            with path.open("wb") as file:
                file.truncate(1 << 40)
        case "link":
            path.symlink_to(world.targets.data)
        case "loop":
            path.symlink_to(path.name)
        case "text":
            path.write_text("sound,sight\n1,2\n")
        case "npy":
            path.write_bytes(_npy(tiny_arrays()["sound"]))
        case "socket":
            with socket.socket(socket.AF_UNIX) as sock:
                here = Path.cwd()
                os.chdir(world.cwd)  # such a path may have a hundred characters only
                sock.bind(path.name)
                os.chdir(here)
    world.note(f"the file is {way}")
    return path.name, True


def _many(world: World, generator: random.Random) -> Given:
    """Many of what is mostly few."""
    arrays: Arrays = {"y": np.arange(120) % 3, "split": tiny_arrays()["split"]}
    way = generator.choice(("modalities", "depths", "classes", "deep values"))
    match way:
        case "modalities":
            arrays |= {f"x/m{n}": tiny_arrays()["sight"] for n in range(generator.choice((20, 100, 600)))}
        case "depths":
            arrays |= {f"x/m/{n}": tiny_arrays()["sight"] for n in range(generator.choice((20, 200, 600)))}
            arrays["x/sight"] = tiny_arrays()["sight"]
        case "classes":
            count = 30_000
            normal = np.random.default_rng(0).normal(size=(count, 2))
            arrays = {"x/a": normal, "x/b": normal, "y": np.arange(count) % 10_000}
        case _:
            arrays |= {"x/a": np.zeros((120, 3, 3, 3, 3)), "x/sight": tiny_arrays()["sight"]}
    world.note(f"many {way}, {len(arrays)} arrays")
    return _write(world, _packed(arrays)), False


def _settings_of_hostile(world: World, generator: random.Random) -> Given:
    """Names on the command line that no file holds are told; here they come from a file of hostile names."""
    arrays: Arrays = tiny_arrays()
    name = generator.choice([one for one in NAMES if "\ud800" not in one and "\udcff" not in one])
    _write(world, _packed({**arrays, name: arrays["sound"]}), "arrays.npz")
    value = hostile(generator)
    described: dict[str, Any] = {"file": "arrays.npz", "modalities": [name, "sight"], "target": "label"}
    if isinstance(value, str | int | list):
        described["split"] = value
    try:
        (world.cwd / "data.toml").write_text(_toml(described, generator), encoding="utf-8", errors="surrogatepass")
    except (TypeError, ValueError):
        (world.cwd / "data.toml").write_text("")
    world.note(f"modality {name[:40]!a}")
    return "data.toml", False


_WAYS: dict[Callable[[World, random.Random], Given], int] = {
    _bytes: 14,
    _bomb: 4,
    _header: 14,
    _odd_array: 22,
    _kinds: 12,
    _names: 10,
    _members: 9,
    _compressed_otherwise: 1,
    _described: 14,
    _folder: 8,
    _odd_path: 6,
    _many: 4,
    _settings_of_hostile: 4,
}
