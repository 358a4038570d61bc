"""Stored photos as tensors: data set and augmentation."""
