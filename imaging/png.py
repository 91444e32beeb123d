"""Reads a PNG file: the parts that make its pixels; and a faster way for plain images."""

import struct
import zlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyspng

from imaging.orientation import UPRIGHT, read_orientation

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">8sI4sIIBBBBB")
_CHUNK = struct.Struct(">I4s")
_CRC_BYTES = 4
_RGB = 2
# Chunks that cannot change a pixel; all others may hide an orientation or frames.
_HARMLESS = frozenset((b"IHDR", b"IDAT", b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"tIME"))


class Png(NamedTuple):
    """A PNG's picture.

    Attributes:
        value: the file with only its critical chunks.
        orientation: EXIF's orientation, 1 to 8.
        frames: number of frames of an animation; 1 for a still image.
    """

    value: bytes
    orientation: int
    frames: int


def read_png(value: bytes) -> Png:
    """Go through a PNG's chunks without decoding anything; damaged ancillary ones are ignored.

    Transparency (tRNS) is ancillary, and left out.
    """
    view, place, end = memoryview(value), len(_SIGNATURE), len(value)
    kept: list[bytes | memoryview] = [_SIGNATURE]
    orientation, frames, pixels_begun = UPRIGHT, 1, False
    while place + _CHUNK.size <= end:
        length, kind = _CHUNK.unpack_from(value, place)
        after = place + _CHUNK.size + length + _CRC_BYTES
        if not kind[0] & 0x20:  # an upper-case letter marks a critical chunk
            kept.append(view[place:after])
            pixels_begun = pixels_begun or kind == b"IDAT"
            if kind == b"IEND":
                break
        elif kind in (b"eXIf", b"acTL") and after <= end:
            body, crc = view[place + _CHUNK.size : after - _CRC_BYTES], view[after - 4 : after]
            if zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(crc, "big"):
                if kind == b"eXIf":
                    orientation = read_orientation(bytes(body))
                elif length >= 4 and not pixels_begun:  # after the pixels it has no meaning
                    frames = max(1, int.from_bytes(body[:4], "big"))
        place = after
    return Png(b"".join(kept), orientation, frames)


def plain_png(value: bytes, height: int, width: int) -> npt.NDArray[np.uint8] | None:
    """Decode an intact 8-bit RGB PNG without metadata, uint8 [height, width, 3].

    Returns None for any other image, also a damaged one: the general decoder reads or refuses it.
    """
    if len(value) < _HEAD.size:
        return None
    head = _HEAD.unpack_from(value)
    if head != (_SIGNATURE, 13, b"IHDR", width, height, 8, _RGB, 0, 0, 0):
        return None
    if not _intact_and_harmless(value):
        return None
    try:
        pixels: npt.NDArray[np.uint8] = pyspng.load(value, format="RGB")
    except (RuntimeError, ValueError):
        return None
    return pixels


def _intact_and_harmless(value: bytes) -> bool:
    """Whether all chunks are known and their checksums right; libspng would not check them."""
    view, place, end = memoryview(value), len(_SIGNATURE), len(value)
    while place + _CHUNK.size + _CRC_BYTES <= end:
        length, kind = _CHUNK.unpack_from(value, place)
        crc_at = place + _CHUNK.size + length
        found = value[crc_at : crc_at + _CRC_BYTES]
        if zlib.crc32(view[place + 4 : crc_at]).to_bytes(_CRC_BYTES, "big") != found:
            return False
        if kind == b"IEND":
            return True
        if kind not in _HARMLESS:
            return False
        place = crc_at + _CRC_BYTES
    return False
