"""`eggan export onnx`: every method's file answers as torch does, says what it is, and runs without torch."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.onnx._internal.exporter._registration import ONNXRegistry

from baselines import ganimation, homointerpgan, stargan
from benchmarks.suites.methods import METHODS, installed_method
from eggan import model, progress, warp, warp_unpaired
from eggan.aus import AU_NUMBERS, EXPRESSIONS
from eggan.checkpoint import model_card, save_checkpoint
from eggan.cli import main
from eggan.data.images import to_network_range, to_uint8
from eggan.data.synfacs.nuisance import draw_nuisance
from eggan.data.synfacs.picture import render
from eggan.data.synfacs.plan import person
from eggan.edit import editing
from eggan.errors import UserError
from eggan.export import onnx_file
from eggan.files import hash_files
from eggan.method import EditRequest, Method, MethodEntry
from eggan.shipped.weights import DEFAULT, FOLDER, read_card
from tests.tiny import narrow_config

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "edit_onnx.py"
CPU = torch.device("cpu")
UNPAIRED = {
    **{"channels": (8, 16), "blocks": 1, "detail_channels": 8, "embedding": 8},
    **{"image_critic_channels": (4, 8, 8, 8, 8, 1), "classifier_width": 0.25},
}
FILM = narrow_config(conditioning="film")
NARROW = {
    "eggan": (model.EGGAN, FILM),
    "eggan-w-unpaired": (
        warp_unpaired.UnpairedEGGANW,
        replace(warp_unpaired.ENTRY.presets["cpu"], **UNPAIRED),
    ),
    "stargan": (stargan.StarGAN, replace(stargan.ENTRY.presets["cpu"], width=8, residual_blocks=1)),
    "ganimation": (
        ganimation.GANimation,
        replace(ganimation.ENTRY.presets["cpu"], width=8, residual_blocks=1),
    ),
    "homointerpgan": (
        homointerpgan.HomoInterpGAN,
        replace(homointerpgan.ENTRY.presets["cpu"], width=0.0625),
    ),
}


def checkpoint_of(name: str, folder: Path) -> Path:
    """Write a narrow method whose every weight has been moved: some of them start at 0 and hide a path."""
    make, config = NARROW[name]
    entry = METHODS[name]
    random = torch.Generator().manual_seed(0)
    weights = {
        key: value + 0.05 * torch.randn(value.shape, generator=random) if value.is_floating_point() else value
        for key, value in make(config, 0, CPU).inference_weights().items()
    }
    save_checkpoint(folder, model_card(name, entry.version, config, config.image_size), weights)
    return folder


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def request(count: int, size: int = 64) -> EditRequest:
    random = torch.Generator().manual_seed(count)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=random)

    faces, aus = drawn(3, size, size) * 2 - 1, drawn(17) * 5
    labels = torch.arange(count) % len(EXPRESSIONS)
    return EditRequest(faces, 5 - aus, aus, labels, drawn(3, size, size) * 2 - 1)


def test_every_method_with_weights_is_tested_here():
    assert {name for name, entry in METHODS.items() if isinstance(entry, MethodEntry)} == {*NARROW, "eggan-w"}


@pytest.fixture(scope="module", autouse=True)
def operators_are_read_once() -> Iterator[None]:
    """Every export reads three thousand operators anew: a second that a user waits for once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Write a method's file once: name -> the folder of its checkpoint, which has the file beside it."""

    @cache
    def export(name: str) -> Path:
        folder = checkpoint_of(name, tmp_path_factory.mktemp(name) / "training")
        assert main(["export", "onnx", "--checkpoint", str(folder), "-o", str(beside(folder))]) == 0
        return folder

    return export


def beside(folder: Path) -> Path:
    return folder.parent / "model.onnx"


@pytest.mark.slow
@pytest.mark.parametrize("name", NARROW)
def test_a_methods_file_answers_as_torch_at_any_batch(name, exported):
    folder = exported(name)
    method = editing.load_model(folder, installed_method, "cpu").method
    check_answers(name, session_of(beside(folder)), method)


@pytest.mark.slow
def test_so_does_the_file_of_the_shipped_weights(shipped):
    model = editing.load_shipped_model(installed_method, "cpu")
    check_answers(model.name, session_of(shipped), model.method, model.image_size)


