"""The parameters of the node, described once. Without ROS: declared_parameters.py declares and reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.calibration import COVARIANCES
from campus_visual_gps.estimation.correlated_errors import CORRELATED_ERRORS, INFLATE
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.ros.gate_parameters import GateParameters
from campus_visual_gps.ros.image_parameters import ImageParameters
from campus_visual_gps.ros.parameter_spec import ParameterGroup, checked, parameter
from campus_visual_gps.ros.tracking_parameters import TrackingParameters

VISUAL, FALLBACK = "visual", "fallback"
CPU, INACTIVE = "cpu", "inactive"
BUNDLE = "bundle"

# Of the parameters that the topic `fix` depends on, those whose names do not say so.
_OF_FALLBACK = ("output", "base_frame", "world_frame", "hold_until_connected")

_GPS = MonitorSettings()
_NON_NEGATIVE_S, _COUNT, _POSITIVE = (0.0, 3600.0), (1, 1000), (0.1, 1000.0)

_FIX = ParameterGroup(
    "Altitude and covariance (`calibrated`, `ensemble_spread`), default: the bundle's; [for filters](docs/fusion.md)"
)
_FRAMES = ParameterGroup(
    "Frames; fixes wait for TF to the base",
    comment="Coordinate frames. robot_localization puts a fix at the origin while its frame has no way to the robot.",
)
_POSE = ParameterGroup("Publish `visual_gps/pose`, and its frame")
_RECEIVER = ParameterGroup(
    "Receiver (`output: fallback`): topic, limits",
    comment="The receiver, with output fallback.",
)
_HYSTERESIS = ParameterGroup("Faulty fixes to leave, good to return")


def is_of_fallback(name: str) -> bool:
    """Whether the topic `fix` of output `fallback` depends on this parameter also without a model."""
    return name in _OF_FALLBACK or name.startswith("gps_")


@dataclass(frozen=True)
class _Parameters(ImageParameters):
    """All but the gates and autostart: a base class, because of the order of the fields."""

    frame_id: str = parameter("", "frame_id of the visual fixes; empty: the image's.", group=_FRAMES)
    camera_frame: str = parameter(
        "camera",
        "frame_id of the visual fixes where neither the image nor the parameter frame_id has one.",
        required=True,
        group=_FRAMES,
        in_file=False,
    )
    gps_frame: str = parameter(
        "gps",
        "frame_id on the topic fix for a receiver that sends none.",
        required=True,
        group=_FRAMES,
        in_file=False,
    )
    base_frame: str = parameter(
        "",
        "The robot's base frame; empty: it is not watched whether TF connects the fixes' frames with it.",
        group=_FRAMES,
        comment="The launch file sets it with use_fusion, camera_xyz or gps_xyz.",
    )
    world_frame: str = parameter(
        "",
        "The filter's world frame, with which TF must connect base_frame; empty: not needed.",
        group=_FRAMES,
        comment="The launch file sets it with use_fusion. Leave it empty for a filter that publishes map -> odom only "
        "after its first fix.",
    )
    hold_until_connected: bool = parameter(
        True,
        "Fixes go to the filter only once TF connects their frame with base_frame, if that is set.",
        group=_FRAMES,
        comment="It holds back fix with output fallback, else visual_gps/fix; visual_gps/pose always comes.",
    )
    altitude_m: float = parameter(
        math.nan,
        "Altitude of the fixes above the ellipsoid; .nan: the bundle's.",
        unit="m",
        limits=(-1000.0, 10000.0),
        allows_nan=True,
        group=_FIX,
    )
    covariance: str = parameter(
        BUNDLE,
        "Covariance of the fixes: calibrated, ensemble_spread, or the bundle's choice.",
        choices=(BUNDLE, *COVARIANCES),
        group=_FIX,
        comment="calibrated was fitted on photos that the networks had not seen. ensemble_spread is the sample "
        "covariance of the members' positions plus 1 m: members that share a mistake agree, and it is then far too "
        "small (docs/covariance.md).",
    )
    correlated_errors: str = parameter(
        INFLATE,
        "Correlated errors of consecutive fixes for filters: inflate (covariance), thin (fewer fixes) or ignore.",
        choices=CORRELATED_ERRORS,
        group=_FIX,
        comment="A filter takes each fix as independent, and at two a second would count one error many times. inflate "
        "multiplies the covariance on visual_gps/fix and fix by what the time since the last fix calls for, thin "
        "publishes one fix every 2 correlation times there; visual_gps/pose keeps the covariance of the image. The "
        "time is the bundle's correlation_time_s (docs/fusion.md).",
    )
    publish_rejected: bool = parameter(
        False,
        "Publish a fix with STATUS_NO_FIX for a rejected image.",
        comment="Such a fix has an UNKNOWN covariance. Without it a rejected image gives no message.",
    )
    publish_pose: bool = parameter(True, "Publish visual_gps/pose.", group=_POSE)
    map_frame: str = parameter(
        "map",
        "frame_id of the poses: x east, y north, origin at the bundle's reference point.",
        required=True,
        group=_POSE,
        in_file=False,
    )
    on_out_of_memory: str = parameter(
        CPU,
        "GPU memory full: cpu moves the model there, inactive stops.",
        choices=(CPU, INACTIVE),
    )
    output: str = parameter(
        VISUAL,
        "fallback also publishes fix: the receiver's messages while healthy, else visual fixes.",
        choices=(VISUAL, FALLBACK),
        comment="A filter with a single input, such as navsat_transform, takes the topic fix.",
    )
    gps_topic: str = parameter("gps/fix", "Topic of the receiver's NavSatFix messages.", required=True, group=_RECEIVER)
    gps_startup_grace_s: float = parameter(
        _GPS.startup_grace_s,
        "At start, fix waits so long for the receiver before it carries visual fixes.",
        unit="s",
        limits=_NON_NEGATIVE_S,
        group=_RECEIVER,
        comment="So a filter does not begin with a visual fix where the receiver is a little later than this node. The "
        "model is loaded meanwhile.",
    )
    gps_max_age_s: float = parameter(
        _GPS.max_age_s,
        "The receiver is lost after this time without a new fix.",
        unit="s",
        limits=(0.1, 3600.0),
        group=_RECEIVER,
    )
    gps_max_delay_s: float = parameter(
        _GPS.max_delay_s,
        "A fix that arrives later than this after its stamp is faulty; 0: no check.",
        unit="s",
        limits=_NON_NEGATIVE_S,
        group=_RECEIVER,
        comment="The delay is measured in ROS time. Use 0 for a receiver whose clock is not synchronised.",
    )
    gps_max_sigma_m: float = parameter(
        _GPS.max_sigma_m,
        "A fix whose standard deviation in the worst horizontal direction is larger is faulty.",
        unit="m",
        limits=_POSITIVE,
        group=_RECEIVER,
    )
    gps_max_sigma_ratio: float = parameter(
        _GPS.max_sigma_ratio,
        "A fix is faulty beyond this multiple of the recent visual fixes' standard deviation; 0: no check.",
        limits=(0.0, 100.0),
        group=_RECEIVER,
        comment="Only while visual fixes come. The receiver is used again at five sixths of that, with "
        "1.2 when it claims no more than they do.",
    )
    gps_max_speed_mps: float = parameter(
        _GPS.max_speed_mps,
        "A fix that implies a higher speed of the robot is faulty.",
        unit="m/s",
        limits=_POSITIVE,
        group=_RECEIVER,
    )
    gps_assumed_sigma_m: float = parameter(
        _GPS.assumed_sigma_m,
        "Standard deviation of a fix whose covariance the receiver does not know.",
        unit="m",
        limits=_POSITIVE,
        group=_RECEIVER,
        comment="Unknown by its type, or with 0 or -1 as a horizontal variance. A filter would take an all-zero "
        "covariance for certainty.",
    )
    gps_check_against_visual: bool = parameter(
        _GPS.check_against_visual,
        "A receiver that the visual fixes contradict is faulty; false: it is only warned of.",
        group=_RECEIVER,
        comment="At its return from an outage it must agree with them before it is used, where there are any. What is "
        "found, and when, stands in docs/fusion.md.",
    )
    gps_contradiction_sigmas: float = parameter(
        _GPS.contradiction_sigmas,
        "Distance of the receiver from the visual fixes, in standard deviations, from which on they contradict it.",
        limits=(2.0, 100.0),
        group=_RECEIVER,
        comment="At a return, and after a jump of the receiver's own track, 0.55 of it is the limit. A lower limit "
        "finds smaller errors and takes good receivers away: 4.5 does so less than once in an hour, 3.5 several times.",
    )
    gps_contradiction_min_duration_s: float = parameter(
        _GPS.contradiction_min_duration_s,
        "A receiver in use must contradict the visual fixes for at least this time.",
        unit="s",
        limits=(1.0, 20.0),
        group=_RECEIVER,
    )
    gps_fault_min_count: int = parameter(
        _GPS.fault_min_count,
        "The receiver is no longer used after at least this number of consecutive faulty fixes.",
        limits=_COUNT,
        group=_HYSTERESIS,
        comment="Both this number and gps_fault_min_duration_s must be reached.",
    )
    gps_fault_min_duration_s: float = parameter(
        _GPS.fault_min_duration_s,
        "The receiver is no longer used after consecutive faulty fixes for at least this time.",
        unit="s",
        limits=_NON_NEGATIVE_S,
        group=_HYSTERESIS,
    )
    gps_recovery_min_count: int = parameter(
        _GPS.recovery_min_count,
        "The receiver is used again after at least this number of consecutive good fixes.",
        limits=_COUNT,
        group=_HYSTERESIS,
        comment="Both this number and gps_recovery_min_duration_s must be reached.",
    )
    gps_recovery_min_duration_s: float = parameter(
        _GPS.recovery_min_duration_s,
        "The receiver is used again after consecutive good fixes for at least this time.",
        unit="s",
        limits=_NON_NEGATIVE_S,
        group=_HYSTERESIS,
    )


@dataclass(frozen=True)
class NodeParameters(GateParameters, TrackingParameters, _Parameters):
    """The parameters of the node `visual_gps`, read when it is configured; those of the fallback also at its start.

    Raises:
        ConfigError: A value is not accepted; the message names the parameter, what was expected and what came.
    """

    autostart: bool = parameter(
        True,
        "Configure and activate at start; false: left to a lifecycle manager.",
        in_file=False,
    )

    def __post_init__(self) -> None:
        for declared in fields(self):
            object.__setattr__(self, declared.name, checked(declared, getattr(self, declared.name)))
        self.gates(Gates())

    @classmethod
    def of_fallback(cls, values: Mapping[str, object]) -> NodeParameters:
        """The values of what the topic `fix` depends on, and the others as far as each is accepted.

        So a receiver does not depend on a parameter of the camera or of the model. Without a model there is a name in
        its place.

        Raises:
            ConfigError: A value of the fallback is not accepted.
        """
        accepted: dict[str, Any] = {"model_dir": "no model"}
        for declared in fields(cls):
            try:
                accepted[declared.name] = checked(declared, values[declared.name])
            except ConfigError:
                if is_of_fallback(declared.name):
                    raise
        with suppress(ConfigError):
            return cls(**accepted)
        return cls(**{name: value for name, value in accepted.items() if is_of_fallback(name) or name == "model_dir"})

    @property
    def covariance_choice(self) -> str | None:
        """The covariance as `Localizer.load` takes it."""
        return None if self.covariance == BUNDLE else self.covariance

    def monitor_settings(self) -> MonitorSettings:
        """The parameters gps_* as settings of the GpsMonitor."""
        return MonitorSettings(**{field.name: getattr(self, f"gps_{field.name}") for field in fields(MonitorSettings)})
