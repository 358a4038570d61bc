"""Finds the photo that a cell of a user's table means: by photo_id, path or file name."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from training.photos.folders import OTHER_IMAGE_SUFFIXES, PHOTO_SUFFIXES
from training.photos.photo_id import photo_key
from training.photos.spreadsheet_numbers import spreadsheet_candidates

_Index = dict[str, set[str]]


class PhotoNames:
    """Photos by their names.

    Args:
        photos: (id, path below the photo folder) of each photo; the id may be the path itself.
        former: Earlier ids and paths of the photos, and of photos that are gone.
    """

    def __init__(self, photos: Iterable[tuple[str, str]], former: Iterable[tuple[str, str]] = ()):
        self.files = dict(photos)
        self._paths: _Index = defaultdict(set)
        self._ends: _Index = defaultdict(set)
        self._folded_paths: _Index = defaultdict(set)
        self._folded_ends: _Index = defaultdict(set)
        self._path_stems: _Index = defaultdict(set)
        self._stems: _Index = defaultdict(set)
        self._joined: _Index = defaultdict(set)
        self._keys: _Index = defaultdict(set)
        for photo_id, file in self.files.items():
            self._keys[photo_key(photo_id)].add(photo_id)
            self._paths[file].add(photo_id)
            self._folded_paths[fold(file)].add(photo_id)
            self._path_stems[_stem(fold(file))].add(photo_id)
            for end in _ends(file):
                folded = fold(end)
                self._ends[end].add(photo_id)
                self._folded_ends[folded].add(photo_id)
                self._stems[_stem(folded)].add(photo_id)
                if "/" in end:
                    self._joined[folded.replace("/", "_")].add(photo_id)
                    self._joined[_stem(folded).replace("/", "_")].add(photo_id)
        self._former_files: _Index = defaultdict(set)
        for photo_id, file in former:
            now = self._keys.get(photo_key(photo_id)) or self._paths.get(file) or set()
            self._former_files[fold(file)] |= now
            if photo_key(photo_id) not in self._keys:
                self._keys[photo_key(photo_id)] = set(now)

    def knows(self, text: str) -> bool:
        """Whether a text is the path or name of a photo, or its id."""
        return bool(self.find_file(text) or self.find_id(text))

    def find_id(self, text: str) -> set[str]:
        """The photos with this photo_id; also in its older form without a letter, in capitals, or an earlier id."""
        return self._keys.get(photo_key(text.strip().lstrip("'").lower()), set())

    def find_number(self, text: str) -> set[str]:
        """The photos whose photo_id a spreadsheet may have turned into this number."""
        return set(spreadsheet_candidates(text, self.files))

    def find_file(self, text: str) -> set[str]:
        """The photos that a path or file name means, as well as it can be told: one, none, or several.

        A path is tried as it is; then as the end of a path; then in any letter case and Unicode form; then with more
        folders before it than the photo has, such as C:\\Users\\me\\DCIM\\100APPLE\\IMG_1.HEIC; then with its folders
        joined by underscores, as downloads name files; then with another suffix, or none; then as an earlier path.
        """
        path = _as_path(text)
        if not path:
            return set()
        for key in dict.fromkeys((text, path)):
            for index in (self._paths, self._ends):
                if index.get(key):
                    return index[key]
        folded = fold(path)
        for index in (self._folded_paths, self._folded_ends):
            if index.get(folded):
                return index[folded]
        for end in _ends(path):
            found = self._paths.get(end) or self._folded_paths.get(fold(end))
            if found:
                return found
        return self._find_loosely(folded) or self._former_files.get(folded, set())

    def _find_loosely(self, folded: str) -> set[str]:
        """Joined by underscores, or with another suffix or none; for a folded path."""
        stem = _stem(folded) if folded.endswith((*PHOTO_SUFFIXES, *OTHER_IMAGE_SUFFIXES)) else folded
        found = self._joined.get(folded) or self._stems.get(stem) or self._joined.get(stem)
        ends = (self._path_stems.get(end) for end in _ends(stem))
        return found or next(filter(None, ends), set())

    def same_name(self, text: str) -> set[str]:
        """The photos of other folders that have the file name of a path which none has, for hints."""
        return self._find_loosely(fold(_as_path(text)).rpartition("/")[2]) or self._folded_ends.get(
            fold(_as_path(text)).rpartition("/")[2], set()
        )

    def describe(self, photo_ids: Iterable[str]) -> str:
        """Up to four photos, for messages."""
        names = sorted(self.files[photo_id] for photo_id in photo_ids)
        return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _stem(path: str) -> str:
    """A path without the suffix of its file."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def fold(text: str) -> str:
    """The text in one Unicode form, without letter case and blanks at its ends: macOS stores decomposed names."""
    composed = unicodedata.normalize("NFC", text.strip())
    return unicodedata.normalize("NFC", composed.casefold())


def same_names(wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    """Each of `wanted` as the one name in `known` that differs from it at most in letter case and Unicode form."""
    exact, folded = set(known), defaultdict(set)
    for name in exact:
        folded[fold(name)].add(name)
    return [
        next(iter(folded[fold(name)])) if name not in exact and len(folded.get(fold(name), ())) == 1 else name
        for name in wanted
    ]


def _as_path(text: str) -> str:
    """A path with forward slashes, without its drive, ./ and doubled slashes."""
    path = re.sub(r"^[A-Za-z]:", "", text.strip()).replace("\\", "/").lstrip("/")
    return PurePosixPath(path).as_posix() if path else ""


def _ends(path: str) -> list[str]:
    """The path and everything behind each of its slashes, the longest first."""
    parts = path.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]
