"""Decisions on a photo that was reviewed (paper, section 3.5): their names, and which one holds where there are two.

label      the label was wrong; the row gives the right position (also written `fix_label`)
keep       the label was checked and is right
ambiguous  the label is right, but other places look the same: irreducible error; the photo stays where it is
train      the place or angle is not in the training set: train on the photo, whatever its session (also written
           `move_to_training`)
exclude    do not use the photo (blurred, a face, another site)
"""

from __future__ import annotations

import re

LABEL, KEEP, AMBIGUOUS, TRAIN, EXCLUDE = "label", "keep", "ambiguous", "train", "exclude"
DECISIONS = (LABEL, KEEP, AMBIGUOUS, TRAIN, EXCLUDE)
_SPELLINGS = {
    "fix_label": LABEL,
    "fix": LABEL,
    "keep_label": KEEP,
    "move_to_training": TRAIN,
    "move_to_train": TRAIN,
    "training": TRAIN,
    "excluded": EXCLUDE,
}
# A decision of a higher rank holds until its row is deleted; of two of the same rank the later one wins.
_RANKS = {"": 0, LABEL: 1, KEEP: 1, AMBIGUOUS: 2, TRAIN: 3, EXCLUDE: 3}


def parse_decision(text: str) -> str:
    """One of DECISIONS; "" for an empty text. Letter case, blanks, hyphens and underscores do not matter.

    Raises:
        ValueError: The text is no decision.
    """
    name = re.sub(r"[\s_-]+", "_", text.strip().lower())
    name = _SPELLINGS.get(name, name)
    if name and name not in DECISIONS:
        raise ValueError(f"unknown decision '{text}', expected one of {', '.join(DECISIONS)}")
    return name


def later_decision(earlier: str, later: str) -> str:
    """What holds after a later decision on the same photo: nothing undoes `train` and `exclude` but each other."""
    return later if _RANKS[later] >= _RANKS[earlier] else earlier
