"""The protocol: which source is edited to which target, and which further edits are asked for.

Table 1 of the paper uses every training image as a target and a test image as its source. The paper does not
say which; here it is a neutral image of a test identity by a seeded assignment that is balanced over source
identity and gaze within each target expression and gaze.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from benchmarks.protocol.protocol_config import Protocol
from eggan.aus import AU_COLUMNS, AU_COUNT, EXPRESSIONS
from eggan.config import content_hash
from eggan.data.dataset import Dataset
from eggan.errors import UserError
from eggan.evaluation.reading import images_of
from eggan.method import EditRequest
from eggan.randomness import numpy_generator

PROBE_INTENSITY = 4.0
SHOWCASE_GAZE = "frontal"
NEUTRAL = "neutral"
UNNAMED_TARGETS = 8  # shown of a dataset that names no expression
INTERPOLATION_EXPRESSIONS = ("happy", "surprised", "angry", "disgusted", "fearful", "sad")


@dataclass(frozen=True)
class EditSet:
    """N edits to ask a method for: `sources.images[rows]` to `target_aus` (N, 17).

    `expressions` (N,) name the targets, -1 for none. `references.images[reference_rows]` are images of
    other people with the target AUs; None where there are none.
    """

    sources: Dataset
    rows: np.ndarray
    target_aus: np.ndarray
    expressions: np.ndarray
    references: Dataset | None = None
    reference_rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, part: slice, device: str) -> EditRequest:
        """Return the edits `part` as tensors; without references, `reference` repeats the source."""
        source = images_of(self.sources.images[self.rows[part]], device)
        reference = source
        if self.references is not None and self.reference_rows is not None:
            reference = images_of(self.references.images[self.reference_rows[part]], device)
        return EditRequest(
            source=source,
            source_aus=torch.tensor(self.sources.aus(self.rows[part])).to(device),
            target_aus=torch.tensor(self.target_aus[part]).float().to(device),
            target_expression=torch.tensor(self.expressions[part]).to(device),
            reference=reference,
        )


@dataclass(frozen=True)
class SplitData:
    """One evaluation split: where sources and targets come from, and the pair manifest."""

    split: str
    sources: Dataset
    targets: Dataset
    pairs: pd.DataFrame

    @property
    def edits(self) -> EditSet:
        """The edits of the pair manifest, in its order."""
        return self.edits_of(self.pairs)

    def edits_of(self, pairs: pd.DataFrame) -> EditSet:
        """Return the edits of some rows of the pair manifest."""
        return self.edits_to(pairs["source_row"].to_numpy(), pairs["target_row"].to_numpy())

    def edits_to(self, source_rows: np.ndarray, target_rows: np.ndarray) -> EditSet:
        """Return the edits of source images (N,) to the AUs of target images (N,), given by their rows."""
        return EditSet(
            self.sources,
            source_rows,
            self.targets.aus(target_rows),
            self.targets.expressions(target_rows),
            self.targets,
            target_rows,
        )


def has_neutral(sources: Dataset, split: str) -> bool:
    """Return whether an image of `split` is labelled neutral."""
    return bool((sources.manifest["expression"].iloc[sources.rows(split)] == NEUTRAL).any())


def source_rows(sources: Dataset, split: str) -> np.ndarray:
    """Return the rows of neutral images of `split`; a split without images is a `UserError`.

    Where none is labelled neutral, each person's image with the smallest sum of AUs takes the place.
    """
    rows = sources.rows(split)
    if not len(rows):
        raise UserError(
            f"{sources.folder} has no neutral image in its split {split!r}: nothing can be edited"
        )
    table = sources.manifest.iloc[rows]
    if has_neutral(sources, split):
        return rows[(table["expression"] == NEUTRAL).to_numpy()]
    total = pd.Series(sources.aus(rows).sum(axis=1))
    calmest = total.groupby(table["identity"].astype(str).to_numpy()).idxmin()
    return np.sort(rows[calmest.to_numpy()])


def source_cycle(sources: Dataset, split: str, seed: int) -> np.ndarray:
    """Return an order of the neutral source rows: every window of it is balanced over identities.

    Rounds over all identities; the image of an identity moves on by one in each round and starts at a
    different one per identity, so that gazes mix within a round too.
    """
    generator = numpy_generator("pairs", "sources", split, seed)
    neutral = source_rows(sources, split)
    owners = sources.manifest["identity"].iloc[neutral].to_numpy()
    images = [generator.permutation(neutral[owners == owner]) for owner in np.unique(owners)]
    images = [images[index] for index in generator.permutation(len(images))]
    rounds = max(map(len, images))
    return np.array([rows[turn % len(rows)] for turn in range(rounds) for rows in images], dtype=np.int64)


def ordered_targets(targets: Dataset, splits: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Return target rows of `splits`, grouped by expression and gaze, shuffled within and among groups.

    `count` 0 takes all; else groups give equally many (one more from some where `count` does not divide).
    """
    generator = numpy_generator("pairs", "targets", seed)
    rows = targets.rows(*splits)
    if not len(rows):
        raise UserError(f"{targets.folder} has no training image: the protocol has no target")
    table = targets.manifest.iloc[rows]
    groups = [rows[index] for _, index in sorted(table.groupby(["expression", "gaze"]).indices.items())]
    groups = [generator.permutation(groups[index]) for index in generator.permutation(len(groups))]
    wanted = min(count or len(rows), len(rows))
    turn = [(place, group) for group, members in enumerate(groups) for place in range(len(members))]
    taken = sorted(sorted(turn)[:wanted], key=lambda item: (item[1], item[0]))
    return np.array([groups[group][place] for place, group in taken], dtype=np.int64)


