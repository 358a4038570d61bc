"""The node and its messages: the only place of the package that imports ROS."""
