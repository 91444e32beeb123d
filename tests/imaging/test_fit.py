"""Each fit gives what torchvision's transforms give, and a photo of any shape has one."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from imaging.decode import to_input
from imaging.fit import LETTERBOX_GREY, Placement, place
from imaging.rules import FITS, ImageError, ImageRules, Pixels, Preprocess
from wire.image import ImageEvent

RNG = np.random.default_rng(7)


def rules(
    height: int, width: int, resize: int | None = None, fit: str | None = None, channels: int = 3
) -> ImageRules:
    preprocess = Preprocess(resize, fit=fit)
    return ImageRules((height, width, channels), preprocess, max_bytes=1 << 22, max_pixels=1 << 20)


def noise(height: int, width: int) -> Pixels:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def decode(image: Image.Image, wanted: ImageRules, **options: object) -> Pixels:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    pixels = to_input(ImageEvent("id", None, None, None, 0, 0), out.getvalue(), wanted)
    assert isinstance(pixels, np.ndarray)
    return pixels


def assert_alike(found: Pixels, expected: Pixels) -> None:
    assert found.shape == expected.shape
    apart = np.abs(np.subtract(found, expected, dtype=np.int16))
    assert apart.max() <= 1  # by rounding alone
    assert np.count_nonzero(apart) < 0.05 * apart.size


@pytest.mark.parametrize(
    ("size", "resize", "scaled"),
    [
        ((320, 240), 48, (64, 48)),
        ((300, 240), 48, (64, 51)),  # to 60 x 48 it would not cover the input
        ((240, 320), 48, (64, 85)),
        ((960, 240), 48, (192, 48)),
        ((30, 20), None, (72, 48)),
        ((500, 375), 256, (341, 256)),
    ],
)
def test_cover_is_torchvisions_resize_and_centre_crop(
    size: tuple[int, int], resize: int | None, scaled: tuple[int, int]
) -> None:
    wanted = rules(48, 64, resize, "cover" if resize is None else None)
    image = Image.fromarray(noise(*size[::-1]))
    assert place(size, wanted)[:2] == scaled
    steps = v2.Compose([v2.Resize(scaled[::-1], antialias=True), v2.CenterCrop((48, 64))])
    assert_alike(decode(image, wanted), np.asarray(steps(image)))


@pytest.mark.parametrize("resize", [None, 256])
@pytest.mark.parametrize("size", [(64, 48), (300, 100), (20, 70)])
def test_exact_is_torchvisions_resize_to_a_size(size: tuple[int, int], resize: int | None) -> None:
    image = Image.fromarray(noise(*size[::-1]))
    expected = np.asarray(v2.Resize((48, 64), antialias=True)(image))
    assert_alike(decode(image, rules(48, 64, resize, "exact")), expected)


@pytest.mark.parametrize(
    ("size", "padding"),
    [
        ((128, 48), (0, 12, 0, 12)),
        ((48, 96), (20, 0, 20, 0)),
        ((64, 48), (0, 0, 0, 0)),
        ((65, 25), (0, 11, 0, 12)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_letterbox_is_torchvisions_resize_and_pad(
    size: tuple[int, int], padding: tuple[int, int, int, int], channels: int
) -> None:
    image = Image.fromarray(noise(*size[::-1])).convert("L" if channels == 1 else "RGB")
    left, top, right, bottom = padding
    inner = (48 - top - bottom, 64 - left - right)
    steps = v2.Compose([v2.Resize(inner, antialias=True), v2.Pad(list(padding), LETTERBOX_GREY)])
    expected = np.asarray(steps(image)).reshape(48, 64, channels)
    assert_alike(decode(image, rules(48, 64, fit="letterbox", channels=channels)), expected)


@pytest.mark.parametrize("fit", [None, *FITS])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_before_its_size_is_looked_at(
    fit: str | None, orientation: int
) -> None:
    pixels = noise(48, 64)
    lain = {  # how the upright picture lies in the file
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
        5: pixels.swapaxes(0, 1), 6: np.rot90(pixels), 7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(pixels, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(Image.fromarray(np.ascontiguousarray(lain)), rules(48, 64, None, fit), exif=exif)
    assert np.array_equal(found, pixels)


def test_a_turned_picture_of_the_same_number_of_pixels_is_refused_and_not_scrambled() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.raises(ImageError, match="48 x 64, the model takes 64 x 48") as caught:
        decode(Image.fromarray(noise(48, 64)), rules(48, 64), exif=exif)
    assert caught.value.kind == "shape"
    with pytest.raises(ImageError, match="32 x 96, the model takes 64 x 48"):
        decode(Image.fromarray(noise(96, 32)), rules(48, 64))


@given(
    st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 300), st.integers(1, 300),
    st.one_of(st.none(), st.integers(1, 500)),
)  # fmt: skip
def test_a_picture_covers_the_input_or_lies_within_it(
    width: int, height: int, input_width: int, input_height: int, resize: int | None
) -> None:
    cover = place((width, height), rules(input_height, input_width, resize, "cover"))
    assert cover.width >= input_width
    assert cover.height >= input_height
    assert 0 <= cover.left <= cover.width - input_width
    assert 0 <= cover.top <= cover.height - input_height
    box = place((width, height), rules(input_height, input_width, resize, "letterbox"))
    assert 0 <= -box.left <= input_width - box.width
    assert 0 <= -box.top <= input_height - box.height
    exact = place((width, height), rules(input_height, input_width, resize, "exact"))
    assert exact == Placement(input_width, input_height, 0, 0)
