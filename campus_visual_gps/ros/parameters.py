"""The parameters of the node, described once. Without ROS: declared_parameters.py declares and reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from campus_visual_gps.estimation.calibration import COVARIANCES
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.gnss.health import MonitorSettings
from campus_visual_gps.ros.parameter_spec import ParameterGroup, checked, parameter

RAW, COMPRESSED = "raw", "compressed"
AUTO, RELIABLE, BEST_EFFORT = "auto", "reliable", "best_effort"
VISUAL, FALLBACK = "visual", "fallback"
CPU, INACTIVE = "cpu", "inactive"
BUNDLE = "bundle"

_GPS = MonitorSettings()
_NON_NEGATIVE_S, _COUNT, _POSITIVE = (0.0, 3600.0), (1, 1000), (0.1, 1000.0)

_NETWORKS = ParameterGroup(
    "Device (`auto`, `cpu`, `cuda`, `cuda:N`) and arithmetic (`auto`, `fp32`, `bf16`, `fp16`) of the networks"
)
_IMAGES = ParameterGroup("Images: transport (`raw`, `compressed`), reliability (`auto`, `reliable`, `best_effort`)")
_FIX = ParameterGroup(
    "Altitude above the ellipsoid and covariance (`calibrated`, `ensemble_spread`); default: the bundle's"
)
_POSE = ParameterGroup("Publish `visual_gps/pose`, and its frame")
_RECEIVER = ParameterGroup(
    "The receiver (`output: fallback`): its topic and limits",
    comment="The receiver, with output fallback.",
)
_HYSTERESIS = ParameterGroup("Faulty fixes to leave the receiver, good ones to return")
_GATES = ParameterGroup(
    "Gates; `.nan`: the bundle's threshold, negative: off",
    comment="Gates, which reject an image. .nan takes the bundle's threshold, a negative number switches the gate off.",
)


def _gate(description: str, unit: str = "", comment: str = "") -> float:
    return parameter(
        math.nan,
        description,
        unit=unit,
        allows_nan=True,
        constraint="0 or more; .nan takes the bundle's threshold, a negative number switches the gate off",
        group=_GATES,
        comment=comment,
    )


@dataclass(frozen=True)
class NodeParameters:
    """The parameters of the node `visual_gps`. All are read when the node is configured.

    Raises:
        ConfigError: A value is not accepted; the message names the parameter, what was expected and what came.
    """

    model_dir: str = parameter("", "Directory of the model bundle.", required=True, in_file=False)
    device: str = parameter(
        "auto",
        "Device of the networks: auto, cpu, cuda or cuda:N.",
        group=_NETWORKS,
        comment="auto is the first GPU, or else the CPU.",
    )
    precision: str = parameter(
        "auto",
        "Arithmetic of the networks: auto, fp32, bf16 or fp16.",
        group=_NETWORKS,
        comment="auto is fp32 on a CPU, and bf16 or else fp16 on a GPU.",
    )
    num_threads: int = parameter(
        0,
        "Threads of a CPU for the networks; 0: one, or more where a measurement at start shows that they pay.",
        limits=(0, 1024),
        comment="More threads than one wait for each other when other processes use the cores: with 0 the node goes "
        "back to one while that is so. OpenCV and numpy always run on one.",
    )
    image_transport: str = parameter(
        RAW,
        "Transport of the images: raw (topic image) or compressed (image/compressed).",
        choices=(RAW, COMPRESSED),
        group=_IMAGES,
        in_file=False,
    )
    image_reliability: str = parameter(
        AUTO,
        "Reliability of the subscription to the images; auto: as their publishers offer.",
        choices=(AUTO, RELIABLE, BEST_EFFORT),
        group=_IMAGES,
        comment="A best-effort subscription loses large images (docs/camera.md), and a reliable one hears no "
        "best-effort publisher. An override of the subscription's QoS goes before this parameter.",
    )
    max_rate_hz: float = parameter(
        2.0,
        "Maximum rate of the fixes, by the images' stamps; 0: no limit.",
        unit="Hz",
        limits=(0.0, 1000.0),
        comment="Errors of consecutive images are correlated: a filter that takes 30 fixes a second as independent "
        "becomes overconfident. Without a limit the node processes as many images as the computer can.",
    )
    max_age_s: float = parameter(
        0.0,
        "Images older than this on arrival are dropped; 0: no limit.",
        unit="s",
        limits=_NON_NEGATIVE_S,
        comment="The age is measured in ROS time. Off by default, because the images of a bag that is played without "
        "/clock are as old as the bag.",
    )
    frame_id: str = parameter(
        "",
        "frame_id of the fixes, which TF must have; empty: the image's.",
        comment="robot_localization puts a fix whose frame is not in TF at the origin; the node warns of such a frame.",
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
    )
    on_out_of_memory: str = parameter(
        CPU,
        "Without free GPU memory: cpu moves the model there, inactive stops the node.",
        choices=(CPU, INACTIVE),
    )
    output: str = parameter(
        VISUAL,
        "fallback also publishes fix: the receiver's messages while healthy, else visual fixes.",
        choices=(VISUAL, FALLBACK),
        comment="A filter with a single input, such as navsat_transform, takes the topic fix.",
    )
    gps_topic: str = parameter("gps/fix", "Topic of the receiver's NavSatFix messages.", required=True, group=_RECEIVER)
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
        comment="At a return 0.55 of it is the limit. A lower limit finds smaller errors and takes good "
        "receivers away: 4.5 does so less than once in an hour, 3.5 several times.",
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
    site_margin_m: float = _gate("An estimate farther than this outside the training area is rejected.", "m")
    max_ensemble_spread_m: float = _gate(
        "An estimate is rejected if the root mean square distance of the members from their mean is larger.", "m"
    )
    max_sigma_m: float = _gate("An estimate is rejected if its standard deviation per axis is larger.", "m")
    max_mode_separation_m: float = _gate(
        "An estimate is rejected if the modes of its location grid are farther apart.", "m"
    )
    max_ood_score: float = _gate(
        "An image is rejected if its out-of-distribution score is higher.",
        comment="The score is the whitened distance of the image's features from those of the nearest reference photo; "
        "unrelated images are about 1.4 apart.",
    )
    min_brightness: float = _gate("An image is rejected if its mean grey level, 0 to 255, is lower.")
    max_brightness: float = _gate("An image is rejected if its mean grey level, 0 to 255, is higher.")
    min_sharpness: float = _gate("An image is rejected if the variance of its Laplacian is lower.")
    max_repeated_images: float = _gate(
        "An image is rejected if more than this number of images before it were identical to it.",
        comment="Off unless set, because the camera of a simulator has no noise.",
    )
    autostart: bool = parameter(
        True,
        "Configure and activate at start; false: left to a lifecycle manager.",
        in_file=False,
    )

    def __post_init__(self) -> None:
        for declared in fields(self):
            object.__setattr__(self, declared.name, checked(declared, getattr(self, declared.name)))
        self.gates(Gates())

    @property
    def covariance_choice(self) -> str | None:
        """The covariance as `Localizer.load` takes it."""
        return None if self.covariance == BUNDLE else self.covariance

    def monitor_settings(self) -> MonitorSettings:
        """The parameters gps_* as settings of the GpsMonitor."""
        return MonitorSettings(**{field.name: getattr(self, f"gps_{field.name}") for field in fields(MonitorSettings)})

    def gates(self, bundle_gates: Gates) -> Gates:
        """The bundle's gates, with thresholds replaced by the parameters of the same names that are not .nan."""
        return bundle_gates.overridden(**{field.name: getattr(self, field.name) for field in fields(Gates)})
