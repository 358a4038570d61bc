"""What receivers publish besides good fixes: the fallback uses what has a horizontal position, and names the rest."""

import math
import re

import numpy as np
import pytest
from compatibility import Area, condition
from helpers import ROOT
from sensor_msgs.msg import NavSatFix
from test_fallback import RECEIVER_FRAME, SITE_ALTITUDE_M, VISUAL_FRAME, Stream, message

from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import MISSING_VERTICAL_SIGMA_M, GnssFault, Replacement

NAN, INF = math.nan, math.inf
ASSUMED_M2, MISSING_M2 = MonitorSettings().assumed_sigma_m ** 2, MISSING_VERTICAL_SIGMA_M**2
SINCE = "2026-11-26"
HEADS = ("| fault |", "| missing |")


def receiver_row(text: str, outcome: str, *values):
    return pytest.param(*values, marks=condition(Area.RECEIVER, text, outcome, since=SINCE), id=text)


def covariance(east_m2=2.0, north_m2=2.0, up_m2=4.0, *, east_north=0.0, north_east=None, up=0.0) -> list[float]:
    """Nine elements, row by row; `up` are all four cross terms to up."""
    north_east = east_north if north_east is None else north_east
    return [east_m2, east_north, up, north_east, north_m2, up, up, up, up_m2]


def edited(stamp_s: float, **fields) -> NavSatFix:
    status, service = fields.pop("status", 0), fields.pop("service", 1)
    made = message(stamp_s, **fields)
    made.status.status, made.status.service = status, service
    return made


def run(fields: dict, *, every: int = 1, rate_hz: float = 5.0, duration_s: float = 20.0) -> Stream:
    """A good stream of five seconds; after it every so many messages have these fields. Visual fixes come at 2 Hz."""
    stream = Stream()
    stream.run(95.0, 100.0, message)
    stream.out.clear()
    for index in range(round(duration_s * rate_hz)):
        now_s = 100.0 + index / rate_hz
        stream.fallback.receiver(edited(now_s, **(fields if index % every == 0 else {})), now_s)
        if index % max(round(rate_hz / 2), 1) == 0:
            stream.fallback.visual(message(now_s - 0.3, VISUAL_FRAME), now_s)
        stream.fallback.tick(now_s)
    return stream


def matrix(fix: NavSatFix) -> np.ndarray:
    return np.array(fix.position_covariance).reshape(3, 3)


def assert_harmless(fix: NavSatFix) -> None:
    """What a filter may be given: finite numbers, a positive definite covariance, nothing as large as 1e9."""
    assert np.all(np.isfinite([fix.latitude, fix.longitude, fix.altitude]))
    assert np.linalg.eigvalsh(matrix(fix)).min() > 0.0
    assert matrix(fix).max() <= MISSING_M2


def assert_used(stream: Stream, count: int) -> None:
    assert {fix.header.frame_id for fix in stream.out} == {RECEIVER_FRAME}
    assert len(stream.out) == count
    values = stream.fallback.report().values
    assert (values["state"], values["fault"]) == ("healthy", "none")
    for fix in stream.out:
        assert_harmless(fix)


# Vertical

