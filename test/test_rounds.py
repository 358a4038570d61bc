"""`round`: decisions of an audit become corrections, labels and subsets, once and completely."""

import pytest
from active_helpers import (
    N_PROBE,
    N_TRAIN,
    N_VAL,
    copy_dataset,
    decide,
    files_of,
    photo,
    write_dataset,
    write_evaluation,
)

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.geodesy import LocalFrame
from training.active import round as rounds
from training.active.blind_spots import list_blind_spots
from training.active.history import read_history
from training.active.round import run_round
from training.experiments.rounds import dataset_at_round
from training.photos.corrections import apply_corrections
from training.photos.manifest import load_dataset, read_labels

FIXED = (31.26205, 34.8027)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("active") / "site")


@pytest.fixture
def dataset(tmp_path, template):
    return copy_dataset(template, tmp_path / "site")


@pytest.fixture
def evaluation(tmp_path, dataset):
    return write_evaluation(tmp_path / "evaluation", dataset, {9: 31.0, 10: 80.0, 11: 60.0, 12: 40.0})


@pytest.fixture
def decisions(tmp_path):
    """One of each kind; photo 13 is undecided."""
    return decide(
        tmp_path / "decisions.csv",
        f"{photo(9)},fix_label,{FIXED[0]},{FIXED[1]}",
        f"{photo(10)},move_to_training,,",
        f"{photo(11)},ambiguous,,",
        f"{photo(12)},exclude,,",
        f"{photo(13)},,,",
    )


def subsets(dataset):
    rows = load_dataset(dataset, include_excluded=True)
    return dict(zip(rows["photo_id"], rows["subset"], strict=True))


def test_each_decision_does_what_it_says_and_other_photos_keep_their_subset(dataset, decisions, evaluation):
    before = subsets(dataset)
    run_round(dataset, decisions, evaluation_path=evaluation)
    assert subsets(dataset) == before | {photo(10): "train", photo(12): "excluded"}
    labels = read_labels(dataset).set_index("photo_id")
    assert tuple(labels.loc[photo(9), ["latitude_deg", "longitude_deg"]]) == FIXED
    assert labels["moved_m"].gt(0).sum() == 1
    assert labels.loc[[photo(9), photo(10), photo(11), photo(12), photo(13)], "decision"].tolist() == [
        "label",
        "train",
        "ambiguous",
        "exclude",
        "",
    ]


def test_history_says_what_was_decided_and_the_sizes_and_metrics_before(dataset, decisions, evaluation):
    run_round(dataset, decisions, evaluation_path=evaluation)
    (entry,) = read_history(dataset)
    assert (entry.name, entry.state, entry.undecided) == ("round-1", "done", 1)
    assert entry.decisions == {"fix_label": 1, "ambiguous": 1, "move_to_training": 1, "exclude": 1, "keep": 0}
    assert entry.moved_to_training == [photo(10)]
    sizes = [(s.photos["train"], s.photos["val"], s.photos["test"]) for s in (entry.before, entry.after)]
    assert sizes == [(N_TRAIN, N_VAL, N_PROBE), (N_TRAIN + 1, N_VAL, N_PROBE - 2)]
    assert entry.before.test_set != entry.after.test_set
    assert (entry.evaluation["photos"], entry.evaluation["over_50m_count"]) == (N_PROBE, 2)
    assert entry.evaluation["mean_error_m"] == pytest.approx((31 + 80 + 60 + 40 + 6 * 3) / 10)
    assert entry.evaluation["test_set"] == entry.before.test_set
    assert (dataset / "rounds" / "before.csv").read_bytes() == (evaluation / "predictions.csv").read_bytes()


def test_same_round_again_changes_nothing(dataset, decisions, evaluation, tmp_path):
    run_round(dataset, decisions, evaluation_path=evaluation)
    before = files_of(dataset)
    assert run_round(dataset, decisions, evaluation_path=evaluation).already_done
    # the same decisions in another order, spelling and file
    again = decide(
        tmp_path / "again.csv",
        f"{photo(12)},Exclude,,",
        f"{photo(11)},Ambiguous,,",
        f"{photo(10)},move to training,,",
        f"{photo(9)},fix label,{FIXED[0]},{FIXED[1]}",
    )
    assert run_round(dataset, again, name="round-1").already_done
    assert files_of(dataset) == before


