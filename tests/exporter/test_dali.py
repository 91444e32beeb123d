"""The decoding step with NVIDIA DALI, on the CPU: `make test-dali` has what it needs."""

import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpcclient
from PIL import Image

pytest.importorskip("nvidia.dali", reason="make test-dali has it", exc_type=ImportError)

from exporter.decoding.dali import Decoder
from exporter.export import export
from exporter.passthrough import export_ensemble
from imaging.decode import to_input
from imaging.rules import ImageError, ImageRules, Pixels, Preprocess
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.triton import Triton
from tests.conftest import MODEL
from tests.exporter.conftest import infer
from wire.image import ImageEvent

MAX_BYTES, MAX_PIXELS = 1 << 20, 10**6
ORIENTATION = 0x0112


def encoded(
    size: tuple[int, int], mode: str = "RGB", format: str = "JPEG", **options: object
) -> bytes:
    """A photo of this (width, height), one of the shipped images at another size."""
    with Image.open(io.BytesIO(cifar10(Encoding.PNG, limit=1)[0].value)) as image:
        file = io.BytesIO()
        picture = image.resize(size, Image.Resampling.BICUBIC).convert(mode)
        picture.save(file, format, quality=95, **options)
        return file.getvalue()


def without_its_codes(jpeg: bytes) -> bytes:
    """The same JPEG with Huffman tables that are none: its header is fine, its pixels are lost."""
    at = jpeg.index(b"\xff\xc4")
    size = int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg[: at + 4] + b"\xff" * (size - 2) + jpeg[at + 2 + size :]


def rules(
    height: int = 224,
    width: int = 224,
    resize: int | None = 256,
    interpolation: str = "bilinear",
    *,
    bgr: bool = False,
) -> ImageRules:
    preprocess = Preprocess(resize, interpolation, bgr)
    return ImageRules((height, width, 3), preprocess, MAX_BYTES, MAX_PIXELS)


def by_the_rules(value: bytes, wanted: ImageRules) -> Pixels:
    event = ImageEvent("", None, None, None, 0, 0)
    pixels = to_input(event, value, wanted)
    assert not isinstance(pixels, bytes)
    return pixels


def make(wanted: ImageRules) -> tuple[Decoder, list[str]]:
    warnings: list[str] = []
    return Decoder(wanted, 64, None, warn=warnings.append), warnings


def difference(one: Pixels, other: Pixels) -> npt.NDArray[np.int16]:
    apart: npt.NDArray[np.int16] = np.abs(np.subtract(one, other, dtype=np.int16))
    return apart


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(500, 375), (375, 501), (224, 256), (32, 33)])
def test_its_pixels_are_those_of_the_rules(interpolation: str, size: tuple[int, int]) -> None:
    wanted = rules(interpolation=interpolation)
    photo = encoded(size)
    decoder, warnings = make(wanted)
    done, pixels = decoder.decode([photo, photo])
    assert done == [0, 1]
    # They round differently, and at an edge `nearest` may take the other side.
    assert difference(pixels[1], by_the_rules(photo, wanted)).mean() < 0.3
    assert not warnings


@pytest.mark.parametrize("bgr", [False, True])
def test_without_a_resize_they_are_the_same(bgr: bool) -> None:
    wanted = rules(200, 300, None, bgr=bgr)
    photo = encoded((300, 200))
    decoder, _ = make(wanted)
    done, pixels = decoder.decode([photo])
    assert done == [0]
    assert difference(pixels[0], by_the_rules(photo, wanted)).max() <= 1


def test_only_what_the_rules_let_in_is_given_to_it() -> None:
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    photo = encoded((300, 200))
    images = [
        b"",
        b"\xff\xd8\xff junk",
        photo,
        encoded((300, 200), format="PNG"),
        encoded((300, 200), exif=turned),
        encoded((300, 200), mode="CMYK"),
        encoded((2, 300)),
        encoded((1200, 1000)),
        photo + bytes(MAX_BYTES),
        encoded((300, 200), mode="L"),
        encoded((300, 200), progressive=True),
    ]
    decoder, warnings = make(rules())
    done, pixels = decoder.decode(images)
    assert done == [2, 9, 10]
    assert pixels.shape == (3, 224, 224, 3)
    assert not warnings


def test_an_image_of_another_size_is_not_for_it_where_nothing_is_resized() -> None:
    decoder, _ = make(rules(200, 300, None))
    assert decoder.decode([encoded((301, 200))])[0] == []


def test_a_batch_that_it_cannot_do_is_left_and_the_next_one_done() -> None:
    photo = encoded((300, 200))
    decoder, warnings = make(rules())
    done, pixels = decoder.decode([photo, without_its_codes(photo), photo])
    assert (done, len(pixels)) == ([], 0)
    assert len(warnings) == 1
    assert warnings[0].startswith("DALI could not do a batch of 3: ")
    assert decoder.decode([photo])[0] == [0]


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    models = tmp_path_factory.mktemp("models")
    export(name=MODEL, repository=models, backend="python")
    export_ensemble(MODEL, models, dali=True, decoders=1)
    with Triton(models, tmp_path_factory.mktemp("triton")) as triton:
        yield triton


def test_triton_classifies_jpegs_as_if_the_bridge_had_decoded_them(
    client: grpcclient.InferenceServerClient,
) -> None:
    images = [image.value for image in cifar10(Encoding.JPEG)]
    wanted = rules(32, 32, 32)
    for start in range(0, len(images), 64):
        batch = images[start : start + 64]
        found = infer(client, batch)
        assert not found.as_numpy("ERROR").any()
        tensor = grpcclient.InferInput("INPUT__0", [len(batch), 32, 32, 3], "UINT8")
        tensor.set_data_from_numpy(np.stack([by_the_rules(one, wanted) for one in batch]))
        answered = client.infer(MODEL, [tensor])
        same = found.as_numpy("OUTPUT__0").argmax(1) == answered.as_numpy("OUTPUT__0").argmax(1)
        assert same.all()


def test_in_triton_a_bad_jpeg_fails_alone_and_with_its_reason(
    client: grpcclient.InferenceServerClient, triton: Triton
) -> None:
    good = cifar10(Encoding.JPEG, limit=1)[0].value
    with pytest.raises(ImageError) as reason:
        by_the_rules(without_its_codes(good), rules(32, 32, 32))
    answer = infer(client, [good, without_its_codes(good), good], f"{MODEL}_decode")
    kinds = [row[0] for row in answer.as_numpy("ERROR")]
    assert kinds == [b"", f"{reason.value.kind}: {reason.value}".encode(), b""]
    pixels = answer.as_numpy("PIXELS")
    assert difference(pixels[0], by_the_rules(good, rules(32, 32, 32))).max() <= 1
    assert not pixels[1].any()
    assert "DALI could not do a batch of 3" in triton.log_path.read_text()
