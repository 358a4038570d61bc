"""Every table that the program writes is read back equal, whatever the texts and numbers in it are."""

import math

import pandas as pd
import pytest
from compatibility import Area, condition
from hypothesis import example, given, settings
from hypothesis import strategies as st

from campus_visual_gps.errors import DatasetError
from training.evaluate.predict import read_predictions, write_predictions
from training.fit.callbacks import read_metrics
from training.photos.csv_text import decode_utf8, encode_utf8, parse_records
from training.photos.manifest import (
    LABEL_COLUMNS,
    PHOTO_COLUMNS,
    REJECTED_COLUMNS,
    SPLIT_COLUMNS,
    read_photos,
    read_rejected,
    read_splits,
    write_yaml,
)
from training.photos.tables import DTYPES, read_table, write_table

# any code point, also control characters and the surrogates that stand for bytes of file names
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=12)
PIECES = ["\r", "\n", "\r\n", "\0", '"', '""', ",", ";", "\t", " ", "\ufeff", "\u2028", "\x85", "=1+1", "a"]
PIECES += ["\udce9", "\ud800", "\udced\udca0\udc80", "\udcc3\udca9"]
TEXTS = ANY_TEXT | st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
NUMBERS = st.floats(allow_nan=True, allow_infinity=False)
VALUES = {
    "text": TEXTS,
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "optional number": NUMBERS,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "flag": st.sampled_from([True, False, pd.NA]),
}


def frames(columns):
    """Tables with these columns, ids that are no numbers and differ."""

    def build(rows):
        table = pd.DataFrame(rows, columns=list(columns), dtype=object)
        if "photo_id" in columns:
            table["photo_id"] = [f"p{index:016x}" for index in range(len(table))]
        for name, kind in columns.items():
            table[name] = pd.Series(table[name].tolist(), dtype=DTYPES.get(kind, object))
        return table

    row = st.fixed_dictionaries({name: VALUES.get(kind, st.just("x")) for name, kind in columns.items()})
    return st.lists(row, max_size=4).map(build)


def same(one, other):
    """Equal to the last bit; NaN equals NaN."""
    if one is pd.NA or other is pd.NA:
        return one is other
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


def assert_same(written, read):
    assert list(written.columns) == list(read.columns)
    assert len(written) == len(read)
    for name in written:
        assert all(map(same, written[name].tolist(), read[name].tolist())), (written[name], read[name])


TABLES = [
    pytest.param("photos.csv", PHOTO_COLUMNS, read_photos, id="photos"),
    pytest.param("labels.csv", LABEL_COLUMNS, None, id="labels"),
    pytest.param("splits.csv", SPLIT_COLUMNS, read_splits, id="splits"),
    pytest.param("rejected.csv", REJECTED_COLUMNS, read_rejected, id="rejected"),
]


@pytest.mark.parametrize(("name", "columns", "read"), TABLES)
def test_every_table_of_a_data_set_is_read_back_equal(tmp_path, name, columns, read):
    @settings(deadline=None, max_examples=25)
    @given(frames(columns))
    def check(table):
        write_table(tmp_path / name, table)
        assert_same(table, read(tmp_path) if read else read_table(tmp_path / name, columns))

    check()


def text_condition(value, what):
    text = f"{what} in an EXIF model or the name of a file or folder"
    mark = condition(Area.TABLES, text, "kept in every table", since="2026-11-26")
    return pytest.param(value, marks=mark, id=what)


