"""Which reference photos an image looks like: descriptors, exact search, matching, the prior over the site, OOD score."""