SITE = "used; fix has the site's altitude and a vertical sigma of 100 m"
LARGE = "used; fix has a vertical sigma of 100 m"
VERTICAL = [
    receiver_row("altitude NaN", SITE, {"altitude": NAN}, SITE_ALTITUDE_M),
    receiver_row("altitude infinite", SITE, {"altitude": INF}, SITE_ALTITUDE_M),
    receiver_row("altitude exactly 0", SITE, {"altitude": 0.0}, SITE_ALTITUDE_M),
    receiver_row("altitude exactly -1", SITE, {"altitude": -1.0}, SITE_ALTITUDE_M),
    receiver_row("altitude beyond 10 km", SITE, {"altitude": 4_294_967.0}, SITE_ALTITUDE_M),
    receiver_row("vertical variance beyond (100 m)2", SITE, {"position_covariance": covariance(up_m2=1.8e13)}, 280.0),
    receiver_row("vertical variance infinite", SITE, {"position_covariance": covariance(up_m2=INF)}, 280.0),
    receiver_row("vertical variance NaN", LARGE, {"position_covariance": covariance(up_m2=NAN)}, 300.0),
    receiver_row("vertical variance -1", LARGE, {"position_covariance": covariance(up_m2=-1.0)}, 300.0),
    receiver_row("vertical variance below (1 mm)2", LARGE, {"position_covariance": covariance(up_m2=1e-9)}, 300.0),
    receiver_row("vertical variance 0", LARGE, {"position_covariance": covariance(up_m2=0.0)}, 300.0),
    receiver_row(
        "altitude and everything vertical in the covariance NaN",
        SITE,
        {"altitude": NAN, "position_covariance": covariance(up_m2=NAN, up=NAN), "position_covariance_type": 3},
        280.0,
    ),
]


@pytest.mark.parametrize("every", [1, 4], ids=["always", "every fourth"])
@pytest.mark.parametrize(("fields", "altitude_m"), VERTICAL)
def test_nothing_vertical_counts_against_the_receiver(fields, altitude_m, every):
    stream = run(fields, every=every)
    assert_used(stream, 100)
    for index, fix in enumerate(stream.out):
        expected = (altitude_m, MISSING_M2) if index % every == 0 else (300.0, fix.position_covariance[8])
        assert (fix.altitude, fix.position_covariance[8]) == expected
        np.testing.assert_array_equal(matrix(fix)[:2, :2], 2.0 * np.eye(2))
        np.testing.assert_array_equal(matrix(fix)[2, :2], 0.0)


def test_what_was_replaced_is_counted_in_the_diagnostics_and_said_once_in_the_log():
    stream = run({"altitude": NAN}, every=4)
    values = stream.fallback.report().values
    assert (values["replaced.altitude"], values["replaced.vertical_variance"]) == (25, 25)
    assert [line for line, _ in stream.log if "altitude" in line] == [
        "a message of the receiver has no usable altitude: topic fix carries a substitute"
    ]


# Unknown covariances

ASSUMED = "used with gps_assumed_sigma_m"
GARBAGE = [3e4, -7.0, NAN, 0.1, INF, 2.0, -1e300, 5.0, 1.0]
UNKNOWN = [
    receiver_row("covariance of type UNKNOWN, zeros", ASSUMED, 0, [0.0] * 9),
    receiver_row("covariance of type UNKNOWN, NaN", ASSUMED, 0, [NAN] * 9),
    receiver_row("covariance of type UNKNOWN, -1 first (mavros)", ASSUMED, 0, [-1.0] + [0.0] * 8),
    receiver_row("covariance of type UNKNOWN, garbage", ASSUMED, 0, GARBAGE),
    receiver_row("covariance of type UNKNOWN, values that look good", ASSUMED, 0, covariance(0.01, 0.01, 0.04)),
    receiver_row("covariance of a type that the message does not define", ASSUMED, 7, covariance()),
    receiver_row("covariance of type APPROXIMATED, zeros", ASSUMED, 1, [0.0] * 9),
    receiver_row("covariance of type DIAGONAL_KNOWN, zeros", ASSUMED, 2, [0.0] * 9),
    receiver_row("covariance of type KNOWN, zeros", ASSUMED, 3, [0.0] * 9),
    receiver_row("covariance of type KNOWN, -1 first", ASSUMED, 3, [-1.0] + [0.0] * 8),
    receiver_row("covariance of type KNOWN, -1 on the diagonal", ASSUMED, 3, covariance(-1.0, -1.0, -1.0)),
    receiver_row("covariance in the square of degrees", ASSUMED, 2, covariance(8e-11, 6e-11)),
    receiver_row("covariance below (1 mm)2", ASSUMED, 3, covariance(1e-7, 1e-7)),
    receiver_row("covariance with one horizontal variance of 0", ASSUMED, 2, covariance(0.0, 2.0)),
]


