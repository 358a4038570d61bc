"""Which source the fallback names: the visual fixes only while they come, and none before a receiver had its time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fallback import RECEIVER_FRAME, SITE_ALTITUDE_M, VISUAL_FRAME, Stream, message, no_fix

from campus_visual_gps.gnss.arbiter import NEITHER, VISUAL_MAX_AGE_S, FixArbiter
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.ros.diagnostics import ERROR, OK, WARN
from campus_visual_gps.ros.fallback import Fallback

WHY = "images are dropped, unstamped"


class QuietStream(Stream):
    """A fallback that is told why there are no visual fixes; they come only where a test sends some."""

    def __init__(self):
        super().__init__()
        self.fallback = Fallback(
            MonitorSettings(),
            SITE_ALTITUDE_M,
            self.out.append,
            lambda *line: self.log.append(line),
            why_no_visual=lambda: WHY,
        )

    def run_without_visual(self, start_s: float, end_s: float, receiver) -> None:
        for step in range(round(start_s * 10), round(end_s * 10)):
            if step % 2 == 0 and receiver is not None:
                self.fallback.receiver(receiver(step / 10.0), step / 10.0)
            self.fallback.tick(step / 10.0)

    def source(self) -> str:
        return self.fallback.report().values["source"]


@pytest.mark.parametrize("outage", [None, no_fix], ids=["silent", "no fix"])
def test_a_lost_receiver_without_visual_fixes_is_an_error_with_the_reason_and_one_line(outage):
    stream = QuietStream()
    stream.run_without_visual(100.0, 110.0, message)
    level, text, values = stream.fallback.report()
    assert (level, values["source"], values["visual_fixes"]) == (OK, "receiver", f"no visual fixes: {WHY}")
    assert text.endswith(f"source of fix: receiver; no visual fixes: {WHY}")
    stream.run_without_visual(110.0, 130.0, outage)
    level, text, values = stream.fallback.report()
    assert (level, values["source"]) == (ERROR, "none")
    assert text.startswith("receiver lost, ") and text.endswith(f"source of fix: none; no visual fixes: {WHY}")
    (line, warning), *more = stream.log[1:]
    assert line.startswith("source of fix: none; receiver lost, ") and line.endswith(WHY) and warning and not more


def test_visual_fixes_are_the_source_from_the_first_one_until_some_seconds_after_the_last():
    stream = QuietStream()
    stream.run_without_visual(100.0, 120.0, None)
    assert stream.source() == "none"
    stream.run(120.0, 130.0, None)
    level, text, values = stream.fallback.report()
    assert (level, values["source"], values["visual_fixes"]) == (WARN, "visual", "available")
    assert WHY not in text
    stream.run_without_visual(130.0, 129.5 + VISUAL_MAX_AGE_S, None)
    assert stream.source() == "visual"
    stream.run_without_visual(129.5 + VISUAL_MAX_AGE_S, 140.0, None)
    assert stream.source() == "none"
    sources = [line.split(";")[0] for line, _ in stream.log]
    assert sources == [f"source of fix: {name}" for name in ("none", "visual", "none")]
    assert stream.log[-1] == (f"source of fix: none; {stream.log[0][0].split('; ')[1]}; no visual fixes: {WHY}", True)


def test_visual_fixes_that_are_rare_are_a_source_between_two_of_them():
    stream = QuietStream()
    stream.run_without_visual(100.0, 104.0, None)
    for start_s in range(104, 200, 8):
        stream.fallback.visual(message(start_s - 0.3, VISUAL_FRAME), float(start_s))
        stream.run_without_visual(start_s + 0.1, start_s + 8.0, None)
    # after the first one nobody knows yet that another will come
    assert [line.split(";")[0] for line, _ in stream.log[1:]] == [
        f"source of fix: {name}" for name in ("visual", "none", "visual")
    ]


def test_an_unloaded_model_ends_the_visual_fixes_at_once():
    stream = QuietStream()
    stream.run(100.0, 110.0, None)
    assert stream.source() == "visual"
    stream.fallback.end_visual(110.0)
    assert stream.source() == "none"


def test_a_receiver_that_starts_two_seconds_later_comes_first():
    stream = Stream()
    stream.run(100.0, 102.0, None)
    stream.run(102.0, 110.0, message)
    assert stream.out and {fix.header.frame_id for fix in stream.out} == {RECEIVER_FRAME}
    assert [line for line, _ in stream.log] == ["source of fix: receiver; receiver healthy, first good fix"]


def test_a_receiver_that_starts_without_a_fix_and_finds_it_within_the_grace_comes_first():
    stream = Stream()
    stream.run(100.0, 102.0, no_fix)
    stream.run(102.0, 110.0, message)
    assert {fix.header.frame_id for fix in stream.out} == {RECEIVER_FRAME}


@pytest.mark.parametrize("receiver", [None, no_fix], ids=["never", "without a fix"])
def test_without_a_receiver_the_visual_fixes_begin_after_the_grace(receiver):
    stream = Stream()
    stream.run(100.0, 110.0, receiver)
    grace_s = MonitorSettings().startup_grace_s
    assert {fix.header.frame_id for fix in stream.out} == {VISUAL_FRAME}
    assert grace_s - 0.5 <= stream.stamps_s()[0] - 100.0 <= grace_s + 0.5


def test_an_altitude_that_becomes_known_is_filled_in_from_then_on():
    stream = Stream()
    stream.fallback.receiver(message(100.0, altitude=0.0), 100.0)
    stream.fallback.set_site_altitude(651.0)
    stream.fallback.receiver(message(100.2, altitude=0.0), 100.2)
    assert [fix.altitude for fix in stream.out] == [SITE_ALTITUDE_M, 651.0]
    assert {fix.position_covariance[8] for fix in stream.out} == {100.0**2}


@given(st.lists(st.tuples(st.sampled_from(["good", "bad", "visual", "tick", "end"]), st.floats(0.0, 4.0)), max_size=40))
def test_whatever_happens_nothing_is_published_without_a_source_and_visual_only_while_it_comes(rows):
    arbiter, now_s, visual_s = FixArbiter(), 100.0, None
    stream = Stream()
    stream.fallback._arbiter = arbiter
    for kind, step_s in rows:
        now_s += step_s
        count = len(stream.out)
        if kind in ("good", "bad"):
            stream.fallback.receiver((message if kind == "good" else no_fix)(now_s), now_s)
        elif kind == "visual":
            visual_s = now_s
            stream.fallback.visual(message(now_s - 0.1, VISUAL_FRAME), now_s)
        elif kind == "end":
            visual_s = None
            stream.fallback.end_visual(now_s)
        else:
            stream.fallback.tick(now_s)
        published = len(stream.out) > count
        assert not (published and arbiter.source == NEITHER)
        assert arbiter.source != "visual" or (visual_s is not None and now_s - visual_s <= 50.0)
