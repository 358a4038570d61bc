"""The commands of the active-learning loop, one after the other as a person types them."""

import numpy as np
import pytest
from active_helpers import N_PROBE, photo, write_dataset, write_evaluation
from typer.testing import CliRunner

from campus_visual_gps.errors import ConfigError
from training.cli import app


def run(*arguments):
    """What a command prints, as one line without the breaks of the terminal."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_list_is_filled_applied_once_and_drawn_as_table_14(tmp_path):
    site = write_dataset(tmp_path / "site")
    before = write_evaluation(tmp_path / "before", site, {9: 31.0, 10: 80.0, 12: np.nan})
    printed = run("blind-spots", before)
    assert "3 of 10 photos have an error over 30 m: 2 at night, 3 that every member misses" in printed
    queue = before / "blind-spots.csv"
    lines = queue.read_text().splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == [photo(12), photo(10), photo(9)]
    lines[2] = lines[2].replace(",,,,,", ",move_to_training,,,new view,", 1)
    queue.write_text("\n".join(lines) + "\n")
    printed = run("round", site, "--decisions", queue, "--evaluation", before)
    assert "2 photos stay undecided" in printed
    assert f"round-table {site} --evaluation round-1=DIR" in printed
    assert "nothing was changed" in run("round", site, "--decisions", queue, "--evaluation", before)
    after = write_evaluation(tmp_path / "after", site, {})
    printed = run("round-table", site, "--evaluation", f"round-1={after}")
    assert f"| before | 9 | {N_PROBE} |" in printed and f"| round-1 | 10 | {N_PROBE - 1} |" in printed


def test_round_without_an_evaluation_says_what_table_14_lacks(tmp_path):
    site = write_dataset(tmp_path / "site")
    decisions = tmp_path / "decisions.csv"
    decisions.write_text(f"photo_id,decision\n{photo(10)},exclude\n")
    printed = run("round", site, "--decisions", decisions)
    assert f"table 14 lacks the metrics before: `round-table {site} --evaluation before=DIR`" in printed


def test_nothing_over_the_limit_writes_no_list(tmp_path):
    before = write_evaluation(tmp_path / "before", write_dataset(tmp_path / "site"), {})
    assert "none of 10 photos has an error over 30 m" in run("blind-spots", before)
    assert not (before / "blind-spots.csv").exists()


def test_stage_that_is_given_twice_or_without_a_directory_is_an_error(tmp_path):
    for texts, message in ((["before"], "expected STAGE=DIR"), (["a=x", "a=y"], "given twice")):
        options = [word for text in texts for word in ("--evaluation", text)]
        with pytest.raises(ConfigError, match=message):
            run("round-table", tmp_path, *options)
