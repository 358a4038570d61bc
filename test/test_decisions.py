"""Decisions on photos: one set of names in every spelling, and which of two holds."""

import pytest
from table_helpers import make_dataset, write_batch

from training.photos.corrections import apply_corrections
from training.photos.decisions import DECISIONS, later_decision, parse_decision
from training.photos.manifest import read_labels


@pytest.mark.parametrize(
    ("written", "decision"),
    [
        ("fix_label", "label"),
        ("Fix label", "label"),
        ("move_to_training", "train"),
        ("Move to training", "train"),
        ("move-to-training", "train"),
        ("TRAIN ", "train"),
        ("Ambiguous", "ambiguous"),
        ("exclude", "exclude"),
        ("", ""),
    ],
)
def test_every_spelling_is_one_decision(written, decision):
    assert parse_decision(written) == decision


def test_another_word_is_no_decision():
    with pytest.raises(ValueError, match=f"unknown decision 'maybe', expected one of {', '.join(DECISIONS)}"):
        parse_decision("maybe")


@pytest.mark.parametrize(
    ("earlier", "later", "holds"),
    [
        ("train", "ambiguous", "train"),
        ("exclude", "keep", "exclude"),
        ("train", "exclude", "exclude"),
        ("exclude", "train", "train"),
        ("ambiguous", "label", "ambiguous"),
        ("ambiguous", "train", "train"),
        ("keep", "label", "label"),
        ("", "keep", "keep"),
    ],
)
def test_only_train_and_exclude_undo_each_other(earlier, later, holds):
    assert later_decision(earlier, later) == holds


def test_decisions_of_an_audit_are_applied_from_a_table(tmp_path):
    dataset = make_dataset(tmp_path)
    rows = "a.jpg,fix_label,31.2622,34.8027\nwalk/b.jpg,move_to_training,,\nride/b.jpg,ambiguous,,\n7.jpg,exclude,,\n"
    write_batch(dataset, "1.csv", "image_name,decision,lat,lon\n" + rows)
    apply_corrections(dataset)
    assert read_labels(dataset)["decision"].to_list() == ["label", "train", "ambiguous", "exclude"]
