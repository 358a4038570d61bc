"""The parameters of the tracker travel in the bundle, and what no fit can give is one clear error."""

import pytest

from campus_visual_gps.errors import BundleError
from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.tracking.calibration import TrackingCalibration


def test_the_parameters_come_back_from_the_bundle_as_they_went_in():
    tracking = TrackingCalibration(speed_mps=0.7, smoothed_scale=0.4, measured={"sessions": 6})
    calibration = Calibration(5.0, tracking=tracking)
    assert Calibration.from_dict(calibration.to_dict()) == calibration


def test_a_bundle_from_before_the_tracker_is_read():
    older = {key: value for key, value in Calibration(5.0).to_dict().items() if key != "tracking"}
    assert Calibration.from_dict(older).tracking is None


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"speed_mps": float("nan")}, "speed_mps"),
        ({"measurement_power": 0.0}, "measurement_power"),
        ({"simultaneous_power": 1.5}, "simultaneous_power"),
        ({"scale": "2"}, "scale"),
        ({"lost_rate_hz": True}, "lost_rate_hz"),
        ({"smoothed_scale": 0.0}, "smoothed_scale"),
        ({"scale": None}, "scale"),
        ({"measured": []}, "measured"),
        ({"speed": 1.0}, "unknown speed"),
        (3, "expected a mapping"),
    ],
)
def test_a_value_that_no_fit_can_give_is_an_error_that_names_it(values, named):
    with pytest.raises(BundleError, match=f"calibration.tracking: .*{named}"):
        TrackingCalibration.from_dict(values)
