"""The orientation of the camera, read from EXIF. No other part of EXIF is read, so none can spoil
an image."""

import struct

from PIL import Image

_TAG = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "L"}
"""TIFF types, with their struct codes, that a number from 1 to 8 may have."""
_ENTRY_BYTES = 12
UPRIGHT = 1

TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that turns a picture of each orientation upright."""
LYING = 5
"""The first of the orientations that exchange width and height."""


def read_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8; 1 (upright) where the tag is missing, ill-typed or out of bounds.

    Args:
        exif: a TIFF structure, with or without `Exif` and two zero bytes before it.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        (start,) = struct.unpack_from(f"{order}L", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, start)
        for number in range(entries):
            place = start + 2 + number * _ENTRY_BYTES
            tag, kind, count = struct.unpack_from(f"{order}HHL", tiff, place)
            if tag == _TAG:
                if count != 1 or kind not in _INTEGERS:
                    return UPRIGHT
                (found,) = struct.unpack_from(f"{order}{_INTEGERS[kind]}", tiff, place + 8)
                return int(found) if found in TRANSPOSE else UPRIGHT
    except struct.error:
        pass  # the data ends too early
    return UPRIGHT
