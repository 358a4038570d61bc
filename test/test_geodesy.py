"""LocalFrame: exact round trips, true metres, and an error where a plane cannot serve."""

import numpy as np
import pytest
from geographiclib.geodesic import Geodesic
from hypothesis import assume, given
from hypothesis import strategies as st

from campus_visual_gps.errors import GeodesyError
from campus_visual_gps.geodesy import MAX_REFERENCE_LATITUDE_DEG, LocalFrame

latitudes = st.floats(-80, 80)
longitudes = st.floats(-179, 179)
frames = st.sampled_from([LocalFrame.at, LocalFrame.spherical])


@given(frames, latitudes, longitudes, st.floats(-2000, 2000), st.floats(-2000, 2000))
def test_metres_to_degrees_and_back_is_exact(make, lat, lon, east, north):
    frame = make(lat, lon)
    latitude, longitude = frame.to_geodetic([east, north])
    np.testing.assert_allclose(frame.to_local(latitude, longitude), [east, north], atol=1e-5)


@given(frames, latitudes, longitudes, st.floats(-0.01, 0.01), st.floats(-0.01, 0.01))
def test_degrees_to_metres_and_back_is_exact_to_a_nanodegree(make, lat, lon, dlat, dlon):
    frame = make(lat, lon)
    latitude, longitude = frame.to_geodetic(frame.to_local(lat + dlat, lon + dlon))
    assert abs(latitude - (lat + dlat)) < 1e-9
    assert abs(longitude - (lon + dlon)) < 1e-9


def _geodesic_offset(frame, east_m, north_m):
    """Metres between where the frame puts a point and where the ellipsoid has it."""
    latitude, longitude = frame.to_geodetic([east_m, north_m])
    geodesic = Geodesic.WGS84.Direct(
        frame.latitude_ref_deg,
        frame.longitude_ref_deg,
        np.degrees(np.arctan2(east_m, north_m)),
        np.hypot(east_m, north_m),
    )
    return Geodesic.WGS84.Inverse(float(latitude), float(longitude), geodesic["lat2"], geodesic["lon2"])["s12"]


@given(st.floats(-65, 65), longitudes, st.floats(0, 360), st.floats(1, 500))
def test_a_site_of_one_kilometre_agrees_with_the_geodesic_to_5_cm(lat, lon, bearing, distance):
    frame = LocalFrame.at(lat, lon)
    east, north = distance * np.sin(np.radians(bearing)), distance * np.cos(np.radians(bearing))
    assert _geodesic_offset(frame, east, north) < 0.05


@given(st.floats(-31.5, 31.5), longitudes, st.floats(0, 360))
def test_one_kilometre_from_the_reference_agrees_to_6_cm_at_the_latitude_of_the_paper(lat, lon, bearing):
    frame = LocalFrame.at(lat, lon)
    east, north = 1000 * np.sin(np.radians(bearing)), 1000 * np.cos(np.radians(bearing))
    assert _geodesic_offset(frame, east, north) < 0.06


def test_the_spherical_frame_is_the_papers_equations():
    frame = LocalFrame.spherical(31.262, 34.802, 6371000.0)
    x = np.radians(34.804 - 34.802) * np.cos(np.radians(31.262)) * 6371000.0
    y = np.radians(31.263 - 31.262) * 6371000.0
    np.testing.assert_allclose(frame.to_local(31.263, 34.804), [x, y])


def test_arrays_keep_their_shape():
    frame = LocalFrame.at(31.262, 34.802)
    enu = frame.to_local(np.full((3, 4), 31.2625), np.full((3, 4), 34.8025))
    assert enu.shape == (3, 4, 2)
    assert frame.to_geodetic(enu)[0].shape == (3, 4)


@given(st.floats(MAX_REFERENCE_LATITUDE_DEG, 90, exclude_min=True), longitudes, st.sampled_from([1, -1]))
def test_a_reference_near_a_pole_is_refused(lat, lon, sign):
    with pytest.raises(GeodesyError, match="pole"):
        LocalFrame.at(sign * lat, lon)


@given(latitudes, st.floats(179.5, 180), st.floats(-180, -179.5))
def test_a_site_across_the_antimeridian_is_refused(lat, lon_ref, lon):
    with pytest.raises(GeodesyError, match="antimeridian"):
        LocalFrame.at(lat, lon_ref).to_local(lat, lon)


@given(st.floats(), st.floats())
def test_what_is_no_position_on_the_globe_is_refused(lat, lon):
    assume(not (abs(lat) <= 90 and abs(lon) <= 180))
    with pytest.raises(GeodesyError):
        LocalFrame.at(0.0, 0.0).to_local(lat, lon)


@pytest.mark.parametrize("enu", [[np.nan, 0.0], [np.inf, 0.0], [1e9, 0.0]])
def test_metres_that_leave_the_site_are_refused(enu):
    with pytest.raises(GeodesyError):
        LocalFrame.at(31.0, 34.0).to_geodetic(enu)


def test_a_longitude_reference_off_the_globe_is_refused():
    with pytest.raises(GeodesyError, match="longitude"):
        LocalFrame.at(0.0, 200.0)
