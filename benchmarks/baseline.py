"""Compares this checkout's bridge with that of another commit, on the same Kafka and Triton."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import subjects
from benchmarks.models import NULL
from benchmarks.null_model import enough, warm_broker
from benchmarks.plan import Plan, Result
from benchmarks.progress import Progress
from benchmarks.repeats import repeat
from benchmarks.rig import Rig
from benchmarks.window import Window, drain
from producer.encoding import Encoding
from stack.bridge import Bridge
from stack.errors import StackError
from stack.paths import ROOT
from stack.service import Command


class OtherBridge(Bridge):
    """The bridge of another checkout, with this one's packages."""

    def __init__(self, checkout: Path, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type] # the arguments of `Bridge`
        self._checkout = checkout

    def _prepare(self) -> Command:
        ours = super()._prepare()
        argv = [sys.executable, str(self._checkout / "cli" / "__main__.py"), "bridge"]
        return Command(argv, {**(ours.env or {}), "PYTHONPATH": str(self._checkout)})


def baseline(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """CPU of the bridge for each image in a classification, beside that of `plan.baseline`.

    Raises:
        StackError: there is no such commit.
    """
    rate = warm_broker(rig)
    todo: dict[str, Callable[[], Window]] = {}
    checkout = checked_out(plan.baseline, rig.directory / "baseline")
    for name, encoding in (("raw", Encoding.RAW), ("PNG", Encoding.PNG)):
        backlog = rig.backlog(enough(rate, plan.watch), encoding)

        def run(kind: Callable[..., Bridge], source: str = backlog) -> Window:
            target = rig.topic("out")
            subject = subjects.bridges(rig, source, target, model=NULL, kind=kind)
            return drain(rig, subject, source, target, plan.watch, model=NULL)

        todo[f"{name}, before"] = partial(run, partial(OtherBridge, checkout))
        todo[f"{name}, now"] = partial(run, Bridge)
    settings = {"before": plan.baseline}
    return repeat(todo, plan.repeats + plan.more_repeats, progress, settings)


def checked_out(revision: str, folder: Path) -> Path:
    """The files of a commit of this repository, in a new folder.

    Raises:
        StackError: there is no such commit.
    """
    with tarfile.open(fileobj=io.BytesIO(_git("archive", revision))) as files:
        files.extractall(folder, filter="data")
    return folder


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        raise StackError(f"git {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout
