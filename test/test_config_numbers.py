"""Numbers in a configuration and in --set: every usual notation is that number, in YAML and on the command line."""

import math

import pytest

from campus_visual_gps.errors import ConfigError
from training.config import load_config
from training.config_parsing import parse_yaml

NUMBERS = {
    "1e-4": 1e-4,
    "1E-4": 1e-4,
    "1.0e-4": 1e-4,
    ".5e-3": 0.5e-3,
    "5.e-1": 0.5,
    "+1e-4": 1e-4,
    "1e9": 1e9,
    "1E9": 1e9,
    "1e+9": 1e9,
    "1.5E+3": 1500.0,
    "1_000": 1000.0,
    "1_000.5": 1000.5,
    "1_0e3": 10_000.0,
    "5": 5.0,
    "+5": 5.0,
    "5.": 5.0,
    ".5": 0.5,
    "007": 7.0,
    "010": 10.0,
    "0.10": 0.1,
    "0x10": 16.0,
    "12 # metres": 12.0,
}
NOT_NUMBERS = ["1,5", "1 000", "abc", "1e", "'1e-4'", "1:30", "nan", "inf", "1__0", "true", "1e-4m", "1d-4", ""]


def _config(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    return tmp_path / "c.yaml"


@pytest.mark.parametrize("key", ["optimizer.lr", "loss.huber_delta_m", "model.output_scale_m"])
def test_every_notation_of_a_number_is_that_number_in_a_file_and_on_the_command_line(tmp_path, key):
    section, name = key.split(".")
    empty = _config(tmp_path, "{}")
    for text, number in NUMBERS.items():
        from_settings = load_config(empty, [f"{key}={text}"])
        assert getattr(getattr(from_settings, section), name) == number, text
    for text, number in NUMBERS.items():
        from_file = load_config(_config(tmp_path, f"{section}:\n  {name}: {text}\n"))
        assert getattr(getattr(from_file, section), name) == number, text


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_what_is_no_number_is_named_with_its_key_and_never_another_number(tmp_path, text):
    for path, settings in (
        (_config(tmp_path, "{}"), [f"optimizer.lr={text}"]),
        (_config(tmp_path, f"optimizer:\n  lr: {text}\n"), []),
    ):
        with pytest.raises(ConfigError, match=r"c\.yaml: optimizer\.lr: expected a number, got ") as caught:
            load_config(path, settings)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [".inf", "-.inf", ".nan", "1e400"])
def test_numbers_that_are_not_finite_are_named(tmp_path, text):
    with pytest.raises(ConfigError, match=r"optimizer\.lr: expected a (finite )?number"):
        load_config(_config(tmp_path, "{}"), [f"optimizer.lr={text}"])


def test_lists_and_whole_numbers_take_the_same_notations(tmp_path):
    settings = ["augment.night_brightness=[1e-1, 1]", "seeds=[042, 1_000]", "size_px=0320", "trainer.max_epochs=+12"]
    config = load_config(_config(tmp_path, "{}"), settings)
    assert config.augment.night_brightness == (0.1, 1.0)
    assert (config.seeds, config.size_px, config.trainer.max_epochs) == ((42, 1000), 320, 12)


@pytest.mark.parametrize("text", ["3.5", "1e2", "12.0"])
def test_a_whole_number_with_a_point_or_an_exponent_is_not_taken_for_an_integer(tmp_path, text):
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs: expected an integer"):
        load_config(_config(tmp_path, "{}"), [f"trainer.max_epochs={text}"])


def test_text_stays_text():
    for text in ("imagenet", "1:30", "12-weights", "e4", "2.5.1", "v1", "0b2", "0o9", "0xg", "_1", "+", ".", "-x"):
        assert parse_yaml(text) == text
    assert math.isnan(parse_yaml(".NaN")) and parse_yaml("-.INF") == -math.inf
    assert (parse_yaml("-0x1F"), parse_yaml("0o17"), parse_yaml("0b11"), parse_yaml("-7")) == (-31, 15, 3, -7)
