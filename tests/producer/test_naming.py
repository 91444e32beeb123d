"""Ids of a run's images: each its own, an id by the contract, and found again."""

import os
from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from producer.naming import FileNames, RunNames, file_id
from producer.sources import Folder
from wire.image import MAX_ID, decode_image
from wire.record import StoredRecord

names = st.lists(
    st.binary(min_size=1, max_size=300).filter(
        lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b"..")
    ),
    min_size=1,
    max_size=5,
    unique=True,
)


@given(names, st.integers(0, 10**12))
def test_every_file_has_an_id_of_its_own_that_leads_back_to_it(
    raw: list[bytes], sequence: int
) -> None:
    found = FileNames([PurePosixPath(os.fsdecode(one)) for one in raw])
    ids = [found.id(place) for place in range(3 * len(raw))]
    assert len(set(ids)) == len(ids)
    for place in (*range(len(ids)), sequence):
        name = found.id(place)
        assert 0 < len(name.encode()) <= MAX_ID
        assert found.sequence(name) == place
        record = StoredRecord(record_headers=[("ce_id", name.encode())])
        assert decode_image(record).id == name


def test_a_path_is_its_own_id_where_it_can_be() -> None:
    assert file_id(PurePosixPath("cat/größe 1.jpg")) == "cat/größe 1.jpg"
    assert file_id(PurePosixPath("a#2")).startswith("a#2~")
    assert file_id(PurePosixPath("a#1")) == "a#1"
    odd = file_id(PurePosixPath(os.fsdecode(b"gr\xf6\xdfe\n.jpg")))
    assert odd.startswith(r"gr\xf6\xdfe\n.jpg~")


def test_what_is_no_id_of_the_run_leads_nowhere() -> None:
    files = FileNames([PurePosixPath("a.png")])
    assert files.id(2) == "a.png#3"
    for name in ("b.png", "a.png#1", "a.png#0", "a.png#x", "a.png#" + "9" * 20, ""):
        assert files.sequence(name) is None
    run = RunNames("r")
    assert (run.id(7), run.sequence("r-7")) == ("r-7", 7)
    for name in ("r-", "r-x", "s-7", "7", "r-" + "9" * 20):
        assert run.sequence(name) is None


def test_the_ids_of_a_folder_are_the_relative_paths_of_its_images(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for name in ("b.png", "cat/a.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    found = Folder(tmp_path).names()
    assert [found.id(0), found.id(1), found.id(2)] == ["b.png", "cat/a.png", "b.png#2"]
