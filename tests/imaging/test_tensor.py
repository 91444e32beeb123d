"""The numbers that a model gets are those that torchvision's own transforms give."""

from typing import Any

import numpy as np
import pytest
import torch
from torchvision import transforms
from torchvision.transforms import v2

from imaging.decode import needs_decoder, to_input
from imaging.rules import ImageError, ImageRules, Preprocess
from imaging.tensor import PRESETS, Normalization, TensorRules, read_normalization, to_tensor
from wire.image import NDARRAY, ImageEvent

RNG = np.random.default_rng(3)
PIXELS = RNG.integers(0, 256, (5, 20, 30, 3), np.uint8)
EVERY = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)


def refuse(why: str) -> Exception:
    return ValueError(why)


def read(bgr: bool = False, channels: int = 3, **told: str) -> Normalization | None:
    return read_normalization(
        {f"preprocess.{key}": value for key, value in told.items()}, channels, bgr, refuse
    )


def torchvisions(pixels: Any, mean: list[float], std: list[float]) -> torch.Tensor:
    """What `ToTensor`, and the transforms that come with its weights, give: they divide by 255."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    made = torch.stack([transform(one) for one in pixels])
    # Its newer form multiplies by 1/255, which rounds otherwise.
    newer = v2.Compose(
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    )
    assert torch.allclose(made, torch.stack([newer(one) for one in pixels]), rtol=0, atol=1e-6)
    return made


@pytest.mark.parametrize("pixels", [PIXELS, EVERY], ids=["noise", "every value"])
@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [("imagenet", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ("unit", [0, 0, 0], [1, 1, 1])],
)
def test_presets_are_torchvisions_transforms_to_the_last_bit(
    pixels: Any, name: str, mean: list[float], std: list[float]
) -> None:
    expected = torchvisions(pixels, mean, std)
    first = to_tensor(pixels, TensorRules("float32", True, PRESETS[name]))
    assert first.flags.c_contiguous
    np.testing.assert_array_equal(first, expected.numpy())
    last = to_tensor(pixels, TensorRules("float32", False, PRESETS[name]))
    np.testing.assert_array_equal(last, expected.permute(0, 2, 3, 1).numpy())
    half = to_tensor(pixels, TensorRules("float16", True, PRESETS[name]))
    np.testing.assert_array_equal(half, expected.half().numpy())
    brain = to_tensor(pixels, TensorRules("bfloat16", True, PRESETS[name]))
    bits = expected.bfloat16().view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(brain, bits)


def test_inception_and_vgg_are_what_tritons_image_client_does() -> None:
    numbers = EVERY.astype(np.float32)
    inception = to_tensor(EVERY, TensorRules("float32", False, PRESETS["inception"]))
    np.testing.assert_array_equal(inception, numbers / np.float32(127.5) - 1)
    vgg = to_tensor(EVERY, TensorRules("float32", False, PRESETS["vgg"]))
    np.testing.assert_array_equal(vgg, numbers - np.asarray((123, 117, 104), np.float32))
    none = to_tensor(EVERY, TensorRules("float32", False, PRESETS["none"]))
    np.testing.assert_array_equal(none, numbers)


def test_numbers_that_are_told_make_the_same_transform_however_they_are_written() -> None:
    preset = read(normalize="imagenet")
    mean, std = "0.485,0.456,0.406", "0.229 0.224 0.225"
    fraction = read(scale="1/255", mean=mean, std=std)
    decimals = read(scale="0.00392156862745098", mean=mean, std=std)
    assert fraction == preset
    for one in (fraction, decimals):
        rules = TensorRules("float32", True, one)
        made = to_tensor(EVERY, rules)
        expected = to_tensor(EVERY, TensorRules("float32", True, preset))
        np.testing.assert_array_equal(made, expected)
    assert read() is None


def test_a_preset_is_turned_for_a_model_that_takes_blue_first() -> None:
    turned = read(bgr=True, normalize="imagenet")
    assert turned is not None
    assert turned.mean == (0.406, 0.456, 0.485)
    told = read(bgr=True, mean="1 2 3")
    assert told is not None
    assert told.mean == (1, 2, 3)


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"normalize": "magic"}, "preprocess.normalize is 'magic', expected one of imagenet"),
        (
            {"mean": "0.5,0.5"},
            "preprocess.mean has 2 values of mean, and the input has 3 channels: set ",
        ),
        ({"std": "0"}, "must not be 0"),
        ({"scale": "0"}, "must not be 0"),
        ({"scale": "1/0"}, "preprocess.scale is '1/0'"),
        ({"mean": "nan"}, "preprocess.mean is 'nan'"),
        ({"std": "a b c"}, "preprocess.std is 'a'"),
    ],
)
def test_what_is_no_number_is_named(told: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_normalization(
            {f"preprocess.{key}": value for key, value in told.items()}, 3, False, refuse
        )


def test_a_grey_input_takes_one_mean_and_refuses_three() -> None:
    one = read(channels=1, scale="1/255", mean="0.1307", std="0.3081")
    assert one == Normalization(255, (0.1307,), (0.3081,))
    with pytest.raises(
        ValueError, match=r"preset imagenet has 3 values .* preprocess.normalize = unit"
    ):
        read(channels=1, normalize="imagenet")


def test_pixels_of_8_bits_in_their_own_order_are_passed_on_as_they_are() -> None:
    assert to_tensor(PIXELS, TensorRules()) is PIXELS
    turned = to_tensor(PIXELS, TensorRules("uint8", channels_first=True))
    np.testing.assert_array_equal(turned, PIXELS.transpose(0, 3, 1, 2))


FLOATS = ImageRules(
    (20, 30, 3), Preprocess(), 1 << 20, 1 << 20, TensorRules("float32", True, PRESETS["imagenet"])
)


def raw(dtype: str, *shape: int) -> ImageEvent:
    return ImageEvent("id", NDARRAY, dtype, shape, 0, 0)


def test_a_raw_array_that_is_the_models_input_passes_and_raw_pixels_are_normalised() -> None:
    ready = RNG.random((3, 20, 30), np.float32).tobytes()
    assert to_input(raw("float32", 3, 20, 30), ready, FLOATS) is ready
    assert not needs_decoder(raw("float32", 3, 20, 30), FLOATS)
    pixels = raw("uint8", 20, 30, 3)
    assert not needs_decoder(pixels, FLOATS)
    np.testing.assert_array_equal(
        to_input(pixels, PIXELS[0].tobytes(), FLOATS), to_tensor(PIXELS[:1], FLOATS.tensor)[0]
    )


@pytest.mark.parametrize(
    ("event", "size", "kind"),
    [
        (raw("float64", 3, 20, 30), 14400, "dtype"),
        (raw("float32", 20, 30, 3), 7200, "shape"),
        (raw("uint8", 3, 20, 30), 1800, "dtype"),
        (raw("float32", 3, 20, 30), 7199, "ndarray"),
        (raw("uint8", 20, 30, 3), 1801, "ndarray"),
    ],
)
def test_raw_arrays_of_another_kind_are_refused(event: ImageEvent, size: int, kind: str) -> None:
    with pytest.raises(ImageError) as caught:
        to_input(event, bytes(size), FLOATS)
    assert caught.value.kind == kind
