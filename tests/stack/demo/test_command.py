"""What the demo needs, and that it says at once what is missing."""

from importlib.util import find_spec

import pytest

from stack.demo import command
from stack.demo.command import Task, require_programs
from stack.errors import StackError
from stack.kafka import jars


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Packages that seem not to be installed; with a Triton and a Kafka."""
    missing: set[str] = set()
    monkeypatch.setattr(
        command, "find_spec", lambda name: None if name in missing else find_spec(name)
    )
    monkeypatch.setattr(command, "package", lambda: None)
    monkeypatch.setattr(jars, "java", lambda: None)
    monkeypatch.setattr(jars, "is_cached", lambda: True)
    return missing


@pytest.mark.parametrize(
    ("missing", "task"),
    [
        ((), Task.CLASSIFY),
        ((), Task.DETECT),
        (("torch",), Task.CLASSIFY),  # what `make demo` installs where there is no GPU
        (("onnxruntime",), Task.CLASSIFY),
    ],
)
def test_torch_or_onnx_runtime_will_do(
    without: set[str], missing: tuple[str, ...], task: Task
) -> None:
    without.update(missing)
    require_programs(task)


@pytest.mark.parametrize(
    ("missing", "task", "said", "extra"),
    [
        (("torch",), Task.DETECT, "the detector needs torch", "model"),
        (("torch", "onnxruntime"), Task.CLASSIFY, "needs torch or onnxruntime", "onnx"),
    ],
)
def test_what_is_missing_is_said_with_the_extra(
    without: set[str], missing: tuple[str, ...], task: Task, said: str, extra: str
) -> None:
    without.update(missing)
    with pytest.raises(StackError, match=said) as caught:
        require_programs(task)
    assert f"'{extra}' extra" in str(caught.value)
