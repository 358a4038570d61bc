"""Photo folders as photo managers, operating systems and network drives leave them."""

import os

import pytest
from compatibility import Area, condition
from photo_helpers import make_exif, write_photo

from campus_visual_gps.errors import DatasetError
from training.photos.folders import list_folder
from training.photos.ingest import ingest
from training.photos.manifest import read_photos, read_rejected

SINCE = "2026-11-26"
SKIPPED = {
    "a/@eaDir/IMG_1.jpg": "Synology's @eaDir",
    "a/#recycle": "Synology's #recycle",
    "a/#snapshot/daily": "Synology's #snapshot",
    "a/.@__thumb": "QNAP's .@__thumb",
    "a/@Recycle": "QNAP's @Recycle",
    "a/@Recently-Snapshot/x": "QNAP's @Recently-Snapshot",
    ".thumbnails/normal": "a hidden .thumbnails (desktop systems, Android)",
    "a/Thumbnails": "Thumbnails of digiKam, iPhoto and others",
    "a/Previews.lrdata/0": "Lightroom's previews (*.lrdata)",
    "My.photoslibrary/resources/derivatives/0": "copies in an Apple photo library",
    "My.photoslibrary/private/x": "private files in an Apple photo library",
    "appdata_oc1234/preview": "Nextcloud's previews (appdata_*)",
    "__MACOSX/walk": "__MACOSX of a ZIP archive",
    "a/.AppleDouble": "Netatalk's .AppleDouble",
    ".Trashes/501": "the Trash of macOS (.Trashes)",
    ".Trash-1000/files": "the Trash of Linux (.Trash-1000)",
    "$RECYCLE.BIN/S-1-5": "the recycle bin of Windows ($RECYCLE.BIN)",
    "RECYCLER": "the recycle bin of old Windows (RECYCLER)",
    "System Volume Information": "System Volume Information of Windows",
    "FOUND.000": "files that chkdsk recovered (FOUND.000)",
    "lost+found": "lost+found of Linux",
    "LOST.DIR": "LOST.DIR of Android",
    ".dtrash/files": "digiKam's .dtrash",
    ".picasaoriginals": "Picasa's .picasaoriginals",
    "[Originals]": "ACDSee's [Originals]",
    ".stversions/a": "Syncthing's .stversions",
    ".git/lfs": "a .git folder",
    "@GMT-2025.12.22-10.00.00/a": "Samba's shadow copies (@GMT-*)",
}


@pytest.fixture
def folders(tmp_path):
    write_photo(tmp_path / "photos" / "a" / "IMG_1.jpg", 0)
    return tmp_path / "photos", tmp_path / "dataset"


def run(folders, **options):
    return ingest(*folders, progress=False, workers=1, **options)


def listed(folders):
    listing = list_folder(*folders)
    return sorted(path.relative_to(folders[0]).as_posix() for path in listing.files), listing


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(
            folder,
            marks=condition(Area.FOLDERS, f"photo folder with {name}", "skipped, its photos counted", since=SINCE),
        )
        for folder, name in SKIPPED.items()
    ],
)
def test_a_folder_of_another_program_is_skipped_and_its_photos_are_counted(folders, folder):
    for name in ("t.jpg", "u.JPG", "index.db"):
        path = folders[0] / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8")
    files, listing = listed(folders)
    assert files == ["a/IMG_1.jpg"]
    assert sum(listing.skipped.values()) == 2


@condition(Area.FOLDERS, "Apple photo library, its originals", "read; copies and previews skipped", since=SINCE)
def test_the_originals_of_a_photo_library_are_read(folders):
    for name in ("originals/0/A.heic", "resources/derivatives/0/A_1.jpg", "originals/0/Thumbs/A.jpg"):
        write_photo(folders[0] / "My.photoslibrary" / name, 1)
    files, listing = listed(folders)
    assert files == ["My.photoslibrary/originals/0/A.heic", "a/IMG_1.jpg"]
    assert listing.skipped == {"My.photoslibrary": 1, "Thumbs": 1}


def test_skipped_folders_are_in_the_summary_and_folders_without_photos_are_not(folders):
    write_photo(folders[0] / "a" / "@eaDir" / "IMG_1.jpg" / "SYNOFILE_THUMB_M.jpg", 1)
    write_photo(folders[0] / "b" / "@eaDir" / "x.jpg", 2)
    (folders[0] / ".git").mkdir()
    summary = run(folders)
    assert (summary.photos, summary.rejected, summary.skipped) == (1, 0, {"@eaDir": 2})


def test_a_photo_folder_of_such_a_name_is_read_when_it_is_the_one_that_was_given(tmp_path):
    write_photo(tmp_path / ".thumbnails" / "1.jpg", 1)
    assert run((tmp_path / ".thumbnails", tmp_path / "set")).photos == 1


def test_where_all_photos_are_in_a_skipped_folder_the_error_names_it(tmp_path):
    write_photo(tmp_path / "photos" / "thumbs" / "1.jpg", 1)
    with pytest.raises(DatasetError, match=r"no photos .*; 1 photos in 'thumbs' were skipped.*rename it"):
        run((tmp_path / "photos", tmp_path / "set"))


def lock(folder):
    """A folder that cannot be read, by permissions or, as root, by a path that is too long for the system."""
    folder.mkdir()
    if os.geteuid():
        write_photo(folder / "x.jpg", 7)
        folder.chmod(0)
        return
    here = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        here, previous = os.open("d" * 250, os.O_RDONLY, dir_fd=here), here
        os.close(previous)
    os.close(here)


