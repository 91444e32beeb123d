"""Images that people have are answered with the right pixels; what is not decoded is named."""

import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from imaging.decode import decode, to_input
from imaging.formats import DECODED
from imaging.jpeg import MAX_SCANS, MAX_SEGMENTS
from imaging.orientation import read_orientation
from imaging.rules import ImageError, ImageRules, Pixels, Preprocess
from tests.imaging.images import (
    chunk,
    deep_png,
    exif_turn,
    mpo,
    png_header,
    save,
    scan_bomb,
    segment,
    smooth,
    tiff,
    with_chunk,
    with_segment,
)
from wire.image import ImageEvent

RULES = ImageRules((48, 64, 3), Preprocess(), max_bytes=16 << 20, max_pixels=1_000_000)
GREY = ImageRules((48, 64, 1), Preprocess(), max_bytes=16 << 20, max_pixels=1_000_000)
PICTURE = np.asarray(smooth())
JPEG = save(smooth(), "JPEG", quality=95)
PROGRESSIVE = save(smooth(), "JPEG", quality=95, progressive=True)
PNG = save(smooth(), "PNG")


def near(value: bytes, expected: Pixels = PICTURE, most: int = 12) -> bool:
    found = decode(value, RULES)
    assert found.flags.c_contiguous
    return bool(np.abs(found.astype(int) - expected).max() <= most)


def kind(value: bytes, rules: ImageRules = RULES) -> str:
    with pytest.raises(ImageError) as caught:
        decode(value, rules)
    assert str(caught.value).isprintable()
    return caught.value.kind


# Formats and modes


@pytest.mark.parametrize("turn", [False, True])
def test_a_phones_photo_is_its_first_picture(turn: bool) -> None:
    if not turn:
        assert near(mpo())
        return
    lying = smooth().transpose(Image.Transpose.ROTATE_90)
    second = smooth(12, 16, seed=2)
    value = save(lying, "MPO", save_all=True, append_images=[second], quality=95, exif=exif_turn())
    assert near(value)


def test_what_follows_a_jpeg_is_not_looked_at() -> None:
    video = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x08" * 1000 + b"\xff\xc4" * 1000
    assert near(JPEG + video)
    assert near(PROGRESSIVE + video)


def test_cmyk_jpegs_are_converted_as_pillow_does() -> None:
    picture = smooth().convert("CMYK")
    value = save(picture, "JPEG", quality=95)
    assert near(value, np.asarray(picture.convert("RGB")))


