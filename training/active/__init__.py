"""The active-learning loop (paper, sections 3.5, 4.5 and 5.9): blind spots, their audit, decisions and rounds."""
