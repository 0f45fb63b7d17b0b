"""How much each parameter matters, by two evaluators that mean different things by it."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
from optuna.importance._base import BaseImportanceEvaluator
from optuna.trial import FrozenTrial

from studies.choose import ERROR, headline
from studies.data import StudyData, complete_trials

LEAST = 10  # complete trials: below that both evaluators rank noise
QUANTILE = 0.2  # of trials that count as good; Optuna's 0.1 leaves three of thirty
PED_ANOVA = f"PED-ANOVA (best {QUANTILE:.0%})"
FANOVA = "fANOVA"
MEANINGS = {
    PED_ANOVA: "which parameters tell the best fifth of the trials from all trials (Watanabe et al. 2023)",
    FANOVA: "which parameters explain the variance over all complete trials (Hutter et al. 2014; 64 trees)",
}


@dataclass(frozen=True)
class Importance:
    """Importances of the parameters for one score; each evaluator's sum to 1."""

    metric: str
    values: dict[str, dict[str, float]]  # evaluator -> parameter -> importance


def importances(data: StudyData) -> list[Importance]:
    """Return the importances for the objective's AU score and for identity accuracy; [] below `LEAST`."""
    if len(complete_trials(data)) < LEAST:
        return []
    metrics = headline(data.spec.study)
    return [Importance(metric, _by_evaluator(data, metric)) for metric in metrics]


def _by_evaluator(data: StudyData, metric: str) -> dict[str, dict[str, float]]:
    evaluators: dict[str, BaseImportanceEvaluator] = {
        PED_ANOVA: PedAnovaImportanceEvaluator(target_quantile=QUANTILE),
        FANOVA: FanovaImportanceEvaluator(seed=0),
    }
    return {name: _evaluate(data.study, evaluator, metric) for name, evaluator in evaluators.items()}


def _evaluate(study: optuna.Study, evaluator: BaseImportanceEvaluator, metric: str) -> dict[str, float]:
    with warnings.catch_warnings():
        # PED-ANOVA says every time that lower targets are better to it: `_loss` sees to that.
        warnings.filterwarnings("ignore", message=".*computes the importances of params to achieve.*")
        values = get_param_importances(study, evaluator=evaluator, target=_loss(metric))
    return {name: float(value) for name, value in values.items()}


def _loss(metric: str) -> Callable[[FrozenTrial], float]:
    """Return a score of a trial with its sign such that less is better."""
    sign = 1.0 if metric == ERROR else -1.0
    return lambda trial: sign * float(trial.user_attrs[metric])