@pytest.mark.parametrize("every", [1, 4], ids=["always", "every fourth"])
@pytest.mark.parametrize(("kind", "values"), UNKNOWN)
def test_a_covariance_that_says_unknown_takes_the_assumed_sigma(kind, values, every):
    stream = run({"position_covariance": values, "position_covariance_type": kind}, every=every)
    assert_used(stream, 100)
    for fix in stream.out[::every]:
        np.testing.assert_array_equal(matrix(fix), ASSUMED_M2 * np.eye(3))
        assert (fix.position_covariance_type, fix.altitude) == (NavSatFix.COVARIANCE_TYPE_APPROXIMATED, 300.0)


# Known covariances

DIAGONAL = "used; only the diagonal counts"


@pytest.mark.parametrize(
    ("kind", "off"),
    [
        receiver_row("covariance of type APPROXIMATED with off-diagonals", DIAGONAL, 1, 50.0),
        receiver_row("covariance of type DIAGONAL_KNOWN with off-diagonals", DIAGONAL, 2, 50.0),
        receiver_row("covariance of type DIAGONAL_KNOWN with NaN off the diagonal", DIAGONAL, 2, NAN),
    ],
)
def test_without_type_known_only_the_diagonal_counts(kind, off):
    values = covariance(east_north=off, up=off)
    stream = run({"position_covariance": values, "position_covariance_type": kind})
    assert_used(stream, 100)
    assert stream.out[-1].position_covariance.tolist() == covariance()


@pytest.mark.parametrize(
    ("given", "published"),
    [
        receiver_row("full covariance of type KNOWN", "passes as it is", *[covariance(east_north=0.5, up=0.3)] * 2),
        receiver_row(
            "covariance of type KNOWN, asymmetric by rounding",
            "passes as it is",
            *[covariance(east_north=0.5, north_east=0.5000001)] * 2,
        ),
        receiver_row(
            "covariance of type KNOWN, NaN cross terms to up",
            "used without them",
            covariance(east_north=0.5, up=NAN),
            covariance(east_north=0.5),
        ),
        receiver_row(
            "covariance of type KNOWN, cross terms to up beyond the variances",
            "used without them",
            covariance(east_north=0.5, up=30.0),
            covariance(east_north=0.5),
        ),
    ],
)
def test_of_a_known_covariance_everything_counts_that_can_be_one(given, published):
    stream = run({"position_covariance": given, "position_covariance_type": 3})
    assert_used(stream, 100)
    assert stream.out[-1].position_covariance.tolist() == published


# Faults


def fault_row(text: str, fault: GnssFault, fields: dict):
    return receiver_row(text, f"not used: {fault}", fault, fields)


def known(*values: float, **elements: float) -> dict:
    return {"position_covariance": covariance(*values, **elements), "position_covariance_type": 3}


FAULTS = [
    fault_row("status STATUS_NO_FIX", GnssFault.NO_FIX_STATUS, {"status": -1}),
    fault_row("status STATUS_UNKNOWN (-2)", GnssFault.STATUS_UNKNOWN, {"status": -2}),
    fault_row("status below -2", GnssFault.NO_FIX_STATUS, {"status": -128}),
    fault_row("latitude NaN", GnssFault.NOT_FINITE, {"latitude": NAN}),
    fault_row("longitude infinite", GnssFault.NOT_FINITE, {"longitude": INF}),
    fault_row("latitude beyond 90 degrees", GnssFault.OFF_THE_GLOBE, {"latitude": 91.0}),
    fault_row("longitude from 0 to 360 degrees", GnssFault.OFF_THE_GLOBE, {"longitude": 357.0}),
    fault_row("position 0, 0", GnssFault.NULL_ISLAND, {"latitude": 0.0, "longitude": 0.0}),
    fault_row("horizontal variance NaN", GnssFault.COVARIANCE_NOT_FINITE, known(NAN, 2.0)),
    fault_row("horizontal variance infinite", GnssFault.COVARIANCE_NOT_FINITE, known(2.0, INF)),
    fault_row("east-north covariance NaN, type KNOWN", GnssFault.COVARIANCE_NOT_FINITE, known(east_north=NAN)),
    fault_row("horizontal variance negative", GnssFault.COVARIANCE_NEGATIVE, known(-4.0, 2.0)),
    fault_row("covariance not symmetric", GnssFault.COVARIANCE_NOT_SYMMETRIC, known(east_north=1.0, north_east=-1.0)),
    fault_row("covariance not positive definite", GnssFault.COVARIANCE_NOT_POSITIVE_DEFINITE, known(east_north=2.5)),
    fault_row("sigma beyond gps_max_sigma_m", GnssFault.UNCERTAIN, known(400.0, 400.0)),
    fault_row("position 200 m away at once", GnssFault.JUMP, {"latitude": 31.2638}),
]


