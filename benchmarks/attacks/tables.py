"""Tables, preprocessing, tokenizers, cached taps and folders of networks as a stranger may hand them over."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.attacks.folders import pickled
from benchmarks.attacks.targets import ENCODER, TABLE, TABLE_SEARCH
from benchmarks.attacks.values import NAMES, as_json, hostile, mutated
from benchmarks.attacks.world import World

FILES = ("rows.csv", "rows.tsv", "rows.jsonl", "rows.parquet")

CELLS = (
    *(
        "",
        "nan",
        "1e999",
        "-0",
        "٣",
        "2024-02-30",
        "=cmd|' /C calc'!A0",
        "../outside/secret.txt",
        "/dev/zero",
        "a.png|b.png",
    ),
    *(
        "\x00",
        "\ud800",
        "a\nb",
        '"',
        "x" * 100_000,
        "pictures/0.png",
        "http://127.0.0.1:9/x.png",
        "~/x.png",
        "pictures",
    ),
)


def attack(world: World, generator: random.Random) -> None:
    """One trial."""
    for entry in (world.targets.folder / "table").iterdir():
        copy = shutil.copytree if entry.is_dir() else shutil.copy
        copy(entry, world.cwd / entry.name)
    (way,) = generator.choices(list(_WAYS), list(_WAYS.values()))
    arguments = way(world, generator)
    world.note(" ".join(arguments)[:80])
    may_write = (world.cwd / "new", *([world.run] if arguments[0] == "retrain" and "--out" not in arguments else []))
    may_write = (*may_write, world.run / ".lock")
    before, kept = world.snapshot(*may_write), world.results()
    ended = world.judge(world.start(arguments, figures=False, powerless=True).ended())
    world.look_for_code()
    world.compare(before, *may_write)
    if ended.code and world.results() != kept:
        world.fault("lost or differing", "results of the run are others though the command failed")


def _commands(generator: random.Random, table: str) -> list[str]:
    """What is done with a table."""
    return generator.choice(
        [
            ["predict", "run", table, "--out", "new"],
            ["predict", "run", table, "--out", "new"],
            ["evaluate", "run", "--data", table, "--recombinations", "100"],
            [*("search", table), *TABLE_SEARCH[2:-1], "new"],
        ]
    )


def _of_run(generator: random.Random) -> list[str]:
    """What is done with a run that was searched on a table."""
    return generator.choice(
        [
            ["predict", "run", TABLE, "--out", "new"],
            ["evaluate", "run", "--recombinations", "100"],
            ["export", "run", "--format", "safetensors", "--out", "new"],
            ["retrain", "run", *ENCODER, "--epochs", "1", "--out", "new"],
        ]
    )


def _cells(world: World, generator: random.Random) -> list[str]:
    """Odd cells, columns and names of columns, in any format."""
    frame = pd.read_csv(world.cwd / TABLE, dtype=object)
    frame.columns = pd.Index(list(frame.columns), dtype=object)  # which may be named as no text can be encoded
    for _ in range(generator.choice((1, 1, 3))):
        column = generator.choice(list(frame.columns))
        match generator.randrange(6):
            case 0 | 1 | 2:
                cell = generator.choice(CELLS)
                rows = range(len(frame)) if generator.random() < 0.3 else [generator.randrange(len(frame))]
                frame.loc[list(rows), column] = cell
                world.note(f"{column}: {len(list(rows))} cells {cell[:20]!a}")
            case 3:
                frame = frame.drop(columns=column)
                world.note(f"without {column}")
            case 4:
                name = generator.choice(NAMES)
                names = [name if one == column else one for one in frame.columns]
                frame.columns = pd.Index(names, dtype=object)
                world.note(f"{column} named {name[:20]!a}")
            case _:
                other = generator.choice(list(frame.columns))
                frame[column] = frame[other].tolist()
                world.note(f"{column} is {other}")
        if not len(frame.columns):
            break
    if generator.random() < 0.1:
        frame = frame.iloc[: generator.choice((0, 1, 2))]
        world.note(f"{len(frame)} rows")
    file = generator.choice(FILES)
    path = world.cwd / f"other-{file}"
    try:
        if file.endswith("parquet"):
            frame.to_parquet(path)
        elif file.endswith("jsonl"):
            lines = [as_json(row, generator) for row in frame.to_dict("records")]
            path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
        else:
            text = frame.to_csv(index=False, sep="\t" if file.endswith("tsv") else ",")
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
    except (TypeError, ValueError, OverflowError, OSError):  # what no writer of this format writes
        path.write_text(frame.to_csv(index=False), encoding="utf-8", errors="surrogatepass")
    return _commands(generator, path.name)


def _bytes(world: World, generator: random.Random) -> list[str]:
    """A table whose bytes are damaged, or of another kind than its name says."""
    file = generator.choice(FILES)
    frame = pd.read_csv(world.cwd / TABLE)
    path = world.cwd / f"other-{file}"
    if file.endswith("parquet"):
        frame.to_parquet(path)
    elif file.endswith("jsonl"):
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if file.endswith("tsv") else ",")
    content = bytearray(path.read_bytes())
    match generator.randrange(6):
        case 0:
            for _ in range(generator.choice((1, 8, 100))):
                content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        case 1:
            del content[generator.randrange(len(content)) :]
        case 2:
            at = generator.randrange(len(content))
            content[at:at] = generator.choice((b'"', b"\0", b"\xff\xfe", b"," * 5000, b"\n" * 99, b"[" * 9999, b"\r"))
        case 3:
            content = bytearray(content.decode().encode("utf-16")) if not file.endswith("parquet") else content[::-1]
        case 4:
            content = bytearray(pickled(world))
        case _:
            content = bytearray(b"PAR1" + content[4:-4] + b"PAR1")
    path.write_bytes(content)
    world.note(f"bytes of {path.name}")
    return _commands(generator, path.name)


def _picture(world: World, generator: random.Random) -> list[str]:
    """A picture that is none, huge, linked or planted."""
    path = world.cwd / "pictures" / f"{generator.randrange(3)}.png"
    content = path.read_bytes()
    path.unlink()
    match generator.randrange(6):
        case 0:
            path.symlink_to(generator.choice(("/dev/zero", "../../outside/secret.txt", path.name, "..")))
        case 1:
            os.mkfifo(path)
        case 2:
            Image.new("1", (20_000, 20_000)).save(path)
        case 3:
            path.write_bytes(content[: generator.randrange(len(content))])
        case 4:
            path.write_bytes(pickled(world))
        case _:
            path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n")
    world.note("a picture")
    return _commands(generator, TABLE)


def _recipe(world: World, generator: random.Random) -> list[str]:
    """The preprocessing of the run, the tokenizer within it among it."""
    path = world.run / "preprocessing.json"
    told = json.loads(path.read_text())
    text = told["modalities"]["title"]
    if generator.random() < 0.4:
        tokenizer, words = mutated(json.loads(text["tokenizer"]), generator)
        text["tokenizer"] = as_json(tokenizer, generator)
        words = f"tokenizer {words}"
    else:
        told, words = mutated(told, generator)
    path.write_text(as_json(told, generator), encoding="utf-8", errors="surrogatepass")
    world.note(f"preprocessing.json: {words}")
    return _of_run(generator)


def _taps(world: World, generator: random.Random) -> list[str]:
    """The cached taps of the run."""
    folder = world.run / "taps"
    about = folder / "title.json"
    match generator.randrange(5):
        case 0 | 1:
            told, words = mutated(json.loads(about.read_text()), generator)
            about.write_text(as_json(told, generator), encoding="utf-8", errors="surrogatepass")
        case 2:
            path = generator.choice(sorted(folder.glob("*.bin")))
            path.write_bytes(path.read_bytes()[: generator.choice((0, 1, -1))])
            words = f"{path.name} cut"
        case 3:
            path = generator.choice(sorted(folder.iterdir()))
            path.unlink()
            target = generator.choice(
                ("/dev/zero", str(world.outside / "secret.txt"), path.name, str(world.outside / "new"))
            )
            path.symlink_to(target)
            words = f"{path.name} a link"
        case _:
            shutil.rmtree(folder)
            folder.symlink_to(generator.choice((world.outside / "folder", world.outside / "new", world.home)))
            words = "a link"
    world.note(f"taps: {words}")
    return ["retrain", "run", *ENCODER, "--epochs", "1", "--device", "cpu", *generator.choice(([], ["--out", "new"]))]


def _network(world: World, generator: random.Random) -> list[str]:
    """The folder of a pretrained network."""
    folder = world.cwd / "network"
    match generator.randrange(5):
        case 0 | 1 | 2:
            name = generator.choice(("config.json", "config.json", "tokenizer.json"))
            told, words = mutated(json.loads((folder / name).read_text()), generator)
            if name == "config.json" and generator.random() < 0.3:
                told = {
                    **told,
                    "auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"},
                    "model_type": "evil",
                }
            (folder / "evil.py").write_text(world.planted("evil") + "class Model: ...\nclass Config: ...\n")
            (folder / name).write_text(as_json(told, generator), encoding="utf-8", errors="surrogatepass")
            words = f"{name} {words}"
        case 3:
            (folder / "model.safetensors").unlink()
            (folder / "pytorch_model.bin").write_bytes(pickled(world))
            words = "a pickle"
        case _:
            path = folder / "model.safetensors"
            content = bytearray(path.read_bytes())
            if generator.random() < 0.5:
                del content[generator.randrange(len(content)) :]
            else:
                content[:8] = generator.choice((2**62, 0, 10**6)).to_bytes(8, "little")
            path.write_bytes(content)
            words = "weights"
    world.note(f"network: {words}")
    if generator.random() < 0.4:
        return ["list", "--encoder", "hf:./network"]
    return [*TABLE_SEARCH[:-1], "new"]


def _options(world: World, generator: random.Random) -> list[str]:
    """Odd columns, groups and roles on the command line."""
    value = hostile(generator)
    text = value if isinstance(value, str) else str(value)[:1000]
    text = text.replace("\0", "0").encode("utf-8", "replace").decode() or ","
    option = generator.choice(("--columns", "--modalities", "--target", "--split", "--group", "--weight", "--encoder"))
    known = ("title:image", "picture:text", "meta=size+title", "title=title,title=size", "=", "size:", ":", "label")
    given = generator.choice((text, *known))
    world.note(f"{option} {given[:30]!a}")
    return [*TABLE_SEARCH[:-1], "new", f"{option}={given}"]


_WAYS: dict[Callable[[World, random.Random], list[str]], int] = {
    _cells: 26,
    _bytes: 16,
    _picture: 8,
    _recipe: 20,
    _taps: 10,
    _network: 12,
    _options: 8,
}


def write_table(folder: Path) -> None:
    """A table of pictures, titles and numbers, and a tiny network for the titles, with a tokenizer."""
    import torch  # noqa: PLC0415
    from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415
    from transformers import AutoConfig, AutoModel  # noqa: PLC0415

    generator, rows = np.random.default_rng(0), []
    (folder / "pictures").mkdir()
    for level in range(3):
        pixels = generator.integers(60 * level, 60 * level + 60, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{level}.png")
    for row in range(60):
        label = row % 3
        words = " ".join(generator.choice(["red", "green", "blue", "round", "old", f"w{row}"], size=4))
        rows.append(
            {
                "picture": f"pictures/{label if row % 4 else 0}.png",
                "title": f"{('one', 'two', 'three')[label]} {words}",
                "size": round(float(generator.normal(label)), 3),
                "maker": ("Ada", "Bo", "Cy")[int(generator.integers(3))],
                "label": "abc"[label],
            }
        )
    pd.DataFrame(rows).to_csv(folder / TABLE, index=False)
    known = ["[PAD]", "[UNK]", "one", "two", "three", "red", "green", "blue", "round", "old"]
    model = models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
    }
    torch.manual_seed(0)
    make: Any = AutoModel.from_config
    make(AutoConfig.for_model("bert", vocab_size=10, **sizes)).save_pretrained(folder / "network")
    (folder / "network" / "tokenizer.json").write_text(tokenizer.to_str())