def pair_manifest(protocol: Protocol, split: str, sources: Dataset, targets: Dataset) -> pd.DataFrame:
    """Return the pair manifest of one split: one row per target with its source.

    Columns: pair, source_row, source_identity, target_row, target_identity, target_expression, gaze (of the
    target), source_gaze, target_au01 .. target_au45. Every source occurs equally often, up to one, in total
    and within each target expression and gaze.
    """
    target_rows = ordered_targets(targets, protocol.target_splits, protocol.pairs, protocol.seed)
    chosen = np.resize(source_cycle(sources, split, protocol.seed), len(target_rows))
    source, target = sources.manifest.iloc[chosen], targets.manifest.iloc[target_rows]
    pairs = pd.DataFrame(
        {
            "source_row": chosen,
            "source_identity": source["identity"].astype(str).to_numpy(),
            "source_gaze": source["gaze"].to_numpy(),
            "target_row": target_rows,
            "target_identity": target["identity"].astype(str).to_numpy(),
            "target_expression": target["expression"].to_numpy(),
            "gaze": target["gaze"].to_numpy(),
        }
    )
    aus = pd.DataFrame(targets.aus(target_rows), columns=[f"target_{name}" for name in AU_COLUMNS])
    pairs = pd.concat([pairs, aus], axis=1).sort_values("target_row", ignore_index=True)
    pairs.insert(0, "pair", np.arange(len(pairs)))
    return pairs


def pairs_hash(pairs: pd.DataFrame) -> str:
    """Return the sha256 of a pair manifest's content."""
    return content_hash({str(name): pairs[name].tolist() for name in pairs.columns})


