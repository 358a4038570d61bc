"""Bags: read and written without ROS, played over DDS, replayed and scored."""
