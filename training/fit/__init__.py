"""Training: losses, the Lightning module, all members of an ensemble, the calibration."""