@pytest.mark.parametrize(("fault", "fields"), FAULTS)
def test_each_fault_has_its_name_in_diagnostics_and_log(fault, fields):
    stream = run(fields, duration_s=8.0)
    values = stream.fallback.report().values
    # what stays 200 m away soon contradicts the visual fixes, too
    later = GnssFault.CONTRADICTS_VISUAL if fault is GnssFault.JUMP else fault
    assert sum(values[f"fault.{name}"] for name in {fault, later}) == 40
    assert values["fault"] == str(later)
    assert values["state"] in ("degraded", "lost")
    assert any(warning and f" {fault}: " in line for line, warning in stream.log)
    assert {fix.header.frame_id for fix in stream.out} == {VISUAL_FRAME}


@pytest.mark.parametrize(("fault", "fields"), FAULTS)
def test_a_fault_now_and_then_costs_its_own_message_only(fault, fields):
    stream = run(fields, every=4)
    assert_used(stream, 75)
    assert stream.fallback.report().values[f"fault.{fault}"] == 25


def test_the_docs_describe_each_fault_and_each_replacement():
    page = (ROOT / "docs" / "fusion.md").read_text(encoding="utf-8")
    names = [re.findall(r"^\| `(\w+)` \|", page.split(head)[1].split("\n\n")[0], re.M) for head in HEADS]
    assert names == [list(GnssFault), list(Replacement)]


# Other fields and rates


@pytest.mark.parametrize(
    "fields",
    [
        receiver_row("status above 2 (gps_common's numbers)", "used", {"status": 33}),
        receiver_row("status SBAS or GBAS", "used", {"status": 2}),
        receiver_row("service 0", "used", {"service": 0}),
        receiver_row("service with unknown bits", "used", {"service": 0xFFFF}),
    ],
)
def test_status_from_fix_on_and_any_service_are_used(fields):
    stream = run(fields)
    assert_used(stream, 100)
    assert stream.out[-1].status.status == fields.get("status", 0)


@pytest.mark.parametrize("rate_hz", [receiver_row(f"receiver at {rate} Hz", "used", rate) for rate in (1, 5, 10, 20)])
def test_a_receiver_of_any_usual_rate_is_left_and_taken_again_within_the_configured_time(rate_hz):
    settings = MonitorSettings()
    stream, switches_s = Stream(), {}
    for index in range(40 * rate_hz):
        now_s = 100.0 + index / rate_hz
        made = edited(
            now_s, status=-1 if 10 * rate_hz <= index < 25 * rate_hz else 0, altitude=NAN if index % 3 else 300.0
        )
        stream.fallback.receiver(made, now_s)
        switches_s.setdefault(stream.fallback.report().values["source_changes"], now_s)
    left_s = max(settings.fault_min_duration_s, (settings.fault_min_count - 1) / rate_hz)
    returned_s = max(settings.recovery_min_duration_s, (settings.recovery_min_count - 1) / rate_hz)
    assert switches_s[1] - 110.0 == pytest.approx(left_s, abs=1.0 / rate_hz)
    assert switches_s[2] - 125.0 == pytest.approx(returned_s, abs=1.0 / rate_hz)
