"""Tables of experiments: strict errors, which override wins, budgets, and which runs the rows share."""

import pytest
from helpers import ROOT
from runner_helpers import make_dataset, write_recipe, write_table

from campus_visual_gps.errors import ConfigError
from training.config import load_config
from training.experiments.budget import Budget
from training.experiments.data import ExperimentData
from training.experiments.plan import make_plan
from training.experiments.table import load_table

TABLES = sorted((ROOT / "config" / "training" / "experiments").glob("*.yaml"))
PAPER = ROOT / "config" / "training" / "convnext_ensemble.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return ExperimentData(make_dataset(tmp_path_factory.mktemp("data")), "val")


@pytest.fixture
def folder(tmp_path):
    write_recipe(tmp_path)
    return tmp_path


def test_every_table_of_the_paper_that_compares_trainings_has_a_file():
    tables = {load_table(path).settings.paper.table: path.stem for path in TABLES}
    assert set(tables) == {1, 5, 6, 7, 8, 9, 11, 12, 13, 14}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_the_rows_of_a_table_are_valid_and_one_is_the_baseline(path):
    table = load_table(path)
    assert sum(row.baseline for row in table.settings.rows) == 1
    assert any(row.paper for row in table.settings.rows)


def test_the_journey_has_the_eleven_steps_of_the_paper():
    configs = [config for _, config in load_table(ROOT / "config/training/experiments/journey.yaml").trainings()]
    found = [(c.model.backbone, c.size_px, c.loss.name, c.model.head) for c in configs]
    assert found == [
        ("resnet18", 256, "mse", "linear"),
        ("resnet18", 256, "area_zscore", "linear"),
        ("efficientnet_b0", 256, "mse", "linear"),
        ("efficientnet_v2_s", 384, "mse", "linear"),
        ("efficientnet_b3", 300, "mse", "linear"),
        ("efficientnet_b0", 256, "huber", "mlp"),
        ("efficientnet_b0", 256, "huber", "mlp"),
        ("efficientnet_b0", 320, "huber", "mlp"),
        ("swin_t", 320, "huber", "mlp"),
        ("convnext_tiny", 320, "huber", "mlp"),
        ("convnext_tiny", 320, "huber", "mlp"),
    ]
    assert [config.augment.night_p for config in configs] == [0.0] * 6 + [0.2] * 5


def test_a_rows_override_wins_over_set_which_wins_over_the_table_which_wins_over_the_base(folder):
    path = write_table(
        folder,
        [{"name": "own", "overrides": {"loss": {"name": "mse"}}}, {"name": "base", "overrides": {}}],
        overrides={"loss": {"name": "huber", "huber_delta_m": 2.0}, "size_px": 64},
    )
    table = load_table(path, ["loss.name=inverse_variance", "loss.huber_delta_m=3.0"])
    configs = {row.name: config for row, config in table.trainings()}
    assert configs["own"].loss.name == "mse" and configs["base"].loss.name == "inverse_variance"
    assert configs["own"].loss.huber_delta_m == configs["base"].loss.huber_delta_m == 3.0
    assert configs["own"].size_px == 64 and configs["own"].model.backbone == "resnet18"


ONE = {"name": "a", "overrides": {}}


