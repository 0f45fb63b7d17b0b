"""What the issue demands of the shipped files, read from their cards and from the files themselves."""

import numpy as np
import pytest
import torch

from eggan.aus import AU_COUNT
from eggan.evaluation import instruments
from eggan.evaluation.instrument_cards import WEIGHTS, read_card
from eggan.evaluation.instrument_commands import KINDS, describe


def test_all_are_there_within_twelve_megabytes_and_described():
    total = 0
    for kind in KINDS:
        card = read_card(kind)
        total += (WEIGHTS / f"{kind}.safetensors").stat().st_size
        assert card["sha256"][:16] in describe(card)
        assert card["data"]["training"]
        assert card["recipe"]["epochs"] > 0
    assert total <= 12e6


@pytest.mark.parametrize("which", ["a", "b"])
def test_estimators_reach_their_aim_on_identities_never_seen(which):
    figures = instruments.load_au_estimator(which).card["held_out"]
    for name in ("dense-64", "dense-128"):
        assert figures[name]["mean_pcc"] >= 0.95
        assert figures[name]["pcc_defined"] == AU_COUNT
    for name in ("twin-test-64", "twin-test-128"):
        assert figures[name]["mean_mse"] <= 0.10


def test_verifier_reaches_its_aim_on_identities_never_seen():
    verifier = instruments.load_verifier()
    assert verifier.card["threshold"]["identities"] >= 64
    assert verifier.false_accept_rate <= 0.02
    for figures in verifier.card["held_out"].values():
        assert figures["equal_error_percent"] <= 2.0


def test_the_estimators_differ_and_stay_finite_on_noise():
    a, b = instruments.load_au_estimator("a"), instruments.load_au_estimator("b")
    noise = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for estimator in (a, b):
        assert np.isfinite(estimator.predict(noise).numpy()).all()
    assert a.card["network"] != b.card["network"]
