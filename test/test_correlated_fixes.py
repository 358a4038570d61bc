"""Filters get fixes with what the correlation of their errors calls for; the pose keeps the covariance of its image."""

from dataclasses import replace

import numpy as np
import pytest
from calibration_sets import gaussian_set
from helpers import make_bundle, textured_rgb
from ros_helpers import RunningNode, image_message, to_seconds, values
from test_correlation_time import errors
from test_fallback import Stream, message, no_fix

from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.errors import BundleError
from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.estimation.correlated_errors import (
    DEFAULT_CORRELATION_TIME_S,
    IGNORE,
    INFLATE,
    THIN,
    inflation_factor,
)
from campus_visual_gps.ros.correlated_fixes import TRACKED_CORRELATION_TIME_S, CorrelatedFixes
from training.fit.calibration import fit_calibration
from training.fit.error_correlation import with_correlation_time

TIME_S = 4.0


def variances(fix) -> list[float]:
    return np.diag(np.reshape(fix.position_covariance, (3, 3))).tolist()


# Messages


def test_the_horizontal_covariance_of_a_fix_is_inflated_and_its_own_message_is_not_touched():
    lines: list[str] = []
    fixes = CorrelatedFixes(INFLATE, TIME_S, lines.append)
    own = message(100.5)
    assert fixes.on_visual_fix(message(100.0)).position_covariance[0] == 2.0
    published = fixes.on_visual_fix(own)
    factor = inflation_factor(0.5, TIME_S)
    assert variances(published) == [pytest.approx(2.0 * factor), pytest.approx(2.0 * factor), 2.0]
    assert variances(own) == [2.0, 2.0, 2.0]
    assert (published.latitude, published.header) == (own.latitude, own.header)
    assert fixes.values() == {
        "correlated_errors": INFLATE,
        "correlation_time_s": TIME_S,
        "correlation_time_from": "bundle",
        "covariance_factor": factor,
        "thinned_fixes": 0,
    }
    assert lines == []


def test_a_tracked_fix_obeys_the_same_rule_with_the_time_that_its_errors_last():
    fixes = CorrelatedFixes(INFLATE, TIME_S, print)
    assert fixes.on_tracked_fix(message(100.0)).position_covariance[0] == 2.0
    published = fixes.on_tracked_fix(message(100.5))
    assert variances(published)[0] == pytest.approx(2.0 * inflation_factor(0.5, TRACKED_CORRELATION_TIME_S))
    thinned = CorrelatedFixes(THIN, TIME_S, print)
    seconds = [second for second in range(300) if thinned.on_tracked_fix(message(100.0 + second))]
    assert seconds == [0, 120, 240]


def test_a_bundle_without_the_time_gets_the_default_and_says_so_once_unless_it_is_ignored():
    lines: list[str] = []
    fixes = CorrelatedFixes(INFLATE, None, lines.append)
    for second in range(5):
        fixes.on_visual_fix(message(100.0 + second))
    (line,) = lines
    assert "no correlation_time_s" in line and f"{DEFAULT_CORRELATION_TIME_S:g} s are assumed" in line
    assert fixes.values()["correlation_time_from"] == "default"
    assert CorrelatedFixes(IGNORE, None, lines.append).values() == {"correlated_errors": IGNORE}
    assert len(lines) == 1


# The topic fix


def outage_of(mode: str) -> tuple[Stream, list]:
    """Two outages of a receiver; visual fixes twice a second."""
    stream, fixes = Stream(), CorrelatedFixes(mode, TIME_S, str)
    for step in range(1000, 1900):
        now_s = step / 10.0
        if step % 2 == 0:
            good = not (1200 <= step < 1300 or 1600 <= step < 1700)
            stream.fallback.receiver(message(now_s) if good else no_fix(now_s), now_s)
        if step % 5 == 0:
            stream.fallback.visual(message(now_s - 0.3, "camera"), now_s, fixes.on_fix)
    return stream, [fix for fix in stream.out if fix.header.frame_id == "camera"]


