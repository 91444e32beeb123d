"""The cost for the bridge of fetching an image, compared with an image in the message."""

import uuid
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks import subjects
from benchmarks.models import NULL
from benchmarks.null_model import START_S, enough, warm_broker
from benchmarks.plan import Plan, Result
from benchmarks.progress import Progress
from benchmarks.repeats import repeat
from benchmarks.rig import Rig
from benchmarks.window import Window, drain
from producer.encoding import Encoding
from producer.sources import cifar10
from producer.uploading import parse_prefix, upload

FETCHED = 2500
"""Most images per second that a bridge is expected to fetch; the backlog is made for this."""
MISSING = "no S3 server could be built here"


def references(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """CPU of the bridge for each small raw image: in the message, and in a local S3 server.

    The server runs on cores of the same machine, so that the rates mean little; the CPU of the
    bridge for each image is what counts.
    """
    # The packages of the tests may be missing on a machine that measures something else.
    import pytest  # noqa: PLC0415

    from tests.storage.server import BUCKET, ObjectServer  # noqa: PLC0415

    rate = warm_broker(rig)
    raw = rig.backlog(enough(rate, plan.watch), Encoding.RAW)
    count = int(FETCHED * (START_S + plan.watch.warm_s + plan.watch.window_s))
    images = cifar10(Encoding.RAW)
    with ExitStack() as running:
        try:
            server = running.enter_context(ObjectServer(rig.directory / "objects"))
        except pytest.skip.Exception:
            progress.say(MISSING)
            return {**repeat({}, 1, progress), "failures": {"in object storage": MISSING}}
        running.enter_context(server.in_environment())
        prefix = f"s3://{BUCKET}/bench"
        urls = upload(images, parse_prefix(prefix), uuid.uuid4().hex, len(images))
        referred = rig.topic("backlog-references")
        rig.fill_images(referred, urls, count)

        def ours(source: str, **settings: str) -> Callable[[], Window]:
            def run() -> Window:
                target = rig.topic("out")
                all_of_them = {**subjects.AT_LEAST_ONCE, **settings}
                subject = subjects.bridges(rig, source, target, 1, NULL, all_of_them)
                return drain(rig, subject, source, target, plan.watch, model=NULL)

            return run

        todo = {
            "in the message": ours(raw),
            "in the message, references allowed": ours(raw, reference_allow=f"{prefix}/"),
            "in object storage": ours(referred, reference_allow=f"{prefix}/"),
        }
        return repeat(todo, plan.repeats, progress)
