"""What the audit says of a photo in words, in the page and in the PNGs."""

from __future__ import annotations

import math

import pandas as pd

from training.active.material import Material
from training.active.training_photos import Neighbour

_LIGHT = {True: "night", False: "day", None: "unknown"}
AGREE = "members agree with each other against the label: is the label wrong?"


def heading(material: Material, rank: int) -> str:
    """Rank, error and file."""
    return f"{rank}. {metres(material.row['error_m'], 'no position')} · {material.row['file']}"


def facts(material: Material) -> list[tuple[str, str]]:
    """(name, value) of what is known of the photo."""
    row = material.row
    members = ", ".join(f"{name}: {metres(row[f'member_{name}_error_m'], 'none')}" for name in material.members_m)
    accuracy = f", reported accuracy {metres(row['reported_accuracy_m'], 'unknown')}"
    found = [
        ("session", f"{row['session']}{', ' + material.captured_at if material.captured_at else ''}"),
        ("area, light", f"{row['area'] or 'unknown'}, {_LIGHT[material.night]}"),
        ("label", degrees(row["label_latitude_deg"], row["label_longitude_deg"]) + accuracy),
        ("prediction", degrees(row["predicted_latitude_deg"], row["predicted_longitude_deg"])),
        ("error of each member", members),
        ("sigma", f"{metres(row['sigma_m'])}, label at {_plain(row['mahalanobis_distance'])} sigma (Mahalanobis)"),
        ("nearest training photo", f"{metres(row['nearest_training_m'], 'none')} from the label"),
    ]
    if material.agree_against_label:
        found.append(("note", AGREE))
    if material.label_moved_m > 0.1:
        found.append(("note", f"the label has been moved by {material.label_moved_m:.1f} m since this evaluation"))
    return [(name, value) for name, value in found if value]


def neighbour_caption(near: Neighbour, name: str) -> str:
    """Name on the map, distance, session."""
    return f"{name}: {near.distance_m:.0f} m, {near.session}"


def degrees(latitude: float, longitude: float) -> str:
    """As a map program takes it, to a centimetre or so; "none" where there is no position."""
    return "none" if math.isnan(latitude) or math.isnan(longitude) else f"{latitude:.7f}, {longitude:.7f}"


def metres(value: float, unknown: str = "unknown") -> str:
    """With one decimal."""
    return unknown if pd.isna(value) else f"{value:.1f} m"


def _plain(value: float) -> str:
    return "unknown" if pd.isna(value) else f"{value:.1f}"
