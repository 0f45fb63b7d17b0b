"""How much each parameter matters, by two evaluators that mean different things by it.

Both know complete trials only. Where a study prunes, few trials are complete, and they are the good ones:
there the scores of the validation at which the first trial was stopped stand in.
"""

from dataclasses import dataclass
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
from optuna.importance._base import BaseImportanceEvaluator
from optuna.trial import TrialState, create_trial

from studies.storage.trials import PROBES
from studies.study_config import ERROR
from studies.study_export import StudyData

LEAST = 10  # trials: below that both evaluators rank noise
QUANTILE = 0.2  # of trials that count as good; Optuna's 0.1 leaves three of thirty
PED_ANOVA = f"PED-ANOVA (best {QUANTILE:.0%})"
FANOVA = "fANOVA"
MEANINGS = {
    PED_ANOVA: "which parameters tell the best fifth of the trials from all trials (Watanabe et al. 2023)",
    FANOVA: "which parameters explain the variance over all these trials (Hutter et al. 2014; 64 trees)",
}


@dataclass(frozen=True)
class Importance:
    """Importances of the parameters for one score; each evaluator's sum to 1.

    `images`: where in the trainings the scores of the `trials` were read; None: at the end.
    """

    metric: str
    trials: int
    images: int | None
    values: dict[str, dict[str, float]]  # evaluator -> parameter -> importance


def importances(data: StudyData) -> list[Importance]:
    """Return the importances for the objective's AU score and for identity accuracy; [] below `LEAST`.

    A score that is equal in all trials is left out: there is nothing to explain.
    """
    images = _first_rung(data) if data.spec.study.prunes else None
    read = [(trial, scores) for trial in data.study.trials if (scores := _scores(trial, images))]
    if len(read) < LEAST:
        return []
    return [
        Importance(metric, len(read), images, _by_evaluator(read, metric))
        for metric in data.spec.study.headline
        if len({scores[metric] for _, scores in read}) > 1
    ]


def _first_rung(data: StudyData) -> int | None:
    """Return the images of the earliest intermediate validation at which the pruner may stop a trial."""
    reached = [
        images
        for trial in data.study.trials
        if trial.state == TrialState.PRUNED
        for images, _ in trial.user_attrs.get(PROBES, [])[-1:]
    ]
    return min(reached, default=None)


def _scores(trial: Any, images: int | None) -> dict[str, float] | None:
    """Return a trial's final scores, or those it had after `images`; None where it has none."""
    if trial.state == TrialState.COMPLETE and images is None:
        return dict(trial.user_attrs)
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or images is None:
        return None
    return next((scores for seen, scores in trial.user_attrs.get(PROBES, []) if seen == images), None)


def _by_evaluator(read: list[tuple[Any, dict[str, float]]], metric: str) -> dict[str, dict[str, float]]:
    """Return the importances of trials with their scores, as a study in which less is better."""
    sign = 1.0 if metric == ERROR else -1.0
    study = optuna.create_study()
    for trial, scores in read:
        value = sign * float(scores[metric])
        study.add_trial(create_trial(value=value, params=trial.params, distributions=trial.distributions))
    evaluators: dict[str, BaseImportanceEvaluator] = {
        PED_ANOVA: PedAnovaImportanceEvaluator(target_quantile=QUANTILE),
        FANOVA: FanovaImportanceEvaluator(seed=0),
    }
    return {name: get_param_importances(study, evaluator=evaluator) for name, evaluator in evaluators.items()}
