"""Sampler and pruner of a study, as its settings pin them."""

import socket

import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, TPESampler

from eggan.randomness import derive_seed
from studies.config import StudyConfig

MACHINES = "machines"  # study attribute: the hosts that work on it, in the order in which they joined


def make_sampler(config: StudyConfig, machine: int, worker: int, trials: int) -> BaseSampler:
    """Return the sampler that proposes one trial, seeded by who asks and by how many trials there are.

    Equal seeds in two workers propose equal points; so would a worker that starts again with its old seed.
    """
    key = derive_seed("study sampler", config.sampler_seed, machine, worker, trials)
    return TPESampler(
        n_startup_trials=config.startup_trials,
        multivariate=config.multivariate,
        constant_liar=True,  # trials of other workers count as bad ones, so that nobody proposes them again
        seed=key % 2**32,
    )


def make_pruner(config: StudyConfig) -> BasePruner:
    """Return the pruner; its resource is the images after the warm start."""
    if not config.prunes:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=config.min_resource, reduction_factor=config.reduction_factor)


def expected_part(config: StudyConfig, warm_images: int) -> float:
    """Return the mean cost of a trial as part of a whole one, if a rung lets 1 in `reduction_factor` pass.

    Rungs lie at `min_resource` images after the warm start and at its multiples by powers of that factor.
    """
    if not config.prunes:
        return 1.0
    left = config.images - warm_images
    seen, going_on, rung, reached = float(warm_images), 1.0, config.min_resource, 0
    while rung < left:
        seen += going_on * (rung - reached)
        going_on, reached, rung = going_on / config.reduction_factor, rung, rung * config.reduction_factor
    return (seen + going_on * (left - reached)) / config.images


def machine_number(study: optuna.Study) -> int:
    """Return this machine's number in the study, 0 for the first; it joins where it is new."""
    host = socket.gethostname()
    known = list(study.user_attrs.get(MACHINES, []))
    if host not in known:
        known.append(host)
        study.set_user_attr(MACHINES, known)
    return known.index(host)
