"""How well a bundle locates a data set: predictions.csv, and every metric that is computed from it."""