@pytest.mark.parametrize(
    ("rows", "changes", "told"),
    [
        ([ONE | {"overides": {}}], {}, r"unknown key overides in rows\.0 \(known: name, label"),
        ([ONE | {"overrides": {"los": {}}}], {}, r"row a: unknown key los"),
        ([ONE, {"name": "b", "overrides": {"size_px": "big"}}], {}, r"row b: size_px: expected an integer"),
        ([ONE | {"name": "../a"}], {}, r"rows\[0\]\.name: .*got '\.\./a'"),
        ([ONE, ONE], {}, "row a: the name is there twice"),
        ([{"name": "a"}], {}, "exactly one of overrides, best_of, combine and of"),
        ([ONE, {"name": "b", "combine": ["c"]}], {}, "row b: expected the name of a trained or combined row above it"),
        ([ONE, {"name": "b", "of": "a"}], {}, "row b: expected of and tta together"),
        ([ONE, {"name": "b", "of": "a", "tta": "best"}], {}, r"rows\[1\]\.tta: expected 'matched'"),
        ([ONE, {"name": "b", "combine": ["a"], "seeds": [1]}], {}, "row b: seeds and round belong"),
        ([ONE | {"seeds": [1, 1]}], {}, "row a: seeds: expected one or more different integers"),
        ([ONE], {"base": "no.yaml"}, "no.yaml cannot be read"),
        ([], {}, "rows: expected one or more"),
        ([ONE, ONE | {"name": "b", "baseline": True}], {}, "expected one with `baseline: true`"),
        ([ONE], {"overrides": {"trainer": {"max_epochs": 0}}}, r"base: trainer\.max_epochs: expected a number greater"),
    ],
)
def test_a_mistake_in_a_table_is_one_line_with_the_file_and_the_key(folder, rows, changes, told):
    path = write_table(folder, rows, **changes)
    with pytest.raises(ConfigError, match=told) as raised:
        load_table(path)
    assert "table.yaml" in str(raised.value) or "no.yaml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_budget_is_a_share_of_the_computation():
    config = load_config(PAPER)
    budget = Budget.of(0.01)
    scaled = budget.scaled(config, 320)
    assert (scaled.trainer.max_epochs, scaled.size_px) == (22, 160)
    assert scaled.photo_fraction == pytest.approx(0.2154, abs=1e-3)
    work = scaled.trainer.max_epochs / 100 * scaled.photo_fraction * (scaled.size_px / 320) ** 2
    assert work == pytest.approx(0.01, rel=0.2)
    # warm-up and patience keep their share of the training
    assert scaled.optimizer.warmup_epochs == pytest.approx(0.2154, abs=1e-3)
    assert scaled.scheduler.patience_epochs == 2 and scaled.trainer.early_stopping_patience_epochs == 4


def test_a_budget_of_1_is_the_recipe_and_the_smallest_one_still_trains():
    config = load_config(PAPER)
    assert Budget.of(1.0).scaled(config, 320) == config
    least = Budget.of(1e-9).scaled(config, 320)
    assert least.trainer.max_epochs == 1 and least.size_px == 64
    assert least.scheduler.patience_epochs == 1 and least.photo_fraction > 0.0


def test_factors_of_their_own_replace_the_rule():
    assert Budget.of(0.01, epochs=0.5, photos=1.0) == Budget(0.5, 0.01 ** (1 / 6), 1.0)


@pytest.mark.parametrize("factor", [0.0, -1.0, 1.5, float("nan")])
def test_a_budget_beyond_the_recipe_is_an_error(factor):
    with pytest.raises(ConfigError, match="expected a factor above 0 and at most 1"):
        Budget.of(factor)
    with pytest.raises(ConfigError, match="budget size"):
        Budget.of(1.0, size=factor)


def test_the_sizes_of_the_resolution_table_keep_their_ratios():
    table = load_table(ROOT / "config" / "training" / "experiments" / "resolutions.yaml")
    budget = Budget(size=0.4)
    sizes = [budget.scaled(config, 320).size_px for _, config in table.trainings()]
    assert sizes == [90, 102, 120, 128, 154]  # 224, 256, 300, 320 and 384 times 0.4, to an even number
    assert sizes[3] % 32 == 0


