"""Reads a JPEG file: its first picture without metadata, and its orientation.

A phone's photo (MPO) has a second picture after the first one; metadata may be large or damaged.
"""

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imaging.orientation import UPRIGHT, read_orientation
from imaging.rules import ImageError

MAX_SCANS = 50
"""Most scans of a JPEG: each is another pass over the whole picture. Encoders write about ten; a
hand-written script has been seen with thirty."""

_EXIF = b"Exif\0\0"
MAX_SEGMENTS = 10_000
"""Most segments of a JPEG: each is a step here. A file of 16 MB has some 300 if each is as long as
possible."""

_EOI, _SOS, _COM, _APP1 = 0xD9, 0xDA, 0xFE, 0xE1
_APP = range(0xE0, 0xF0)
_COLOUR = (0xE0, 0xEE)
"""The segments of JFIF and Adobe, which say which colours the components are."""
_FRAMES = (0xC0, 0xC1, 0xC2)
"""Markers of baseline, extended and progressive frames, which are those that libjpeg decodes."""
_PROGRESSIVE = 0xC2
_ALL_COEFFICIENTS = (1 << 64) - 1
_ALONE = (0x01, *range(0xD0, 0xD9))
"""Markers without a length."""
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)


class Jpeg(NamedTuple):
    """A JPEG's first picture.

    Attributes:
        value: the file up to its end, without metadata.
        orientation: EXIF's orientation, 1 to 8.
        ended: whether it has its end marker.
    """

    value: bytes
    orientation: int
    ended: bool


def read_jpeg(value: bytes) -> Jpeg:
    """Go through a JPEG's segments without decoding anything.

    Raises:
        ImageError: it has too many scans or segments, or ends before its first scan.
    """
    kept = [value[:2]]
    orientation, scans, components, progressive, place = UPRIGHT, 0, 0, False, 2
    markers: npt.NDArray[np.intp] | None = None
    exact: dict[int, int] = {}  # by component: coefficients that are complete to the last bit
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(value, place)
        if found is None:
            break
        marker, start = found[1][0], found.end()
        if marker == _EOI and scans:
            kept.append(value[found.start() : start])
            return Jpeg(b"".join(kept), orientation, ended=True)
        if marker in _ALONE or marker == _EOI:
            place = start
            continue
        end = start + max(2, int.from_bytes(value[start : start + 2], "big"))
        if marker in _FRAMES:
            components = int.from_bytes(value[start + 7 : start + 8], "big")
            progressive = marker == _PROGRESSIVE
        elif marker == _APP1 and value.startswith(_EXIF, start + 2) and orientation == UPRIGHT:
            orientation = read_orientation(value[start + 2 : end])
        elif marker == _SOS:
            scans += 1
            if scans > MAX_SCANS:
                raise ImageError("scans", f"more than {MAX_SCANS} scans, a picture has some ten")
            names = _note(value[start + 2 : end], exact)
            if not progressive and names == components:  # the only scan
                end = value.rfind(b"\xff\xd9", end)
            else:
                if markers is None:
                    markers = _markers(value, end)
                behind = markers[np.searchsorted(markers, end) :]
                end = int(behind[0]) if len(behind) else -1
            if end < 0:
                kept.append(value[found.start() :])
                break
        if marker != _COM and (marker not in _APP or marker in _COLOUR):
            kept.append(value[found.start() : end])
        place = end
    else:
        raise ImageError("not_an_image", f"more than {MAX_SEGMENTS:,} segments in a JPEG")
    if list(exact.values()) != [_ALL_COEFFICIENTS] * components or not components:
        raise ImageError("truncated", "not a readable JPEG image: it ends before its pixels")
    return Jpeg(b"".join(kept).removesuffix(b"\xff"), orientation, ended=False)


def _note(scan: bytes, exact: dict[int, int]) -> int:
    """Note what a scan's header says about its content; returns the number of its components."""
    names = scan[0] if scan else 0
    if len(scan) >= 4 + 2 * names:
        first, last, bits = scan[1 + 2 * names : 4 + 2 * names]
        there = 0 if bits & 0x0F else (2 << min(last, 63)) - (1 << min(first, 63))
        for name in scan[1 : 1 + 2 * names : 2]:
            exact[name] = exact.get(name, 0) | there
    return names


def _markers(value: bytes, start: int) -> npt.NDArray[np.intp]:
    """Positions where a scan's data may end: a 255 that is neither stuffed nor a restart marker."""
    data = np.frombuffer(value, np.uint8, offset=min(start, len(value)))
    places = np.flatnonzero(data[:-1] == 0xFF)
    after = data[places + 1]
    ends = (after != 0) & (after != 0xFF) & ((after < 0xD0) | (after > 0xD7))
    found: npt.NDArray[np.intp] = places[ends] + start
    return found
