"""Which libraries a command imports: they, and not the work, are what a short command costs."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from eggan.checkpoint import model_card, save_checkpoint
from eggan.edit import EXAMPLE_PHOTOGRAPH
from eggan.model import EGGAN, ENTRY
from reports.style import figure_font
from reports.suite.frame import write_frame
from tests.conftest import TINY_TRAINING
from tests.reports.fakes import make_frame

LIBRARIES = (
    *("torch", "torchvision", "lpips", "pytorch_msssim", "sklearn", "scipy", "pandas", "pyarrow", "numba"),
    *(
        "matplotlib",
        "fontTools.ttLib",
        "mlflow",
        "requests",
        "optuna",
        "sqlalchemy",
        "numpy",
        "PIL",
        "anny",
        "trimesh",
        "torch._dynamo",
        "onnxruntime",
        "starlette",
        "uvicorn",
        "dask",
        "distributed",
    ),
)
CODE = """
import sys
from eggan.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("IMPORTED", *({modules} & set(sys.modules)))
"""


def imported(*words: str) -> set[str]:
    """Return which of `LIBRARIES` a command has imported when it ends, whatever it has to say."""
    code = CODE.format(modules=set(LIBRARIES))
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "IMPORTED", done.stderr
    return set(last[1:])


@pytest.mark.parametrize(
    "words",
    ["--help", "--version", "train --help", "bench run --help", "edit --help", "demo --help", "bench status"],
)
def test_nothing_heavy(words, tmp_path):
    runs = ["--runs", str(tmp_path)] if words == "bench status" else []
    assert imported(*words.split(), *runs) == set()


def test_the_states_of_studies_need_their_storage_alone(tmp_path):
    assert imported("study", "status", "--runs", str(tmp_path)) <= {"optuna", "sqlalchemy", "numpy"}


def test_reports_are_drawn_and_faces_rendered_without_torch_and_scored_without_the_statistics_of_scipy():
    """By what is imported before anything is read; scipy.stats alone is most of a second."""
    code = (
        "import sys, reports.suite.suite_report, reports.suite.frame\n"
        "print('REPORTS', *({'torch', 'torchvision', 'sklearn', 'numba', 'lpips'} & set(sys.modules)))\n"
        "import inspect, matplotlib.lines as lines  # documentation takes a third of its import\n"
        "print('DOCUMENTED', *({'linewidth'} & set(inspect.signature(lines.Line2D.set).parameters)))\n"
        "import eggan.data.synfacs\n"
        "print('RENDERER', *({'torch', 'torchvision'} & set(sys.modules)))\n"
        "import benchmarks.scoring.scores, eggan.evaluation.instrument_cards\n"
        "print('SCORES', *({'scipy.stats'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["REPORTS", "DOCUMENTED", "RENDERER", "SCORES"], done.stderr


def test_a_report_of_an_exported_frame_needs_no_tracking_and_no_torch(tmp_path):
    figure_font.families()  # makes the font of figures where nobody has yet
    write_frame(make_frame(seeds=1, failed=False), tmp_path / "frame")
    words = ["report", "build", "--frame", str(tmp_path / "frame"), "--out", str(tmp_path / "report")]
    used = imported(*words)
    assert (tmp_path / "report" / "index.html").is_file()
    assert used == {"matplotlib", "numpy", "pandas", "pyarrow", "PIL"}
    # the report is there already: PIL reads the frame's pictures alone
    assert imported(*words) == {"numpy", "pandas", "pyarrow", "PIL"}


def test_the_cards_of_instruments_are_read_without_torch():
    assert imported("instruments", "card") == set()


def test_an_edit_needs_torch_and_a_reader_of_images(tmp_path):
    """No optimiser either: the first one that is made loads torch's compiler."""
    config = ENTRY.presets["quick"]
    weights = EGGAN(config, 0, torch.device("cpu")).inference_weights()
    save_checkpoint(tmp_path / "eggan", model_card("eggan", ENTRY.version, config, 64), weights)
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(tmp_path / "face.png")
    options = ["--checkpoint", str(tmp_path / "eggan"), "-o", str(tmp_path / "edit.png")]
    used = imported("edit", str(tmp_path / "face.png"), "--au", "12=4", *options)
    assert (tmp_path / "edit.png").is_file()
    assert used == {"torch", "numpy", "PIL", "pytorch_msssim"}


def test_edits_with_the_shipped_weights_need_less_and_read_few_of_our_files(tmp_path):
    """A story of few files; those of other methods, of training and of scoring are none of them.

    First a picture that is a face, then a photograph, in the same process: what the first one needed is
    counted for both.
    """
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(tmp_path / "face.png")
    edits = [["edit", picture, "--au", "12=4", "-o", f"{k}.png"]
             for k, picture in enumerate(("face.png", str(EXAMPLE_PHOTOGRAPH)))]  # fmt: skip
    code = (
        "import sys\nfrom eggan.cli import main\n"
        "ours = ('eggan', 'baselines', 'benchmarks', 'studies', 'reports')\n"
        f"for words in {edits}:\n"
        "    assert main(words) == 0\n"
        "    modules = [m for n, m in sys.modules.items() if n.split('.')[0] in ours]\n"
        "    print('READ', *(m.__name__ for m in modules if not m.__file__.endswith('__init__.py')))\n"
        f"    print('IMPORTED', *({set(LIBRARIES)} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    found = [line.split() for line in done.stdout.splitlines() if line.startswith(("READ ", "IMPORTED "))]
    assert [words[0] for words in found] == ["READ", "IMPORTED"] * 2, done.stderr
    (_, *face), (_, *used), (_, *both), _ = found
    assert all((tmp_path / f"{k}.png").is_file() for k in range(2))
    assert len(face) <= 25
    assert len(both) <= 40
    assert not {"eggan.model", "eggan.training", "eggan.evaluation.instruments"} & set(both)
    assert set(used) == {"torch", "numpy", "PIL"}


def test_a_training_loads_no_compiler(dataset_folder, tmp_path):
    """Torch's own optimisers do, which takes two seconds."""
    words = ["--dataset", str(dataset_folder), "--preset", "quick", *TINY_TRAINING, "--offline"]
    used = imported("train", "eggan", *words, "--runs", str(tmp_path), "--out", str(tmp_path / "m"))
    assert (tmp_path / "m" / "weights.safetensors").is_file()
    assert "torch" in used
    assert "torch._dynamo" not in used
