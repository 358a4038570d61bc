"""Bayes filter over the location grid: images and motion in, tracked position out."""
