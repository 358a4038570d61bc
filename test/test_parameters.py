"""Every parameter is described once; descriptors, checks, parameter file and README table follow from that."""

import math
from dataclasses import fields

import pytest
import yaml
from helpers import ROOT

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.ros.parameter_spec import spec_of
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.tools import parameter_docs

PARAMETERS = {declared.name: declared for declared in fields(NodeParameters)}
SPECS = {name: spec_of(declared) for name, declared in PARAMETERS.items()}
LIMITED = [name for name, spec in SPECS.items() if spec.limits]
CHOICES = [name for name, spec in SPECS.items() if spec.choices]
REQUIRED = [name for name, spec in SPECS.items() if spec.required]


def parameters(**values) -> NodeParameters:
    return NodeParameters(**({"model_dir": "x"} | values))


# Values


@pytest.mark.parametrize("name", LIMITED)
def test_a_number_out_of_its_range_is_an_error_that_names_the_parameter_and_the_range(name):
    low, high = SPECS[name].limits
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=f"parameter {name}: expected {low:g} to {high:g}, got {value:g}"):
            parameters(**{name: value})


@pytest.mark.parametrize("name", CHOICES)
def test_a_value_that_is_no_choice_is_an_error_that_names_the_choices(name):
    with pytest.raises(ConfigError, match=f"parameter {name}: expected one of {', '.join(SPECS[name].choices)}, got"):
        parameters(**{name: "other"})


@pytest.mark.parametrize("name", REQUIRED)
def test_an_empty_string_where_a_value_is_required_is_an_error(name):
    with pytest.raises(ConfigError, match=f"parameter {name}: expected a value"):
        parameters(**{name: ""})


@pytest.mark.parametrize(
    ("name", "value"), [("publish_pose", 1), ("frame_id", 7), ("gps_fault_min_count", True), ("max_rate_hz", "fast")]
)
def test_a_value_of_another_type_is_an_error_that_names_the_type(name, value):
    expected = type(PARAMETERS[name].default).__name__
    with pytest.raises(ConfigError, match=f"parameter {name}: expected a {expected}, got {value!r}"):
        parameters(**{name: value})


def test_an_integer_is_accepted_for_a_float_and_nan_where_it_stands_for_the_value_of_the_bundle():
    given = parameters(max_rate_hz=5)
    assert isinstance(given.max_rate_hz, float) and math.isnan(given.altitude_m)
    with pytest.raises(ConfigError, match="max_rate_hz"):
        parameters(max_rate_hz=math.nan)


def test_monitor_settings_and_gates_come_from_the_parameters_of_their_names():
    given = parameters(gps_max_age_s=7.0, max_ensemble_spread_m=3, min_sharpness=-1)
    assert given.monitor_settings() == MonitorSettings(max_age_s=7.0)
    assert given.gates(Gates(min_sharpness=5.0)) == Gates(max_ensemble_spread_m=3.0)


def test_names_of_topics_are_a_list_without_repetitions_and_off_may_be_what_yaml_makes_of_it():
    given = parameters(image_topics=["front/image", "", "left/image"], tracking=False)
    assert (given.image_topics, given.tracking) == (("front/image", "left/image"), "off")
    for wrong, text in (
        ([""], "expected a value, got an empty list"),
        (["a", "a"], "expected different names"),
        ("a", "list"),
        ([1], "list"),
    ):
        with pytest.raises(ConfigError, match=f"parameter image_topics: .*{text}"):
            parameters(image_topics=wrong)
    with pytest.raises(ConfigError, match="parameter tracking: expected a str, got True"):
        parameters(tracking=True)


# Documentation


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_description_is_a_short_sentence_by_itself(name):
    description = SPECS[name].description
    assert description.endswith(".") and description[0].isalpha()
    assert len(description.split()) <= 20


def test_the_parameter_file_and_the_readme_are_current():
    assert parameter_docs.outdated(ROOT) == {}, "run python -m campus_visual_gps.ros.tools.parameter_docs"


def test_the_parameter_file_lists_the_default_of_every_parameter_that_the_launch_file_does_not_set():
    listed = yaml.safe_load(parameter_docs.parameter_file())["/**"]["visual_gps"]["ros__parameters"]
    defaults = {name: declared.default for name, declared in PARAMETERS.items() if SPECS[name].in_file}
    assert set(defaults) == set(PARAMETERS) - {
        *("model_dir", "image_transport", "camera_frame", "gps_frame", "map_frame", "autostart")
    }
    assert list(listed) == list(defaults)
    for name, default in defaults.items():
        value = list(default) if isinstance(default, tuple) else default
        assert type(listed[name]) is type(value)
        assert listed[name] == value or (math.isnan(value) and math.isnan(listed[name])), name


def test_the_table_names_every_parameter_once():
    table = parameter_docs.parameter_table()
    assert [table.count(f"`{name}`") for name in PARAMETERS] == [1] * len(PARAMETERS)


def checkout(root, readme: str):
    (root / "config").mkdir()
    (root / "config" / "localizer.yaml").write_text(parameter_docs.parameter_file(), encoding="utf-8")
    (root / "README.md").write_text(readme, encoding="utf-8")
    return root


def test_an_old_table_is_found_by_check_and_replaced_by_the_tool(tmp_path, monkeypatch, capsys):
    readme = f"before\n{parameter_docs.BEGIN}\nold\n{parameter_docs.END}\nafter\n"
    monkeypatch.setattr(parameter_docs, "ROOT", checkout(tmp_path, readme))
    assert parameter_docs.main(["--check"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "not current: README.md" in error
    assert parameter_docs.main([]) == 0
    assert parameter_docs.main(["--check"]) == 0
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "\nold\n" not in text


def test_a_readme_without_markers_is_an_error_of_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(parameter_docs, "ROOT", checkout(tmp_path, "no table\n"))
    assert parameter_docs.main([]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_descriptors_carry_description_range_and_constraints():
    pytest.importorskip("rcl_interfaces", reason="ROS is not installed")
    from campus_visual_gps.ros.declared_parameters import descriptor

    rate, altitude = descriptor(PARAMETERS["max_rate_hz"]), descriptor(PARAMETERS["altitude_m"])
    assert rate.description == "Maximum rate per camera, by stamps; 0: no limit. Unit: Hz."
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (0.0, 1000.0)
    # a range of ROS would reject NaN
    assert list(altitude.floating_point_range) == []
    assert altitude.additional_constraints == "-1000 to 10000, or .nan"
    count = descriptor(PARAMETERS["gps_fault_min_count"]).integer_range[0]
    assert (count.from_value, count.to_value) == (1, 1000)
    assert descriptor(PARAMETERS["output"]).additional_constraints == "one of visual, fallback"
