"""The node and its messages. This is the only package that imports ROS."""
