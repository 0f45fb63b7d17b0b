"""Which frozen scorers a benchmark uses: the shipped ones on SynFACS, the paper's on photographs.

On photographs OpenFace reads AUs (Table 1) and LightCNN tells people apart (Table 2), as in the paper. The
shipped instruments learnt from renderings; they score photographs only when asked to, and every table then
says so. Nothing is replaced in silence. The landmark reader is a third opinion beside any of them, or the
first on request: the geometry that it reads is that of photographs, though it learnt what it means from
renderings.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from baselines.lightcnn_verifier import lightcnn_verifier
from eggan.data.dataset import Dataset
from eggan.data.labels.pyfeat import REFUSED
from eggan.errors import UserError, known_names
from eggan.evaluation.reading import AUEstimator, Instruments, Progress

AUTO, SHIPPED, OPENFACE, LANDMARKS = "auto", "synfacs", "openface", "landmarks"
PYFEAT = ("pyfeat", "py-feat", "feat")
LIGHTCNN = "lightcnn:"
GET_LIGHTCNN = "import it (`eggan import lightcnn FILE -o FOLDER`) and pass --verifier lightcnn:FOLDER"


@dataclass(frozen=True)
class InstrumentChoice:
    """What the user asked for. `verifier` is auto, synfacs, or lightcnn:FOLDER of `eggan import lightcnn`."""

    au: str = AUTO
    verifier: str = AUTO
    openface: Path | None = None
    openface_version: str | None = None

    def __post_init__(self) -> None:
        if self.au in PYFEAT:
            raise UserError(f"{REFUSED}; choose --au-instrument {OPENFACE}, {LANDMARKS} or {SHIPPED}")
        known = (AUTO, SHIPPED, OPENFACE, LANDMARKS)
        if self.au not in known:
            raise UserError(f"unknown AU instrument {self.au!r}{known_names(self.au, known)}")
        if self.au in (SHIPPED, LANDMARKS) and (self.openface or self.openface_version):
            raise UserError(f"--openface and --au-instrument {self.au} contradict each other")
        if self.verifier == "lightcnn" or self.verifier == LIGHTCNN:
            raise UserError(f"--verifier lightcnn needs the folder of the weights: {GET_LIGHTCNN}")
        if self.verifier not in (AUTO, SHIPPED) and not self.verifier.startswith(LIGHTCNN):
            raise UserError(
                f"unknown verifier {self.verifier!r} (known: {AUTO}, {SHIPPED}, {LIGHTCNN}FOLDER)"
            )

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "InstrumentChoice":
        """Read the instruments that the arguments ask for."""
        return cls(
            arguments.au_instrument, arguments.verifier, arguments.openface, arguments.openface_version
        )

    @property
    def wants_openface(self) -> bool:
        """Whether OpenFace was asked for by name or by place."""
        return self.au == OPENFACE or self.openface is not None or self.openface_version is not None


def choose_instruments(
    choice: InstrumentChoice,
    dataset: Dataset | None,
    device: str,
    cache: Path,
    shipped: Callable[[str], Instruments],
    progress: Progress,
) -> Instruments:
    """Return the scorers for a dataset (None: a suite's own SynFACS); a missing one is a `UserError`.

    "auto" is the shipped scorer on SynFACS, else OpenFace or, for the verifier, a `UserError` that says how
    to get LightCNN. Beside OpenFace or the landmark reader there is no second estimator on photographs: on
    SynFACS the shipped estimator a takes that place.
    """
    rendered = dataset is None or dataset.is_synfacs
    if choice.verifier == AUTO and not rendered:
        raise UserError(
            f"photographs are verified by LightCNN: {GET_LIGHTCNN}, or pass --verifier {SHIPPED} (learnt "
            "from renderings)"
        )
    chosen = shipped(device)
    if choice.wants_openface or (choice.au == AUTO and not rendered):
        chosen = replace(chosen, a=_openface(choice, cache), b=chosen.a if rendered else None)
    if choice.au == LANDMARKS:
        if chosen.landmarks is None:
            raise UserError("there is no landmark reader: run `eggan instruments train --which landmarks`")
        chosen = replace(chosen, a=chosen.landmarks, b=chosen.a if rendered else None, landmarks=None)
    if choice.verifier.startswith(LIGHTCNN):
        if dataset is None:
            raise UserError(
                f"--verifier {LIGHTCNN}FOLDER needs --dataset: its threshold is fixed on training people"
            )
        folder = Path(choice.verifier.removeprefix(LIGHTCNN))
        chosen = replace(chosen, verifier=lightcnn_verifier(folder, dataset, device, cache, progress))
    return chosen


def _openface(choice: InstrumentChoice, cache: Path) -> AUEstimator:
    from eggan.data.labels.openface_run import find_openface
    from eggan.evaluation.openface_instrument import OpenFaceEstimator

    found = find_openface(choice.openface, choice.openface_version)
    if found is None:
        raise UserError(
            "AUs of photographs are read by OpenFace, which is not on PATH: pass --openface with its bin "
            f"folder, or --au-instrument {SHIPPED} or {LANDMARKS} (both learnt from renderings)"
        )
    return OpenFaceEstimator(found, cache)
