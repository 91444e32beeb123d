"""What a decoder may do, and what the bridge takes from it."""

import io
import pickle
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from structlog.testing import capture_logs

from bridge.decoders import process
from bridge.decoders.messages import (
    Decoded,
    ReplyError,
    max_reply_bytes,
    pack_decoded,
    pack_jobs,
    pack_ready,
    pack_rules,
    unpack_decoded,
    unpack_jobs,
    unpack_ready,
    unpack_rules,
)
from bridge.decoders.pool import SLOW_S, DecoderError
from bridge.decoders.process import SLICE_IMAGES
from imaging.formats import DECODED
from imaging.rules import ImageRules, Preprocess
from imaging.tensor import PRESETS, TensorRules, to_tensor
from tests.bridge.conftest import HANG
from tests.bridge.decoders.test_pool import RULES, Item, Pool, kinds, png

SMALL = ImageRules((2, 2, 3), Preprocess(2), max_bytes=1 << 16, max_pixels=1 << 16)


@pytest.fixture
def pool() -> Iterator[Pool]:
    one = Pool()
    one.start()
    yield one
    one.decoders.close()


@pytest.mark.usefixtures("fragile_decoder")
def test_while_an_image_holds_up_its_decoder_all_others_go_on(pool: Pool) -> None:
    values = [png()] * 80
    values[5] = HANG
    for number, value in enumerate(values):
        pool.decoders.add(Item(number, value))
    decoded = 0
    while pool.decoders.pending > 1:
        pool.decoders.feed()
        with suppress(Empty):
            decoded += len(pool.decoders.take(pool.replies.get(timeout=0.1)))
    assert decoded == 79
    assert len(pool.decoders._working) == 1


BUSY = """\
from PIL import Image
real_open = Image.open
def busy_open(file, *arguments, **options):
    while file.getvalue() == b"BM busy":
        pass
    return real_open(file, *arguments, **options)
Image.open = busy_open
"""


def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_an_image_that_uses_up_its_cpu_time_is_dead_lettered_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim(tmp_path, monkeypatch, BUSY)
    one = Pool()
    one.start()
    try:
        results = one.decode([png(), b"BM busy", png()])
    finally:
        one.decoders.close()
    assert kinds(results) == ["decoded", "too_slow", "decoded"]
    assert str(results[1]) == "decoding it takes more than 2 s of CPU time"
    assert process.cpu_limit_s(RULES) > SLOW_S


def test_a_decoder_that_hangs_at_its_start_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim(tmp_path, monkeypatch, "import time\ntime.sleep(3600)\n")
    monkeypatch.setattr(process, "START_S", 1.0)
    one = Pool()
    one.start()
    try:
        with pytest.raises(DecoderError, match="cannot start: no progress for 1 s"):
            one.decode([png()])
    finally:
        one.decoders.close()


def test_a_decoder_has_nothing_of_the_bridges_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BRIDGE_KAFKA", "sasl.password=secret")
    one = Pool()
    one.start()
    try:
        assert kinds(one.decode([png()])) == ["decoded"]
        (decoder,) = one.decoders._idle
        environment = subprocess.run(
            ["cat", f"/proc/{decoder._process.pid}/environ"], capture_output=True, check=False
        ).stdout
        names = {pair.partition(b"=")[0].decode() for pair in environment.split(b"\0") if pair}
        assert names <= {*process.ENVIRONMENT, *process.INHERITED}
    finally:
        one.decoders.close()


CONFINED = """\
import os, socket, sys
sys.path.insert(0, {root!r})
from bridge.decoders.child import prepare
from bridge.decoders.confine import confine
from imaging.rules import ImageRules, Preprocess
prepare()
modules = set(sys.modules)
confine(ImageRules((2, 2, 3), Preprocess(2), 1 << 16, 1 << 16), 64)
def refused(what, *arguments):
    try:
        what(*arguments)
    except (OSError, MemoryError) as error:
        return True
    return False
path = {path!r}
print(all([
    refused(open, path), refused(open, path + ".new", "w"), refused(os.unlink, path),
    refused(os.rename, path, path + ".moved"), refused(os.listdir, "/"),
    refused(socket.socket), refused(os.execv, sys.executable, [sys.executable, "-c", ""]),
    refused(bytearray, 8 << 30), refused(os.mkdir, path + ".folder"),
]))
prepare()
print(set(sys.modules) - modules)
"""


