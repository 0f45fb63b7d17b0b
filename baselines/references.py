"""Trivial references: what each table looks like when nothing has been learnt, and when the answer is known.

    copy-source         returns the source: the right person, no edit
    target-passthrough  returns the target image: the right AUs, the wrong person
    mean-au             no image; answers each target with the training set's mean AU vector
    oracle              the rendered true edit (SynFACS): the best that the instruments can see

A method between copy-source and target-passthrough on both tables has learnt nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from eggan.method import EditRequest

EditFunction = Callable[[EditRequest, Tensor | None], Tensor]


@dataclass(frozen=True)
class Reference:
    """A row that is not trained. It answers with images (`edit`) or, for mean-au, with AU vectors (`answer`).

    `edit(request, truth)` returns (B, 3, H, W) in [-1, 1]; `truth`, the rendered true edit in the same form,
    is given when "truth" is in `reads`. `answer(training_aus (N, 17))` returns one AU vector (17,) in [0,
    5].
    """

    name: str
    title: str
    reads: tuple[str, ...]
    version: int
    edit: EditFunction | None = None
    answer: Callable[[np.ndarray], np.ndarray] | None = None


def copy_source(request: EditRequest, truth: Tensor | None) -> Tensor:
    """Return the source image."""
    return request.source


def target_passthrough(request: EditRequest, truth: Tensor | None) -> Tensor:
    """Return the reference image: another person who shows the target AUs."""
    return request.reference


def oracle(request: EditRequest, truth: Tensor | None) -> Tensor:
    """Return the rendered true edit."""
    if truth is None:
        raise ValueError("the oracle needs the rendered true edit")
    return truth


def mean_au(training_aus: np.ndarray) -> np.ndarray:
    """Return the mean of the training images' AU vectors (N, 17): the best constant answer in squared
    error.
    """
    return training_aus.astype(np.float64).mean(axis=0)


COPY_SOURCE = Reference("copy-source", "Copy source", ("source",), 1, edit=copy_source)
TARGET_PASSTHROUGH = Reference(
    "target-passthrough", "Target passthrough", ("reference",), 1, edit=target_passthrough
)
MEAN_AU = Reference("mean-au", "Mean AU", (), 1, answer=mean_au)
ORACLE = Reference("oracle", "Oracle (rendered truth)", ("truth",), 1, edit=oracle)
