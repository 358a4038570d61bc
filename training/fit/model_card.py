"""MODEL_CARD.md of a bundle, written from what the training knows."""

from __future__ import annotations

from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.uncertainty import Calibration
from training.config import TrainConfig


def model_card(config: TrainConfig, training: dict, calibration: Calibration, frame: LocalFrame) -> str:
    """What the bundle is, what it was trained on, what it is good for, as Markdown."""
    sessions = "\n".join(f"- {name}" for name in training["sessions"])
    return f"""# Visual GPS model of one site

{len(config.seeds)} members ({config.model.backbone}, {config.model.head} head, {config.size_px} px, seeds
{", ".join(map(str, config.seeds))}), trained {training["trained_at"]} from `{config.weights}` weights.

- Site: around {frame.latitude_ref_deg:.5f}, {frame.longitude_ref_deg:.5f}. It answers nowhere else.
- Photos: {training["train_photos"]} for training; {training["val_photos"]} for validation, which chose the epoch
  and the covariance's floor.
- Mean error on the validation photos: {training["val_mean_error_m"]:.2f} m. If they share sessions with the training
  photos this flatters; `python -m training evaluate` on a session of another day tells the truth.
- Covariance: spread of the members plus a floor of {calibration.floor_sigma_m:.2f} m per axis.

Training sessions:

{sessions}

What it has not seen it cannot know: other seasons, snow, building sites, crowds, another camera's mounting height.
The photos' phone positions carry 3 to 10 m of their own error, which no figure here can undercut.
"""