@pytest.mark.parametrize(
    "value",
    [
        text_condition("Phone\rX", "carriage return"),
        text_condition("a\nb", "line feed"),
        text_condition("a\0b", "NUL"),
        text_condition('a "b" ""', "quotation marks"),
        text_condition("a,b;c\td|e", "comma, semicolon, tab or |"),
        text_condition(" a ", "space at the start or end"),
        text_condition("=1+1", "formula"),
        text_condition("\ufeffa", "byte order mark"),
        text_condition("a\u2028b\x85c\x0bd\x1ce", "Unicode line separator"),
        text_condition("caf\udce9", "byte that is no UTF-8"),
        text_condition("a\ud800b", "unpaired surrogate of Windows"),
        text_condition("e\u0301 \u00e9", "composed and decomposed letter"),
    ],
)
def test_text_of_any_kind_is_read_back_from_photos_csv(tmp_path, value):
    row = {"photo_id": "p1", "latitude_deg": 1.0, "longitude_deg": 2.0, "width_px": 1, "height_px": 1}
    texts = {name: value for name, kind in PHOTO_COLUMNS.items() if kind == "text"}
    table = pd.DataFrame([row | texts | {name: math.nan for name in PHOTO_COLUMNS if name not in row | texts}])
    table = table[list(PHOTO_COLUMNS)].assign(night=pd.Series([pd.NA], dtype="boolean"))
    write_table(tmp_path / "photos.csv", table)
    read = read_photos(tmp_path)
    assert {read[name][0] for name in texts} == {value}
    first = (tmp_path / "photos.csv").read_bytes()
    write_table(tmp_path / "photos.csv", read)
    assert (tmp_path / "photos.csv").read_bytes() == first


def test_predictions_are_read_back_equal(tmp_path):
    columns = dict.fromkeys(["photo_id", "file", "session", "rejection_reason", "frame_id"], "text")
    columns |= {"night": "flag", "stamp_ns": "integer"}
    columns |= dict.fromkeys(["true_east_m", "true_north_m", "error_m", "member_1_east_m"], "optional number")

    @settings(deadline=None, max_examples=25)
    @given(frames(columns).filter(len))
    def check(table):
        write_predictions(tmp_path / "predictions.csv", table)
        assert_same(table, read_predictions(tmp_path / "predictions.csv"))

    check()


def test_training_metrics_are_read_back_equal(tmp_path):
    table = pd.DataFrame(
        {
            "epoch": [0, 1],
            "train_loss": [0.1 + 0.2, 1e-300],
            "train_mean_error_m": [math.nan, 0.5],
            "val_loss": [math.nan, 3.0],
            "val_mean_error_m": [1.0, 2.0],
            "gap": [math.nan, 1.25],
        }
        | {"lr": [1e-3, 1e-4], "seconds": [0.5, 1.5]}
    )
    write_table(tmp_path / "metrics.csv", table)
    assert_same(table, read_metrics(tmp_path / "metrics.csv"))


@settings(max_examples=100)
@given(TEXTS)
@example("\udced\udca0\udc80")
@example("\ud83d\ude00")
def test_encoding_turns_every_text_back_and_keeps_valid_utf8_and_bytes_of_names(text):
    data = encode_utf8(text)
    assert decode_utf8(b"," + data) == "," + text
    if text.isascii():
        assert data == text.encode("ascii")


def test_bytes_of_a_file_name_stay_what_they_are():
    assert encode_utf8("caf\udce9") == b"caf\xe9"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_records_end_with_any_line_end_and_lines_are_counted(end):
    text = end.join(["a,b", '"x' + end + 'y",2', "", ",3"])
    assert list(parse_records(text)) == [(1, ["a", "b"]), (2, ["x" + end + "y", "2"]), (5, ["", "3"])]


@settings(max_examples=100)
@given(st.text(st.sampled_from('ab,"\r\n '), max_size=20))
def test_any_text_is_parsed_or_one_clear_error(text):
    try:
        records = list(parse_records(text))
    except ValueError as error:
        assert str(error).startswith("line ")
    else:
        assert all(cells for _, cells in records)


def test_quote_without_an_end_is_one_clear_line(tmp_path):
    (tmp_path / "splits.csv").write_bytes(b'photo_id,session,subset\np1,"walk,train\n')
    with pytest.raises(DatasetError, match=r"splits\.csv, line 2: not a comma-separated table \(a quoted cell"):
        read_splits(tmp_path)


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_yaml_beside_the_tables_keeps_every_session_name(tmp_path_factory, text):
    import yaml

    path = tmp_path_factory.mktemp("yaml", numbered=True) / "splits.yaml"
    write_yaml(path, {"test_sessions": [text]})
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == {"test_sessions": [text]}
