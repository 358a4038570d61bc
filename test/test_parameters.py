"""The parameters, their file and their ranges agree."""

import math
from dataclasses import fields

import pytest
import yaml
from helpers import ROOT

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.gnss.health import MonitorSettings
from campus_visual_gps.ros.parameters import RANGES, NodeParameters

# set by the launch file's arguments
LAUNCH_ARGUMENTS = {"model_dir", "image_transport", "autostart"}


def test_the_file_lists_every_parameter_with_its_default():
    content = yaml.safe_load((ROOT / "config" / "localizer.yaml").read_text(encoding="utf-8"))
    listed = content["/**"]["visual_gps"]["ros__parameters"]
    defaults = {field.name: field.default for field in fields(NodeParameters) if field.name not in LAUNCH_ARGUMENTS}
    assert set(listed) == set(defaults)
    for name, value in defaults.items():
        assert listed[name] == value or (math.isnan(value) and math.isnan(listed[name])), name


def test_the_monitor_and_the_gates_are_made_of_the_parameters_of_their_names():
    parameters = NodeParameters(model_dir="x", gps_max_age_s=7.0, max_ensemble_spread_m=3, min_sharpness=-1)
    assert parameters.monitor_settings() == MonitorSettings(max_age_s=7.0)
    assert parameters.gates(Gates(min_sharpness=5.0)) == Gates(max_ensemble_spread_m=3.0)


@pytest.mark.parametrize("name", RANGES)
def test_a_number_out_of_its_range_is_named(name):
    low, high = RANGES[name]
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=name):
            NodeParameters(model_dir="x", **{name: value})
