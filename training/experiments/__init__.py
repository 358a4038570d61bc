"""Tables of runs: the paper's comparisons as files that run."""
