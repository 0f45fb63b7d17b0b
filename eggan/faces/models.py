"""The two networks, as onnxruntime runs them: one thread that does not spin, the same bytes every time.

`models.json` names their origin and their hashes; a file that is not the one described is refused.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from eggan.errors import UserError
from eggan.files import read_json

FOLDER = Path(__file__).parent
CARD = "models.json"
DETECTOR, LANDMARKS = "face_detection_short_range", "face_landmark"
RESTORE = "install the package again"
QUIET = 3  # errors only


def run_detector(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return regressors (A, 16) and logits (A,) of the anchors of one float32 picture (H, W, 3) in [-1, 1].

    Height and width are multiples of 16; the model was trained at 128.
    """
    regressors, logits = _session(DETECTOR).run(None, {"picture": picture[None]})
    return regressors[0], logits[0, :, 0]


def run_landmarks(picture: np.ndarray) -> tuple[np.ndarray, float]:
    """Return landmarks (468, 3) in pixels and the logit of a face being there, of (192, 192, 3) in [0, 1]."""
    points, logits = _session(LANDMARKS).run(None, {"picture": picture[None]})
    return points.reshape(-1, 3), float(logits[0, 0])


@lru_cache(maxsize=2)
def _session(name: str, folder: Path = FOLDER) -> Any:
    content = read_model(name, folder)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Sizes vary from picture to picture: an arena would keep the largest for good.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def read_model(name: str, folder: Path = FOLDER) -> bytes:
    """Return a model's file; one that is missing or that its card does not describe is a `UserError`."""
    path = folder / f"{name}.onnx"
    try:
        expected = read_json(folder / CARD)["models"][name]["sha256"]
        content = path.read_bytes()
    except (OSError, ValueError, LookupError, TypeError):
        raise UserError(f"the face models lack {path.name} or a valid {CARD}: {RESTORE}") from None
    if hashlib.sha256(content).hexdigest() != expected:
        raise UserError(f"{path.name} is not the file that {CARD} describes: {RESTORE}")
    return content