def test_a_ycck_jpeg_is_converted() -> None:
    value = save(smooth().convert("CMYK"), "JPEG", quality=95, subsampling=0)
    adobe = value.index(b"Adobe")
    ycck = value[: adobe + 11] + b"\x02" + value[adobe + 12 :]
    with Image.open(io.BytesIO(ycck)) as image:
        assert image.mode == "CMYK"
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(decode(ycck, RULES), expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_of_16_bits_the_higher_8_stay(channels: int) -> None:
    deep = np.random.default_rng(3).integers(0, 65536, (48, 64, channels), np.uint16)
    expected = (deep >> 8).astype(np.uint8)
    colours = expected[:, :, :3] if channels > 2 else expected[:, :, :1].repeat(3, axis=2)
    assert np.array_equal(decode(deep_png(deep), RULES), colours)
    if channels <= 2:
        assert np.array_equal(decode(deep_png(deep), GREY), expected[:, :, :1])


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_avif_is_answered(mode: str) -> None:
    picture = smooth().convert(mode)
    assert near(save(picture, "AVIF", quality=95), np.asarray(picture.convert("RGB")), most=20)
    lying = picture.transpose(Image.Transpose.ROTATE_90)
    turned = save(lying, "AVIF", quality=95, exif=exif_turn())
    assert near(turned, np.asarray(picture.convert("RGB")), most=20)


@pytest.mark.parametrize("kind_", ["PNG", "WEBP"])
def test_of_transparency_the_colour_beneath_shows(kind_: str) -> None:
    picture = smooth().convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    options = {"lossless": True, "exact": True} if kind_ == "WEBP" else {}
    assert np.array_equal(decode(save(picture, kind_, **options), RULES), PICTURE)


def test_a_transparent_colour_or_palette_entry_changes_nothing() -> None:
    palette = smooth().quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    for transparency in (0, bytes(range(16))):
        value = save(palette, "PNG", transparency=transparency)
        assert np.array_equal(decode(value, RULES), expected)
    assert np.array_equal(decode(save(smooth(), "PNG", transparency=(1, 2, 3)), RULES), PICTURE)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("rules", [RULES, GREY])
def test_each_colour_mode_of_a_png_is_as_pillow_converts_it(mode: str, rules: ImageRules) -> None:
    assert rules.shape is not None
    picture = smooth().convert(mode)
    expected = np.asarray(picture.convert("RGB" if rules is RULES else "L"))
    found = decode(save(picture, "PNG"), rules)
    assert np.array_equal(found, expected.reshape(rules.shape))


HEIC = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(100)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (save(smooth(), "GIF"), "GIF"),
        (save(smooth(), "TIFF"), "TIFF"),
        (save(smooth().convert("LAB"), "TIFF"), "TIFF"),
        (save(Image.new("I;16B", (64, 48)), "TIFF"), "TIFF"),
        (save(smooth(), "JPEG2000"), "JPEG 2000"),
        (save(smooth(), "JPEG2000", no_jp2=True), "JPEG 2000"),
        (HEIC, "HEIC"),
        (HEIC.replace(b"mif1", b"heic"), "HEIC"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)
def test_what_is_not_decoded_is_refused_by_its_name(value: bytes, name: str) -> None:
    with pytest.raises(ImageError, match=f"a {name} image, which is not decoded; send PNG") as why:
        decode(value, RULES)
    assert why.value.kind == "format"


@pytest.mark.parametrize(
    "content_type",
    [
        None, "", "application/octet-stream", "binary/octet-stream", "image/*", "image/pjpeg",
        "image/jpg", "image/x-png", "image/jpeg", "image/png", "image/webp", "text/plain", "*/*",
        "image/tiff", "nonsense",
    ],
)  # fmt: skip
def test_the_bytes_say_what_an_image_is_whatever_its_content_type(content_type: str | None) -> None:
    event = ImageEvent("id", content_type, None, None, 0, 0)
    assert np.array_equal(to_input(event, PNG, RULES), PICTURE)
    assert np.array_equal(to_input(event, JPEG, RULES), decode(JPEG, RULES))
    encoded = ImageRules(None, Preprocess(), max_bytes=1 << 20, max_pixels=1_000_000)
    assert to_input(event, PNG, encoded) is PNG


# Metadata

ILL_TYPED = (
    (0x010E, 2, 0xFFFF_FFFF, b"\xff\xff\xff\xff"),
    (0x010F, 3, 2, b"ab"),
    (0x011A, 2, 3, b"xy"),
    (0x0128, 5, 1, b"\xff\xff\xff\xff"),
    (0x8769, 2, 4, b"abc"),
    (0x8825, 77, 9, b"?"),
)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP"])
def test_an_ill_typed_tag_beside_an_orientation_spoils_nothing(order: str, container: str) -> None:
    turn = (0x0112, 3, 1, (b"\6\0" if order == "<" else b"\0\6"))
    body = tiff(*sorted((*ILL_TYPED, turn)), order=order)
    lying = smooth().transpose(Image.Transpose.ROTATE_90)
    value = {
        "JPEG": with_segment(save(lying, "JPEG", quality=95), 0xE1, b"Exif\0\0" + body),
        "PNG": with_chunk(save(lying, "PNG"), chunk(b"eXIf", body)),
        "WEBP": save(lying, "WEBP", quality=95, exif=b"Exif\0\0" + body),
    }[container]
    assert near(value, most=24)


@pytest.mark.parametrize(
    "entry",
    [
        (0x0112, 2, 1, b"6"), (0x0112, 3, 0, b"\6\0"), (0x0112, 3, 2, b"\6\0\6\0"),
        (0x0112, 3, 1, b"\0\0"), (0x0112, 3, 1, b"\x09\0"), (0x0112, 5, 1, b"\6\0"),
    ],
)  # fmt: skip
def test_an_orientation_that_is_none_is_ignored(entry: tuple[int, int, int, bytes]) -> None:
    assert near(with_segment(JPEG, 0xE1, b"Exif\0\0" + tiff(entry)))


@given(st.binary(max_size=200), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_exif_has_an_orientation(rest: bytes, head: bytes) -> None:
    assert 1 <= read_orientation(b"Exif\0\0" + head + rest) <= 8


def zipped(size: int) -> bytes:
    return zlib.compress(bytes(size))


@pytest.mark.parametrize(
    "added",
    [
        chunk(b"tEXt", b"Comment\0" + b"x" * (2 << 20)),
        chunk(b"zTXt", b"Comment\0\0" + zipped(200 << 20)),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + zipped(2 << 20)),
        chunk(b"iCCP", b"profile\0\0" + zipped(3 << 20)),
        chunk(b"iCCP", b"profile\0\0" + np.random.default_rng(1).bytes(2 << 20)),
        chunk(b"tEXt", b"Comment\0damaged", intact=False),
        chunk(b"gAMA", b"\0\0\0\1", intact=False),
        chunk(b"pHYs", b"", intact=True),
        chunk(b"tRNS", b"\0"),
        chunk(b"eXIf", tiff((0x0112, 3, 1, b"\6\0")), intact=False),
        chunk(b"eXIf", b"nonsense"),
        chunk(b"acTL", b"\0\0\0\2\0\0\0\0", intact=False),
        chunk(b"xxXx", b"unknown"),
    ],
    ids=lambda added: f"{added[4:8].decode()}-{len(added)}",
)
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_no_ancillary_chunk_of_a_png_spoils_its_pixels(added: bytes, before: bytes) -> None:
    assert np.array_equal(decode(with_chunk(PNG, added, before=before), RULES), PICTURE)


@pytest.mark.parametrize(
    "added",
    [
        b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes((n + 1, 40)) + b"x" * 60_000)
                 for n in range(40)),
        segment(0xE2, b"MPF\0" + b"\xff" * 40),
        segment(0xE1, b"Exif\0\0"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation='6'"),
        segment(0xED, b"Photoshop 3.0\x008BIM\4\4\xff\xff\xff\xff"),
        segment(0xEC, b""),
        segment(0xFE, b"\xff\xd9\xff\xda"),
        segment(0xE1, b"Exif\0\0" + b"thumbnail" + JPEG),
    ],
    ids=["icc", "mpf", "exif", "xmp", "photoshop", "app12", "comment", "thumbnail"],
)  # fmt: skip
def test_no_metadata_of_a_jpeg_spoils_its_pixels(added: bytes) -> None:
    plain = decode(JPEG, RULES)
    assert np.array_equal(decode(JPEG[:2] + added + JPEG[2:], RULES), plain)


