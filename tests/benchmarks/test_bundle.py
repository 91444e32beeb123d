"""What is packed for a machine without a network arrives there whole, in parts of limited size."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.bundle import contents, machine, setup
from benchmarks.bundle.check import judged, where_is
from benchmarks.bundle.pack import compress, size_of, write_piece, write_program
from benchmarks.bundle.parts import divide, manifest, without
from benchmarks.bundle.steps import BundleError, Steps, TimeIsUpError
from benchmarks.bundle.unpack import Manifest, missing_parts, unpack, write_manifest

LOCK = """\
numpy==1.26.4 ; python_full_version < '3.12' \\
    --hash=sha256:aa
    # via torch
numpy-financial==1.0 \\
    --hash=sha256:bb
onnx==1.18.0 \\
    --hash=sha256:cc
    # via numpy
"""


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000)), st.integers(1, 400))
def test_parts_are_few_and_alike_and_have_every_byte_once(
    sizes: Mapping[str, int], limit: int
) -> None:
    pieces = divide(sizes, limit)
    for name, size in sizes.items():
        mine = [piece for piece in pieces if piece.archive == name]
        assert [piece.number for piece in mine] == list(range(len(mine)))
        assert [piece.offset for piece in mine] == [
            sum(before.size for before in mine[:i]) for i in range(len(mine))
        ]
        assert sum(piece.size for piece in mine) == size
    filled: dict[int, int] = {}
    for piece in pieces:
        filled[piece.part] = filled.get(piece.part, 0) + piece.size
    total = sum(sizes.values())
    assert list(filled) == list(range(1, len(filled) + 1))
    assert all(size <= limit for size in filled.values())
    assert len(filled) <= -(-total // limit)
    assert max(filled.values(), default=0) - min(filled.values(), default=0) < max(1, len(filled))
    assert len({piece.file for piece in pieces}) == len(pieces)


def test_a_part_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        divide({"a": 1}, 0)


def test_a_lock_file_loses_only_what_is_named() -> None:
    assert without(LOCK, ["numpy"]) == LOCK[LOCK.index("numpy-financial") :]
    assert without(LOCK, ["onnx"]) == LOCK[: LOCK.index("onnx==")]
    with pytest.raises(ValueError, match="no entry in the lock file: onnxruntime"):
        without(LOCK, ["onnx", "onnxruntime"])


def test_what_is_left_out_is_in_the_lock_file_of_the_demo() -> None:
    kept = without(contents.LOCK.read_text(), contents.NOT_NEEDED)
    assert "\nnvidia-pytriton==" in kept
    assert "\nonnx" not in kept


class Bundle:
    """A small bundle: two folders of files in three parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bundle"
        trees = {name: folder / name for name in ("first", "second")}
        for name, tree in trees.items():
            (tree / name).mkdir(parents=True)
            (tree / name / "data").write_bytes(os.urandom(3000))
        program = trees["first"] / "first/program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        (trees["first"] / "first/link").symlink_to("program")
        self.trees = trees
        archives = {name: folder / f"{name}.tar.xz" for name in trees}
        for name, tree in trees.items():
            compress(tree, archives[name])
        sizes = {name: path.stat().st_size for name, path in archives.items()}
        pieces = divide(sizes, sum(sizes.values()) // 3 + 1)
        written = [(piece, write_piece(archives, self.folder, piece)) for piece in pieces]
        self.manifest: Manifest = manifest(
            "abc", written, {name: size_of(tree) for name, tree in trees.items()}
        )
        (self.folder / "common").mkdir()
        write_manifest(self.folder, self.manifest)

    def carry(self, part: str, to: Path) -> Path:
        """The bundle as it is on the other machine with only one part."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder / part, to / part)
        return to


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


@pytest.mark.parametrize("order", [("part1", "part2", "part3"), ("part3", "part1", "part2")])
def test_parts_are_unpacked_in_any_order_and_need_not_stay(
    bundle: Bundle, tmp_path: Path, order: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    for count, part in enumerate(order, 1):
        unpack(bundle.manifest, bundle.carry(part, tmp_path / "there"), home)
        assert missing_parts(bundle.manifest, home) == sorted(order[count:])
    for name, tree in bundle.trees.items():
        assert (home / name / "data").read_bytes() == (tree / name / "data").read_bytes()
    assert os.access(home / "first/program", os.X_OK)
    assert (home / "first/link").readlink() == Path("program")
    assert list((home / "incoming").iterdir()) == []


def test_a_part_may_come_twice(bundle: Bundle, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for part in ("part1", "part1", "part2", "part2", "part3", "part3"):
        unpack(bundle.manifest, bundle.carry(part, tmp_path / "there"), home)
    assert missing_parts(bundle.manifest, home) == []


def test_a_damaged_part_is_refused_and_can_come_again(bundle: Bundle, tmp_path: Path) -> None:
    home = tmp_path / "home"
    there = bundle.carry("part1", tmp_path / "there")
    (damaged,) = (there / "part1").glob("first*")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1])
    with pytest.raises(BundleError, match=f"{damaged} is damaged"):
        unpack(bundle.manifest, there, home)
    assert "part1" in missing_parts(bundle.manifest, home)
    damaged.write_bytes(whole)
    unpack(bundle.manifest, there, home)
    assert missing_parts(bundle.manifest, home) == ["part2", "part3"]


def test_without_a_part_it_is_said_where_one_has_to_be(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(BundleError, match=r"there is no part in .*there"):
        unpack(bundle.manifest, tmp_path / "there", tmp_path / "home")


def test_another_bundle_replaces_what_was_unpacked_and_no_results(
    bundle: Bundle, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for name in ("python/stale", "results/kept"):
        (home / name).parent.mkdir(parents=True)
        (home / name).touch()
    (home / "bundle").write_text("another")
    unpack(bundle.manifest, bundle.folder, home)
    assert not (home / "python/stale").exists()
    assert (home / "results/kept").exists()
    assert (home / "first/data").exists()


def test_each_step_is_kept_when_it_has_ended(tmp_path: Path) -> None:
    said: list[str] = []
    steps = Steps(tmp_path / "new/found.json", said.append)

    def kept() -> dict[str, object]:
        found: dict[str, object] = json.loads((tmp_path / "new/found.json").read_text())
        return found

    def fail() -> dict[str, object]:
        assert kept()["ok"] is True
        raise BundleError("it is broken")

    def late() -> dict[str, object]:
        raise TimeIsUpError

    assert steps.run("one", lambda: {"fact": 1})
    assert not steps.run("two", fail)
    assert steps.run("three", dict)
    with pytest.raises(TimeIsUpError):
        steps.run("four", late)
    assert steps.failed == ["two", "four"]
    found = kept()
    assert found["ok"] is False
    assert isinstance(found["steps"], list)
    assert [step["name"] for step in found["steps"]] == ["one", "two", "three", "four"]
    assert found["steps"][0]["fact"] == 1
    assert found["steps"][1]["error"] == "it is broken"
    assert "one: ok" in said[0]
    assert "fact: 1" in said[0]
    assert "two: FAILED" in said[1]


def stand_in(folder: Path, answer: Mapping[str, object]) -> str:
    """A Python that answers this to every question."""
    program = folder / "python3"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
    program.chmod(0o755)
    return str(program)


def test_the_machines_packages_come_after_those_of_the_bundle(tmp_path: Path) -> None:
    packages = tmp_path / setup.PACKAGES
    packages.mkdir(parents=True)
    program = tmp_path / "python3"
    answer = {"version": "3.12.3", "folders": ["/opt/site-packages", "/a"], "missing": [],
              "real": str(program), "libpython": "/usr/lib/libpython3.12.so"}  # fmt: skip
    found = setup.use_torch(tmp_path, stand_in(tmp_path, answer))
    assert found["libpython"] == "/usr/lib/libpython3.12.so"
    (file,) = packages.glob("*.pth")
    assert file.read_text().splitlines() == ["/opt/site-packages", "/a"]
    assert (tmp_path / setup.PYTHON).resolve() == program
    assert (tmp_path / "venv/lib/python3.12/site-packages").resolve() == packages


def test_a_python_without_a_shared_library_gets_the_one_that_was_packed(tmp_path: Path) -> None:
    (tmp_path / setup.PACKAGES).mkdir(parents=True)
    packed = tmp_path / "python/lib/libpython3.12.so.1.0"
    packed.touch()
    link = tmp_path / "venv/lib/libpython3.12.so"
    answer = {"version": "3.12.3", "folders": [], "missing": [], "real": f"{tmp_path}/python3"}
    with_it = json.dumps({**answer, "libpython": str(link)})
    without_it = json.dumps({**answer, "libpython": None})
    program = tmp_path / "python3"
    program.write_text(f"#!/bin/sh\n[ -e {link} ] && echo '{with_it}' || echo '{without_it}'\n")
    program.chmod(0o755)
    assert setup.use_torch(tmp_path, str(program))["libpython"] == str(link)
    assert link.resolve() == packed
    packed.unlink()
    with pytest.raises(BundleError, match="no shared library of Python is found"):
        setup.use_torch(tmp_path, str(program))


@pytest.mark.parametrize(
    ("version", "missing", "told"),
    [
        ("3.11.7", [], "is Python 3.11.7: with --python, name the Python 3.12 that has torch"),
        ("3.12.3", ["torch", "torchvision"], "has no torch and no torchvision: with --python"),
    ],
)
def test_a_python_without_the_right_torch_is_refused(
    tmp_path: Path, version: str, missing: list[str], told: str
) -> None:
    answer = {"version": version, "folders": [], "missing": missing}
    with pytest.raises(BundleError, match=told):
        setup.use_torch(tmp_path, stand_in(tmp_path, answer))


def test_the_drivers_library_gets_the_name_by_which_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "driver"
    driver.mkdir()
    (driver / "libcuda.so.1").touch()
    monkeypatch.setattr(setup, "output", lambda _: "")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{driver}")
    monkeypatch.setattr(setup, "DRIVERS", str(tmp_path / "none"))
    found = setup.use_driver(tmp_path)
    assert found == {"libcuda.so.1": str(driver / "libcuda.so.1"), "libnvidia-ml.so.1": "none"}
    assert (tmp_path / "lib/libcuda.so").resolve() == driver / "libcuda.so.1"
    assert not (tmp_path / "lib/libnvidia-ml.so").exists()


def test_what_was_unpacked_comes_before_all_of_the_machine(tmp_path: Path) -> None:
    given = {"PATH": "/bin", "PYTHONPATH": "/other", "LD_LIBRARY_PATH": "/driver", "OUT": "/out"}
    found = setup.environment_of(tmp_path, "abc", given)
    assert found["PATH"] == f"{tmp_path}/venv/bin:{tmp_path}/java/bin:/bin"
    assert found["LD_LIBRARY_PATH"] == f"{tmp_path}/lib:/driver"
    assert found["JAVA_HOME"] == f"{tmp_path}/java"
    assert (found["OUT"], found["COMMIT"]) == ("/out", "abc")
    assert "PYTHONPATH" not in found


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """The program of a bundle, with a Python that has no packages."""
    folder = tmp_path / "program"
    write_program(folder / "common")
    archives = {"python": {"unpacked": 1, "pieces": [
        {"file": "part1/python.tar.xz.0", "size": 1, "sha256": "0"},
    ]}}  # fmt: skip
    text = json.dumps({"commit": "abc", "archives": archives})
    (folder / "common/bundle.json").write_text(text)
    home = tmp_path / "home"
    return [sys.executable, "-S", "-E", str(folder / "common/bundle.py"), "--home", str(home)]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--help"], 0, "bench --budget 380"),
        ([], 2, "required: COMMAND"),
        (["install", "--unknown"], 2, "no such option: --unknown"),
        (["run"], 2, "run needs a command"),
        (["check", "--device", "tpu"], 2, "invalid choice"),
        (["check"], 1, "first `install`: part1"),
        (["bench", "--budget", "60"], 1, "first `install`: part1"),
    ],
)
def test_the_program_needs_no_package_and_says_what_is_wrong(
    program: list[str], tmp_path: Path, arguments: list[str], status: int, told: str
) -> None:
    done = subprocess.run(
        [*program, *arguments], capture_output=True, text=True, check=False,
        cwd=tmp_path, env={**os.environ, "OUT": str(tmp_path / "out")},
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_failed_installation_is_kept_where_results_go(program: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*program, "install"], capture_output=True, text=True, check=False,
        env={**os.environ, "OUT": str(tmp_path / "out")},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads((tmp_path / "out/install.json").read_text())
    assert [(step["name"], step["ok"]) for step in found["steps"]] == [
        ("machine", True), ("unpack", False),
    ]  # fmt: skip
    assert "there is no part" in found["steps"][1]["error"]


def test_the_budget_is_that_of_the_benchmark() -> None:
    assert machine.budget_of(["--only", "photos", "--budget", "120", "--repeats", "1"]) == 120
    assert machine.budget_of(["--budget=90"]) == 90
    assert machine.budget_of([]) == machine.BENCH_S


def test_a_jar_keeps_its_classes_and_the_libraries_of_this_system(tmp_path: Path) -> None:
    names = ["A.class", "linux/amd64/libzstd.so", "win/x86/libzstd.dll", "Linux/x86_64/liblz4.so",
             "linux/aarch64/libzstd.so", "META-INF/MANIFEST.MF"]  # fmt: skip
    with zipfile.ZipFile(tmp_path / "a.jar", "w") as jar:
        for name in names:
            jar.writestr(name, name)
    contents.repack(tmp_path / "a.jar", tmp_path / "b.jar")
    with zipfile.ZipFile(tmp_path / "b.jar") as jar:
        assert jar.namelist() == [
            "A.class", "linux/amd64/libzstd.so", "Linux/x86_64/liblz4.so", "META-INF/MANIFEST.MF",
        ]  # fmt: skip
        assert jar.read("A.class") == b"A.class"


@pytest.mark.parametrize(
    ("name", "skipped"),
    [
        ("numpy/core/tests/test_a.py", True),
        ("numpy/testing/__init__.py", False),
        ("numpy/core/include/numpy/a.h", True),
        ("numpy/__init__.pyi", True),
        ("grpc/_cython/_credentials/roots.pem", False),
        ("confluent_kafka.libs/librdkafka.so.1", False),
    ],
)
def test_only_what_nothing_reads_is_left_out_of_packages(name: str, skipped: bool) -> None:
    assert bool(contents.SKIPPED.search(name)) is skipped


def test_the_device_of_the_model_is_the_one_that_it_reports() -> None:
    log = 'I1127 07:29:29.1 829 model.py:33] "resnet20_cifar10: on cuda:0, 8 threads"\n'
    assert where_is(log, "cuda") == "cuda:0"
    with pytest.raises(BundleError, match="runs on cuda:0, not on cpu"):
        where_is(log, "cpu")
    with pytest.raises(BundleError, match="does not say"):
        where_is("", "cuda")


def test_an_answer_or_two_may_move_with_tf32_and_no_more() -> None:
    assert judged(915) == {"right of 1,000": 915}
    assert judged(913) == {"right of 1,000": 913}
    with pytest.raises(BundleError, match="912 of 1,000 are right, not 915"):
        judged(912)
