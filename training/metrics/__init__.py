"""Pure numbers: errors, intervals, consistency of a covariance, risk and coverage, autocorrelation."""
