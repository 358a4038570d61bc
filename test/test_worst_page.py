"""`worst`: the worst photos as one self-contained page and a PNG each."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from active_helpers import N_PROBE, PROBE, photo, write_dataset, write_evaluation
from PIL import Image

from campus_visual_gps.errors import DatasetError
from training.active.background import TileKind
from training.active.worst import write_worst

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Elements of a page, its text, and whether every element that is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text, self.style = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        elif data.strip():
            self.text.append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("active") / "site")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, dataset):
    directory = tmp_path_factory.mktemp("active") / "evaluation"
    return write_evaluation(directory, dataset, {9: 31.0, 10: 80.0, 12: 29.0, 14: np.nan})


@pytest.fixture(scope="module")
def summary(tmp_path_factory, evaluation, dataset):
    out = tmp_path_factory.mktemp("worst") / "out"
    return write_worst(evaluation, dataset, out, count=3, kind=TileKind.NONE, progress=False)


@pytest.fixture(scope="module")
def page(summary):
    return Page(summary.page_path.read_text(encoding="utf-8"))


def test_page_fetches_and_runs_nothing(page):
    assert not {"script", "link", "iframe", "object", "embed", "form"} & {tag for tag, _ in page.elements}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "url(" not in page.style and "@import" not in page.style
    sources = [attributes["src"] for attributes in page.all("img")]
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not any("srcset" in attributes or "style" in attributes for _, attributes in page.elements)


def test_every_image_is_whole_and_has_a_text_instead(page):
    # photo and map, and three training photos near the label and near the prediction; the first has no prediction
    assert len(page.all("img")) == 3 * 2 + 3 + 6 + 6
    for attributes in page.all("img"):
        Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2]))).load()
        assert attributes["alt"]
    sizes = [Image.open(io.BytesIO(base64.b64decode(a["src"].partition(",")[2]))).size for a in page.all("img")]
    assert sizes[0] == (640, 480)  # the stored square in the shape of its original


def test_every_element_is_closed_and_every_link_of_the_page_has_its_target(page):
    assert page.open == []
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [attributes["href"] for attributes in page.all("a")]
    inner = {link[1:] for link in links if link.startswith("#")}
    assert inner and inner <= targets
    assert {"photos", "photo-1", "photo-2", "photo-3", "top"} <= inner
    others = [attributes for attributes in page.all("a") if not attributes["href"].startswith("#")]
    # label and prediction in a map program, which opens only if the reader follows it
    assert len(others) == 5 and all("noreferrer" in attributes["rel"] for attributes in others)


def test_names_of_folders_are_text_and_not_markup(page):
    assert not page.all("b")
    assert any(PROBE in text for text in page.text)


def test_head_counts_the_night_and_the_photos_that_all_members_miss(page, summary):
    assert (summary.photos, summary.over, summary.missed_by_all) == (N_PROBE, 3, 3)
    assert (len(summary.worst.photos), summary.worst.n_night) == (N_PROBE, 5)  # however many are shown
    assert "5 of the worst 10 (50%)" in page.text
    assert "Worst 3 of 10 photos" in page.text


def test_page_is_readable_in_the_dark_and_says_its_language(page):
    assert "prefers-color-scheme: dark" in page.style
    assert page.all("html") == [{"lang": "en"}]


def test_each_photo_has_a_png_of_one_width_that_is_not_empty(summary):
    names = [path.name for path in summary.pictures]
    assert names == [f"01-{photo(14)}.png", f"02-{photo(10)}.png", f"03-{photo(9)}.png"]
    for path in summary.pictures:
        image = Image.open(path)
        assert image.width == 1340 and 1000 < image.height < 1400
        assert np.asarray(image.convert("L")).std() > 20.0


def test_same_evaluation_gives_the_same_files_and_fewer_photos_leave_no_old_ones(tmp_path, evaluation, dataset):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    first = write_worst(evaluation, dataset, out, count=2, kind=TileKind.NONE, progress=False)
    page_before = first.page_path.read_bytes()
    second = write_worst(evaluation, dataset, out, count=1, kind=TileKind.NONE, progress=False)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["notes.txt", "worst.csv", "worst.html", second.pictures[0].name]
    )
    write_worst(evaluation, dataset, out, count=2, kind=TileKind.NONE, progress=False)
    assert first.page_path.read_bytes() == page_before


def test_no_photo_over_the_limit_is_a_page_that_says_so(tmp_path, evaluation, dataset):
    found = write_worst(
        write_evaluation(tmp_path / "e", dataset, {}), dataset, tmp_path / "out", over_m=30.0, progress=False
    )
    assert found.pictures == () and (found.over, found.missed_by_all) == (0, 0)
    assert "There is no such photo." in found.page_path.read_text()


def test_data_set_that_lacks_the_photos_and_a_wrong_count_are_one_line(tmp_path, evaluation, dataset):
    other = write_dataset(tmp_path / "other")
    table = (other / "photos.csv").read_text().replace(photo(10), "p00000000000000ff")
    (other / "photos.csv").write_text(table)
    (other / "splits.csv").unlink()
    (other / "images" / f"{photo(10)}.jpg").rename(other / "images" / "p00000000000000ff.jpg")
    with pytest.raises(DatasetError, match="lacks 1 of the 10 photos"):
        write_worst(evaluation, other, tmp_path / "out", progress=False)
    with pytest.raises(DatasetError, match="1 or more"):
        write_worst(evaluation, dataset, tmp_path / "out", count=0, progress=False)
    assert not (tmp_path / "out").exists()
