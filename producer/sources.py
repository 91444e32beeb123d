"""Where images come from. Every source is a sequence of encoded images, each encoded once."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from cli.app import install
from cli.paths import DATA
from producer.encoding import EncodedImage, Encoding, encode
from producer.naming import FileNames, as_text
from wire.image import SNIFF_BYTES, sniff

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CIFAR10_FILE = DATA / "cifar10_test_1000.npz"

_SUFFIXES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
}

MAX_FILE = 1_000_000_000
"""Most bytes of a file that is read: Kafka's client sends no larger record, whatever it is set
to."""

CACHE_BYTES = 512 << 20
"""Bytes of a folder that are kept in memory; other files are read again at each send."""


class SourceError(Exception):
    """A source has no images; the text says what to do."""


def cifar10(
    encoding: Encoding, path: Path = CIFAR10_FILE, *, limit: int | None = None
) -> list[EncodedImage]:
    """The shipped first 1,000 images of the CIFAR-10 test batch, in their order, with labels.

    Args:
        encoding: encoding of the images.
        path: `.npz` with `images` uint8 [n, 32, 32, 3] and `labels` uint8 [n].
        limit: encode only the first `limit` images.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    try:
        with np.load(path) as data:
            images, labels = data["images"], data["labels"]
    except (OSError, KeyError, ValueError) as error:
        raise SourceError(f"cannot read the CIFAR-10 images in {path}: {error}") from None
    return [
        encode(pixels, encoding, CIFAR10_CLASSES[label])
        for pixels, label in zip(images[:limit], labels[:limit], strict=True)
    ]


def cifar10_full(
    encoding: Encoding, folder: Path, *, limit: int | None = None
) -> list[EncodedImage]:
    """All 10,000 images of the CIFAR-10 test batch, downloaded into `folder` by torchvision."""
    try:
        from torchvision.datasets import CIFAR10  # noqa: PLC0415 - optional, and slow to import
    except ImportError:
        raise SourceError(
            f"--full needs torchvision, which is not installed: {install('model')}"
        ) from None
    try:
        dataset = CIFAR10(str(folder), train=False, download=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a bad checksum RuntimeError
        raise SourceError(
            f"torchvision cannot fetch CIFAR-10: {error}. Put cifar-10-python.tar.gz into {folder},"
            " or leave --full out: 1,000 of the images are shipped"
        ) from None
    return [
        encode(pixels, encoding, CIFAR10_CLASSES[label])
        for pixels, label in zip(dataset.data[:limit], dataset.targets[:limit], strict=True)
    ]


def synthetic(encoding: Encoding, distinct: int, size: int, seed: int) -> list[EncodedImage]:
    """`distinct` images of `size` x `size` pixels, equal for equal arguments.

    They are blocks of colour with a little noise, which compress about as well as a photograph;
    pure noise would overstate the bytes of an image.
    """
    rng = np.random.default_rng(seed)
    cells = min(8, size)
    spread = np.arange(size) * cells // size  # the coarse cell that each pixel lies in
    images = []
    for _ in range(distinct):
        coarse = rng.integers(0, 240, (cells, cells, 3), dtype=np.uint8)
        noise = rng.integers(0, 16, (size, size, 3), dtype=np.uint8)
        images.append(encode(coarse[spread][:, spread] + noise, encoding))
    return images


class Folder(Sequence[EncodedImage]):
    """The image files below a folder, sent unchanged, in the order of their paths.

    A file counts as an image by its first bytes, or else by its suffix: a broken PNG is sent too,
    and the bridge decides about it. The label is the name of the file's own folder, and None for
    files that lie directly in the root. Links to folders are not followed.

    Raises:
        SourceError: a folder or a file cannot be read, or there is no image.
    """

    def __init__(self, root: Path, cache_bytes: int = CACHE_BYTES) -> None:
        if not root.is_dir():
            raise SourceError(f"{root} is not a folder")
        self.skipped: list[str] = []
        self._root = root
        self._files: list[tuple[Path, str]] = []
        self._cache: dict[int, EncodedImage] = {}
        self._room = cache_bytes
        for path in sorted(_entries(root)):
            content_type = _content_type(path)
            if content_type is None:
                self.skipped.append(as_text(str(path.relative_to(root))))
            else:
                self._files.append((path, content_type))
        if not self._files:
            raise SourceError(
                f"no PNG, JPEG, WebP or BMP file in {root} ({len(self.skipped)} other files)"
            )

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> EncodedImage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[EncodedImage]: ...
    def __getitem__(self, index: int | slice) -> EncodedImage | Sequence[EncodedImage]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index in self._cache:
            return self._cache[index]
        path, content_type = self._files[index]
        try:
            if (size := path.stat().st_size) > MAX_FILE:
                raise SourceError(f"{path} has {size:,} bytes, a message at most {MAX_FILE:,}")
            image = EncodedImage(path.read_bytes(), content_type, self._label(path))
        except OSError as error:
            raise _unreadable(path, error) from None
        if len(image.value) <= self._room:
            self._room -= len(image.value)
            self._cache[index] = image
        return image

    def names(self) -> FileNames:
        """The ids of the images."""
        return FileNames([path.relative_to(self._root) for path, _ in self._files])

    def labels(self) -> list[str | None]:
        """The label of each image, without reading the images."""
        return [self._label(path) for path, _ in self._files]

    def _label(self, path: Path) -> str | None:
        return None if path.parent == self._root else as_text(path.parent.name)

    def preload(self, count: int) -> None:
        """Read the first `count` files into the cache, as far as they fit."""
        for index in range(min(count, len(self))):
            if self._room <= 0:
                break
            self[index]


def labels(images: Sequence[EncodedImage]) -> list[str | None]:
    """The true class name of each image; None where it is not known."""
    return images.labels() if isinstance(images, Folder) else [image.label for image in images]


def _unreadable(path: object, error: OSError) -> SourceError:
    return SourceError(f"cannot read {path}: {error.strerror}")


def _entries(root: Path) -> Iterator[Path]:
    """All that is below a folder, without the folders themselves."""

    def refuse(error: OSError) -> None:
        raise _unreadable(error.filename, error)

    for folder, folders, files in os.walk(root, onerror=refuse):
        yield from (Path(folder, name) for name in files)
        yield from (path for name in folders if (path := Path(folder, name)).is_symlink())


def _content_type(path: Path) -> str | None:
    """The content type of an image file; None: it is none, but another file, a link to a folder or
    to nothing, or a pipe."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            found = sniff(file.read(SNIFF_BYTES))
    except OSError as error:
        if path.is_symlink():
            return None
        raise _unreadable(path, error) from None
    return found or _SUFFIXES.get(path.suffix.lower())