def check_answers(name: str, session: onnxruntime.InferenceSession, method: Method, size: int = 64) -> None:
    assert [given.name for given in session.get_inputs()] == [
        field for field in EditRequest.__annotations__ if field in METHODS[name].reads
    ]
    assert all(value.shape[0] == "batch" for value in [*session.get_inputs(), *session.get_outputs()])
    for count in (1, 5):
        asked = request(count, size)
        given = {field.name: getattr(asked, field.name).numpy() for field in session.get_inputs()}
        (edit,) = session.run(["edit"], given)
        assert np.abs(edit - method.edit(asked).numpy()).max() <= 1e-4
        assert edit.std() > 0.01


def test_a_label_that_is_no_expression_gives_nan_where_a_program_would_refuse_it(exported):
    path = beside(exported("stargan"))
    labels = np.array([0, -1, 7, 8])
    faces = np.zeros((4, 3, 64, 64), np.float32)
    (edit,) = session_of(path).run(["edit"], {"source": faces, "target_expression": labels})
    assert np.isnan(edit).all(axis=(1, 2, 3)).tolist() == [False, True, False, True]
    assert np.isfinite(edit[[0, 2]]).all()


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """The file of the shipped EGGAN-W."""
    path = tmp_path_factory.mktemp("onnx") / "w.onnx"
    assert main(["export", "onnx", "-o", str(path)]) == 0
    return path


class TestTheFileOfTheShippedWeights:
    def test_says_what_it_is(self, shipped):
        card = session_of(shipped).get_modelmeta().custom_metadata_map
        assert card["method"] == "eggan-w"
        file = FOLDER / f"{DEFAULT}.safetensors"
        assert card["weights_sha256"] == read_card()["sha256"] == hash_files([file])
        assert json.loads(card["au_order"]) == [f"AU{number}" for number in AU_NUMBERS]
        inputs = json.loads(card["inputs"])
        assert (inputs["source"]["range"], inputs["target_aus"]["range"]) == ([-1, 1], [0, 5])
        assert card["licence"].startswith("MIT")
        assert card["command"] == f"eggan export onnx -o {shipped}"
        assert card["trained_on"].startswith("synfacs")
        assert 0.4 < json.loads(card["framing"])["eye_line"] < 0.45

    def test_is_one_valid_file_of_opset_20_without_a_path_of_this_machine(self, shipped):
        assert [path.name for path in shipped.parent.iterdir()] == [shipped.name]
        loaded = onnx.load(shipped)
        onnx.checker.check_model(loaded, full_check=True)
        assert [(entry.domain, entry.version) for entry in loaded.opset_import] == [("", 20)]
        for entry in [entry for entry in loaded.metadata_props if entry.key == "command"]:
            loaded.metadata_props.remove(entry)
        assert str(Path(__file__).parents[1]).encode() not in loaded.SerializeToString()
        assert sys.prefix.encode() not in loaded.SerializeToString()

    def test_knows_itself_whatever_one_bit_of_it_is_changed(self, shipped, tmp_path):
        path = tmp_path / "w.onnx"
        content = shipped.read_bytes()
        for at in (0, len(content) // 2, len(content) - 80, len(content) - 1):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            assert not onnx_file.is_own_file(path)
        path.write_bytes(content)
        assert onnx_file.is_own_file(path)

    def test_is_edited_with_where_torch_cannot_be_imported(self, shipped, tmp_path):
        """At the picture's own size, of flow, colour and paint that are enlarged."""
        picture = render(person(3, "twin", 1), np.zeros(17), draw_nuisance("single", 0), "frontal", 256)
        Image.fromarray(picture).save(tmp_path / "face.png")
        code = (
            "import runpy, sys\nfor name in ('torch', 'eggan', 'onnx'): sys.modules[name] = None\n"
            "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
        )
        words = [EXAMPLE, shipped, "face.png", "--au", "12=4", "--au", "25=3", "-o", "smile.png"]
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        edited = np.asarray(Image.open(tmp_path / "smile.png")).astype(int)
        method = editing.load_shipped_model(installed_method, "cpu").method
        target = torch.zeros(1, 17)
        target[0, AU_NUMBERS.index(12)], target[0, AU_NUMBERS.index(25)] = 4, 3
        pixels = to_network_range(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None])
        side = (read_card()["image_size"],) * 2
        small = F.interpolate(pixels, side, mode="bilinear", align_corners=False, antialias=True)
        parts = method.parts(small, target)
        flow, colour, paint = (
            F.interpolate(part, (256, 256), mode="bilinear", align_corners=False)
            for part in (parts.flow, parts.colour, parts.paint)
        )
        edit = torch.lerp(warp.warp(pixels, flow), colour, paint)
        wanted = to_uint8(edit)[0].permute(1, 2, 0).numpy().astype(int)
        assert np.abs(edited - wanted).max() <= 3
        assert np.abs(edited - wanted).mean() <= 0.3
        assert np.abs(wanted - picture).mean() > 1


