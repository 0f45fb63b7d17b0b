"""What a cell's run produces: a trained checkpoint where there is something to train, scores, pictures,
costs.
"""

from dataclasses import dataclass
from pathlib import Path

from baselines.references import Reference
from benchmarks.running.cells import TRAINED, WEIGHTS_OF, PlannedCell, read_status, write_status
from benchmarks.running.earlier_training import take_over_training
from benchmarks.running.environment import OpenSuite
from benchmarks.running.showcase import probe_sheet, showcase, write_showcase
from benchmarks.scoring.evaluate import Editor, Scores, ScoringContext, editor_of, evaluate, evaluate_answer
from benchmarks.scoring.exploitation_alarm import EXPLOITATION, exploitation_probe
from benchmarks.suites.presets import preset_config
from benchmarks.suites.shipped_methods import ShippedMethod
from eggan.checkpoint import STATE_FILE, WEIGHTS_FILE, load_checkpoint
from eggan.data.dataset import TRAIN, Dataset
from eggan.edit_cost import LATENCY_BATCHES, edit_costs
from eggan.errors import UserError
from eggan.files import write_atomically
from eggan.method import Method, MethodEntry
from eggan.progress import working
from eggan.training_run import Log, TrainingRun, run_training


@dataclass
class Produced:
    """The results of a cell."""

    scores: Scores
    costs: dict[str, float]
    alarms: tuple[str, ...] = ()


def produce(plan: PlannedCell, folder: Path, opened: OpenSuite, log: Log) -> Produced:
    """Train (or go on, or reuse a complete training), score, and write the pictures of one cell.

    A finished cell that was trained alike and scored otherwise lends its weights.
    """
    entry, bench, scoring = plan.entry, opened.bench, opened.scoring
    if isinstance(entry, Reference):
        dataset = opened.training_data(plan.row)
        return Produced(_reference_scores(entry, folder, scoring, dataset), {})
    if isinstance(entry, ShippedMethod):
        return Produced(*_score(entry.restore(bench.device), entry.reads, folder, opened))
    if not is_trained(folder):
        with working("looking for an earlier training"):
            taken = take_over_training(plan.spec, folder, bench.runs, log)
        if taken is None:
            trained, alarms = _train(plan, entry, folder, opened, log)
            taken = {TRAINED: trained, "alarms": alarms}
        write_status(folder, "running", **taken)
    method = _restore(entry, folder, bench.device)
    scores, costs = _score(method, entry.reads, folder, opened)
    recorded = read_status(folder).values
    if WEIGHTS_OF in recorded:
        scores.basis |= {"notes": [*scores.basis["notes"], recorded[WEIGHTS_OF]]}
    return Produced(scores, recorded[TRAINED] | costs, tuple(recorded["alarms"]))


def _score(
    method: Method, reads: tuple[str, ...], folder: Path, opened: OpenSuite
) -> tuple[Scores, dict[str, float]]:
    """Score a method that is ready to edit, and write its pictures; return the costs of its edits too."""
    editor, scoring = editor_of(method, reads), opened.scoring
    with working("timing edits"):
        timed = scoring.splits[0].edits.batch(slice(0, max(LATENCY_BATCHES)), opened.bench.device)
        costs = edit_costs(method, timed, opened.bench.device)
    scores = evaluate(editor, scoring)
    _write_pictures(editor, folder, scoring, scores)
    return scores, costs


def is_trained(folder: Path) -> bool:
    """Return whether a cell's training has reached its end."""
    return read_status(folder).values.get(TRAINED) is not None


def _reference_scores(
    reference: Reference, folder: Path, scoring: ScoringContext, dataset: Dataset
) -> Scores:
    if reference.edit is None:
        if reference.answer is None:
            raise ValueError(f"the reference {reference.name} answers nothing")
        return evaluate_answer(reference.answer(dataset.aus(dataset.rows(TRAIN))), scoring)
    editor = Editor(reference.edit, reference.reads)
    scores = evaluate(editor, scoring)
    _write_pictures(editor, folder, scoring, scores)
    return scores


def _train(
    plan: PlannedCell, entry: MethodEntry, folder: Path, opened: OpenSuite, log: Log
) -> tuple[dict[str, float], list[str]]:
    """Train to the end and return its costs and the alarms: collapses, and exploitation at the last probe.

    `cost/build_seconds` is what was done before the loop, such as pre-training a classifier (0 from a cache).
    """
    row, bench, dataset = plan.row, opened.bench, opened.training_data(plan.row)
    if row.training is None:
        raise UserError(f"the suite gives no training for the method {entry.name}")
    config = preset_config(entry, row)

    def log_training(step: int, values: dict[str, float]) -> None:
        if EXPLOITATION in values:  # kept at once: no probe comes again after the training's last save
            write_status(folder, "running", exploited=bool(values[EXPLOITATION]))
        log(step, {f"train/{name}": value for name, value in values.items()})

    run = TrainingRun(
        entry, config, row.training, dataset, plan.spec.seed, bench.device, bench.cache, bench.progress
    )
    probe = exploitation_probe(dataset, opened.scoring.instruments.a, bench.device, log_training)
    trained = run_training(run, folder, log_training, probe)
    result = trained.result
    costs = {
        "cost/build_seconds": trained.build_seconds,
        "cost/train_seconds": result.seconds,
        "cost/images_per_second": result.images_per_second,
    }
    exploited = read_status(folder).values.get("exploited", False)
    return costs, [*result.alarms, *(["exploitation"] if exploited else [])]


def _restore(entry: MethodEntry, folder: Path, device: str) -> Method:
    """Load the checkpoint as any user would. A defect fails the cell; its next run then trains again."""
    try:
        return entry.restored(load_checkpoint(folder), device, where="config.json")
    except UserError:
        # The state goes first: with it the next run would only export the same weights again.
        for name in (STATE_FILE, WEIGHTS_FILE):
            (folder / name).unlink(missing_ok=True)
        write_status(folder, "running", **{TRAINED: None})
        raise


def _write_pictures(editor: Editor, folder: Path, scoring: ScoringContext, scores: Scores) -> None:
    arrays = showcase(editor, scoring) | scores.pictures
    with working("writing pictures"):
        write_showcase(arrays, folder / "scores" / "showcase.npz")
        write_atomically(folder / "images" / "probe_sheet.png", probe_sheet(arrays).save)
