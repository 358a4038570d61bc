"""From the networks' outputs to one position, its covariance, and whether it may be used."""
