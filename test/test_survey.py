"""The sample's second drive, which a covariance is calibrated on."""

import cv2
import numpy as np
import pytest
from test_sample import SAMPLE, messages_of, stamp_s

from training.synthetic import capture, drive


@pytest.fixture(scope="module")
def messages():
    return messages_of(drive.DRIVE)


@pytest.fixture(scope="module")
def survey():
    return messages_of(drive.SURVEY)


def test_the_survey_is_the_same_way_on_another_day_in_another_light(messages, survey):
    assert set(survey) == set(messages)
    first_s = [stamp_s(one["/ground_truth/fix"][0][1]) for one in (survey, messages)]
    assert first_s == [day.start.timestamp() for day in (drive.SURVEY, drive.DRIVE)]
    sessions = {session.start.date() for session in capture.SESSIONS}
    assert len({drive.SURVEY.start.date(), drive.DRIVE.start.date()} - sessions) == 2
    assert drive.SURVEY.light.kind != drive.DRIVE.light.kind
    for (_, here), (_, there) in zip(survey["/ground_truth/fix"], messages["/ground_truth/fix"], strict=True):
        assert (here.latitude, here.longitude) == (there.latitude, there.longitude)


def test_the_survey_is_smaller_and_has_a_truth_for_every_picture(messages, survey):
    image_s = [stamp_s(message) for _, message in survey["/camera/image_raw/compressed"]]
    np.testing.assert_allclose(np.diff(image_s), 1.0)
    true_s = [stamp_s(message) for _, message in survey["/ground_truth/fix"]]
    assert len(image_s) > 120 and true_s[0] <= image_s[0] and image_s[-1] <= true_s[-1]
    sizes = [sum(file.stat().st_size for file in (SAMPLE / day.name).iterdir()) for day in drive.DRIVES]
    assert sizes[1] < 0.7 * sizes[0]


def test_the_surveys_pictures_are_others_than_the_drives(messages, survey):
    pictures = [
        cv2.imdecode(np.frombuffer(one["/camera/image_raw/compressed"][index][1].data, np.uint8), cv2.IMREAD_COLOR)
        for one, index in ((survey, 30), (messages, 60))
    ]
    assert all(25 < picture.mean() < 215 for picture in pictures)
    assert np.abs(pictures[0].astype(float) - pictures[1]).mean() > 8.0
