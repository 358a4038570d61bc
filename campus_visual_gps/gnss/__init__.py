"""The GNSS receiver: whether it is healthy, and which source of fixes counts now."""
