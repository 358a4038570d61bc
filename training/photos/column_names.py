"""Names of columns as people, spreadsheets, exiftool and map programs write them."""

from __future__ import annotations

import re
import unicodedata

_SYNONYMS = {
    "photo_id": "photo id",
    "file": "file, file name, file path, path, image, image name, image file, photo, photo name, photo file, picture, "
    "source file, Datei, Dateiname, Bild, Foto, fichier, nom de fichier, nom du fichier, photographie, archivo, "
    "nombre de archivo, imagen, nome file, nome do ficheiro, ficheiro, bestand, bestandsnaam, קובץ, שם קובץ, файл, "
    "имя файла, 文件, 文件名, ファイル名, 파일명",
    "latitude_deg": "latitude, lat, GPS latitude, latitud, latitudine, Breite, Breitengrad, geographische Breite, "
    "breedtegraad, bredd, breddgrad, leveysaste, szerokość, szerokość geograficzna, enlem, широта, קו רוחב, 纬度, "
    "緯度, 위도",
    "longitude_deg": "longitude, long, lon, lng, GPS longitude, longitud, longitudine, Länge, Längengrad, "
    "geographische Länge, lengtegraad, längd, längdgrad, pituusaste, długość, długość geograficzna, boylam, долгота, "
    "קו אורך, 经度, 経度, 經度, 경도",
    "latitude_ref": "latitude ref, lat ref, GPS latitude ref",
    "longitude_ref": "longitude ref, lon ref, GPS longitude ref",
    "captured_at": "captured at",
    "session": "session",
    "camera": "camera",
    "night": "night",
    "gps_accuracy_m": "GPS accuracy, accuracy, accuracy m, GPS accuracy meters, horizontal accuracy",
    "altitude_m": "altitude",
    "heading_deg": "heading",
    "decision": "decision",
    "area": "area",
    "WKT": "WKT, geometry, geom, the geom, WKT geom",
    "name": "name, nom, nombre, nome, naam, namn, navn, nimi, nazwa, ad, имя, название, שם, 名称, 名稱, 名前, 이름",
}
_UNITS = {
    "m",
    "meter",
    "meters",
    "metre",
    "metres",
    "deg",
    "degree",
    "degrees",
    "°",
    "decimal degrees",
    "wgs84",
    "wgs 84",
}
_UNITS |= {"grad", "dezimalgrad", "degrés", "grados"}
# what a row of units under the header holds
UNIT_CELLS = _UNITS | {"", "-", "text", "iso 8601"}


def _key(name: str) -> str:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(char for char in folded if char.isalnum() or unicodedata.combining(char))


_CANONICAL = {_key(name): canonical for canonical, names in _SYNONYMS.items() for name in names.split(", ")}
_CANONICAL |= {_key(canonical): canonical for canonical in _SYNONYMS}


def canonical_name(name: str) -> str | None:
    """The name of the column that `name` means, None for another column.

    Letter case, blanks, underscores and a unit in brackets do not matter; another unit, such as feet, does.
    """
    match = re.fullmatch(r"(.*?)\s*[(\[](.*)[)\]]\s*", name.strip())
    if match and match[2].strip().casefold() in _UNITS:
        name = match[1]
    return _CANONICAL.get(_key(name))
