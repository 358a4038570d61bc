"""Positions and times that stand beside a photo: Google Takeout's JSON, XMP files and XMP in the photo."""

import json
import os
import unicodedata

import pytest
from compatibility import Area, condition
from photo_helpers import SITE, blocks, make_exif, write_photo

from training.photos.ingest import ingest
from training.photos.manifest import read_photos, read_rejected
from training.photos.takeout import TakeoutFolder

SINCE = "2026-11-26"
TAKEN_S = 1766389631  # 2025-12-22T07:47:11Z
NOWHERE = {"latitude": 0.0, "longitude": 0.0, "altitude": 0.0, "latitudeSpan": 0.0, "longitudeSpan": 0.0}
PLACE = NOWHERE | {"latitude": SITE[0], "longitude": SITE[1], "altitude": 312.5}
LONG = "Screenshot_20190919-053857_Camera_Images_Def"  # 44 characters


def takeout(**changes):
    content = {
        "title": "IMG_1.jpg",
        "creationTime": {"timestamp": "1800000000", "formatted": "upload"},
        "photoTakenTime": {"timestamp": str(TAKEN_S), "formatted": "22 Dec 2025, 07:47:11 UTC"},
        "geoData": PLACE,
        "geoDataExif": NOWHERE,
    }
    return json.dumps(content | changes)


def xmp(properties, attributes=""):
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" {attributes}>{properties}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos", tmp_path / "dataset"


def run(folders):
    summary = ingest(*folders, progress=False, workers=1)
    return summary, read_photos(folders[1]).set_index("file")


def bare(folders, name="IMG_1.jpg", seed=0, taken=None):
    """A photo whose EXIF holds no position."""
    return write_photo(folders[0] / name, seed, make_exif(None, taken=taken, offset=None))


def at_site(row):
    return [row["latitude_deg"], row["longitude_deg"]] == pytest.approx(list(SITE), abs=1e-6)


NAMES = {
    "IMG_1.jpg.supplemental-metadata.json": ("IMG_1.jpg", "name of 2024 and later"),
    "IMG_1.jpg.json": ("IMG_1.jpg", "name until 2024"),
    "IMG_1.supplemental-metadata.json": ("IMG_1.jpg", "name without the photo's ending"),
    "IMG_20250101_101010_BURST123.jpg.supplemental-.json": ("IMG_20250101_101010_BURST123.jpg", "name cut"),
    "PXL_20250101_1010101010101010101010101.jpg.s.json": ("PXL_20250101_1010101010101010101010101.jpg", "cut to .s"),
    f"{LONG}au.json": (f"{LONG}aultName.jpg", "long name cut after 46 characters"),
    "IMG_1.jpg(1).json": ("IMG_1(1).jpg", "second photo of a name, until 2024"),
    "IMG_1.jpg.supplemental-metadata(2).json": ("IMG_1(2).jpg", "third photo of a name"),
    "IMG_1.JPG.json": ("IMG_1.jpg", "name in other letter case"),
    "IMG_1.HEIC.supplemental-metadata.json": ("IMG_1.jpg", "photo converted from HEIC"),
    unicodedata.normalize("NFD", "Größe.jpg.json"): (unicodedata.normalize("NFC", "Größe.jpg"), "other Unicode form"),
}


@pytest.mark.parametrize(
    ("sidecar", "photo"),
    [
        pytest.param(
            sidecar,
            photo,
            marks=condition(Area.EXIF, f"Google Takeout JSON, {text}", "its position and time are used", since=SINCE),
        )
        for sidecar, (photo, text) in NAMES.items()
    ],
)
def test_a_takeout_json_of_any_name_gives_position_and_time(folders, sidecar, photo):
    bare(folders, photo)
    (folders[0] / sidecar).write_text(takeout(title="another"), encoding="utf-8")
    summary, photos = run(folders)
    assert at_site(photos.loc[photo])
    assert photos.loc[photo, "captured_at"] == "2025-12-22T07:47:11+00:00"
    assert (photos.loc[photo, "label_source"], photos.loc[photo, "altitude_m"]) == ("takeout", 312.5)
    assert any("1 photos have no position in the EXIF" in warning for warning in summary.warnings)
    assert summary.ignored_files == 0


