"""Keys name cells that took hours. A change of a preset or of a config's fields must be seen, not slip in."""

from dataclasses import replace

import pytest

from benchmarks.running.cells import CellSpec
from benchmarks.suites.methods import METHODS, all_methods
from benchmarks.suites.presets import preset_config
from benchmarks.suites.suite import find_suite
from eggan.config import content_hash, to_dict

KEYS = {
    "eggan": "02e329c94b0f3484ba94",
    "stargan": "31f516b4ea547defd626",
    "homointerpgan": "9fc26afdfbe742672846",
    "ganimation": "7c7a487d1ec65913cad2",
    "eggan-tuned": "f5c48d10935dc69247f3",
}
OF_PROTOCOL_1 = {
    "eggan": "d4951022b5afd66a9fdc",
    "stargan": "d311e37651c2f91a1ec9",
    "homointerpgan": "d6a988071cf2b072a07a",
    "ganimation": "b973c86170daeba4a0ea",
    "eggan-tuned": "16f7d08631b803dcb3ce",
}


def spec_of(method, **protocol):
    suite = find_suite("twin")
    row = next(row for row in suite.rows if row.method == method)
    entry = all_methods()[method]
    return CellSpec(
        suite=suite.name,
        title="",
        method=method,
        method_version=entry.version,
        dataset="",
        image_size=suite.image_size,
        seed=0,
        config=to_dict(preset_config(entry, row)),
        training=to_dict(row.training),
        protocol=to_dict(suite.protocol) | protocol,
        datasets={"twin": "t", "wide": "w"},
        instruments={"a": "a", "b": "b", "verifier": "v"},
        pairs={"test": "p", "wide": "q"},
    )


@pytest.mark.parametrize("method", KEYS)
def test_the_key_of_a_cell_of_the_twin_is_known(method):
    assert spec_of(method).key == KEYS[method]


@pytest.mark.parametrize("method", KEYS)
def test_cells_of_an_earlier_protocol_have_other_keys_and_nothing_else_has_changed(method):
    assert spec_of(method, version=1).key == OF_PROTOCOL_1[method] != KEYS[method]


def test_fields_that_came_later_leave_the_config_of_eggan_w_as_it_was():
    """No suite of before trains it by a key above; its own cells and trainings are named by this hash."""
    presets = {name: METHODS["eggan-w"].presets[name] for name in ("paper", "cpu", "quick")}
    by_adam = {name: replace(preset, muon=False) for name, preset in presets.items()}
    without_reader = {name: replace(preset, weight_features=0.0) for name, preset in by_adam.items()}
    assert digests(without_reader) == {"paper": "b428f33073", "cpu": "b2e546e223", "quick": "cb43206ece"}
    assert digests(by_adam) == {"paper": "937dc3a6d2", "cpu": "18f92089af", "quick": "cb43206ece"}
    assert digests(presets) == {"paper": "01ef1521fe", "cpu": "8e8a44a42b", "quick": "a04a8b81ee"}


def digests(configs):
    return {name: content_hash(to_dict(config))[:10] for name, config in configs.items()}