def split_data(protocol: Protocol, split: str, sources: Dataset, targets: Dataset) -> SplitData:
    """Return the pairs of one split of a protocol."""
    return SplitData(split, sources, targets, pair_manifest(protocol, split, sources, targets))


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of `rows` (all, if fewer), evenly spread."""
    count = min(count, len(rows))
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(int)] if count else rows[:0]


def probe_request(protocol: Protocol, data: SplitData) -> tuple[EditSet, np.ndarray]:
    """Return single-AU probes and, for each edit, the position of its AU (-1: all AUs at 0).

    Per source 18 edits: the zero vector, then each AU alone at 4.
    """
    rows = _spread(source_cycle(data.sources, data.split, protocol.seed), protocol.probe_sources)
    levels = np.vstack([np.zeros((1, AU_COUNT)), PROBE_INTENSITY * np.eye(AU_COUNT)]).astype(np.float32)
    probed = np.tile(np.arange(-1, AU_COUNT), len(rows))
    repeated = np.repeat(rows, AU_COUNT + 1)
    nothing = np.full(len(repeated), -1, dtype=np.int64)
    return EditSet(data.sources, repeated, np.tile(levels, (len(rows), 1)), nothing), probed


def path_request(ends: EditSet, alphas: np.ndarray) -> EditSet:
    """Return the frames of Eq. 8, u_i + alpha (u_t - u_i), for each edit of `ends`: its length times
    len(alphas).
    """
    start, count = ends.sources.aus(ends.rows), len(alphas)
    step = (ends.target_aus - start)[:, None, :] * alphas[None, :, None]
    return dataclasses.replace(
        ends,
        rows=np.repeat(ends.rows, count),
        target_aus=(start[:, None, :] + step).reshape(-1, AU_COUNT).astype(np.float32),
        expressions=np.repeat(ends.expressions, count),
        reference_rows=None if ends.reference_rows is None else np.repeat(ends.reference_rows, count),
    )


def control_request(protocol: Protocol, data: SplitData) -> tuple[EditSet, np.ndarray]:
    """Return the ends of the interpolation sequences, balanced over expressions, and the alphas (K,)."""
    moving = data.pairs[data.pairs["target_expression"] != NEUTRAL].sort_values(
        ["target_expression", "pair"], kind="stable"
    )
    chosen = moving.iloc[_spread(np.arange(len(moving)), protocol.sequences)]
    return data.edits_of(chosen), np.linspace(0.0, 1.0, protocol.alphas)


def showcase_request(protocol: Protocol, data: SplitData) -> tuple[EditSet, EditSet]:
    """Return the edits shown in figures, S faces x T targets, and the end points of S interpolations.

    Every face is edited to the same T target images, those of `showcase_targets`.
    """
    rows = _spread(_frontal(data.sources, source_rows(data.sources, data.split)), protocol.showcase)
    targets = showcase_targets(protocol, data)
    shown = np.array(list(targets.values()), dtype=np.int64)
    grid = data.edits_to(np.repeat(rows, len(shown)), np.tile(shown, len(rows)))
    moving = [name for name in INTERPOLATION_EXPRESSIONS if name in targets] or list(targets)
    ends = np.array([targets[moving[i % len(moving)]] for i in range(len(rows))], dtype=np.int64)
    return grid, data.edits_to(rows, ends)


def showcase_targets(protocol: Protocol, data: SplitData) -> dict[str, int]:
    """Return name -> training row of the targets in figures.

    Of the eight expressions those that the dataset has: one training identity each, frontal gaze. A dataset
    that names none shows eight images, from the smallest to the largest sum of AUs.
    """
    rows = data.targets.rows(*protocol.target_splits)
    there = set(data.targets.manifest["expression"].iloc[rows])
    seed = protocol.seed
    named = {name: _example(data.targets, rows, name, seed) for name in EXPRESSIONS if name in there}
    if named:
        return named
    ordered = rows[np.argsort(data.targets.aus(rows).sum(axis=1), kind="stable")]
    return {f"target {k}": int(row) for k, row in enumerate(_spread(ordered, UNNAMED_TARGETS), start=1)}


def _frontal(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    frontal = rows[(dataset.manifest["gaze"].iloc[rows] == SHOWCASE_GAZE).to_numpy()]
    return frontal if len(frontal) else rows


def _example(targets: Dataset, rows: np.ndarray, expression: str, seed: int) -> int:
    rows = rows[(targets.manifest["expression"].iloc[rows] == expression).to_numpy()]
    return int(numpy_generator("showcase", expression, seed).choice(_frontal(targets, rows)))
