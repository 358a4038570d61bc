"""Visual place recognition among the reference photos: descriptors, search, matching, prior, OOD score."""