@pytest.mark.parametrize(
    "edited",
    [
        pytest.param(name, marks=condition(Area.EXIF, f"Takeout JSON, {text}", "the original's is used", since=SINCE))
        for name, text in {
            "IMG_1-edited.jpg": "edited copy (-edited)",
            "IMG_1-bearbeitet.jpg": "edited copy in German (-bearbeitet)",
            "IMG_1-編集済み.jpg": "edited copy in Japanese (-編集済み)",
            "IMG_1-ha editado.jpg": "edited copy, ending with a blank (-ha editado)",
            "IMG_1-edi.jpg": "edited copy, ending cut (-edi)",
            "IMG_1-edited(1).jpg": "edited copy of a second photo",
        }.items()
    ],
)
def test_an_edited_copy_shares_the_json_of_its_original(folders, edited):
    bare(folders, edited, 1)
    original = "IMG_1(1).jpg" if "(1)" in edited else "IMG_1.jpg"
    bare(folders, original)
    end = "(1)" if "(1)" in edited else ""
    (folders[0] / f"IMG_1.jpg.supplemental-metadata{end}.json").write_text(takeout(), encoding="utf-8")
    _, photos = run(folders)
    assert at_site(photos.loc[edited]) and at_site(photos.loc[original])


@condition(Area.EXIF, "Takeout JSON whose name fits no photo", "found by the title in it", since=SINCE)
def test_a_json_is_found_by_its_title(folders):
    bare(folders)
    (folders[0] / "x81.json").write_text(takeout(), encoding="utf-8")
    assert at_site(run(folders)[1].loc["IMG_1.jpg"])


def test_photos_of_one_name_have_each_its_own_json():
    jsons = ["a.jpg.supplemental-metadata.json", "a.jpg.supplemental-metadata(1).json", "a.heic.json", "ab.jpg.json"]
    photos = ["a.jpg", "a(1).jpg", "a.heic", "ab.jpg", "a-1.jpg", "b.jpg"]

    class Named:
        def __init__(self, name):
            self.name = name

        def stat(self):
            raise FileNotFoundError

    found = TakeoutFolder(photos, [Named(name) for name in jsons])
    assert [match and match.name for match in map(found.find, photos)] == [*jsons, None, None]


PLACES = {
    "geoDataExif before geoData": ({"geoDataExif": PLACE, "geoData": PLACE | {"latitude": 31.9}}, True),
    "geoData alone": ({"geoDataExif": None}, True),
    "0, 0 for unknown": ({"geoData": NOWHERE}, False),
    "position out of range": ({"geoData": PLACE | {"latitude": 3126.2}}, False),
    "position that is text": ({"geoData": PLACE | {"latitude": "north"}}, False),
    "no position at all": ({"geoData": None, "geoDataExif": {}}, False),
}


@pytest.mark.parametrize(
    ("changes", "used"),
    [
        pytest.param(
            changes,
            used,
            marks=condition(
                Area.EXIF,
                f"Takeout JSON, {text}",
                "position used" if used else "photo rejected: neither the EXIF nor the JSON has a position",
                since=SINCE,
            ),
        )
        for text, (changes, used) in PLACES.items()
    ],
)
def test_only_a_valid_position_of_a_json_is_used(folders, changes, used):
    bare(folders)
    write_photo(folders[0] / "good.jpg", 1)
    (folders[0] / "IMG_1.jpg.json").write_text(takeout(**changes), encoding="utf-8")
    summary, photos = run(folders)
    if used:
        assert at_site(photos.loc["IMG_1.jpg"])
        return
    rejected = dict(read_rejected(folders[1]).itertuples(index=False))
    assert rejected == {"IMG_1.jpg": "no position in the EXIF: nor is there one in IMG_1.jpg.json"}
    assert summary.reject_reasons == {"no position in the EXIF": 1}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b'{"a": 1}', b"[" * 100000])
