"""One program: what it loads, what it says of a wrong call, how it is interrupted."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands import COMMANDS, load, root
from cli.main import main
from cli.options import broker_list

ROOT = Path(__file__).resolve().parents[2]
TKB = [sys.executable, str(ROOT / "cli")]
FILES = {
    "bridge/run.py": "bridge",
    "producer/run.py": "produce",
    "consumer/run.py": "measure",
    "consumer/compare.py": "compare",
    "consumer/liveview/run.py": "watch",
    "scripts/export_model.py": "export",
    "scripts/dead_letters.py": "dead-letters",
    "scripts/demo.py": "demo",
    "stack/__main__.py": "stack",
}


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """What a command does with an interrupt ends with its test."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_list_of_commands_loads_none_of_them() -> None:
    code = (
        "import sys; from cli.main import run; sys.argv = ['tkb', '--help']\n"
        "try: run()\n"
        "finally: print('\\n', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    shown, _, loaded = done.stdout.rpartition("\n ")
    for name, entry in COMMANDS.items():
        assert name in shown
        assert entry.help in " ".join(shown.replace("│", " ").split())
    assert {"torch", "matplotlib", "numpy", "confluent_kafka"}.isdisjoint(loaded.split())


@pytest.mark.parametrize(("file", "name"), FILES.items())
def test_each_file_that_users_run_is_a_command(file: str, name: str) -> None:
    text = (ROOT / file).read_text()
    assert f'run("{name}", "python ' in text
    assert len(text.splitlines()) <= 10
    assert load(name).name == name


GOOD_BROKERS = (
    "kafka", "kafka:9092", "a:1, b:2,", "SSL://kafka:9093", "sasl_ssl://kafka", "[::1]:9092",
    "[::1]",
)  # fmt: skip
WRONG = (
    (["bridg"], "Did you mean 'bridge'?"),
    (["bridge", "--kafka", "security.protocol"], "'security.protocol' is not KEY=VALUE"),
    (["bridge", "--kafka-producer", "x"], "--kafka-producer: 'x' is not KEY=VALUE"),
    (["bridge", "--delivery", "exactly-onc"], "Did you mean 'exactly-once'?"),
    (["bridge", "--max-inflght", "3"], "Did you mean '--max-inflight'"),
    (["bridge", "--top-k", "many"], "top_k: "),
    (["bridge", "--config", "/nope.toml"], "no such file: /nope.toml"),
    (["bridge", "--triton", "http://gpu:8000"], "for example gpu:8001"),
    (["produce", "cifar"], "Did you mean 'cifar10'?"),
    (["produce", "folder", "/nope"], "/nope is not a folder"),
    (["produce", "cifar10", "--images-topic", "predictions"], "three topics"),
    (["produce", "cifar10", "--images-topic", ""], "'' is no name of a topic"),
    (["produce", "cifar10", "--images-topic", "x" * 250], "is no name of a topic"),
    (["produce", "cifar10", "--run-id", "\udcff"], "is not UTF-8"),
    (
        ["produce", "cifar10", "--brokers", "\udcff:9092"],
        "'\\udcff:9092' is not UTF-8",
    ),
    (["produce", "cifar10", "--kafka", "client.id=\udcff"], "--kafka"),
    (["produce", "cifar10", "--kafka", "no.such=1"], "no.such"),
    (["produce", "cifar10", "--rate", "fast"], "--rate"),
    (["measure", "--triton", "http://gpu:8000"], "for example gpu:8001"),
    (["measure", "--predictions-topic", "images"], "three topics"),
    (["measure", "--predictions-topic", "a, b c"], "'b c' is no name of a topic"),
    (["measure", "--predictions-topic", ","], "no topic is given"),
    (["measure", "--run-id", "\udcff"], "'\\udcff' is not UTF-8"),
    (["read", "--run-id", "\udcff"], "'\\udcff' is not UTF-8"),
    (["dead-letters", "replay", "--group", "\udcff"], "'\\udcff' is not UTF-8"),
    (["dead-letters", "replay", "--reason", "\udcff"], "'\\udcff' is not UTF-8"),
    (["compare", "/nope", "/nope"], "/nope"),
    (["watch", "--port", "70000"], "--port"),
    (["export", "--backend", "pythn"], "Did you mean 'python'?"),
    (["dead-letters", "list", "--kafka", "x"], "'x' is not KEY=VALUE"),
    (["read", "--brokers", "http://localhost:9092"], "'http://localhost:9092' is the address of"),
    (["dead-letters", "list", "--brokers", "kafka:x"], "'kafka:x' is not HOST:PORT"),
    (["doctor", "--brokers", "kafka:0"], "'kafka:0' is not HOST:PORT"),
    (["export", "--size", "32"], "--size is HEIGHTxWIDTH"),
    (["export", "resnet51"], "no model is named 'resnet51'"),
    (["dead-letters", "lst"], "Did you mean 'list'?"),
    (["topics", "create", "--partitions", "0"], "--partitions"),
    (["topics", "create", ".."], "'..' is no name of a topic"),
    (["topics", "create", "--retention-hours", "inf"], "--retention-hours"),
    (["stack", "up", "--name", "../x"], "letters, digits"),
    (["demo", "--delivery", "maybe"], "--delivery"),
)


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_call_gets_one_line_and_exit_code_2(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["tkb", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == 2, shown.err
    assert said in shown.err
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert f"(see tkb {arguments[0]}" in shown.err or arguments == ["bridg"]
    assert shown.out == ""


@pytest.mark.parametrize("name", ["produce", "measure", "bridge"])
def test_an_interrupt_while_it_is_loaded_leaves_no_traceback(name: str) -> None:
    # It stands still in its first import of what it needs, for as long as it takes.
    code = (
        "import sys, time\n"
        "class Slow:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('confluent_kafka', 'numpy'):\n"
        "            print('loading', flush=True); time.sleep(60)\n"
        "sys.meta_path.insert(0, Slow())\n"
        f"from cli.main import run; sys.argv = ['tkb', '{name}']; run()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == "loading\n"
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=30)
    assert child.returncode == -signal.SIGINT
    assert errors == ""


FIRST = """
import os, sys, _signal
own = set(sys.modules)
def ends(number, handler):
    assert (number, handler) == (_signal.SIGINT, _signal.SIG_DFL)
    os.write(1, " ".join(set(sys.modules) - own).encode())
    os._exit(0)
_signal.signal = ends
"""
"""Put before a program: says what has been imported until the program handles an interrupt."""


def imported_first(folder: Path, *arguments: str) -> set[str]:
    (folder / "sitecustomize.py").write_text(FIRST)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(folder)}, timeout=60,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "start",
    [*((file,) for file in FILES if file != "stack/__main__.py"), ("cli",), ("-m", "stack")],
    ids=" ".join,
)
def test_nothing_is_imported_before_an_interrupt_is_handled(
    start: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "least").mkdir()
    (tmp_path / "least" / "__main__.py").write_text("import _signal\n_signal.signal(2, 0)\n")
    *how, what = start
    least = "least" if how else str(tmp_path / "least" / ("__main__.py" if "." in what else ""))
    pythons_own = imported_first(tmp_path, *how, least)
    ours = {"cli", "cli.interrupts", "cli.main"} | ({"stack"} if how else set())
    assert imported_first(tmp_path, *start) - pythons_own == ours


def test_the_shell_completes_commands_and_flags() -> None:
    found = [command.name for command in root().commands.values()]
    assert found == list(COMMANDS)
    for words, wanted in (("tkb pro", "produce"), ("tkb produce --ra", "--rate")):
        done = subprocess.run(
            TKB, capture_output=True, text=True, check=False,
            env={"_TKB_COMPLETE": "complete_bash", "COMP_WORDS": words,
                 "COMP_CWORD": str(len(words.split()) - 1), "PATH": ""},
        )  # fmt: skip
        assert wanted in done.stdout.split()


def test_the_same_thing_has_the_same_flag_everywhere() -> None:
    ours: dict[str, set[str]] = {}
    for name in COMMANDS:
        command = load(name)
        for one in getattr(command, "commands", {"": command}).values():
            for parameter in one.params:
                for flag in parameter.opts:
                    if flag.endswith(("topic", "brokers", "kafka")) and not parameter.hidden:
                        ours.setdefault(flag, set()).add(name)
    everywhere = {"bridge", "doctor", "produce", "measure", "watch"}
    assert ours["--images-topic"] == everywhere
    assert ours["--predictions-topic"] == everywhere | {"read"}
    assert ours["--dead-letters-topic"] == everywhere | {"read", "dead-letters"}
    assert ours["--brokers"] == everywhere | {"read", "dead-letters", "topics"}
    assert "--topic" not in ours


@pytest.mark.parametrize("text", GOOD_BROKERS)
def test_an_address_that_kafkas_client_takes_is_taken(text: str) -> None:
    assert broker_list(text) == text
