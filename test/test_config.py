"""A training configuration is strict: what it does not know, or cannot be, is one clear line."""

from pathlib import Path

import pytest

from campus_visual_gps.errors import ConfigError
from training.config import TrainConfig, load_config, to_dict

CONFIGS = sorted((Path(__file__).parent.parent / "config" / "training").glob("*.yaml"))


def _write(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid(path):
    assert load_config(path).seeds


def test_the_papers_configuration_is_the_papers():
    config = load_config(next(path for path in CONFIGS if path.stem == "convnext_ensemble"))
    assert (config.model.backbone, config.model.head, config.model.dropout) == ("convnext_tiny", "mlp", 0.3)
    assert (config.size_px, config.huber_delta_m, config.seeds) == (320, 1.0, (42, 123, 456))
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (1e-4, 1e-4)
    assert (config.scheduler.name, config.scheduler.factor, config.scheduler.patience_epochs) == ("plateau", 0.5, 7)
    assert (config.trainer.batch_size, config.trainer.max_epochs) == (24, 100)
    augment = config.augment
    assert (augment.rotation_deg, augment.perspective_scale, augment.grayscale_p, augment.erasing_p) == (
        5,
        0.2,
        0.1,
        0.2,
    )
    assert (augment.night_p, augment.night_brightness, augment.night_contrast) == (0.2, (0.4, 0.7), (0.6, 0.9))


def test_a_resolved_configuration_reads_back_as_itself(tmp_path):
    import yaml

    config = TrainConfig(seeds=(1, 2), dataset="d", out="o")
    assert load_config(_write(tmp_path, yaml.safe_dump(to_dict(config)))) == config


def test_the_command_line_replaces_what_the_file_says(tmp_path):
    config = load_config(_write(tmp_path, "dataset: a\nout: b\n"), dataset="c", out=None)
    assert (config.dataset, config.out) == ("c", "b")


@pytest.mark.parametrize(
    "text, says",
    [
        ("learning_rate: 1", "unknown key learning_rate"),
        ("optimizer: {lrr: 1}", "unknown key lrr in optimizer"),
        ("optimizer: 3", "optimizer must be a table"),
        ("optimizer: {lr: fast}", r"optimizer\.lr must be float, got 'fast'"),
        ("size_px: true", "size_px must be int"),
        ("size_px: 22.5", "size_px must be int"),
        ("seeds: 42", "seeds must be a list"),
        ("seeds: [1, 1]", "different"),
        ("seeds: []", "seeds"),
        ("augment: {night_brightness: [0.4]}", "must have 2 values"),
        ("model: {dropout: 1.5}", "dropout"),
        ("scheduler: {name: magic}", "plateau, cosine"),
        ("trainer: {precision: int4}", "precision"),
        ("trainer: {batch_size: 0}", "batch_size"),
        ("- a list", "top level"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        load_config(_write(tmp_path, text))
    assert "c.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")