def test_the_first_visual_fix_of_an_outage_is_not_inflated_because_the_filter_has_not_got_its_error():
    _, visual = outage_of(INFLATE)
    times_s = np.array([to_seconds(fix.header.stamp) for fix in visual])
    factors = np.array([fix.position_covariance[0] / 2.0 for fix in visual])
    first = np.append(True, np.diff(times_s) > 5.0)
    assert first.sum() == 2
    assert factors[first] == pytest.approx(1.0, abs=0.05)
    assert factors[~first] == pytest.approx(inflation_factor(0.5, TIME_S))
    assert all(fix.position_covariance[0] == 2.0 for fix in outage_of(IGNORE)[1])


def test_a_thinned_fix_is_not_counted_as_published():
    stream, visual = outage_of(THIN)
    times_s = [to_seconds(fix.header.stamp) for fix in visual]
    assert np.diff(times_s).min() >= 1.5 * TIME_S - 1e-6 and 2 <= len(visual) <= 5
    assert stream.fallback.report().values["published.visual"] == len(visual)


# The node


@pytest.mark.ros
@pytest.mark.parametrize("mode", [INFLATE, THIN])
def test_the_node_applies_it_to_the_fix_and_not_to_the_pose(tmp_path, mode):
    calibration = Calibration(5.0, correlation_time_s=300.0)
    bundle_dir = make_bundle(tmp_path / "bundle", seeds=(42,), calibration=calibration)
    rgb = textured_rgb(48, 64)
    with RunningNode(model_dir=str(bundle_dir), correlated_errors=mode) as client:
        client.wait_connected()
        first = client.fix_of(image_message(rgb))
        client.send_until_status(
            lambda: image_message(rgb), lambda status: int(values(status)["fixes"]) >= 3, "three fixes"
        )
        client.wait(lambda: len(client.poses) >= 3, "three poses")
        own = values(client.statuses[-1])
        assert (own["correlated_errors"], own["correlation_time_s"]) == (mode, "300")
        pose_variances = {round(pose.pose.covariance[0], 6) for pose in client.poses}
        assert pose_variances == {round(first.position_covariance[0], 6)}
        if mode == THIN:
            assert int(own["thinned_fixes"]) >= 2 and len(client.fixes) == 1
        else:
            client.wait(lambda: len(client.fixes) >= 3, "three fixes")
            before, after = client.fixes[1:3]
            factor = inflation_factor(to_seconds(after.header.stamp) - to_seconds(before.header.stamp), 300.0)
            assert after.position_covariance[0] == pytest.approx(factor * first.position_covariance[0], rel=1e-3)


# The bundle


def test_the_time_survives_a_bundle_and_one_without_it_is_read(tmp_path):
    path = make_bundle(tmp_path / "bundle", seeds=(42,), calibration=Calibration(5.0, correlation_time_s=TIME_S))
    assert load_bundle(path).calibration.correlation_time_s == TIME_S
    manifest = path / "bundle.yaml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(f"  correlation_time_s: {TIME_S}\n", ""), encoding="utf-8")
    assert load_bundle(path).calibration.correlation_time_s is None
    manifest.write_text(text.replace(f"_time_s: {TIME_S}", "_time_s: -1.0"), encoding="utf-8")
    with pytest.raises(BundleError, match=r"correlation_time_s must be a positive number of seconds, got -1\.0"):
        load_bundle(path)


def test_a_calibration_measures_the_time_on_walks_with_known_times_and_keeps_the_old_one_without():
    held_out = gaussian_set(np.random.default_rng(0), 5.0, 5.0)
    count = len(held_out)
    assert fit_calibration([held_out]).correlation_time_s is None
    times_s = np.arange(count) * 0.5
    means = held_out.truth_enu_m + errors(times_s, TIME_S)
    outputs = replace(held_out.outputs, member_means_enu_m=means[:, None])
    walk = replace(held_out, outputs=outputs, times_s=times_s)
    calibration = fit_calibration([walk])
    assert calibration.correlation_time_s == pytest.approx(TIME_S, rel=0.4)
    assert len(calibration.measured["correlations"]) == len(calibration.measured["correlation_lags_s"]) >= 2
    assert with_correlation_time(calibration, [held_out]).correlation_time_s == calibration.correlation_time_s
