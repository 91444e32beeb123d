"""Photos that are drawn: rectangles of one colour each on grey."""

import io

from PIL import Image

from producer.encoding import EncodedImage


def photo(size: tuple[int, int], *boxes: tuple[str, tuple[int, int, int, int]]) -> Image.Image:
    picture = Image.new("RGB", size, (90, 90, 90))
    for colour, box in boxes:
        picture.paste(Image.new("RGB", (box[2] - box[0], box[3] - box[1]), colour), box[:2])
    return picture


def encoded(picture: Image.Image, **options: object) -> EncodedImage:
    made = io.BytesIO()
    picture.save(made, "PNG", **options)
    return EncodedImage(made.getvalue(), "image/png", None)
