"""What the paper says of its parts, the metric that stands for each claim, and whether it holds here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.style.finding import Finding
from reports.style.metric_catalogue import Metric
from reports.suite.ablation_tables import Ablations, Effects
from reports.suite.frame import Frame
from reports.suite.method_names import OUR_METHOD, method_title
from reports.suite.suite_findings import SEEDS_FOR_CLAIMS
from reports.suite.suite_tables import SIGNIFICANT, p_text


@dataclass(frozen=True)
class Claim:
    """One statement of the paper; it holds when the metric is worse without the part. `quote` is verbatim."""

    method: str
    quote: str
    where: str
    metric: str


# Chosen before any result: an image that lacks detail, bends or has artifacts is less like the true edit.
CLAIMS: tuple[Claim, ...] = (
    Claim(
        "eggan-wtp",
        "leads to the lack of fine semantic information of generated images and some artifacts",
        "Sec. 4.4",
        "pixels/msssim",
    ),
    Claim("eggan-wtp", "to constrain the identity preservation", "Sec. 3.3", "identity/accuracy"),
    Claim("eggan-wti", "cannot keep identities well", "Sec. 4.4", "identity/accuracy"),
    Claim("eggan-wts", "cannot get effective results with expected expressions", "Sec. 4.4", "au/mse"),
    Claim("eggan-wts", "beneficial for preserving global facial shape", "Sec. 3.4", "pixels/msssim"),
    Claim("eggan-no-dz", "beneficial for fine-grained expression manipulation", "Sec. 1", "au/mse"),
    Claim(
        "eggan-l1-only",
        "L1 norm often results in structural distortion and image blurring",
        "Sec. 3.4",
        "pixels/msssim",
    ),
)
C_ID_FEATURES = (
    "EGGAN's perceptual loss compares features of C_id in these runs, not of ImageNet's VGG19. It pulls "
    "towards the source's identity itself, so E_wtI keeps a part of that pull, and E_wtP loses one."
)


def claim_findings(frame: Frame, ablations: Sequence[Ablations]) -> list[Finding]:
    """Return a finding per claim, and one per part without a claim, on each dataset's headline split."""
    headline: dict[str, Ablations] = {}
    for found in ablations:  # sections come with the headline split first
        headline.setdefault(found.section.dataset, found)
    findings = [finding for found in headline.values() for finding in _on_section(found)]
    if findings and _perceives_with_c_id(frame):
        findings.append(Finding("open", C_ID_FEATURES))
    return findings


def _on_section(found: Ablations) -> list[Finding]:
    where = found.section.where
    if found.full is None:
        title = method_title(found.of)
        return [Finding("bad", f"Ablations on {where}: {title} has no scores to compare with.")]
    findings = []
    for group in found.groups:
        name = f"{group.title} on {where}"
        effects = found.effects.get(group.method)
        if effects is None:
            why = group.failure or "no common pairs"
            findings.append(Finding("bad", f"{name}: nothing to judge ({why})."))
            continue
        claims = [claim for claim in CLAIMS if claim.method == group.method]
        findings += [_judged(name, claim, found, effects) for claim in claims]
        findings += [] if claims else [_unclaimed(name, found, effects)]
    return findings


def _judged(name: str, claim: Claim, found: Ablations, effects: Effects) -> Finding:
    start = f"{name}: the paper says “{claim.quote}” ({claim.where})"
    at = found.position(claim.metric)
    if at < 0 or np.isnan(effects.difference.estimate[at]):
        why = next((r for key, r in found.unmeasured.items() if key.startswith(claim.metric)), "")
        because = f" ({why})" if why else ""
        return Finding("open", f"{start}. Not tested here: {claim.metric} was not measured{because}.")
    start += f". {_change(found, effects, at)}: "
    worse = _is_worse(found.metrics[at], effects, at)
    significant = effects.adjusted[at] < SIGNIFICANT
    if effects.seeds < SEEDS_FOR_CLAIMS:
        leaning = ("the claim's way" if worse else "the other way") if significant else "neither way"
        return Finding(
            "open",
            f"{start}it points {leaning}, but rests on {_seeds(effects)} where a claim needs "
            f"{SEEDS_FOR_CLAIMS}: the interval does not span the chance of training.",
        )
    if not significant:
        return Finding("open", f"{start}the claim is not shown here, nor its opposite.")
    if worse:
        return Finding("good", f"{start}the claim holds here.")
    return Finding("bad", f"{start}the claim does not hold here, the opposite does.")


def _unclaimed(name: str, found: Ablations, effects: Effects) -> Finding:
    """Say what changes without a part of which the paper says nothing that these metrics test.

    Of EGGAN-W, which is not the paper's, it says nothing at all.
    """
    changed = [i for i in range(len(found.metrics)) if effects.adjusted[i] < SIGNIFICANT]
    changes = "; ".join(_change(found, effects, i) for i in changed)
    seeds = "" if effects.seeds >= SEEDS_FOR_CLAIMS else f" With {_seeds(effects)}, this is no claim."
    claim = "the paper makes no claim that these metrics test. " if found.of == OUR_METHOD else ""
    return Finding(
        "open",
        f"{name}: {claim}"
        f"{f'Without it: {changes}.' if changes else 'No metric changes beyond chance.'}{seeds}",
    )


def _seeds(effects: Effects) -> str:
    return f"{effects.seeds} training{'' if effects.seeds == 1 else 's'}"


def _change(found: Ablations, effects: Effects, at: int) -> str:
    metric, change = found.metrics[at], effects.difference
    title = metric.title.replace("estimator A", found.section.readers.a)
    low, high = (f"{float(end[at]):+.{metric.digits}f}" for end in (change.low, change.high))
    unit = {"": "", "%": " percentage points"}.get(metric.unit, f" {metric.unit}")
    return (
        f"{title} changes by {float(change.estimate[at]):+.{metric.digits}f}{unit} [{low}, {high}], "
        f"{p_text(float(effects.adjusted[at]))}"
    )


def _is_worse(metric: Metric, effects: Effects, at: int) -> bool:
    change = float(effects.difference.estimate[at])
    return change > 0 if metric.direction == "min" else change < 0


def _perceives_with_c_id(frame: Frame) -> bool:
    ours = frame.cells.loc[frame.cells["method"] == OUR_METHOD, "run_id"]
    settings = frame.settings[frame.settings["run_id"].isin(ours)]
    return bool(((settings["setting"] == "config.perceptual_on") & (settings["value"] == "c_id")).any())
