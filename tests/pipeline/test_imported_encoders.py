"""An encoder of the user's own by import path: the whole path, and that no run folder chooses what is imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import nas
from nas.encoders import builders_of, from_blueprint
from nas.encoders.imported import ImportedEncoder
from nas.errors import UserError
from nas.export.check import imported
from tests.tiny_runs import as_data, no_report, tiny_arrays, tiny_search, write_npz

NAME = "own_models:Tower"

MODELS = '''
"""Says that it was imported."""
from pathlib import Path
import torch
from torch import nn

Path(__file__).with_name("imported").touch()

class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.pair = nn.GRU(8, 8, batch_first=True)  # puts out two things, so that it is no tap
        self.second = nn.Linear(8, 6)

    def forward(self, values):
        first = self.first(values)
        return self.second(first + self.pair(first[:, None])[0][:, 0])

class Wide(Tower):
    taps = ["first.0", "first.1"]

def no_module() -> int:
    return 1
'''


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with such an encoder, beside its data and the package of the encoder."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "packages").mkdir()
    (folder / "packages" / "own_models.py").write_text(MODELS)
    with pytest.MonkeyPatch.context() as patch:
        no_report(patch)
        patch.syspath_prepend(folder / "packages")
        result = tiny_search(
            str(write_npz(folder)),
            modalities="sound,sight",
            target="label",
            split="split",
            encoders={"sound": NAME},
            out=folder / "run",
        )
    assert result.config.search.encoder == (f"sound={NAME}",)
    assert result.config.source.builders == ()
    assert "sound" in result.network.encoders
    return folder / "run"


@pytest.fixture
def packages(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package can be imported and has not been."""
    folder = run.parent / "packages"
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    (folder / "imported").unlink(missing_ok=True)
    return folder


def test_blocks_are_found_and_named_again_the_run_is_loaded(run: Path, packages: Path) -> None:
    loaded = nas.load_run(run, encoders={"sound": NAME})
    (own,) = [one for one in loaded.network.modules() if isinstance(one, ImportedEncoder)]
    assert own.inner.tap_names == ("first", "second")
    assert own.channels == (8, 6)
    assert nas.evaluate(run, encoders=[f"sound={NAME}"], device="cpu")["repeated"]
    new = {name: tiny_arrays()[name] for name in ("sound", "sight")}
    found = nas.predict(run, new, encoders={"sound": NAME})
    assert np.array_equal(found.outputs, nas.predict(loaded, new).outputs)


@pytest.mark.parametrize(
    "load",
    [
        nas.load_run,
        nas.evaluate,
        lambda run, **named: nas.predict(run, tiny_arrays(), **named),
        nas.retrain,
        lambda run, **named: nas.export(run, ["safetensors"], **named),
    ],
)
def test_nothing_is_imported_that_is_not_named(run: Path, packages: Path, load: Callable[..., object]) -> None:
    with pytest.raises(UserError, match=r"module of its own, own_models:Tower, .*--encoder sound=own_models:Tower"):
        load(run)
    for other in ("own_models:Wide", "json:JSONDecoder"):
        with pytest.raises(UserError, match=f"encoder of 'sound' is {NAME}, but '{other}' is named"):
            load(run, encoders={"sound": other})
    with pytest.raises(UserError, match="loading the run would import it"):
        load(run, encoders={"sight": NAME})
    assert not (packages / "imported").exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own_models:Wide", "is own_models:Wide, but 'own_models:Tower' is named"),
        ("os:system", "is os:system, but 'own_models:Tower' is named"),
        ("../own_models:Tower", "no import path"),
        ("own_models:Tower\n", "no import path"),
        ("own_models:Tower()", "no import path"),
        (["own_models:Tower"], "no import path"),
        (None, "no import path"),
    ],
)
def test_a_garbled_file_names_no_other_module(
    run: Path, packages: Path, tmp_path: Path, path: object, message: str
) -> None:
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run" / "weights.safetensors"
    with safe_open(file, framework="pt") as opened:
        told = json.loads(opened.metadata()["fusenas"])
    inner = told["encoders"]["sound"]
    (inner.get("inner", inner))["path"] = path
    save_file(load_file(file), file, metadata={"fusenas": json.dumps(told)})
    with pytest.raises(UserError, match=message):
        nas.load_run(tmp_path / "run", encoders={"sound": NAME})
    assert not (packages / "imported").exists()


