"""Functions for a page of the audit: the queue, one photo's material, recording a decision, undoing it."""

import threading

import pytest
from active_helpers import decide, photo, write_dataset, write_evaluation

from campus_visual_gps.errors import DatasetError
from training.active.blind_spots import list_blind_spots
from training.active.decision_log import get_material, list_queue, record_decision, undo_decision
from training.active.decisions import read_decisions
from training.active.evaluation_files import read_evaluation
from training.active.material import MaterialSource
from training.photos.manifest import read_photos
from training.photos.photo_names import PhotoNames


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("active") / "site")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "decisions.csv"


def decisions_of(log, dataset):
    rows = read_photos(dataset)
    found = read_decisions(log, PhotoNames(zip(rows["photo_id"], rows["file"], strict=True)))
    return {correction.photo_id: correction.decision for correction in found.corrections}


def test_queue_has_the_decisions_in_force(dataset, tmp_path, log):
    evaluation = write_evaluation(tmp_path / "e", dataset, {9: 40.0, 10: 80.0})
    list_blind_spots(evaluation).write(tmp_path / "list.csv")
    assert [(item.photo_id, item.decision) for item in list_queue(tmp_path / "list.csv", log)] == [
        (photo(10), ""),
        (photo(9), ""),
    ]
    record_decision(log, photo(9), "ambiguous")
    items = list_queue(tmp_path / "list.csv", log)
    assert [item.decision for item in items] == ["", "ambiguous"]
    assert items[0].cells["error_m"] == "80.0"


def test_material_of_a_photo_has_what_an_auditor_compares(dataset, tmp_path):
    source = MaterialSource(read_evaluation(write_evaluation(tmp_path / "e", dataset, {9: 40.0})), dataset)
    material = get_material(source, photo(9))
    assert material.image is not None and material.aspect == pytest.approx(64 / 48)
    assert material.predicted_m - material.label_m == pytest.approx([40.0, 0.0], abs=1e-6)
    assert material.members_m["42"] - material.label_m == pytest.approx([40.5, 0.0], abs=1e-6)
    # by day, as photo 9 was taken, before one at night that is 5 m nearer
    assert [near.photo_id for near in material.near_label] == [photo(5), photo(3), photo(4)]
    assert [near.distance_m for near in material.near_label] == pytest.approx([20.4, 30.0, 25.1], abs=0.1)
    with pytest.raises(DatasetError, match="no photo"):
        get_material(source, photo(0))


def test_later_decision_replaces_an_earlier_one_until_it_is_undone(dataset, log):
    record_decision(log, photo(9), "exclude")
    record_decision(log, photo(10), "ambiguous")
    record_decision(log, photo(9), "move_to_training", note='near "the" gate, and\nmore')
    assert decisions_of(log, dataset) == {photo(9): "train", photo(10): "ambiguous"}
    assert undo_decision(log)["decision"] == "move_to_training"
    assert decisions_of(log, dataset) == {photo(9): "exclude", photo(10): "ambiguous"}
    assert [undo_decision(log)["photo_id"] for _ in range(2)] == [photo(10), photo(9)]
    assert undo_decision(log) is None and decisions_of(log, dataset) == {}


def test_undo_without_a_log_is_none(log):
    assert undo_decision(log) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decision": "exlude"}, "unknown decision"),
        ({"decision": ""}, "a decision needs"),
        ({"decision": "fix_label"}, "needs the right position"),
        ({"decision": "fix_label", "latitude_deg": 31.0}, "photo"),
        ({"decision": "fix_label", "latitude_deg": 131.0, "longitude_deg": 34.0}, "photo"),
        ({"decision": "exclude", "gps_accuracy_m": 0.0}, "more than 0"),
    ],
)
def test_invalid_decision_is_not_recorded(log, arguments, message):
    record_decision(log, photo(9), "exclude")
    before = log.read_bytes()
    with pytest.raises(DatasetError, match=message):
        record_decision(log, "photo", **arguments)
    assert log.read_bytes() == before


def test_decisions_of_many_writers_are_all_recorded(dataset, log):
    threads = [threading.Thread(target=record_decision, args=(log, photo(9 + i), "exclude")) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decisions_of(log, dataset) == {photo(9 + i): "exclude" for i in range(8)}


def test_table_of_a_person_is_never_taken_for_the_log(log):
    decide(log, f"{photo(9)},exclude,,")
    before = log.read_bytes()
    for change in (lambda: record_decision(log, photo(10), "exclude"), lambda: undo_decision(log)):
        with pytest.raises(DatasetError, match="column"):
            change()
    assert log.read_bytes() == before
