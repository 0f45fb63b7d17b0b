import dataclasses

import pytest

from benchmarks.suites.methods import METHODS
from eggan.config import content_hash
from eggan.errors import UserError
from eggan.files import read_json, write_json
from eggan.model_config import EGGANConfig, crowd_preset, paper_preset, quick_preset
from eggan.warp import CPU, ENTRY, PAPER, WarpConfig
from studies import space as spaces
from studies.sampling import expected_part
from studies.space import find_space
from studies.study_config import SPEC_FILE, StudyConfig, read_spec, write_spec
from studies.study_context import study_dataset, with_room
from tests.benchmarks.fakes import make_bench
from tests.studies import study_context as small
from tests.studies.fakes import fake_spec


def test_the_papers_weights_are_the_centre_of_the_space():
    space = find_space("loss-weights")
    paper = {"lambda_au": 100, "lambda_id": 60, "lambda_per": 20, "lambda_rec": 100, "lambda_gp": 20}
    assert space.values_of(paper_preset()) == paper
    for name, distribution in space.distributions.items():
        assert distribution.log
        assert distribution.low * distribution.high == pytest.approx(paper[name] ** 2)


def test_the_presets_weights_are_the_centre_of_eggan_ws_space():
    space = find_space("warp-weights")
    own = {"weight_changed": 1.0, "weight_gradient": 1.0, "weight_ssim": 0.5}
    own |= {"weight_paint": 0.01, "weight_features": 0.5}
    assert space.values_of(CPU) == space.values_of(PAPER) == own
    for name, distribution in space.distributions.items():
        assert (distribution.low, distribution.high) == pytest.approx((own[name] / 10, own[name] * 10))
    tried = space.apply(CPU, own | {"weight_paint": 0.04})
    assert tried == dataclasses.replace(CPU, weight_paint=0.04)
    assert tried.weight_pixels == 1.0


@pytest.mark.parametrize(
    ("space", "config"), [("warp-weights", EGGANConfig()), ("loss-weights", WarpConfig())]
)
def test_a_method_without_the_spaces_fields_is_refused(space, config):
    with pytest.raises(UserError, match="which this method does not have"):
        find_space(space).values_of(config)


def test_options_are_the_spaces_own():
    assert find_space("warp-weights", ["learning_rate"]).values_of(CPU)["learning_rate"] == 1e-3
    with pytest.raises(UserError, match=r"of the space warp-weights \(known: learning_rate\)"):
        find_space("warp-weights", ["latent_dim"])


def test_the_defaults_of_every_space_make_a_study_of_its_method():
    for space in (spaces.LOSS_WEIGHTS, spaces.WARP_WEIGHTS):
        study = StudyConfig(**{**space.defaults, "space": space.name})
        entry = METHODS[study.method]
        space.values_of(entry.presets[study.preset])
        assert study.images > study.min_resource


def test_a_long_warm_start_leaves_images_in_which_the_weights_act():
    study = StudyConfig()
    assert with_room(study, quick_preset()) == study
    assert with_room(study, CPU) == study  # which has none
    assert with_room(study, crowd_preset()) == dataclasses.replace(study, images=4000 * 16 + 9600)


@pytest.mark.parametrize(("reference", "trials"), [("paper", ["paper", "preset"]), ("preset", ["preset"])])
def test_the_first_trials_are_the_papers_weights_if_it_gives_any(tmp_path, monkeypatch, reference, trials):
    context = small.make_context(tmp_path)  # whose presets `paper` and `good` differ
    searched = dataclasses.replace(small.SPACE, reference=reference)
    monkeypatch.setattr(spaces, "SPACES", {**spaces.SPACES, "painting": searched})
    assert list(context.references()) == trials
    assert context.references()["preset"] == {"strength": 1.0}


def test_validation_people_are_edited_to_training_targets_and_nobody_else_is_read(tmp_path):
    context = small.make_context(tmp_path)
    assert "test" in set(context.dataset.manifest["split"])
    for scoring in (context.final, context.interim):
        (data,) = scoring.splits
        split = data.sources.manifest["split"].to_numpy()
        assert set(split[data.pairs["source_row"]]) == {"val"}
        assert set(split[data.pairs["target_row"]]) == {"train"}


def test_a_method_that_learns_from_true_edits_is_given_a_dataset_of_them(tmp_path):
    bench = make_bench(tmp_path)
    with pytest.raises(UserError, match=r"learns from true edits, which .*faces does not hold"):
        study_dataset(bench, ENTRY, CPU)
    asked = []

    def build(role, size, seed, workers, folder):
        asked.append(role)
        raise UserError("not here")

    for entry in (ENTRY, small.painter_entry()):
        with pytest.raises(UserError, match="not here"):
            study_dataset(dataclasses.replace(bench, dataset=None, build=build), entry, CPU)
    assert asked == ["crowd", "twin"]


