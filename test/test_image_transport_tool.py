"""The tool that counts the images from another process: its errors are one line."""

import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")

from campus_visual_gps.ros.tools import image_transport


def test_a_missing_bundle_is_one_line(tmp_path, capsys):
    assert image_transport.main(["--model", str(tmp_path / "nowhere"), "--count", "1"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(tmp_path / "nowhere") in error


@pytest.mark.parametrize("arguments", [["--size", "large"], ["--size", "640x"], ["--set", "image_reliability"]])
def test_a_wrong_argument_is_named(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        image_transport.main(arguments)
    assert ended.value.code == 2
    assert "expected --size WIDTHxHEIGHT and --set NAME=VALUE" in capsys.readouterr().err


def test_the_line_says_how_many_arrived_and_the_exit_code_whether_all_did(monkeypatch, capsys):
    diagnostics = {"image_reliability": "reliable", "images_lost": "0", "message": "why not"}
    for received, code in ((100, 0), (99, 1)):
        result = image_transport.Reception(100, received, 40, diagnostics)
        monkeypatch.setattr(image_transport, "measure", lambda *_, result=result, **__: result)
        assert image_transport.main(["--busy", "1"]) == code
        line = capsys.readouterr().out
        assert (
            f"1920 x 1080 raw at 5 Hz from another process, reliable camera, beside 1 busy process: {received} of"
            in line
        )
        assert ("why not" in line) == (code == 1)
