"""`eggan data compare-labels`: how far two label files agree."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eggan.errors import UserError
from eggan.progress import loading

if TYPE_CHECKING:
    import pandas as pd

    from eggan.data.labels.table import LabelTable

EXAMPLES = """examples:
  eggan data compare-labels openface/ mine.csv       two tables of intensities: PCC, MSE, ICC(3,1) per AU
  eggan data compare-labels openface/ pyfeat.csv     intensities and probabilities: AUC per AU"""


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eggan data compare-labels`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Compare AU labels of the same images by two tools."
    parser.epilog = EXAMPLES
    parser.add_argument("first", type=Path, help="OpenFace's CSV file or folder, or a table (file, au01, ..)")
    parser.add_argument("second", type=Path, help="the same, or py-feat's output")


def run_compare(args: argparse.Namespace) -> int:
    """Print the agreement per AU and return 0."""
    with loading():
        from eggan.data.labels import pyfeat
        from eggan.data.labels.csv_rows import read_rows
        from eggan.data.labels.read import read_labels

    first = read_labels(args.first)
    header = read_rows(args.second)[0] if args.second.is_file() else []
    if pyfeat.is_pyfeat(header):
        print(pyfeat.second_opinion(first, pyfeat.read_probabilities(args.second)).to_string(index=False))
        return 0
    second = read_labels(args.second)
    print(f"{first.origin} and {second.origin}")
    print(agreement(first, second).to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    return 0


def agreement(first: "LabelTable", second: "LabelTable") -> "pd.DataFrame":
    """Return PCC, MSE and ICC(3,1) per AU over the images that both tables label: columns au, .., n."""
    import pandas as pd

    from eggan.aus import AU_COLUMNS
    from eggan.evaluation import metrics

    read = [table.table[table.table["problem"] == ""] for table in (first, second)]
    # Either table may name folders that the other lacks, so both directions are tried.
    ours_first = [(key, second.match(key)) for key in read[0].index]
    theirs_first = [(first.match(key), key) for key in read[1].index]
    pairs = [pair for pair in ours_first if pair[1] in read[1].index]
    pairs = pairs or [pair for pair in theirs_first if pair[0] in read[0].index]
    if not pairs:
        sequences = [table.origin for table in (first, second) if table.has_frames()]
        hint = f": the rows of one ({sequences[0]}) are frames of a sequence" if len(sequences) == 1 else ""
        raise UserError(f"the two label tables have no image in common{hint}")
    a = read[0].loc[[ours for ours, _ in pairs], list(AU_COLUMNS)].to_numpy(float)
    b = read[1].loc[[theirs for _, theirs in pairs], list(AU_COLUMNS)].to_numpy(float)
    scores = {"pcc": metrics.pcc(a, b), "mse": metrics.mse(a, b), "icc": metrics.icc31(a, b)}
    return pd.DataFrame({"au": AU_COLUMNS, **scores, "n": len(a)})
