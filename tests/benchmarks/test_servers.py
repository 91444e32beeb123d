"""Where time is short, sections share servers, as long as nothing goes wrong."""

from typing import Any, cast

import pytest

from benchmarks.rig import Rig
from benchmarks.servers import Prepare, Servers
from stack.errors import StackError


class Recorder:
    """Makes rigs that write down what becomes of them."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def make(self, device: str, prepare: Prepare | None, *, decoding: bool) -> Rig:
        number = sum("started" in line for line in self.said) + 1
        said = self.said
        what = " with more" if prepare else ""
        what += ", decoding" if decoding else ""

        class Pretended:
            def __enter__(self) -> "Pretended":
                said.append(f"{number} started on {device}{what}")
                return self

            def __exit__(self, *error: Any) -> None:
                said.append(f"{number} ended")

        return cast("Rig", Pretended())


def more(_rig: Rig) -> None:
    """A section's own models."""


def test_each_section_has_its_own_servers_where_there_is_time() -> None:
    rigs = Recorder()
    with Servers("cpu", shared=False, make=rigs.make) as servers:
        for _ in range(2):
            with servers.of(None):
                pass
    assert rigs.said == [
        "1 started on cpu, decoding", "1 ended", "2 started on cpu, decoding", "2 ended",
    ]  # fmt: skip


def test_sections_share_servers_where_time_is_short() -> None:
    rigs = Recorder()
    with Servers("cuda", shared=True, make=rigs.make) as servers:
        with servers.of(None) as first:
            pass
        with servers.of(more):
            pass
        with servers.of(None) as second:
            assert second is first
    assert rigs.said == ["1 started on cuda", "2 started on cuda with more", "2 ended", "1 ended"]


def test_after_a_failure_the_next_section_has_new_servers() -> None:
    rigs = Recorder()
    with Servers("cuda", shared=True, make=rigs.make) as servers:
        with pytest.raises(StackError), servers.of(None):
            raise StackError("Triton died")
        with servers.of(None):
            pass
    assert rigs.said == ["1 started on cuda", "1 ended", "2 started on cuda", "2 ended"]
