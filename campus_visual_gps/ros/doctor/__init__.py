"""The executable `doctor`: looks at a running graph and says what is wrong with it, one line each, with a remedy.

graph.py, observer.py and collect.py read the graph into a Snapshot (snapshot.py). The checks are functions of a
Snapshot alone, without ROS. command.py prints what they find.
"""