@condition(
    Area.FOLDERS,
    "folder that cannot be read (permissions, network drive, path too long)",
    "named in the log and in rejected.csv; the others are read",
    since=SINCE,
)
def test_an_unreadable_folder_is_named_and_stops_nothing(folders, caplog):
    lock(folders[0] / "locked")
    try:
        summary = run(folders)
        rejected = dict(read_rejected(folders[1]).itertuples(index=False))
        assert summary.photos == 1 and len(rejected) == summary.rejected == 1
        name, reason = next(iter(rejected.items()))
        assert name.startswith("locked") and reason.startswith("unreadable folder: ")
        assert "folder cannot be read" in caplog.text and "locked" in caplog.text
        assert summary.reject_reasons == {"unreadable folder": 1}
    finally:
        (folders[0] / "locked").chmod(0o755)


def test_where_the_only_folder_is_unreadable_the_error_says_so(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(
        DatasetError, match=r"no photos .* 1 could not be read, the first is .*unreadable folder: Permission denied"
    ):
        run((tmp_path / "photos", tmp_path / "set"))


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(target, marks=condition(Area.FOLDERS, f"link to {name}", "not followed", since=SINCE))
        for target, name in {
            ".": "its own folder",
            "..": "the photo folder from within",
            "../..": "a folder above the photo folder",
            "/": "the whole file system",
            "loop": "itself",
        }.items()
    ],
)
def test_a_link_that_leads_in_a_circle_is_not_followed(folders, target):
    (folders[0] / "a" / "loop").symlink_to(target, target_is_directory=True)
    files, _ = listed(folders)
    assert [file for file in files if file.endswith(".jpg")] == ["a/IMG_1.jpg"]


@condition(Area.FOLDERS, "link to a folder elsewhere, also twice", "followed once", since="2026-11-22")
def test_a_linked_folder_is_followed_once(folders, tmp_path):
    write_photo(tmp_path / "elsewhere" / "b" / "x.jpg", 1)
    for name in ("link", "another"):
        (folders[0] / name).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert listed(folders)[0] == ["a/IMG_1.jpg", "another/b/x.jpg"]


@condition(Area.FOLDERS, "link beside the folder that it leads to", "photos have the folder's own name", since=SINCE)
def test_a_photo_has_the_name_of_its_folder_and_not_of_a_link(folders):
    (folders[0] / "Latest").symlink_to("a", target_is_directory=True)  # sorts before "a"
    assert listed(folders)[0] == ["a/IMG_1.jpg"]


@condition(Area.FOLDERS, "data set inside the photo folder", "not ingested, also one of an earlier run", since=SINCE)
def test_stored_copies_of_any_data_set_are_not_photos(folders):
    run((folders[0], folders[0] / "set"))
    assert run((folders[0], folders[0] / "set")).photos == 1
    summary = run((folders[0], folders[0] / "another"))
    assert (summary.photos, summary.rejected, summary.skipped) == (1, 0, {"images": 1})


@condition(
    Area.FOLDERS,
    "same photo in two folders (album and year of Google Takeout, backup)",
    "used once, the copy counted as exact duplicate",
    since="2026-11-22",
)
def test_a_photo_in_two_folders_is_used_once(folders):
    write_photo(folders[0] / "b" / "copy.jpg", 0)
    summary = run(folders)
    assert summary.photos == 1 and summary.reject_reasons == {"exact duplicate": 1}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=condition(Area.FOLDERS, f"file {text}", "ignored", since=SINCE))
        for name, text in {
            "._IMG_1.jpg": "of macOS beside a photo (._IMG_1.jpg)",
            ".trashed-1766400000-IMG_1.jpg": "in the trash of Android (.trashed-*)",
            "Thumbs.db": "Thumbs.db, .DS_Store or desktop.ini",
        }.items()
    ],
)
def test_files_of_systems_are_no_photos(folders, name):
    (folders[0] / "a" / name).write_bytes(b"\xff\xd8")
    summary = run(folders)
    assert (summary.photos, summary.rejected) == (1, 0)


@condition(Area.FOLDERS, "photo that iCloud Drive has removed to save space (.IMG_2.HEIC.icloud)", "named", since=SINCE)
def test_a_photo_that_is_in_icloud_only_is_named(folders):
    (folders[0] / "a" / ".IMG_2.HEIC.icloud").write_bytes(b"bplist00")
    assert run(folders).photos == 1
    (row,) = read_rejected(folders[1]).itertuples(index=False)
    assert row.file == "a/.IMG_2.HEIC.icloud" and row.reason.startswith("in iCloud and not on this machine")


@condition(Area.FOLDERS, "folder of archives that were not unpacked", "one line that says so", since=SINCE)
def test_archives_are_pointed_at_where_there_are_no_photos(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "takeout-20251222-001.zip").write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"no photos .*; unpack the 1 archives, the first is 'takeout-2025"):
        run((tmp_path / "photos", tmp_path / "set"))


def test_a_link_of_a_skipped_name_is_not_walked(folders):
    (folders[0] / ".thumbnails").symlink_to("/", target_is_directory=True)
    assert listed(folders)[1].skipped == {".thumbnails": 0}


def test_folders_keep_the_order_and_the_names_that_they_had(folders):
    for name in ("a b/1.jpg", "a-b/1.jpg", "Ä/1.jpg", "a/sub/1.jpg"):
        write_photo(folders[0] / name, len(name), make_exif((31.0, 34.0)))
    run(folders)
    files = read_photos(folders[1])["file"].to_list()
    assert files == sorted(files) and "a/sub/1.jpg" in files
