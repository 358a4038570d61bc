"""MODEL_CARD.md of a bundle, written from what the training knows."""

from __future__ import annotations

from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.models.heads import GAUSSIAN, PROBABILITY_MAP
from training.config import TrainConfig

_CLAIMS = {
    GAUSSIAN: "mean of the members' covariances plus the spread of their means",
    PROBABILITY_MAP: "second moment of the mean grid about the reported point",
    "point": "spread of the members",
}


def _kind(config: TrainConfig) -> str:
    return config.model.head if config.model.head in _CLAIMS else "point"


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


def model_card(config: TrainConfig, training: dict, calibration: Calibration, frame: LocalFrame) -> str:
    """What the bundle is, what it was trained on, what it is good for, as Markdown."""
    sessions = "\n".join(f"- {name}" for name in training["sessions"])
    return f"""# Visual GPS model of one site

{len(config.seeds)} members ({config.model.backbone}, {config.model.head} head, {config.size_px} px, seeds
{", ".join(map(str, config.seeds))}), trained {training["trained_at"]} from `{config.weights}` weights.

- Site: around {frame.latitude_ref_deg:.5f}, {frame.longitude_ref_deg:.5f}. It answers nowhere else.
- Photos: {training["train_photos"]} for training; calibrated on {training["val_photos"]} held-out photos
  ({training["calibrated_on"]}).
- Mean error on those: {training["val_mean_error_m"]:.2f} m. Where they are validation photos of sessions that were
  trained on, this flatters; `python -m training evaluate` on a session of another day tells the truth.
- Covariance: {_CLAIMS[_kind(config)]}, times {calibration.scale:.2f}, plus a floor of
  {calibration.floor_sigma_m:.2f} m per axis{_night(calibration)}{_inflation(calibration)}.{_held(calibration)}

Training sessions:

{sessions}

What it has not seen it cannot know: other seasons, snow, building sites, crowds, another camera's mounting height.
The photos' phone positions carry 3 to 10 m of their own error, which no figure here can undercut.
"""
