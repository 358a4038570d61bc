"""A procedural campus with known true positions, from which sample/ is rendered: photos and drives of a robot.

Everything is drawn by this code: the sample holds no real photos and no real positions.
"""
