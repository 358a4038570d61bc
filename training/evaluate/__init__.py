"""How well a bundle locates a data set: predictions.csv, and every figure and picture computed from it."""