def test_a_file_comes_out_the_same_and_stays_where_a_new_one_fails_its_check(exported, eggan, monkeypatch):
    folder = exported("ganimation")
    path, words = beside(folder), ("export", "onnx", "--checkpoint", folder, "-o", beside(folder))
    before, convert, made = path.read_bytes(), onnx_file._model_of, []

    def converted_once(*given):  # a model takes two seconds, and the second command has the same
        made.append(made[0] if made else convert(*given).SerializeToString())
        return onnx.ModelProto.FromString(made[0])

    monkeypatch.setattr(onnx_file, "_model_of", converted_once)
    status, out, err = eggan(*words)
    assert (status, err, path.read_bytes() == before) == (0, "", True)
    assert f"wrote {path}: " in out
    assert "onnxruntime differs from torch by at most" in out
    for name, value in (("TOLERANCE", 0.0), ("_difference", lambda *_: float("nan"))):
        with monkeypatch.context() as patched:
            patched.setattr(onnx_file, name, value)
            status, _, err = eggan(*words)
        assert (status, err.count("\n")) == (2, 1)
        assert "the file differs from torch by" in err
        assert path.read_bytes() == before
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, folder.name}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "model.pb"), "must end in .onnx"),
        (("--weights", "lost"), "no shipped weights are called 'lost' (known: eggan_w_"),
        (("--checkpoint", "lost"), "lost is not a checkpoint"),
        (("-o", "."), "must end in .onnx"),
    ],
)
def test_what_cannot_be_exported_is_one_line(words, message, eggan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = eggan("export", "onnx", *words)
    assert (status, err.count("\n")) == (2, 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_users_stays(eggan, tmp_path):
    path = tmp_path / "mine.onnx"
    for content in (b"", b"mine"):
        path.write_bytes(content)
        status, _, err = eggan("export", "onnx", "-o", path)
        assert (status, err.count("\n")) == (2, 1)
        assert path.read_bytes() == content


def test_a_method_that_torch_cannot_follow_says_so_and_leaves_no_file(eggan, tmp_path, monkeypatch):
    folder = checkpoint_of("ganimation", tmp_path / "training")

    def edit(self, request):
        return request.source if request.source.mean() > 0 else -request.source

    monkeypatch.setattr(ganimation.GANimation, "edit", edit)
    status, _, err = eggan("export", "onnx", "--checkpoint", folder, "-o", tmp_path / "g.onnx")
    assert (status, err.count("\n")) == (2, 1)
    assert "ganimation cannot be written as ONNX: " in err
    assert not (tmp_path / "g.onnx").exists()


def test_what_takes_long_says_so_though_torchs_exporter_is_silenced(eggan, tmp_path, monkeypatch):
    def slow(*_):
        with onnx_file._quiet():
            time.sleep(0.3)
        raise UserError("enough")

    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(onnx_file, "_model_of", slow)
    status, _, err = eggan("export", "onnx", "-o", tmp_path / "x.onnx")
    assert (status, err.splitlines()[-1]) == (2, "eggan: enough")
    assert "writing eggan-w as ONNX: 0:00 so far" in err.splitlines()


def test_a_missing_package_is_one_line(eggan, tmp_path, monkeypatch):
    find = onnx_file.importlib.util.find_spec
    monkeypatch.setattr(
        onnx_file.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    status, _, err = eggan("export", "onnx", "-o", tmp_path / "w.onnx")
    assert (status, err) == (2, "eggan: onnxscript is not installed: pip install 'eggan[export]'\n")