def test_a_decoder_can_open_no_file_no_socket_and_no_program(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("secret")
    root = str(Path(process.__file__).parents[2])
    said = subprocess.run(
        [sys.executable, "-c", CONFINED.format(root=root, path=str(file))],
        capture_output=True, text=True, check=False, env=process.ENVIRONMENT,
    )  # fmt: skip
    assert said.stdout.split("\n")[:2] == ["True", "set()"], said.stdout + said.stderr
    assert file.read_text() == "secret"


REFUSED = """\
import ctypes, os, socket, sys, threading
sys.path.insert(0, {root!r})
from bridge.decoders.syscalls import refuse_system_calls
one, other = socket.socketpair()
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
assert refuse_system_calls(libc)
def refused(what, *arguments):
    try:
        what(*arguments)
    except PermissionError:
        return True
    return False
print(all([
    refused(socket.socket), refused(socket.socket, socket.AF_UNIX), refused(socket.socketpair),
    refused(one.connect, b"\\0name"), refused(one.sendmsg, [b"x"]), refused(one.listen),
    refused(os.execv, sys.executable, [sys.executable]), refused(os.fork),
    refused(os.posix_spawn, sys.executable, [sys.executable], {{}}),
    refused(os.kill, os.getppid(), 0), libc.tgkill(os.getppid(), os.getppid(), 0) == -1,
    libc.tgkill(os.getpid(), threading.get_native_id(), 0) == 0,
    refused(os.pidfd_open, os.getpid()), libc.ptrace(0, 0, 0, 0) == -1,
]))
os.write(one.fileno(), b"as before")
print(os.read(other.fileno(), 9).decode())
thread = threading.Thread(target=print, args=("and threads",))
thread.start()
thread.join()
"""


def test_the_kernel_refuses_a_decoder_network_programs_and_other_processes() -> None:
    """By itself: neither what Landlock knows nor the limit of descriptors has a part in it."""
    root = str(Path(process.__file__).parents[2])
    said = subprocess.run(
        [sys.executable, "-c", REFUSED.format(root=root)],
        capture_output=True, text=True, check=False, env=process.ENVIRONMENT,
    )  # fmt: skip
    assert said.stdout.splitlines() == ["True", "as before", "and threads"], said.stderr


def test_what_a_kernel_does_not_have_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import platform\nplatform.machine = lambda: 'unknown'\n"
    shim(tmp_path, monkeypatch, text)
    one = Pool()
    one.start()
    try:
        with capture_logs() as logs:
            assert kinds(one.decode([png()])) == ["decoded"]
            assert kinds(one.decode([png()])) == ["decoded"]
    finally:
        one.decoders.close()
    (told,) = (line for line in logs if line["event"] == "decoders_less_confined")
    assert "seccomp" in told["kernel_lacks"]


@pytest.mark.parametrize("message", [b"", b"readily", b" ready"])
def test_what_does_not_say_ready_is_not(message: bytes) -> None:
    assert unpack_ready(pack_ready(["seccomp"])) == ["seccomp"]
    with pytest.raises(ReplyError):
        unpack_ready(message)


@pytest.mark.parametrize("format", DECODED)
def test_each_format_is_decoded_behind_closed_doors(pool: Pool, format: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (40, 40), (200, 10, 10)).save(out, format)
    (found,) = pool.decode([out.getvalue()])
    assert isinstance(found, np.ndarray)
    assert np.abs(found.astype(int) - (200, 10, 10)).max() < 12


def test_the_largest_images_allowed_have_memory_and_time_enough() -> None:
    rules = ImageRules((224, 224, 3), Preprocess(256), max_bytes=16 << 20, max_pixels=50_000_000)
    gradient = Image.linear_gradient("L").resize((7000, 7000))
    one = Pool(rules=rules)
    one.start()
    values = []
    for kind, options in (("JPEG", {"progressive": True, "subsampling": 0}), ("PNG", {})):
        out = io.BytesIO()
        picture = Image.merge("RGB", (gradient,) * 3)
        picture.save(out, kind, compress_level=1, **options)
        values.append(out.getvalue())
    values.append(values[0][:-2])
    try:
        assert kinds(one.decode(values)) == ["decoded"] * 3
    finally:
        one.decoders.close()


@given(st.lists(st.binary(max_size=50), max_size=SLICE_IMAGES))
def test_jobs_arrive_as_they_were_sent(values: list[bytes]) -> None:
    assert unpack_jobs(pack_jobs(values)) == values


def test_rules_arrive_as_they_were_sent() -> None:
    floats = TensorRules("float32", True, PRESETS["imagenet"])
    other = Preprocess(None, "nearest", True, "exact")
    for rules in (RULES, ImageRules((1, 2, 3), other, 1, 2, floats)):
        assert unpack_rules(pack_rules(rules)) == rules


SIZES = np.array([[640, 480], [0, 0]], np.int32)


def reply() -> bytes:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    return pack_decoded(Decoded(pixels, SIZES, {1: ("not_an_image", "why")}, [0.5, 0.25]))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16", "float32"])
def test_inputs_of_any_dtype_arrive_as_they_were_sent(dtype: str) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    tensor = TensorRules(dtype, True, None if dtype == "uint8" else PRESETS["unit"])
    inputs = to_tensor(pixels, tensor)
    rules = replace(SMALL, tensor=tensor)
    message = pack_decoded(Decoded(inputs, SIZES, {}, [0.5, 0.25]))
    found = unpack_decoded(message, 2, rules)
    np.testing.assert_array_equal(found.inputs, inputs)
    np.testing.assert_array_equal(found.sizes, SIZES)
    assert len(message) <= max_reply_bytes(2, rules)


def test_a_reply_arrives_as_it_was_sent() -> None:
    found = unpack_decoded(reply(), 2, SMALL)
    assert found.inputs.tobytes() == bytes(range(24))
    assert found.sizes.tolist() == SIZES.tolist()
    assert found.errors == {1: ("not_an_image", "why")}
    assert found.seconds == [0.5, 0.25]
    assert len(reply()) <= max_reply_bytes(2, SMALL)


def bad(
    errors: bytes = b"",
    count: int = 2,
    seconds: tuple[float, ...] = (0.0, 0.0),
    sizes: tuple[int, ...] = (4, 4, 4, 4),
) -> bytes:
    head = struct.pack("<II", count, len(errors)) + struct.pack(f"<{len(seconds)}d", *seconds)
    return head + struct.pack("<4i", *sizes) + errors + bytes(24)


@pytest.mark.parametrize(
    "message",
    [
        b"", reply()[:-1], reply() + b"x", bad(count=3), bad(seconds=(float("nan"), 0.0)),
        bad(seconds=(-1.0, 0.0)), bad(seconds=(float("inf"), 0.0)), bad(b"{}[]"), bad(b"[[2,3]]"),
        bad(sizes=(4, 4, 4, -1)),
        bad(b'[[2,["kind","why"]]]'), bad(b'[[true,["kind","why"]]]'), bad(b'[[0,["no kind",""]]]'),
        bad(b'[[0,["kind",7]]]'), bad(b'[[[0],["kind","why"]]]'), bad(b"[" * 100_000),
        bad(b'[[0,["' + b"k" * 50 + b'","why"]]]'), pickle.dumps(print),
    ],
)  # fmt: skip
def test_a_reply_that_is_none_is_refused(message: bytes) -> None:
    with pytest.raises(ReplyError):
        unpack_decoded(message, 2, SMALL)


@given(st.binary(max_size=200))
def test_any_reply_is_read_or_refused(message: bytes) -> None:
    with suppress(ReplyError):
        unpack_decoded(message, 2, SMALL)
