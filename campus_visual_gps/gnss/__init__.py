"""The GNSS receiver: its health, and which source of fixes is in use."""