def test_the_same_training_is_one_run_for_all_tables(folder, data):
    first = write_table(folder, [{"name": "a", "overrides": {}}, {"name": "b", "overrides": {"size_px": 64}}], "first")
    # written another way, and with more seeds
    second = write_table(
        folder,
        [{"name": "c", "overrides": {"size_px": 32}}, {"name": "d", "overrides": {"size_px": 64}, "seeds": [42, 7]}],
        "second",
    )
    plan = make_plan([load_table(first), load_table(second)], data, folder / "out", Budget(), (42,))
    by_name = {row.settings.name: row for row in plan.rows}
    assert by_name["a"].candidates == by_name["c"].candidates
    assert set(by_name["b"].trainings) < set(by_name["d"].trainings)
    assert len(plan.runs) == 4  # a, b, b with seed 7, and the ensemble of both


@pytest.mark.parametrize("setting", ["model.dropout=0.1", "bundle.site_margin_m=10.0", "trainer.max_epochs=3"])
def test_another_setting_is_another_run(folder, data, setting):
    path = write_table(folder, [ONE])
    plans = [make_plan([load_table(path, own)], data, folder, Budget(), (42,)) for own in ([], [setting])]
    assert set(plans[0].runs) != set(plans[1].runs)


def test_threads_and_guards_are_no_part_of_a_run(folder, data):
    path = write_table(folder, [ONE])
    plans = [
        make_plan([load_table(path, own)], data, folder, Budget(), (42,)) for own in ([], ["trainer.num_threads=2"])
    ]
    assert set(plans[0].runs) == set(plans[1].runs)


def test_another_label_is_another_run(folder, data, tmp_path):
    other = make_dataset(tmp_path / "other")
    photos = (other / "photos.csv").read_text().splitlines()
    header = photos[0].split(",")
    cells = photos[1].split(",")
    cells[header.index("latitude_deg")] = "31.2621"
    (other / "photos.csv").write_text("\n".join([photos[0], ",".join(cells), *photos[2:]]) + "\n")
    table = load_table(write_table(folder, [ONE]))
    runs = [set(make_plan([table], own, folder, Budget(), (42,)).runs) for own in (data, ExperimentData(other, "val"))]
    assert runs[0] != runs[1]


def test_a_size_beyond_the_stored_photos_cannot_run_and_says_what_would_help(folder, data):
    path = write_table(
        folder, [ONE, {"name": "large", "overrides": {"size_px": 640}}, {"name": "all", "combine": ["a", "large"]}]
    )
    rows = make_plan([load_table(path)], data, folder, Budget(), (42,)).rows
    assert not rows[0].obstacle and "--size 640" in rows[1].obstacle
    assert rows[2].obstacle.startswith("needs row large, which cannot run")


@pytest.mark.parametrize("loss", ["inverse_variance", "area_zscore"])
def test_a_weighted_loss_does_not_run_as_the_mse_where_no_photo_has_an_accuracy(folder, data, tmp_path, loss):
    bare = ExperimentData(make_dataset(tmp_path / "bare", accuracies=False), "val")
    path = write_table(folder, [ONE, {"name": "weighted", "overrides": {"loss": {"name": loss}}}])
    rows = {own: make_plan([load_table(path)], own, folder, Budget(), (42,)).rows for own in (data, bare)}
    assert not rows[data][1].obstacle and not rows[bare][0].obstacle
    assert "which no training photo" in rows[bare][1].obstacle


def test_a_round_that_was_not_done_cannot_run(folder, data):
    path = write_table(folder, [{"name": "a", "overrides": {}, "round": 0}, {"name": "b", "overrides": {}, "round": 1}])
    rows = make_plan([load_table(path)], data, folder, Budget(), (42,)).rows
    assert not rows[0].obstacle and "has had 0" in rows[1].obstacle


def test_the_base_of_a_table_is_the_papers_recipe_and_all_rows_differ():
    for path in TABLES:
        table = load_table(path)
        assert (path.parent / table.settings.base).resolve() == PAPER
        made = [
            repr([row.overrides, row.seeds, row.round, row.best_of, row.combine, row.of, row.tta])
            for row in table.settings.rows
        ]
        assert len(set(made)) == len(made), path.stem