# Ends


@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("value", [JPEG, PROGRESSIVE, save(smooth().convert("CMYK"), "JPEG")])
def test_a_jpeg_without_its_last_bytes_is_answered(value: bytes, cut: int) -> None:
    assert np.array_equal(decode(value[:-cut], RULES), decode(value, RULES))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("value", [JPEG, PROGRESSIVE, PNG, mpo()[: len(JPEG)]])
def test_an_image_that_ends_before_its_pixels_is_refused(value: bytes, share: float) -> None:
    assert kind(value[: int(share * len(value))]) == "truncated"


def test_a_cut_that_the_crop_would_hide_is_refused() -> None:
    large = save(smooth(256, 64), "JPEG", quality=95)
    rules = ImageRules((32, 32, 3), Preprocess(32), max_bytes=1 << 20, max_pixels=1_000_000)
    assert kind(large[: int(0.9 * len(large))], rules) == "truncated"


# Bounds


def animation(kind: str) -> bytes:
    frames = [smooth(seed=seed) for seed in range(3)]
    return save(frames[0], kind, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (animation("PNG"), "frames"),
        (animation("WEBP"), "frames"),
        *([(animation("AVIF"), "frames")] if "AVIF" in DECODED else []),
        (scan_bomb(MAX_SCANS + 1), "scans"),
        (JPEG[:2] + segment(0xFE, b"") * (MAX_SEGMENTS + 1) + JPEG[2:], "not_an_image"),
        (png_header(50_000, 50_000), "too_many_pixels"),
        (png_header(2**31 - 1, 2**31 - 1), "too_many_pixels"),
        (png_header(0, 48), "not_an_image"),
        (png_header(64, 0), "not_an_image"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\xff\xd8\xff\xd9", "truncated"),
        (b"\x89PNG\r\n\x1a\n", "not_an_image"),
        (b"BM", "not_an_image"),
        (b"RIFF\0\0\0\0WEBP", "not_an_image"),
        (b"\0\0\0\x18ftypavif" + bytes(20), "not_an_image"),
    ],
)
def test_what_is_too_much_or_too_little_is_refused(value: bytes, expected: str) -> None:
    assert kind(value) == expected


def test_an_ordinary_number_of_scans_is_decoded() -> None:
    assert decode(scan_bomb(MAX_SCANS, 48), resized(RULES)).shape == RULES.shape


def resized(rules: ImageRules) -> ImageRules:
    return ImageRules(rules.shape, Preprocess(48), rules.max_bytes, rules.max_pixels)


@pytest.mark.parametrize("value", [JPEG, PROGRESSIVE], ids=["baseline", "progressive"])
@given(data=st.data())
def test_a_jpeg_cut_anywhere_is_whole_or_refused(value: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(value) - 1))
    try:
        found = decode(value[:-cut], RULES)
    except ImageError as error:
        assert error.kind in ("truncated", "not_an_image")
    else:
        assert np.array_equal(found, decode(value, RULES))
