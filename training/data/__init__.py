"""Stored photos as tensors: the training set and its augmentation."""
