"""All portraits of one call: probed one by one, kept in a folder that a report is built from.

The folder holds `probes.parquet`, `pairs.parquet` (real pairs), `truth.parquet` (true edits of renders),
`tiles.npz` (faces of the contact sheet), `photos.json` (settings, portraits, what was not measured) and
`run.json`. Photographs of the user's own are in the folder only: the tracking store gets tables and figures,
never a face that was not shipped.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.photos.portraits import Portrait, Unmeasured
from benchmarks.photos.probe import MakeEditor, PhotographReaders, Probed, probe
from benchmarks.photos.summary import real_pairs
from eggan.aus import AU_COLUMNS
from eggan.errors import UserError
from eggan.files import read_json, write_atomically, write_json
from eggan.progress import working
from eggan.tables import read_csv_table, read_table, table_file, write_table

PROBES, PAIRS, TRUTH = "probes.parquet", "pairs.parquet", "truth.parquet"
TILES, CARD = "tiles.npz", "photos.json"
CARD_VERSION = 1
MOST_ON_SHEET = 12  # portraits


@dataclass
class Measured:
    """What was measured; `tiles` by portrait, the first `MOST_ON_SHEET` of them.

    `truth` are probes of true edits of the renders, as far as there are some: what the reader makes of them.
    `card` is plain JSON: what edited and read, portraits with person, size and AUs, what was not measured.
    """

    probes: pd.DataFrame
    pairs: pd.DataFrame
    truth: pd.DataFrame
    tiles: dict[str, np.ndarray]
    card: dict[str, Any] = field(default_factory=dict)


def measure(
    portraits: Iterable[Portrait | Unmeasured],
    make_editor: MakeEditor,
    instruments: PhotographReaders,
    levels: Sequence[float],
) -> Measured:
    """Probe all portraits; none that can be edited is a `UserError` that says why."""
    probes, truth, tiles = list[pd.DataFrame](), list[pd.DataFrame](), dict[str, np.ndarray]()
    descriptors, people = dict[str, np.ndarray](), dict[str, str]()
    described, unmeasured = list[dict[str, Any]](), list[Unmeasured]()
    for portrait in portraits:
        if isinstance(portrait, Unmeasured):
            unmeasured.append(portrait)
            continue
        with working(f"editing {portrait.name}"):
            probed = probe(portrait, make_editor, instruments, levels)
        probes.append(probed.probes)
        if portrait.truth is not None:
            with working(f"drawing the true edits of {portrait.name}"):
                truth.append(_true_probes(portrait, portrait.truth, instruments, levels))
        described.append(_described(portrait, probed))
        people[portrait.name] = portrait.person
        if probed.descriptor is not None and portrait.kind == "photograph":  # a render is no real picture
            descriptors[portrait.name] = probed.descriptor
        if len(tiles) < MOST_ON_SHEET:
            tiles[portrait.name] = probed.tiles
    if not probes:
        raise UserError(f"nothing to measure: {_reasons(unmeasured)}")
    card = {
        "card_version": CARD_VERSION,
        "levels": list(levels),
        "portraits": described,
        "not_measured": [asdict(entry) for entry in unmeasured],
    }
    made = pd.concat(probes, ignore_index=True)
    drawn = pd.concat(truth, ignore_index=True) if truth else made.iloc[:0]
    return Measured(made, real_pairs(descriptors, people), drawn, tiles, card)


@dataclass(frozen=True)
class _Truth:
    edit: Callable[[np.ndarray], np.ndarray]


def _true_probes(
    portrait: Portrait,
    truth: Callable[[np.ndarray], np.ndarray],
    instruments: PhotographReaders,
    levels: Sequence[float],
) -> pd.DataFrame:
    """Return the probes of true edits, at the lowest and the highest level."""
    alone = PhotographReaders(instruments.read, instruments.estimate, None)
    ends = (min(levels), max(levels))
    return probe(portrait, lambda portrait, aus: _Truth(truth), alone, ends).probes


def _described(portrait: Portrait, probed: Probed) -> dict[str, Any]:
    height, width = portrait.pixels.shape[:2]
    return {
        "name": portrait.name,
        "kind": portrait.kind,
        "person": portrait.person,
        "width": width,
        "height": height,
        "eye_distance": round(portrait.face.eye_distance, 1),
        "yaw": round(portrait.face.yaw, 1),
        "faces": portrait.faces,
        "analysis_seconds": probed.analysis_seconds,
        "aus": [None if np.isnan(value) else round(float(value), 3) for value in probed.aus],
    }


def _reasons(unmeasured: Sequence[Unmeasured]) -> str:
    named = "; ".join(f"{entry.name}: {entry.reason}" for entry in unmeasured[:3])
    more = f"; and {len(unmeasured) - 3} more" if len(unmeasured) > 3 else ""
    return named + more


def write_measured(measured: Measured, folder: Path) -> None:
    """Write what was measured; the card comes last, so that a folder with a card is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(measured.probes, folder / PROBES)
    write_table(measured.pairs, folder / PAIRS)
    write_table(measured.truth, folder / TRUTH)
    names = np.array(list(measured.tiles))
    tiles = np.stack(list(measured.tiles.values()))
    write_atomically(
        folder / TILES,
        lambda staged: np.savez_compressed(staged, allow_pickle=False, names=names, tiles=tiles),
    )
    write_json(measured.card, folder / CARD)


def read_measured(folder: Path) -> Measured:
    """Read what `write_measured` wrote; a folder without it, or a damaged one, is a `UserError`."""
    if not (folder / CARD).is_file():
        raise UserError(f"{folder} holds no {CARD}: `eggan bench photos` writes one")
    try:
        card = read_json(folder / CARD)
        if card["card_version"] != CARD_VERSION:
            raise ValueError
        with np.load(folder / TILES, allow_pickle=False) as arrays:
            tiles = dict(zip(map(str, arrays["names"]), arrays["tiles"], strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} is damaged, or of another version: measure again") from None
    numbers = ("au", "asked", "distance", "seconds", *AU_COLUMNS)
    probes, truth = (_table(folder / name, ("portrait", "kind"), numbers) for name in (PROBES, TRUTH))
    pairs = _table(folder / PAIRS, ("one", "other"), ("distance",))
    return Measured(probes, pairs, truth, tiles, card)


def _table(path: Path, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    file = table_file(path)
    return read_table(file, text, numbers) if file == path else read_csv_table(file)
