"""Images as people have them, and as nobody should."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from imaging.rules import Pixels

ORIENTATION = 0x0112
RNG = np.random.default_rng(7)


def smooth(height: int = 48, width: int = 64, seed: int = 1) -> Image.Image:
    """A picture that JPEG hardly changes."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def tiff(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """An EXIF structure of these (tag, type, count, value)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}LH", 8, len(entries))
    body = b"".join(
        struct.pack(f"{order}HHL", tag, kind, count) + value.ljust(4, b"\0")[:4]
        for tag, kind, count, value in entries
    )
    return head + body + bytes(4)


def exif_turn(orientation: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    return jpeg[:2] + segment(marker, body) + jpeg[2:]


def chunk(kind: bytes, body: bytes, *, intact: bool = True) -> bytes:
    crc = zlib.crc32(kind + body) ^ (not intact)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def with_chunk(png: bytes, added: bytes, *, before: bytes = b"IDAT") -> bytes:
    place = png.index(before) - 4
    return png[:place] + added + png[place:]


def deep_png(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint16]]") -> bytes:
    """A PNG of 16 bits a channel; [height, width, channels] of 1 to 4."""
    height, width, channels = pixels.shape
    colour = (0, 4, 2, 6)[channels - 1]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_header(width: int, height: int, color: int = 2, depth: int = 8) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b""))


def mpo(**options: object) -> bytes:
    """A phone's photo: `smooth()`, and a smaller picture behind it."""
    second = smooth(12, 16, seed=2)
    return save(smooth(), "MPO", save_all=True, append_images=[second], quality=95, **options)


def scan_bomb(scans: int, side: int = 64) -> bytes:
    """A progressive JPEG that says the same scan again and again."""
    jpeg = save(smooth(side, side), "JPEG", progressive=True)
    first = jpeg.index(b"\xff\xda")
    end = first + 2
    while jpeg[end] != 0xFF or jpeg[end + 1] == 0:
        end += 1
    return jpeg[:end] + jpeg[first:end] * (scans - 1) + b"\xff\xd9"


def noise(height: int = 32, width: int = 32) -> Pixels:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)
