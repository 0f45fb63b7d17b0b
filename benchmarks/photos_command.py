"""The command line of `eggan bench photos`."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.chosen_weights import add_weights_arguments, chosen_weights
from eggan.errors import UserError
from eggan.files import dated_folder
from eggan.options import (
    add_data_argument,
    add_device_argument,
    add_offline_argument,
    add_tracking_argument,
    command,
    resolve_device,
)
from eggan.progress import loading, working

if TYPE_CHECKING:
    from benchmarks.chosen_weights import ChosenWeights
    from benchmarks.photos.photos_run import Measured
    from benchmarks.photos.portraits import Portrait, Unmeasured

FOLDER = "photos"  # of the runs, in --runs
HEADINGS = {
    "slope": "slope",
    "true_slope": "of true edits",
    "off_target": "off target",
    "right": "right way, %",
    "detected": "found, %",
    "distance_high": "distance, 95th pct",
    "edit_ms": "edit, ms",
}


def add_photos(parser: argparse.ArgumentParser) -> None:
    """Add the options of `eggan bench photos`."""
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        help="photographs, those of one person in one sub-folder (default: what packages ship, and renders)",
    )
    add_weights_arguments(parser)
    add_offline_argument(parser)
    add_device_argument(parser)
    add_data_argument(parser)
    add_tracking_argument(parser)
    parser.set_defaults(run=run_photos)


def run_photos(arguments: argparse.Namespace) -> int:
    """Measure, print and track; return 0, whatever the targets say."""
    if arguments.folder is not None and not arguments.folder.is_dir():
        raise UserError(f"no such folder: {arguments.folder}")
    with loading():
        from benchmarks.photos.photos_run import write_measured
        from benchmarks.photos.portraits import portrait_files
        from benchmarks.photos.summary import targets_of
    from eggan import tracking

    if arguments.folder is not None:
        portrait_files(arguments.folder)  # a `UserError` where it holds none
    chosen = chosen_weights(arguments, resolve_device(arguments.device))
    if "target_aus" not in chosen.model.reads:
        raise UserError(f"{chosen.title} reads no AUs, so no AU of a photograph can be probed with it")
    store = None if arguments.offline else tracking.open_store(arguments.tracking_uri, arguments.runs)
    measured = _measure(arguments, chosen)
    for entry in measured.card["not_measured"]:
        print(f"not measured: {entry['name']}: {entry['reason']}")
    print(photos_text(measured))
    for target in targets_of(measured.probes):
        print(f"{target.word}: {target.text}")
    folder = dated_folder(arguments.runs / FOLDER)
    write_measured(measured, folder)
    track(folder, measured, chosen, store, shipped_only=arguments.folder is None)
    print(f"tracked in {folder}; page with all faces: {command('report photos')}")
    return 0


def _measure(arguments: argparse.Namespace, chosen: "ChosenWeights") -> "Measured":
    from benchmarks.photos.photos_run import measure
    from benchmarks.photos.probe import LEVELS, PhotographReaders
    from eggan.edit.photograph import PhotographEditor
    from eggan.evaluation import identity_distance
    from eggan.evaluation.landmark_reader import load_landmark_reader
    from eggan.files import hash_files

    reader = load_landmark_reader()
    without = identity_distance.why_not_measured()
    if without:
        print(f"note: identities are not measured: {without}")
    portraits = default_or_own(arguments)
    measured = measure(
        portraits,
        lambda portrait, aus: PhotographEditor(chosen.model, portrait.pixels, portrait.face, aus),
        PhotographReaders(reader.read, reader.estimate, None if without else identity_distance.describe),
        LEVELS,
    )
    measured.card |= {
        "method": chosen.model.name,
        "weights": chosen.title,
        "weights_sha256": hash_files([chosen.file]),
        "photographs": "" if arguments.folder is None else arguments.folder.name,
        "identity": without,
    }
    return measured


def default_or_own(arguments: argparse.Namespace) -> "Iterator[Portrait | Unmeasured]":
    """Yield the portraits of the folder that was named; without one, those that are there and renders."""
    from benchmarks.photos import portraits

    if arguments.folder is not None:
        yield from portraits.photographs(arguments.folder, portraits.portrait_files(arguments.folder))
        return
    fetched = arguments.data / portraits.PORTRAITS
    yield portraits.example()
    if fetched.is_dir():
        yield from portraits.photographs(fetched, portraits.portrait_files(fetched))
    else:
        print(f"note: {fetched} is not there (`make portraits` fetches it): one photograph and renders only")
    with working("drawing people"):
        drawn = list(portraits.renders())
    yield from drawn


def photos_text(measured: "Measured") -> str:
    """Return the figures of each AU, and real pairs beside them, as lines to print."""
    from benchmarks.photos.summary import by_action_unit
    from benchmarks.running.bench_console import table

    rows = by_action_unit(measured.probes, measured.truth).to_dict("records")
    lines = [table(["AU", *HEADINGS.values()], [_cells(row) for row in rows])]
    for same, title in ((True, "one person"), (False, "two people")):
        pairs = measured.pairs.loc[measured.pairs["same_person"] == same, "distance"]
        if len(pairs):
            between = f"{pairs.min():.3f} to {pairs.max():.3f}"
            lines.append(f"identity distance of {len(pairs)} real pairs of {title}: {between}")
    seconds = [entry["analysis_seconds"] for entry in measured.card["portraits"]]
    lines.append(f"{len(seconds)} faces, each analysed in {max(seconds):.2f} s at most")
    return "\n".join(lines)


def _cells(row: "Mapping[Any, Any]") -> list[str]:
    digits = (2, 2, 2, 0, 1, 3, 0)
    values = zip(HEADINGS, digits, strict=True)
    return [row["label"], *(f"{row[name]:.{places}f}".replace("nan", "-") for name, places in values)]


def track(
    folder: Path, measured: "Measured", chosen: "ChosenWeights", store: Any, shipped_only: bool
) -> None:
    """Log the figures as one run; faces go to the store only where they came with packages or are drawn."""
    from benchmarks.photos.photos_run import CARD, PAIRS, PROBES, TILES, TRUTH
    from benchmarks.photos.summary import figures, of_photographs, summarise
    from eggan import tracking

    settings = {key: measured.card[key] for key in ("method", "weights_sha256", "levels", "photographs")}
    faces = [TILES] if shipped_only else []
    record = tracking.RunRecord(
        name=f"photos/{chosen.model.name}",
        tags={
            "kind": "photos",
            **tracking.code_version(),
            **tracking.describe_machine(str(chosen.model.device)),
        },
        params=tracking.flat_params(settings | {"portraits": len(measured.card["portraits"])}),
        artifacts=[*(f"{Path(name).stem}.*" for name in (PROBES, PAIRS, TRUTH)), CARD, *faces],
    )
    probes = of_photographs(measured.probes)
    values = {f"photos/{name}": value for name, value in figures(probes).items()}
    for row in summarise(probes, "au").to_dict("records"):
        values |= {f"photos/au{row['au']}/{name}": value for name, value in row.items() if name != "au"}
    run = tracking.TrackedRun(folder, record, store)
    run.log(0, {name: value for name, value in values.items() if value == value})
    run.finish("finished")