@pytest.mark.parametrize("step", ["apply_corrections", "split", "atomic_write"])
def test_interrupted_round_is_completed_by_the_same_command(
    dataset, template, decisions, evaluation, tmp_path, monkeypatch, step
):
    undisturbed = copy_dataset(template, tmp_path / "other")
    run_round(undisturbed, decisions, evaluation_path=evaluation)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(rounds, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_round(dataset, decisions, evaluation_path=evaluation)
    monkeypatch.undo()
    other = decide(tmp_path / "other.csv", f"{photo(13)},exclude,,")
    with pytest.raises(DatasetError, match="round-1 was interrupted"):
        run_round(dataset, other)
    assert run_round(dataset, decisions).resumed
    assert subsets(dataset) == subsets(undisturbed)
    ours, theirs = files_of(dataset), files_of(undisturbed)
    assert set(ours) == set(theirs)
    timed = {"rounds.yaml"}
    assert {name: data for name, data in ours.items() if name not in timed} == {
        name: data for name, data in theirs.items() if name not in timed
    }


def test_second_round_keeps_the_first_and_a_moved_photo_is_no_longer_in_the_probe_set(dataset, decisions, tmp_path):
    run_round(dataset, decisions)
    second = write_evaluation(tmp_path / "second", dataset, {14: 25.0})
    run_round(dataset, decide(tmp_path / "2.csv", f"{photo(14)},move_to_training,,"), evaluation_path=second)
    assert [(entry.name, entry.batch) for entry in read_history(dataset)] == [
        ("round-1", "corrections/round-01.csv"),
        ("round-2", "corrections/round-02.csv"),
    ]
    assert subsets(dataset)[photo(10)] == subsets(dataset)[photo(14)] == "train"
    assert (dataset / "rounds" / "round-1.csv").exists()  # what is audited now is the stage after round 1
    with pytest.raises(DatasetError, match="in training already"):
        run_round(dataset, decide(tmp_path / "3.csv", f"{photo(10)},exclude,,"))


def test_data_set_as_it_stood_before_a_round_has_its_labels_and_subsets(dataset, decisions, tmp_path):
    stages = [subsets(dataset)]
    run_round(dataset, decisions)
    stages.append(subsets(dataset))
    run_round(dataset, decide(tmp_path / "2.csv", f"{photo(14)},move_to_training,,", f"{photo(11)},exclude,,"))
    stages.append(subsets(dataset))
    assert len({frozenset(stage.items()) for stage in stages}) == 3
    for number, expected in enumerate(stages):
        assert subsets(dataset_at_round(dataset, number, tmp_path / "out")) == expected
    labels = read_labels(dataset_at_round(dataset, 0, tmp_path / "out"))
    assert not labels["moved_m"].any() and set(labels["decision"]) == {""}


BAD = {
    "unknown photo": (f"{photo(99)},exclude,,", r"line 3: no photo 'p0000000000000063' in the data set"),
    "photo of the training": (f"{photo(0)},exclude,,", r"line 3: photo .* is in training already"),
    "no position": (f"{photo(11)},fix_label,,", r"line 3: gives no position"),
    "half a position": (f"{photo(11)},fix_label,31.2,", r"line 3"),
    "misspelt": (f"{photo(11)},move_to_trianing,,", r"line 3: unknown decision 'move_to_trianing', expected one of"),
    "swapped": (f"{photo(11)},fix_label,34.8027,31.26205", r"latitude and longitude swapped"),
    "twice": (f"{photo(10)},exclude,,", r"line 3: repeats the photo of line 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_decision_names_its_line_and_nothing_is_written(dataset, tmp_path, case):
    row, message = BAD[case]
    before = files_of(dataset)
    path = decide(tmp_path / "d.csv", f"{photo(10)},move_to_training,,", row)
    with pytest.raises(DatasetError, match=message) as caught:
        run_round(dataset, path)
    assert str(dataset) in str(caught.value) or str(path) in str(caught.value)
    assert files_of(dataset) == before


def test_all_invalid_decisions_are_named_at_once(dataset, tmp_path):
    path = decide(tmp_path / "d.csv", f"{photo(99)},exclude,,", f"{photo(11)},exlude,,", f"{photo(12)},fix_label,,")
    with pytest.raises(DatasetError, match=r"line 2: no photo.*; line 3: unknown.*; line 4: gives no position"):
        run_round(dataset, path)


def test_photo_that_the_evaluation_did_not_score_is_not_in_the_probe_set(dataset, tmp_path, evaluation):
    path = decide(tmp_path / "d.csv", f"{photo(7)},exclude,,")  # of the validation
    with pytest.raises(DatasetError, match="not in the probe set"):
        run_round(dataset, path, evaluation_path=evaluation)


def test_list_without_a_decision_is_an_error(dataset, tmp_path):
    with pytest.raises(DatasetError, match="no photo has a decision"):
        run_round(dataset, decide(tmp_path / "d.csv", f"{photo(10)},,,"))


def test_moving_the_whole_test_set_to_training_is_an_error(dataset, tmp_path):
    rows = [f"{photo(9 + i)},move_to_training,," for i in range(N_PROBE)]
    before = files_of(dataset)
    with pytest.raises(DatasetError, match=r"no photo of the test set would be left"):
        run_round(dataset, decide(tmp_path / "d.csv", *rows))
    assert files_of(dataset) == before


def test_decision_that_another_file_of_corrections_overrides_is_an_error(dataset, tmp_path):
    (dataset / "corrections").mkdir()
    other = dataset / "corrections" / "z.csv"
    other.write_text(f"photo_id,decision,latitude_deg,longitude_deg\n{photo(11)},label,31.2622,34.8025\n")
    apply_corrections(dataset)
    path = decide(tmp_path / "d.csv", f"{photo(11)},fix_label,{FIXED[0]},{FIXED[1]}")
    with pytest.raises(DatasetError, match="another file of corrections/ overrides"):
        run_round(dataset, path)


def test_name_that_is_taken_or_no_file_name_is_an_error(dataset, decisions, tmp_path):
    run_round(dataset, decisions, name="spring")
    assert (dataset / "corrections" / "round-01-spring.csv").exists()
    other = decide(tmp_path / "2.csv", f"{photo(13)},exclude,,")
    with pytest.raises(DatasetError, match="spring was done"):
        run_round(dataset, other, name="spring")
    with pytest.raises(DatasetError, match="these decisions are those of spring"):
        run_round(dataset, decisions, name="summer")
    for name in ("../x", "", "before", "a b"):
        with pytest.raises(DatasetError, match="name"):
            run_round(dataset, other, name=name)


def test_batch_that_was_edited_after_its_round_is_kept(dataset, decisions):
    run_round(dataset, decisions)
    batch = dataset / "corrections" / "round-01.csv"
    edited = batch.read_bytes().replace(b"exclude", b"keep")
    batch.write_bytes(edited)
    assert run_round(dataset, decisions).already_done
    assert batch.read_bytes() == edited


def test_list_of_blind_spots_that_a_person_filled_is_a_file_of_decisions(dataset, evaluation, tmp_path):
    path = tmp_path / "list.csv"
    list_blind_spots(evaluation).write(path)
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace(",,,,,", f",fix_label,{FIXED[0]},{FIXED[1]},seen on the map,", 1)
    path.write_text("\n".join(lines) + "\n")
    entry = run_round(dataset, path, evaluation_path=evaluation).entry
    assert (entry.decisions["fix_label"], entry.undecided) == (1, 3)
    moved = read_labels(dataset).set_index("photo_id").loc[photo(10)]
    assert LocalFrame.at(*FIXED).to_local(moved["latitude_deg"], moved["longitude_deg"]) == pytest.approx([0, 0])


def test_data_set_without_a_split_and_a_damaged_history_are_one_line(dataset, decisions):
    (dataset / "rounds.yaml").write_text("rounds: 3\n")
    with pytest.raises(DatasetError, match="not a history of rounds"):
        run_round(dataset, decisions)
    (dataset / "rounds.yaml").unlink()
    (dataset / "splits.csv").unlink()
    with pytest.raises(DatasetError, match="never split"):
        run_round(dataset, decisions)
