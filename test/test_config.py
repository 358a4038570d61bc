"""A training configuration is strict: an unknown key or a wrong value is one clear line."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from compatibility import Area, condition

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.grid import POINT_ESTIMATORS
from campus_visual_gps.models.position_model import ModelConfig
from training.config import BundleSettings, LossSettings, TrainConfig, load_config, to_dict

CONFIGS = sorted((Path(__file__).parent.parent / "config" / "training").glob("*.yaml"))
PAPER = next(path for path in CONFIGS if path.stem == "convnext_ensemble")


def _write(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid(path):
    assert load_config(path).seeds


def test_the_papers_configuration_is_the_papers():
    config = load_config(PAPER)
    assert (config.model.backbone, config.model.head, config.model.dropout) == ("convnext_tiny", "mlp", 0.3)
    assert (config.size_px, config.loss.huber_delta_m, config.seeds) == (320, 1.0, (42, 123, 456))
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (1e-4, 1e-4)
    assert (config.scheduler.name, config.scheduler.factor, config.scheduler.patience_epochs) == ("plateau", 0.5, 7)
    assert (config.trainer.batch_size, config.trainer.max_epochs) == (24, 100)
    augment = config.augment
    assert (augment.rotation_deg, augment.perspective_scale) == (5, 0.2)
    assert (augment.grayscale_p, augment.erasing_p) == (0.1, 0.2)
    assert (augment.night_p, augment.night_ranges) == (0.2, ((0.4, 0.7), (0.6, 0.9)))
    assert (augment.horizontal_flip_p, augment.resized_crop_p) == (0, 0)


def test_the_papers_configuration_differs_from_the_defaults_in_the_warm_up_only(tmp_path):
    paper, defaults = load_config(PAPER), TrainConfig()
    without_warm_up = dataclasses.replace(paper.optimizer, warmup_epochs=defaults.optimizer.warmup_epochs)
    assert paper.optimizer.warmup_epochs == 1.0 and dataclasses.replace(paper, optimizer=without_warm_up) == defaults


def test_a_resolved_configuration_reads_back_as_itself(tmp_path):
    config = TrainConfig(seeds=(1, 2), dataset="d", out="o", loss=LossSettings(huber_delta_m=1e-5))
    assert load_config(_write(tmp_path, yaml.safe_dump(to_dict(config)))) == config


def test_the_command_line_replaces_what_the_file_says(tmp_path):
    path = _write(tmp_path, "dataset: a\nout: b\ntrainer: {max_epochs: 3}\n")
    config = load_config(path, ["trainer.max_epochs=4", "optimizer.lr=1e-3"], dataset="c", out=None)
    assert (config.dataset, config.out) == ("c", "b")
    assert (config.trainer.max_epochs, config.optimizer.lr) == (4, 1e-3)


@condition(Area.BUNDLES, "number in the configuration as 1e-4, 1E-4, +1e-4 or .1e-3", "a number", since="2026-11-22")
@pytest.mark.parametrize("number", ["1e-4", "1.0e-4", "1E-4", "0.0001", "+1e-4", "10.e-5", ".1e-3"])
def test_every_notation_of_a_number_is_a_number(tmp_path, number):
    assert load_config(_write(tmp_path, f"optimizer: {{lr: {number}}}")).optimizer.lr == pytest.approx(1e-4)


def test_a_whole_number_is_taken_for_a_float_and_a_list_for_a_tuple(tmp_path):
    config = load_config(_write(tmp_path, "model: {cell_m: 5}\nseeds: [3, 4]\naugment: {jpeg_quality: [50, 60]}"))
    assert config.model.cell_m == 5.0 and isinstance(config.model.cell_m, float)
    assert (config.seeds, config.augment.jpeg_quality) == ((3, 4), (50, 60))


def test_the_point_estimators_are_those_of_the_grid():
    assert {BundleSettings(point_estimator=name).point_estimator for name in POINT_ESTIMATORS} == set(POINT_ESTIMATORS)


@condition(
    Area.BUNDLES,
    "unknown key, wrong type or value out of range in the configuration",
    "one line with the file, the key, what was expected and what came",
    since="2026-11-22",
)
@pytest.mark.parametrize(
    "text, says",
    [
        ("learning_rate: 1", r"unknown key learning_rate \(known: dataset, out, model"),
        ("huber_delta_m: 1", "unknown key huber_delta_m"),
        ("optimizer: {lrr: 1}", r"unknown key lrr in optimizer \(known: lr, head_lr"),
        ("model: {layers: 3}", r"unknown key layers in model \(known: backbone, head"),
        ("optimizer: 3", "optimizer: expected a table of keys, got 3"),
        ("augment:", "augment: expected a table of keys, got nothing"),
        ("optimizer: {lr: abc}", r"optimizer\.lr: expected a number, got 'abc'"),
        ("optimizer: {lr: true}", r"optimizer\.lr: expected a number, got True"),
        ("optimizer: {lr: .nan}", r"optimizer\.lr: expected a finite number, got nan"),
        ("optimizer: {lr: 0}", r"optimizer\.lr: expected a number greater than 0, got 0"),
        ("model: {cell_m: wide}", r"model\.cell_m: expected a number, got 'wide'"),
        ("model: {dropout: 1.5}", r"model: .*dropout.*1\.5"),
        ("size_px: true", "size_px: expected an integer, got True"),
        ("size_px: 22.5", r"size_px: expected an integer, got 22\.5"),
        ("size_px: 1e2", r"size_px: expected an integer, got 100\.0"),
        ("seeds: 42", "seeds: expected a list, got 42"),
        ("seeds: [1.5]", r"seeds\[0\]: expected an integer, got 1\.5"),
        ("seeds: [1, 1]", r"seeds: expected one or more different integers, got \[1, 1\]"),
        ("seeds: []", r"seeds: expected one or more different integers, got \[\]"),
        ("augment: {night_brightness: [0.4]}", r"augment\.night_brightness\[1\]: expected one more item, got \[0\.4\]"),
        ("augment: {night_brightness: [0.1, 0.2, 0.3]}", r"augment\.night_brightness: expected at most 2 items"),
        ("augment: {night_brightness: [0.7, 0.4]}", r"augment\.night_brightness: expected \(low, high\)"),
        ("augment: {night_brightness: [0.4, 1.7]}", r"augment\.night_brightness\[1\]: expected .* at most 1, got 1\.7"),
        ("augment: {night_version: v3}", r"augment\.night_version: expected 'v1' or 'v2', got 'v3'"),
        ("augment: {night_p: 20}", r"augment\.night_p: expected a number of at most 1, got 20"),
        ("augment: {horizontal_flip_p: true}", r"augment\.horizontal_flip_p: expected a number, got True"),
        ("augment: {resized_crop_scale: [0.5, 1.5]}", r"augment\.resized_crop_scale\[1\]: expected .* at most 1"),
        ("augment: {resized_crop_scale: [1.0, 0.5]}", r"augment\.resized_crop_scale: expected \(low, high\), got"),
        ("augment: {erasing_area: [0, 0.3]}", r"augment\.erasing_area\[0\]: expected a number greater than 0, got 0"),
        ("augment: {erasing_area: [0.5, 0.1]}", r"augment\.erasing_area: expected \(low, high\), got \(0\.5, 0\.1\)"),
        ("augment: {hue: 0.6}", r"augment\.hue: expected a number of at most 0\.5, got 0\.6"),
        ("augment: {rotation_deg: 181}", r"augment\.rotation_deg: expected a number of at most 180, got 181"),
        ("augment: {rotation_deg: -5}", r"augment\.rotation_deg: expected a number of at least 0, got -5"),
        ("loss: {nll_beta: 2}", r"loss\.nll_beta: expected a number of at most 1, got 2"),
        (
            "bundle: {point_estimator: mode}",
            r"bundle\.point_estimator: expected 'geometric_median', 'mean' or 'median_mean'",
        ),
        ("scheduler: {name: magic}", r"scheduler\.name: expected 'plateau' or 'cosine', got 'magic'"),
        ("trainer: {precision: int4}", r"trainer\.precision: expected .* got 'int4'"),
        ("trainer: {batch_size: 0}", r"trainer\.batch_size: expected a number greater than 0, got 0"),
        ("trainer: {devices: true}", r"trainer\.devices: expected an integer or text, got True"),
        ("trainer: {cached_views: 3}", r"optimizer\.frozen_stages"),
        ("size_px: big\nseeds: 3", r"size_px: expected .*; seeds: expected"),
        ("2025-01-01: 3", "keys must be"),
        ("- a list", r"expected a table of keys at the top level, got \['a list'\]"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_in_one_line(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        load_config(_write(tmp_path, text))
    assert "c.yaml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["trainer.max_epochs", "=3", "seeds=[", "size_px.width=3"])
def test_a_setting_that_cannot_be_made_is_named(tmp_path, setting):
    with pytest.raises(ConfigError, match=r"c\.yaml: setting "):
        load_config(_write(tmp_path, "size_px: 64"), [setting])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")


def test_a_section_can_be_made_without_a_file():
    config = TrainConfig(model=ModelConfig(head="gaussian"), seeds=(7,))
    assert dataclasses.replace(config, size_px=96).model.head == "gaussian"
    with pytest.raises(ConfigError, match="different"):
        dataclasses.replace(config, seeds=(7, 7))