def test_parameters_set_their_fields_and_nothing_else():
    space = find_space("loss-weights", ["critic_steps"])
    params = {**space.values_of(paper_preset()), "critic_steps": 3}
    wanted = dataclasses.replace(paper_preset(), image_size=64, ms_ssim_window=3, critic_steps=3)
    base = dataclasses.replace(wanted, weight_au=1.0, weight_gp=2.0, critic_steps=1)
    assert space.apply(base, params) == wanted
    assert space.values_of(space.apply(base, params)) == params


def test_a_value_that_the_space_does_not_hold_is_refused():
    with pytest.raises(UserError, match="weight_id = 0"):
        find_space("loss-weights").values_of(dataclasses.replace(quick_preset(), weight_id=0.0))
    with pytest.raises(UserError, match="latent_dim = 100"):
        find_space("loss-weights", ["latent_dim"]).values_of(
            dataclasses.replace(quick_preset(), latent_dim=100)
        )


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UserError, match=r"known: loss-weights"):
        find_space("weights")
    with pytest.raises(UserError, match=r"known: critic_steps, latent_dim, learning_rate"):
        find_space("loss-weights", ["depth"])


@pytest.mark.parametrize(
    ("change", "words"),
    [({"seeds": ()}, "seeds"), ({"reduction_factor": 1}, "reduction"), ({"trials": 0}, "trials")],
)
def test_settings_that_make_no_study_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        StudyConfig(**change)


def test_only_a_pruning_objective_prunes():
    assert StudyConfig().prunes
    assert not StudyConfig(objective="pareto").prunes
    assert not StudyConfig(pruner="none").prunes


def test_a_specification_is_read_back_and_its_identity_ignores_what_may_change(tmp_path):
    spec = fake_spec(also=("critic_steps",), seeds=(0, 1))
    write_spec(spec, tmp_path)
    assert read_spec(tmp_path) == spec
    more = dataclasses.replace(spec, study=dataclasses.replace(spec.study, trials=99, stale_seconds=99.0))
    assert more.identity == spec.identity
    assert dataclasses.replace(spec, storage="postgresql+psycopg://h/d").identity == spec.identity
    others = [
        dataclasses.replace(spec, study=dataclasses.replace(spec.study, images=1)),
        dataclasses.replace(spec, method_config={}),
        dataclasses.replace(spec, dataset={**spec.dataset, "content_hash": "e" * 64}),
        dataclasses.replace(spec, instruments={**spec.instruments, "a": "c" * 64}),
    ]
    assert len({content_hash(other.identity) for other in [spec, *others]}) == 5


def test_a_missing_or_broken_specification_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="holds no study: start one with"):
        read_spec(tmp_path / "studies" / "s")
    (tmp_path / "studies" / "loss-weights-pareto").mkdir(parents=True)
    (tmp_path / "studies" / "loss-weights-pareto" / "study.json").write_text("{}")
    with pytest.raises(UserError, match="holds no study: did you mean loss-weights-pareto"):
        read_spec(tmp_path / "studies" / "loss-weights")
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(UserError, match="corrupted"):
        read_spec(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"storage": 7},
        {"storage": None},
        {"method_config": 5},
        {"training": []},
        {"method_version": "1"},
        {"dataset": {}},
        {"dataset": "painted"},
        {"instruments": {"a": 3}},
        {"study": 5},
        {"name": 5},
    ],
    ids=str,
)
def test_a_specification_of_another_shape_is_one_line_for_every_command(eggan, tmp_path, wrong):
    folder = tmp_path / "studies" / "s"
    write_spec(fake_spec("s"), folder)
    write_json(read_json(folder / SPEC_FILE) | wrong, folder / SPEC_FILE)
    said = f"{folder / SPEC_FILE} is not a study's specification, or one of another version"
    for words in (("status", "s"), ("best", "s", "--export", tmp_path / "best.toml"), ("confirm", "s")):
        status, _, err = eggan("study", *words, "--runs", tmp_path)
        assert (status, said in err, err.count("\n")) == (2, True, 1), err
    status, out, _ = eggan("study", "status", "--runs", tmp_path)
    assert (status, said in out) == (0, True)


def test_the_expected_cost_follows_the_rungs():
    # rungs at 100 and 200 of 400 images after a start of 600: 100 for all, 100 for a half, 200 for a quarter
    config = StudyConfig(images=1000, min_resource=100)
    assert expected_part(config, 600) == pytest.approx((600 + 100 + 50 + 50) / 1000)
    assert expected_part(dataclasses.replace(config, pruner="none"), 600) == 1.0
    assert expected_part(dataclasses.replace(config, reduction_factor=4), 600) == pytest.approx(
        (600 + 100 + 75) / 1000
    )
