"""MODEL_CARD.md of a bundle, written from what the training knows."""

from __future__ import annotations

from collections.abc import Sequence

from campus_visual_gps.estimation.calibration import ENSEMBLE_SPREAD, MIN_FLOOR_SIGMA_M, Calibration
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.models.heads import GAUSSIAN, PROBABILITY_MAP
from campus_visual_gps.models.position_model import ModelConfig
from campus_visual_gps.preprocess import ImageSpec

_CLAIMS = {
    GAUSSIAN: "mean of the members' covariances plus the spread of their means",
    PROBABILITY_MAP: "second moment of the mean grid about the reported point",
    "point": "spread of the members",
}


def _claim(models: Sequence[ModelConfig]) -> str:
    """What the ensemble claims before calibration; point and Gaussian heads make a mixture."""
    heads = {model.head for model in models}
    return _CLAIMS[next((kind for kind in (PROBABILITY_MAP, GAUSSIAN) if kind in heads), "point")]


def _members(members: Sequence[tuple[int, ModelConfig]]) -> str:
    """The backbones and heads, each with its seeds."""
    by_model: dict[tuple[str, str], list[int]] = {}
    for seed, model in members:
        by_model.setdefault((model.backbone, model.head), []).append(seed)
    kinds = (
        f"{backbone} with {head} head, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
        for (backbone, head), seeds in by_model.items()
    )
    return "; ".join(kinds)


def _runs(training: dict) -> str:
    """Which runs a combination was made of; empty for the members of one run."""
    if "runs" not in training:
        return ""
    rows = "\n".join(
        f"- `{run['directory']}`: {', '.join(run['members'])}, {run['train_photos']} training photos"
        for run in training["runs"]
    )
    return f"\nCombined from:\n\n{rows}\n"


def _chosen(calibration: Calibration) -> str:
    if calibration.covariance != ENSEMBLE_SPREAD:
        return ""
    measured = calibration.measured
    worth = ""
    if "nees_ensemble_spread" in measured:
        worth = (
            f"\n  On the same photos it has a mean NEES of {measured['nees_ensemble_spread']:.2f} and "
            f"{100 * measured['coverage_95_ensemble_spread']:.0f} % of the truths in the 95 % ellipse."
        )
    return (
        f"\n- **Fixes carry the plain ensemble spread in its place** (`bundle.covariance: {ENSEMBLE_SPREAD}`): sample\n"
        f"  covariance of the members' positions plus {MIN_FLOOR_SIGMA_M:.0f} m per axis, not calibrated.{worth}"
    )


def _night(calibration: Calibration) -> str:
    return "" if calibration.night is None else " (of its own for the night)"


def _inflation(calibration: Calibration) -> str:
    if calibration.reference_match_score is None:
        return ""
    return f";\n  sigma times {calibration.reference_match_score:.1f} over the image's match score"


def _drive(measured: dict) -> str:
    darkest, brightest = measured["brightness"]
    return (
        f"Scale and floor were fitted anew on {measured['images']} images of the drive `{measured['bag']}`,\n"
        f"  of mean grey levels from {darkest:.0f} to {brightest:.0f}. For another robot, and in other light,\n"
        "  they are not proven. On these images"
    )


def _held(calibration: Calibration) -> str:
    measured = calibration.measured
    if "coverage_95_after" not in measured:
        return ""
    what = _drive(measured) if "bag" in measured else "On the held-out photos"
    return (
        f"\n  {what}: mean NEES {measured['nees_after']:.2f} (ideal 2), "
        f"{100 * measured['coverage_95_after']:.0f} % of the truths in the 95 % ellipse."
    )


def _correlation(calibration: Calibration) -> str:
    if calibration.correlation_time_s is None:
        return ""
    return (
        "\n- Errors of consecutive images are alike: their correlation falls to 1/e in "
        f"{calibration.correlation_time_s:.1f} s\n  (`correlation_time_s`)."
    )


def _tracking(calibration: Calibration) -> str:
    tracking = calibration.tracking
    if tracking is None:
        return ""
    if "mean_error_m" not in tracking.measured:
        return "\n- The tracker has its default parameters: too few held-out photos in time order."
    measured = tracking.measured
    return (
        f"\n- The tracker was calibrated on {measured['images']} of them in time order: mean error "
        f"{measured['mean_error_m']:.1f} m, mean NEES {measured['nees']:.2f},\n  "
        f"{100 * measured['coverage_95']:.0f} % of the truths in the 95 % ellipse."
    )


def _worth(calibration: Calibration) -> str:
    return _held(calibration) + _chosen(calibration) + _correlation(calibration) + _tracking(calibration)


def model_card(
    members: Sequence[tuple[int, ModelConfig]],
    image: ImageSpec,
    training: dict,
    calibration: Calibration,
    frame: LocalFrame,
) -> str:
    """What the bundle is, what it was trained on, what it is good for, as Markdown; members are (seed, model)."""
    sessions = "\n".join(f"- {name}" for name in training["sessions"])
    return f"""# Visual GPS model of one site

{len(members)} members at {image.size_px} px ({_members(members)}),
made {training["trained_at"]} from `{training["weights"]}` weights.
{_runs(training)}
- Site: around {frame.latitude_ref_deg:.5f}, {frame.longitude_ref_deg:.5f}. It answers nowhere else.
- Photos: {training["train_photos"]} for training; calibrated on {training["val_photos"]} held-out photos
  ({training["calibrated_on"]}).
- Mean error on those: {training["val_mean_error_m"]:.2f} m. Where they are validation photos of sessions that were
  trained on, this flatters; `python -m training evaluate` on a session of another day tells the truth.
- Covariance: {_claim([model for _, model in members])}, times {calibration.scale:.2f}, plus a floor of
  {calibration.floor_sigma_m:.2f} m per axis{_night(calibration)}{_inflation(calibration)}.{_worth(calibration)}

Training sessions:

{sessions}

What it has not seen it cannot know: other seasons, snow, building sites, crowds, another camera's mounting height.
The photos' phone positions carry 3 to 10 m of their own error, below which no number here can be.
"""
