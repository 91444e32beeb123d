"""Puts images into object storage, so that messages only refer to them."""

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec

from cli.app import install
from producer.encoding import EncodedImage
from producer.sources import SourceError
from storage.allowed import Allowed, parse_allowed
from storage.objects import RefusedError, StoreSettingError, UnavailableError
from wire.reference import Reference, make_reference

UPLOADS = 32
"""Most images that are uploaded at a time."""
TIMEOUT_S = 60.0
_ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/bmp": ".bmp"}


def parse_prefix(text: str) -> Allowed:
    """Read the place for images, such as s3://photos/incoming.

    Raises:
        ValueError: the text is no such place, or the client of object stores is not installed.
    """
    if find_spec("obstore") is None:
        raise ValueError(f"it needs obstore, which is not installed: {install('references')}")
    return parse_allowed(text)


def upload(
    images: Sequence[EncodedImage], prefix: Allowed, run_id: str, count: int
) -> list[EncodedImage]:
    """Put the first `count` images under the prefix and the run's id.

    Returns:
        The same images, without their bytes and with their URLs.

    Raises:
        SourceError: the store does not accept an image.
    """
    from storage.client import Objects  # noqa: PLC0415 - of an extra

    objects = Objects((f"{prefix.scheme}://{prefix.bucket}",), TIMEOUT_S)

    async def put(number: int, free: asyncio.Semaphore) -> EncodedImage:
        async with free:
            image = images[number]
            name = f"{number}{_ENDINGS.get(image.content_type, '')}"
            where = _reference(prefix, run_id, name)
            await objects.write(where, image.value)
            return image._replace(value=b"", url=where.url)

    async def put_all() -> list[EncodedImage]:
        free = asyncio.Semaphore(UPLOADS)
        await objects.connect()
        try:
            return list(await asyncio.gather(*(put(number, free) for number in range(count))))
        finally:
            await objects.close()

    try:
        return asyncio.run(put_all())
    except (RefusedError, UnavailableError, StoreSettingError) as error:
        raise SourceError(f"cannot upload: {error}") from None


def _reference(prefix: Allowed, run_id: str, name: str) -> Reference:
    return make_reference(prefix.scheme, prefix.bucket, "/".join((*prefix.parts, run_id, name)))