def test_a_json_that_is_none_of_takeout_is_passed_over(folders, content):
    write_photo(folders[0] / "IMG_1.jpg")
    (folders[0] / "IMG_1.jpg.json").write_bytes(content)
    _, photos = run(folders)
    assert photos.loc["IMG_1.jpg", "label_source"] == "exif"


@condition(Area.EXIF, "pipe or endless link of a sidecar's name", "passed over; nothing waits for it", since=SINCE)
def test_a_sidecar_that_is_no_file_is_passed_over(folders):
    write_photo(folders[0] / "IMG_1.jpg")
    os.mkfifo(folders[0] / "IMG_1.xmp")
    os.mkfifo(folders[0] / "x.json")
    (folders[0] / "IMG_1.jpg.xmp").symlink_to("IMG_1.jpg.xmp")
    assert run(folders)[0].photos == 1


@condition(Area.EXIF, "position in the EXIF and another in a sidecar", "that of the EXIF is used", since=SINCE)
def test_the_exif_comes_first(folders):
    write_photo(folders[0] / "IMG_1.jpg", 0, make_exif((31.3, 34.9)))
    (folders[0] / "IMG_1.jpg.json").write_text(takeout(), encoding="utf-8")
    (folders[0] / "IMG_1.xmp").write_text(xmp("", 'exif:GPSLatitude="1,0N" exif:GPSLongitude="2,0E"'))
    row = run(folders)[1].loc["IMG_1.jpg"]
    assert (row["latitude_deg"], row["label_source"]) == (pytest.approx(31.3), "exif")
    assert row["captured_at"] == "2025-12-22T09:47:11+02:00"


@condition(Area.FOLDERS, "photo in the trash of Google Photos (Takeout)", "rejected by name", since=SINCE)
def test_a_trashed_photo_of_takeout_is_rejected(folders):
    write_photo(folders[0] / "IMG_1.jpg", 0)
    write_photo(folders[0] / "IMG_2.jpg", 1)
    (folders[0] / "IMG_1.jpg.json").write_text(takeout(trashed=True), encoding="utf-8")
    run(folders)
    assert dict(read_rejected(folders[1]).itertuples(index=False)) == {"IMG_1.jpg": "in the trash of Google Photos"}


@condition(Area.EXIF, "XMP in a HEIC, JPEG or PNG, no position in the EXIF", "the XMP's is used", since=SINCE)
@pytest.mark.parametrize("name", ["a.heic", "a.jpg", "a.png"])
def test_xmp_in_the_photo_is_read(folders, name):
    packet = xmp("", 'exif:GPSLatitude="31,15.72N" exif:GPSLongitude="34,48.15E"').encode()
    path = write_photo(folders[0] / name, 0, make_exif(None))
    options = {"pnginfo": _png_text(packet)} if name == "a.png" else {"xmp": packet}
    blocks().save(path, exif=make_exif(None).tobytes(), **options)
    row = run(folders)[1].loc[name]
    assert at_site(row) and row["label_source"] == "xmp"


def _png_text(packet):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    return info


@condition(
    Area.EXIF, "XMP file beside the photo (IMG_1.xmp, IMG_1.HEIC.xmp, .XMP)", "its position is used", since=SINCE
)
@pytest.mark.parametrize("sidecar", ["IMG_1.xmp", "IMG_1.HEIC.xmp", "IMG_1.XMP", "img_1.heic.xmp"])
def test_an_xmp_file_is_read(folders, sidecar):
    bare(folders, "IMG_1.HEIC")
    (folders[0] / sidecar).write_text(xmp("", 'exif:GPSLatitude="31,15.72N" exif:GPSLongitude="34,48.15E"'))
    assert at_site(run(folders)[1].loc["IMG_1.HEIC"])