def test_an_encoder_within_another_is_not_imported_either(packages: Path) -> None:
    own = {"encoder": "imported", "path": NAME, "taps": ["first"], "channels": [8], "tokens": False}
    features = {"encoder": "features", "shapes": [[1, 8]]}
    for blueprint in (own, {"encoder": "frozen", "inner": own, "features": features}):
        with pytest.raises(UserError, match="module of its own"):
            from_blueprint(blueprint)
        assert not (packages / "imported").exists()
        from_blueprint(blueprint, named=NAME)
        (packages / "imported").unlink()
        sys.modules.pop("own_models")


def test_it_is_trained_again_with_the_same_encoder(
    run: Path, packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    with pytest.raises(UserError, match=r"encoder is sound=own_models:Tower, sight=own_models:Wide, but the run"):
        nas.retrain(run, encoders={"sound": NAME, "sight": "own_models:Wide"}, out=tmp_path / "again")
    again = nas.retrain(run, encoders={"sound": NAME}, out=tmp_path / "again", device="cpu")
    first = load_file(run / "weights.safetensors")
    assert all(
        torch.equal(tensor, first[name])
        for name, tensor in load_file(tmp_path / "again" / "weights.safetensors").items()
    )
    assert again.config.search.encoder == (f"sound={NAME}",)


def test_every_export_agrees_and_the_python_file_imports_the_module(run: Path, packages: Path, tmp_path: Path) -> None:
    files = nas.export(run, encoders={"sound": NAME}, out=tmp_path)
    assert {"python", "torch", "onnx", "safetensors"} <= {one.format for one in files if one.difference is not None}
    code = (tmp_path / "network.py").read_text()
    assert "from own_models import Tower" in code
    assert "own_models:Tower, which has to be installed" in code
    network = imported(tmp_path / "network.py").load(tmp_path / "network.safetensors")
    arrays = [
        torch.from_numpy(tiny_arrays()[name]) for name in nas.load_run(run, encoders={"sound": NAME}).network.encoders
    ]
    expected = nas.predict(run, tiny_arrays(), encoders={"sound": NAME}).outputs
    assert np.allclose(network(*arrays).detach().numpy(), expected, atol=1e-5)


def test_the_command_line_does_the_same_in_a_fresh_process(run: Path, packages: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "cli",
        "predict",
        str(run),
        str(run.parent / "tiny.npz"),
        "--out",
        str(tmp_path / "p.csv"),
    ]
    environment = {"PYTHONPATH": f"{packages}:{Path(nas.__file__).parents[1]}", "PATH": ""}

    def ran(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)

    refused = ran()
    assert refused.returncode == 2
    assert "module of its own" in refused.stderr.strip().splitlines()[-1]
    assert ran("--encoder", f"sound={NAME}").returncode == 0
    expected = nas.predict(run, tiny_arrays(), encoders={"sound": NAME})
    assert (tmp_path / "p.csv").read_text() == expected.to_csv()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"sound": "own_models:Absent"}, "cannot import the encoder own_models:Absent"),
        ({"sound": "not_there:Tower"}, "cannot import the encoder not_there:Tower: .*PYTHONPATH"),
        ({"sound": "own_models:no_module"}, "makes a int; expected a torch.nn.Module"),
        ({"sound": "torch.nn:Linear"}, "cannot be made without arguments"),
        ({"sight": NAME}, r"cannot take 'sight' of shape \(2, 3\)"),
        ({"smell": NAME}, "unknown modality in encoder: 'smell'"),
        ({"sound": "Tower"}, "or the import path of a module of yours"),
        (["sound"], "must be pairs"),
        ([f"sound={NAME}", f"sound={NAME}"], "names 'sound' twice"),
    ],
)
def test_a_wrong_name_is_told_in_one_line(packages: Path, named: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        tiny_search(as_data(tiny_arrays()), encoder=named)
    assert "\n" not in str(told.value)


def test_a_module_says_itself_what_is_tapped(packages: Path) -> None:
    builder = builders_of({"sound": "own_models:Wide"}, None)["sound"]
    encoder = builder(as_data(tiny_arrays()), "sound")
    assert isinstance(encoder, ImportedEncoder)
    assert encoder.inner.tap_names == ("first.0", "first.1")
