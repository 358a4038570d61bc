"""A procedural campus with known truth, from which `sample/` is made: photos of walks and a robot's drive.

Everything here is drawn by this code, so the sample carries no one's pictures and no one's position.
"""
