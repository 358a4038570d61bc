"""What the drivers of receivers write into NavSatFix when all is well, when something is missing, and without a fix."""

import math

import numpy as np
import pytest
from compatibility import Area, condition
from test_receiver_conditions import ASSUMED_M2, MISSING_M2, assert_used, covariance, matrix, run

from campus_visual_gps.gnss.receiver_fix import GnssFault

NAN = math.nan
FULL = np.float32([0.0221, 0.0041, -0.0107, 0.0041, 0.0336, 0.0058, -0.0107, 0.0058, 0.1482]).astype(float).tolist()


def driver_row(name: str, state: str, outcome: str, *values):
    text = f"{name}: {state}"
    return pytest.param(*values, marks=condition(Area.RECEIVER, text, outcome, since="2026-11-26"), id=text)


def given(kind: int, values: list[float], status: int = 0, **fields) -> dict:
    return {"position_covariance": values, "position_covariance_type": kind, "status": status, **fields}


AS_IT_IS = "passes as it is"
PASSED = [
    driver_row("nmea_navsat_driver", "GGA", AS_IT_IS, given(1, covariance(23.0, 23.0, 368.6))),
    driver_row("ublox", "3-D fix", AS_IT_IS, given(2, covariance(2.7, 2.7, 6.2))),
    driver_row("ublox", "RTK fixed", AS_IT_IS, given(2, covariance(2e-4, 2e-4, 4e-4), status=2)),
    driver_row("ublox_dgnss", "with NAV-COV, float32", AS_IT_IS, given(3, FULL, status=1)),
    driver_row("septentrio_gnss_driver", "PVTGeodetic", AS_IT_IS, given(3, FULL, status=2, service=15)),
    driver_row("swiftnav-ros2", "POS LLH COV", AS_IT_IS, given(3, FULL, status=2)),
    driver_row("fixposition_driver", "initialised", AS_IT_IS, given(3, FULL, status=2, service=15)),
    driver_row("novatel_oem7_driver", "BESTPOS", AS_IT_IS, given(2, covariance(1.1, 0.9, 3.4), status=1)),
    driver_row("mavros", "MAVLink 2", AS_IT_IS, given(2, covariance(0.64, 0.64, 1.2))),
    driver_row("gazebo_ros_gps_sensor", "with noise", AS_IT_IS, given(2, covariance(0.25, 0.25, 0.25))),
]


@pytest.mark.parametrize("fields", PASSED)
def test_a_complete_message_of_a_driver_passes_as_it_is(fields):
    stream = run(fields)
    assert_used(stream, 100)
    assert stream.out[-1].position_covariance.tolist() == fields["position_covariance"]
    assert not [name for name in stream.fallback.report().values if name.startswith("replaced.")]


ASSUMED, SITE = "used with gps_assumed_sigma_m", "used with the site's altitude"
INCOMPLETE = [
    driver_row(
        "nmea_navsat_driver", "RMC", f"{ASSUMED} and the site's altitude", given(0, [0.0] * 9, altitude=NAN), 0.0
    ),
    driver_row(
        "nmea_navsat_driver",
        "GGA without the height of the geoid",
        SITE,
        given(1, covariance(16.0, 16.0, 256.0), altitude=NAN),
        16.0,
    ),
    driver_row("gpsd_client", "2-D fix", SITE, given(2, covariance(30.4, 65.4, NAN), altitude=NAN), 30.4),
    driver_row("ublox", "2-D fix, vAcc at its maximum", SITE, given(2, covariance(9.0, 9.0, 4_294_967.295**2)), 9.0),
    driver_row("ublox_dgnss", "without NAV-COV", ASSUMED, given(0, [0.0] * 9), 0.0),
    driver_row("mavros", "accuracy not known", ASSUMED, given(0, [-1.0] + [0.0] * 8), 0.0),
    driver_row(
        "septentrio_gnss_driver", "INS without covariance", ASSUMED, given(3, covariance(-1.0, -1.0, -1.0)), 0.0
    ),
    driver_row("ros_gz_bridge", "NavSat", ASSUMED, given(0, [0.0] * 9, service=0), 0.0),
    driver_row("gazebo_ros_gps_sensor", "without noise", ASSUMED, given(2, [0.0] * 9), 0.0),
    driver_row("ethzasl_xsens_driver", "NavSatFix", ASSUMED, given(0, [0.0] * 9), 0.0),
]


@pytest.mark.parametrize(("fields", "east_m2"), INCOMPLETE)
def test_what_a_driver_leaves_out_is_filled_in(fields, east_m2):
    stream = run(fields)
    assert_used(stream, 100)
    last = stream.out[-1]
    assert last.position_covariance[0] == (east_m2 or ASSUMED_M2)
    without_altitude = fields.get("altitude") is NAN or fields["position_covariance"][8] > MISSING_M2
    assert (last.altitude == 280.0) is without_altitude
    assert matrix(last)[2, 2] == (MISSING_M2 if without_altitude else ASSUMED_M2)


NOWHERE = {"latitude": NAN, "longitude": NAN, "altitude": NAN}
ORIGIN = {"latitude": 0.0, "longitude": 0.0, "altitude": 0.0}
DO_NOT_USE = {"latitude": -1.1459e12, "longitude": -1.1459e12, "altitude": -2e10}
NO_FIX = [
    ("nmea_navsat_driver", "GGA without a fix", GnssFault.NO_FIX_STATUS, given(0, [NAN] * 9, -1, **NOWHERE)),
    ("nmea_navsat_driver", "GGA without HDOP", GnssFault.COVARIANCE_NOT_FINITE, given(1, covariance(NAN, NAN, NAN))),
    ("gpsd_client", "last fix repeated", GnssFault.COVARIANCE_NOT_FINITE, given(2, covariance(NAN, NAN, NAN))),
    ("ublox_dgnss", "NAV-STATUS not yet received", GnssFault.STATUS_UNKNOWN, given(3, FULL, -2)),
    ("mavros", "no fix", GnssFault.NO_FIX_STATUS, given(0, [-1.0] + [0.0] * 8, -1, **ORIGIN)),
    ("septentrio_gnss_driver", "do-not-use values", GnssFault.NO_FIX_STATUS, given(3, [-1.0] * 9, -1, **DO_NOT_USE)),
    ("septentrio_gnss_driver", "do-not-use position", GnssFault.OFF_THE_GLOBE, given(3, FULL, 0, **DO_NOT_USE)),
    ("swiftnav-ros2", "no fix", GnssFault.NO_FIX_STATUS, given(0, [-1.0] + [0.0] * 8, -1, **ORIGIN)),
    ("fixposition_driver", "not initialised, nav2 mode", GnssFault.NULL_ISLAND, given(0, [0.0] * 9, 2, **ORIGIN)),
    ("novatel_oem7_driver", "all zeros now and then", GnssFault.NULL_ISLAND, given(0, [0.0] * 9, 0, **ORIGIN)),
]


@pytest.mark.parametrize(
    ("fault", "fields"),
    [driver_row(name, state, f"not used: {fault}", fault, fields) for name, state, fault, fields in NO_FIX],
)
def test_a_driver_without_a_fix_is_left_and_the_reason_is_named(fault, fields):
    values = run(fields, duration_s=8.0).fallback.report().values
    assert values["source"] == "visual"
    assert values[f"fault.{fault}"] == 40
