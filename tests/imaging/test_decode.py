"""From bytes to pixels: what is an image gets through, all else is refused with its reason."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from imaging.decode import to_input
from imaging.rules import ImageError, ImageRules, Pixels, Preprocess
from tests.imaging.images import png_header
from wire.image import NDARRAY, ImageEvent

LIMITS = (1 << 20, 1_000_000)
"""Bytes and pixels."""
RNG = np.random.default_rng(7)


def rules(
    height: int = 32, width: int = 32, channels: int = 3, resize: int | None = 32, **rest: object
) -> ImageRules:
    preprocess = Preprocess(resize, bgr=bool(rest.get("bgr")))
    return ImageRules((height, width, channels), preprocess, *LIMITS)


def event(
    content_type: str | None = None, dtype: str | None = None, shape: tuple[int, ...] | None = None
) -> ImageEvent:
    return ImageEvent("id", content_type, dtype, shape, 0, 0)


def noise(height: int = 32, width: int = 32) -> Pixels:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def encode(pixels: Pixels, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def decode(value: bytes, content_type: str | None = None, one: ImageRules | None = None) -> Pixels:
    pixels = to_input(event(content_type), value, one or rules())
    assert isinstance(pixels, np.ndarray)
    return pixels


@pytest.mark.parametrize(
    ("kind", "content_type"), [("PNG", "image/png"), ("BMP", "image/bmp"), ("WEBP", "image/webp")]
)
@pytest.mark.parametrize("named", [True, False])
def test_a_lossless_image_arrives_to_the_bit(kind: str, content_type: str, named: bool) -> None:
    pixels = noise()
    options = {"lossless": True} if kind == "WEBP" else {}
    value = encode(pixels, kind, **options)
    assert np.array_equal(decode(value, content_type if named else None), pixels)


def test_a_jpeg_arrives_as_pillow_decodes_it() -> None:
    value = encode(noise(), "JPEG", quality=90)
    expected = np.asarray(Image.open(io.BytesIO(value)).convert("RGB"))
    assert np.array_equal(decode(value, "image/jpeg"), expected)


def test_raw_pixels_arrive_to_the_bit() -> None:
    pixels = noise()
    got = to_input(event(NDARRAY, "uint8", (32, 32, 3)), pixels.tobytes(), rules())
    assert got == pixels.tobytes()


def test_grey_palette_and_transparent_images_become_rgb() -> None:
    grey = Image.fromarray(noise()).convert("L")
    for image in (grey, grey.convert("P"), grey.convert("RGBA"), grey.convert("1")):
        out = io.BytesIO()
        image.save(out, "PNG")
        assert decode(out.getvalue()).shape == (32, 32, 3)


def test_a_model_of_one_channel_gets_grey_and_a_bgr_model_gets_blue_first() -> None:
    value = encode(noise(), "PNG")
    assert decode(value, one=rules(channels=1)).shape == (32, 32, 1)
    rgb, bgr = decode(value), decode(value, one=rules(bgr=True))
    assert np.array_equal(bgr, rgb[:, :, ::-1])
    assert bgr.flags["C_CONTIGUOUS"]


def test_a_larger_image_is_scaled_and_its_centre_cropped_as_torchvision_does() -> None:
    pixels = noise(300, 517)
    steps = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])
    expected = np.asarray(steps(Image.fromarray(pixels)))
    found = decode(encode(pixels, "PNG"), one=rules(224, 224, resize=256))
    apart = np.abs(np.subtract(found, expected, dtype=np.int16))
    assert apart.max() <= 1  # by rounding alone
    assert np.count_nonzero(apart) < 0.01 * apart.size


def test_a_rotated_photo_is_turned_upright() -> None:
    pixels = noise()
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", exif=exif)
    assert np.array_equal(decode(out.getvalue()), np.rot90(pixels, -1))


def gif() -> bytes:
    return encode(noise(), "GIF")


def animation() -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(noise()) for _ in range(3)]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


PNG = encode(noise(), "PNG")
JPEG = encode(noise(), "JPEG")


@pytest.mark.parametrize(
    ("value", "content_type", "kind"),
    [
        (b"", None, "empty"),
        (b"x" * ((1 << 20) + 1), None, "too_large"),
        (b"hello, this is no image", None, "not_an_image"),
        (b"hello, this is no image", "image/png", "not_an_image"),
        (PNG[: len(PNG) // 2], None, "truncated"),
        (JPEG[: len(JPEG) // 2], None, "truncated"),
        (PNG[:20], None, "truncated"),
        (gif(), None, "format"),
        (png_header(50_000, 50_000), None, "too_many_pixels"),
        (png_header(9_000, 10), None, "aspect"),
        (animation(), None, "frames"),
    ],
)
def test_what_can_never_be_an_input_is_refused_with_its_kind(
    value: bytes, content_type: str | None, kind: str
) -> None:
    with pytest.raises(ImageError) as caught:
        decode(value, content_type)
    assert caught.value.kind == kind, str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "shape", "size", "kind"),
    [
        (None, None, 3072, "ndarray"),
        ("float32", (32, 32, 3), 3072, "dtype"),
        ("uint8", (3, 32, 32), 3072, "shape"),
        ("uint8", (64, 64, 3), 12288, "shape"),
        ("uint8", (32, 32, 3), 3071, "ndarray"),
    ],
)
def test_raw_pixels_must_be_what_they_say_and_what_the_model_takes(
    dtype: str | None, shape: tuple[int, ...] | None, size: int, kind: str
) -> None:
    with pytest.raises(ImageError) as caught:
        to_input(event(NDARRAY, dtype, shape), bytes(size), rules())
    assert caught.value.kind == kind


def test_without_a_resize_parameter_the_size_must_fit() -> None:
    assert decode(PNG, one=rules(resize=None)).shape == (32, 32, 3)
    with pytest.raises(ImageError, match="33 x 32, the model takes 32 x 32"):
        decode(encode(noise(32, 33), "PNG"), one=rules(resize=None))


def test_a_model_of_encoded_images_gets_them_untouched() -> None:
    encoded = ImageRules(None, Preprocess(), *LIMITS)
    assert to_input(event(), PNG, encoded) is PNG
    assert to_input(event(content_type="image/jpeg"), PNG, encoded) is PNG
    with pytest.raises(ImageError, match="takes encoded images, not raw pixels"):
        to_input(event(NDARRAY, "uint8", (32, 32, 3)), PNG, encoded)


SEEDS = [PNG, JPEG, encode(noise(), "WEBP"), encode(noise(), "BMP"), animation(), gif()]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(0, 4000),
)
def test_damaged_images_become_pixels_or_a_refusal_and_nothing_else(
    seed: bytes, damage: list[tuple[int, bytes]], keep: int
) -> None:
    value = bytearray(seed)
    for place, patch in damage:
        value[place % len(value) : place % len(value) + len(patch)] = patch
    try:
        assert decode(bytes(value[: keep or None])).shape == (32, 32, 3)
    except ImageError as error:
        assert error.kind
        assert "0x" not in str(error)
