"""Inputs on which the converted face models are compared with their originals, and how far they differ."""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("golden.npz")
SIDES = {"face_detection_short_range": 128, "face_landmark": 192}
RANGES = {"face_detection_short_range": (-1.0, 1.0), "face_landmark": (0.0, 1.0)}
RENDERS = Path(__file__).with_name("renders.npz")  # two SynFACS faces, uint8 (2, 64, 64, 3)


def inputs_of(name: str) -> np.ndarray:
    """Return float32 (3, S, S, 3) in the model's range: noise and two rendered faces."""
    side, (low, high) = SIDES[name], RANGES[name]
    noise = np.random.default_rng(0).random((1, side, side, 3))
    with np.load(RENDERS) as stored:
        faces = stored["faces"].repeat(side // 64, 1).repeat(side // 64, 2) / 255
    return (low + (high - low) * np.concatenate([noise, faces])).astype(np.float32)


def deviation(name: str, path: Path, expected: list[np.ndarray]) -> float:
    """Return the largest absolute difference of what onnxruntime computes from `expected`.

    Values above 1 (pixels, logits) count relative to the largest of their row, as float32 carries them.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    computed = session.run(None, {"picture": inputs_of(name)})
    worst = 0.0
    for ours, theirs in zip(computed, expected, strict=True):
        rows = theirs.reshape(len(theirs), -1)
        scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1)
        worst = max(worst, float((np.abs(ours.reshape(rows.shape) - rows) / scale).max()))
    return worst
