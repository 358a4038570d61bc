"""The files that recorders write: MCAP, sqlite3, ROS 1; complete, compressed, damaged or cut."""
