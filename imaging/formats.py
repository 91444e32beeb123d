"""The format of an image, found from its first bytes, whatever its envelope says."""

from PIL import features

DECODED = ("PNG", "JPEG", "WEBP", "BMP", *(("AVIF",) if features.check("avif") else ()))
"""Pillow's names of the formats that become pixels. Each further format would be native code that
handles a stranger's bytes."""
NAMES = "PNG, JPEG, WebP, BMP" + (", AVIF" if "AVIF" in DECODED else "")

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"%PDF-", "PDF"),
    (b"<svg", "SVG"),
)
_HEIF_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "HEIC"
)
_FTYP_BYTES = 256
"""Bytes of a file type box that are read: it lists brands of four bytes, and real files have about
ten."""


def format_of(value: bytes) -> str | None:
    """The name of the format that these bytes begin with; None: no known format."""
    for magic, name in _MAGIC:
        if value.startswith(magic):
            return name
    if value[:4] == b"RIFF" and value[8:12] == b"WEBP":
        return "WEBP"
    if value[4:8] == b"ftyp":
        # `mif1` and the like only name a HEIF container: the brands after it say what is inside.
        length = min(int.from_bytes(value[:4], "big"), _FTYP_BYTES)
        brands = [value[8:12], *(value[place : place + 4] for place in range(16, length, 4))]
        return next((_HEIF_BRANDS[one] for one in brands if one in _HEIF_BRANDS), None)
    return None
