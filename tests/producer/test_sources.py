import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from producer import sources
from producer.encoding import EncodedImage, Encoding, encode
from wire.image import NDARRAY, sniff

LOSSLESS = [Encoding.PNG, Encoding.WEBP, Encoding.BMP, Encoding.RAW]


def pixels_of(image: EncodedImage) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if image.content_type == NDARRAY:
        assert image.dtype is not None
        assert image.shape is not None
        return np.frombuffer(image.value, image.dtype).reshape(image.shape)
    return np.asarray(Image.open(io.BytesIO(image.value)).convert("RGB"))


def original() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with np.load(sources.CIFAR10_FILE) as data:
        images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = data["images"]
    return images


@pytest.mark.parametrize("encoding", LOSSLESS)
def test_lossless_encodings_keep_every_pixel(encoding: Encoding) -> None:
    pixels = original()[7]
    image = encode(pixels, encoding)
    assert (pixels_of(image) == pixels).all()


@pytest.mark.parametrize("encoding", [e for e in Encoding if e is not Encoding.RAW])
def test_the_content_type_is_what_the_bytes_are(encoding: Encoding) -> None:
    image = encode(original()[0], encoding)
    assert image.content_type == f"image/{encoding.value}" == sniff(image.value)


def test_jpeg_stays_close_to_the_original() -> None:
    pixels = original()[7]
    difference = np.abs(pixels_of(encode(pixels, Encoding.JPEG)).astype(int) - pixels)
    assert difference.mean() < 8


def test_cifar10_has_its_1000_images_in_order_with_true_labels() -> None:
    images = sources.cifar10(Encoding.RAW)
    assert len(images) == 1000
    assert [image.label for image in images[:4]] == ["cat", "ship", "ship", "airplane"]
    assert (pixels_of(images[999]) == original()[999]).all()


def test_a_limit_encodes_the_first_images_only() -> None:
    assert sources.cifar10(Encoding.RAW, limit=3) == sources.cifar10(Encoding.RAW)[:3]


def test_a_broken_data_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(sources.SourceError, match=r"broken\.npz"):
        sources.cifar10(Encoding.PNG, path)


def test_synthetic_images_depend_on_the_seed_alone() -> None:
    one = sources.synthetic(Encoding.RAW, distinct=3, size=17, seed=1)
    again = sources.synthetic(Encoding.RAW, distinct=3, size=17, seed=1)
    other = sources.synthetic(Encoding.RAW, distinct=3, size=17, seed=2)
    assert one == again
    assert one != other
    assert len(set(one)) == 3
    assert one[0].shape == (17, 17, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog" / "deep").mkdir(parents=True)
    pixels = original()[0]
    (tmp_path / "cat" / "a.png").write_bytes(encode(pixels, Encoding.PNG).value)
    (tmp_path / "cat" / "b.dat").write_bytes(encode(pixels, Encoding.JPEG).value)
    (tmp_path / "dog" / "broken.webp").write_bytes(b"RIFF")
    (tmp_path / "dog" / "deep" / "c.bmp").write_bytes(encode(pixels, Encoding.BMP).value)
    (tmp_path / "root.png").write_bytes(encode(pixels, Encoding.PNG).value)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_a_folder_is_sent_as_it_is_with_its_subfolders_as_labels(folder: Path) -> None:
    images = sources.Folder(folder)
    assert [(image.content_type, image.label) for image in images] == [
        ("image/png", "cat"),
        ("image/jpeg", "cat"),
        ("image/webp", "dog"),
        ("image/bmp", "deep"),
        ("image/png", None),
    ]
    assert images.labels() == [image.label for image in images]
    assert images[2].value == b"RIFF"
    assert images.skipped == ["notes.txt"]


def test_a_folder_larger_than_its_cache_is_still_sent_whole(folder: Path) -> None:
    small = sources.Folder(folder, cache_bytes=10)
    small.preload(5)
    assert list(small) == list(sources.Folder(folder))


def test_a_folder_without_images_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(sources.SourceError, match=r"no PNG.*1 other file"):
        sources.Folder(tmp_path)
    with pytest.raises(sources.SourceError, match="not a folder"):
        sources.Folder(tmp_path / "absent")


def test_of_odd_files_the_images_are_sent_and_the_others_are_named(folder: Path) -> None:
    image = encode(original()[0], Encoding.PNG).value
    (folder / "\udcff").mkdir()
    (folder / "\udcff" / "\udcfe.png").write_bytes(image)
    (folder / "link.png").symlink_to("root.png")
    (folder / "loop").symlink_to(".")
    (folder / "gone.png").symlink_to("absent")
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "long.png").symlink_to("x" * 300)
    os.mkfifo(folder / "pipe.png")
    images = sources.Folder(folder)
    assert images.skipped == [
        "gone.png", "itself.png", "long.png", "loop", "notes.txt", "pipe.png",
    ]  # fmt: skip
    assert images.labels() == ["cat", "cat", "dog", "deep", None, None, "\\xff"]
    assert images[6].value == image


LISTING = "import sys, producer.sources as s, pathlib; s.Folder(pathlib.Path(sys.argv[1]))"


def test_a_folder_below_that_cannot_be_read_is_an_error(folder: Path) -> None:
    (folder / "dog").chmod(0)
    # Of root's rights, those to files are taken away.
    bounded = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    done = subprocess.run(
        [*(bounded if os.getuid() == 0 else ()), sys.executable, "-c", LISTING, folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stderr
    assert f"cannot read {folder / 'dog'}: Permission denied" in said


def test_a_file_larger_than_any_message_is_not_read(folder: Path) -> None:
    with (folder / "huge.png").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(sources.SourceError, match=r"huge.png has 1,099,511,627,776 bytes"):
        sources.Folder(folder).preload(10)
