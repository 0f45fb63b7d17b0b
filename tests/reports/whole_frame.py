"""A made-up suite that has every kind of figure, table and reason."""

import dataclasses

from reports.suite.frame import Frame
from tests.reports.fakes import make_frame
from tests.reports.test_ablations import less_like_the_truth, with_variants
from tests.reports.test_extremes_figure import with_extremes
from tests.reports.test_validation_curves import falling, with_probes

FEWER = "eggan-52-people"  # the second training of EGGAN, taken for one with fewer people


def whole_frame() -> Frame:
    """Return EGGAN with two numbers of people, an ablation, probes and extremes; one training failed."""
    frame = with_variants(make_frame(seeds=2, failed=False), {"eggan-wtp": (1, less_like_the_truth)})
    shown = dict(frame.showcases) | dict(with_extremes().showcases)
    probed = with_probes(falling(0.08)).curves
    tables = {
        name: getattr(frame, name).assign(
            method=getattr(frame, name)["method"].mask(getattr(frame, name)["run_id"] == "eggan-s1", FEWER)
        )
        for name in ("cells", "pairs", "metrics")
    }
    cells = tables["cells"]
    learns_from = cells["method"].map({"eggan": "1,500 people", FEWER: "52 people"}).fillna("")
    reason = cells["reason"].mask(cells["method"] == "eggan", "ask `eggan doctor` for more")
    seconds = [61.0 + 7 * place for place in range(len(cells))]
    tables["cells"] = cells.assign(learns_from=learns_from, reason=reason, seconds=seconds)
    return dataclasses.replace(frame, **tables, curves=probed, showcases=shown)
