"""PNG: what of a file makes its pixels; and a faster way for plain images of the model's size."""

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
# What cannot change a pixel; an orientation, or frames, may hide in the chunks that are not here.
_HARMLESS = frozenset((b"IHDR", b"IDAT", b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"tIME"))


class Png(NamedTuple):
    """A PNG's picture.

    Attributes:
        value: the file without all that can be left out of it: its critical chunks.
        orientation: 1 to 8, as EXIF says it.
        frames: of an animation; 1 where it is none.
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
        if not kind[0] & 0x20:  # an upper-case letter: critical
            kept.append(view[place:after])
            pixels_begun = pixels_begun or kind == b"IDAT"
            if kind == b"IEND":
                break
        elif kind in (b"eXIf", b"acTL") and after <= end:
            body, crc = view[place + _CHUNK.size : after - _CRC_BYTES], view[after - 4 : after]
            if zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(crc, "big"):
                if kind == b"eXIf":
                    orientation = read_orientation(bytes(body))
                elif length >= 4 and not pixels_begun:  # behind the pixels it means nothing
                    frames = max(1, int.from_bytes(body[:4], "big"))
        place = after
    return Png(b"".join(kept), orientation, frames)


def plain_png(value: bytes, height: int, width: int) -> npt.NDArray[np.uint8] | None:
    """Decode an intact 8-bit RGB PNG without metadata, uint8 [height, width, 3].

    None for any other image, a damaged one too: the general decoder can read it or say why not.
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
    """Whether all chunks are known and carry their checksum, which libspng would not look at."""
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
