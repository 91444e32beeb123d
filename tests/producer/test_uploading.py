"""Images that are put into object storage, for messages that only say where they lie."""

import asyncio

import pytest
from typer.testing import CliRunner

from producer.command import app
from producer.encoding import Encoding
from producer.sources import SourceError, cifar10
from producer.uploading import parse_prefix, upload
from storage.client import Objects
from tests.storage.server import BUCKET, BUILD_S, ObjectServer
from wire.reference import parse_reference

STORE = f"s3://{BUCKET}"


@pytest.mark.timeout(BUILD_S)
@pytest.mark.parametrize("encoding", [Encoding.PNG, Encoding.RAW])
def test_each_image_lies_where_its_message_says(
    object_server: ObjectServer, encoding: Encoding
) -> None:
    images = cifar10(encoding)[:40]
    with object_server.in_environment():
        sent = upload(images, parse_prefix(f"{STORE}/sent/"), "run-1", len(images))
        objects = Objects((STORE,), 30)

        async def read() -> list[bytes]:
            await objects.connect()
            found = [await objects.open(parse_reference(one.url or "")) for one in sent]
            contents = [await one.read() for one in found]
            await objects.close()
            return contents

        assert asyncio.run(read()) == [image.value for image in images]
    for before, after in zip(images, sent, strict=True):
        assert after.url is not None
        assert after.url.startswith(f"{STORE}/sent/run-1/")
        assert before == after._replace(value=before.value, url=None)


@pytest.mark.timeout(BUILD_S)
def test_a_bucket_that_is_not_there_is_told_of(object_server: ObjectServer) -> None:
    with object_server.in_environment(), pytest.raises(SourceError, match="NoSuchBucket"):
        upload(cifar10(Encoding.PNG)[:1], parse_prefix("s3://nowhere"), "run-1", 1)


def test_a_prefix_that_is_none_is_wrong_usage() -> None:
    result = CliRunner().invoke(app, ["cifar10", "--reference", "photos/in"])
    assert result.exit_code == 2
    assert "s3://" in result.output
