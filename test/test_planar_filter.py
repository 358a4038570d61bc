"""The stand-in of robot_localization's filter finds the pose, rejects outliers and fuses late fixes at their stamps."""

import numpy as np
import pytest

from campus_visual_gps.errors import ConfigError
from training.replay.planar_filter import FilterSettings, Measurements, run_filter

T0 = 1_760_000_000_000_000_000
SPEED_M_S, HEADING_RAD, SIGMA_M = 1.5, 2.2, 2.0
SETTINGS = FilterSettings.read()


def stamps(seconds) -> np.ndarray:
    return T0 + np.round(np.asarray(seconds, dtype=np.float64) * 1e9).astype(np.int64)


def way_m(seconds) -> np.ndarray:
    """Straight on, from a point far from the origin."""
    ahead = np.array([np.cos(HEADING_RAD), np.sin(HEADING_RAD)])
    return np.array([300.0, -200.0]) + SPEED_M_S * np.asarray(seconds)[:, None] * ahead


def wheels(end_s=60.0, rate_hz=10.0, sigma_m_s=0.04) -> Measurements:
    times_s = np.arange(0.0, end_s, 1.0 / rate_hz)
    velocities = np.tile([SPEED_M_S, 0.0, 0.0], (len(times_s), 1))
    covariances = np.tile(np.diag([sigma_m_s, 0.02, 0.012]) ** 2, (len(times_s), 1, 1))
    return Measurements(stamps(times_s), stamps(times_s), velocities, covariances)


def fixes(times_s, offsets_m=None, sigma_m=SIGMA_M, delay_s=0.0, seed=0) -> Measurements:
    times_s = np.asarray(times_s, dtype=np.float64)
    if offsets_m is None:
        offsets_m = sigma_m * np.random.default_rng(seed).normal(size=(len(times_s), 2))
    covariances = np.tile(sigma_m**2 * np.eye(2), (len(times_s), 1, 1))
    return Measurements(stamps(times_s), stamps(times_s + delay_s), way_m(times_s) + offsets_m, covariances)


def errors_m(run, times_s) -> np.ndarray:
    return np.linalg.norm(run.positions_m - way_m(np.asarray(times_s)), axis=1)


def test_it_finds_position_and_heading_far_from_the_origin_and_keeps_them_without_fixes():
    times_s = np.arange(0.0, 59.0, 0.5)
    run = run_filter(wheels(), fixes(np.arange(0.1, 40.0, 0.5)), stamps(times_s), SETTINGS)
    error_m = errors_m(run, times_s)
    assert np.isnan(run.positions_m[0]).all() and np.isfinite(run.positions_m[1:]).all()
    sigma_m = np.sqrt(np.trace(run.covariances_m2, axis1=1, axis2=2) / 2.0)
    assert error_m[(times_s > 20.0) & (times_s < 40.0)].max() < 3.0
    # without fixes the error of the heading takes it sideways, by no more than the filter says
    assert (error_m < 3.0 * sigma_m)[times_s > 20.0].all()
    assert 0.3 < sigma_m[times_s == 39.0][0] < 2.0 < sigma_m[times_s == 58.0][0] < 8.0
    assert run.rejected == 0


def test_independent_fixes_leave_it_consistent_on_the_safe_side():
    times_s, squared = np.arange(20.0, 59.0, 0.5), []
    for seed in range(5):
        run = run_filter(wheels(), fixes(np.arange(0.1, 59.0, 0.5), seed=seed), stamps(times_s), SETTINGS)
        offsets_m = run.positions_m - way_m(times_s)
        squared.append(np.einsum("ni,nij,nj->n", offsets_m, np.linalg.inv(run.covariances_m2), offsets_m).mean())
    # ekf.yaml says more noise of the motion than these wheels have
    assert 0.2 < np.mean(squared) < 2.5


def test_an_outlier_is_rejected_and_counted_and_one_with_a_large_sigma_is_accepted():
    times_s = np.arange(0.1, 40.0, 0.5)
    offsets_m = np.zeros((len(times_s), 2))
    offsets_m[60] = [200.0, 0.0]
    at_s = [times_s[60] + 0.2]
    certain = run_filter(wheels(), fixes(times_s, offsets_m), stamps(at_s), SETTINGS)
    assert certain.rejected == 1 and errors_m(certain, at_s)[0] < 1.0
    fed = fixes(times_s, offsets_m)
    fed.covariances[60] = 100.0**2 * np.eye(2)
    uncertain = run_filter(wheels(), fed, stamps(at_s), SETTINGS)
    assert uncertain.rejected == 0 and errors_m(uncertain, at_s)[0] < 1.0


def test_late_fixes_are_fused_at_their_stamps():
    times_s, at_s = np.arange(0.1, 40.0, 0.5), [42.0]
    in_time = run_filter(wheels(), fixes(times_s), stamps(at_s), SETTINGS)
    late = run_filter(wheels(), fixes(times_s, delay_s=1.3), stamps(at_s), SETTINGS)
    np.testing.assert_allclose(late.positions_m, in_time.positions_m, atol=1e-6)
    np.testing.assert_allclose(late.covariances_m2, in_time.covariances_m2, atol=1e-6)


def test_an_answer_does_not_depend_on_what_arrives_after_it():
    times_s = np.arange(0.1, 40.0, 0.5)
    wrong = np.where((times_s > 29.0)[:, None], 8.0, 0.0) * np.ones(2)
    runs = [
        run_filter(wheels(), fixes(times_s, offsets_m, delay_s=1.0), stamps([30.0]), SETTINGS)
        for offsets_m in (np.zeros((len(times_s), 2)), wrong)
    ]
    np.testing.assert_array_equal(runs[0].positions_m, runs[1].positions_m)


def test_a_fix_older_than_the_history_does_not_rewind_the_filter():
    times_s = np.arange(0.1, 30.0, 0.5)
    fed = fixes(times_s)
    fed.arrivals_ns[10] += 20_000_000_000
    run = run_filter(wheels(), fed, stamps([29.0]), SETTINGS)
    assert errors_m(run, [29.0])[0] < 5.0


def test_odometry_without_covariances_and_a_drive_without_fixes_do_no_harm():
    certain = wheels(sigma_m_s=0.0)
    certain.covariances[:] = 0.0
    run = run_filter(certain, fixes(np.arange(0.1, 40.0, 0.5)), stamps([39.0]), SETTINGS)
    assert errors_m(run, [39.0])[0] < 3.0 and np.linalg.eigvalsh(run.covariances_m2[0])[0] > 0.0
    nothing = run_filter(wheels(), fixes([]), stamps([10.0, 20.0]), SETTINGS)
    assert np.isnan(nothing.positions_m).all() and nothing.rejected == 0


def test_its_settings_are_those_of_the_parameter_file(tmp_path):
    assert (SETTINGS.rejection_sigmas, SETTINGS.history_s) == (4.0, 5.0)
    assert np.diag(SETTINGS.process_noise)[:3].tolist() == [1.0, 1.0, 0.002]
    assert np.diag(SETTINGS.initial_covariance)[:3].tolist() == [1e6, 1e6, 10.0]
    (tmp_path / "ekf.yaml").write_text("/**: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no settings of ekf_map"):
        FilterSettings.read(tmp_path / "ekf.yaml")
