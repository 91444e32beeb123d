"""The program of a bundle, on the machine without a network. It needs nothing but a Python there.

Start it with the Python 3.12 that has torch, from any folder:

    python3 common/bundle.py install              with each part, in any order
    python3 common/bundle.py check                GPU, Java, Kafka, Triton, right answers
    python3 common/bundle.py bench --budget 380   and other options of benchmarks.run
    python3 common/bundle.py run python3 scripts/demo.py

Everything is unpacked into --home. Results go to the folder in $OUT, else to `results` in --home,
as they come. Exit code: 0 fine, 1 failed, 2 wrong usage.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

from benchmarks.bundle import setup
from benchmarks.bundle.steps import BundleError, Steps, TimeIsUpError, show
from benchmarks.bundle.unpack import bundle_id, missing_parts, read_manifest, unpack

INSTALL_S, CHECK_S, BENCH_S = 150.0, 200.0, 450.0
"""Seconds for each command; the last is the usual budget of what is measured."""
STOP_S = 45.0
"""Seconds after the budget in which the benchmark stops its servers and writes a table."""
END_S = 20.0
"""Seconds that a command may take to end after SIGTERM."""
OPEN_FILES = 65536
READY = "ready"
DEVICES = ("cuda", "cpu")


def install(bundle: Path, home: Path, out: Path, python: str) -> int:
    """Unpack the parts that are here; when all have come, set up what was unpacked.

    Args:
        python: the Python that has torch.
    """
    manifest = read_manifest(bundle)
    steps = Steps(out / "install.json")
    steps.run("machine", lambda: setup.machine(home))
    if not steps.run("unpack", lambda: unpack(manifest, bundle, home)):
        return 1
    missing = missing_parts(manifest, home)
    if missing:
        show(f"still to come: {', '.join(missing)}")
        return 0
    environment = setup.environment_of(home, manifest["commit"], os.environ)
    steps.run("loopback", setup.loopback)
    steps.run("driver", lambda: setup.use_driver(home))
    steps.run("java", lambda: setup.prepare_java(home, environment))
    if steps.run("torch", lambda: setup.use_torch(home, python)):
        steps.run("imports", lambda: setup.versions(home, environment))
    if steps.failed:
        return 1
    (home / READY).write_text(bundle_id(manifest))
    show("ready")
    return 0


def run(bundle: Path, home: Path, command: Sequence[str], log: TextIO | None = None) -> int:
    """Run a command in the project's folder with what was unpacked; shows its output, and keeps it.

    Raises:
        BundleError: not everything is unpacked, or the command cannot be started.
        TimeIsUpError: it was stopped.
    """
    manifest = read_manifest(bundle)
    ready = home / READY
    if not ready.exists() or ready.read_text() != bundle_id(manifest):
        missing = missing_parts(manifest, home)
        raise BundleError(f"first `install`: {', '.join(missing) or 'its last run failed'}")
    setup.loopback()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(OPEN_FILES, hard)), hard))
    try:
        child = subprocess.Popen(
            command, cwd=home / "project", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env=setup.environment_of(home, manifest["commit"], os.environ),
        )  # fmt: skip
    except OSError as error:
        raise BundleError(f"{command[0]} cannot be started: {error.strerror}") from None
    try:
        _follow(child, log)
    except BaseException:  # its time is up, or a signal came: it may keep what it has
        signal.setitimer(signal.ITIMER_REAL, 0)
        child.terminate()
        with suppress(TimeIsUpError):
            signal.setitimer(signal.ITIMER_REAL, END_S)
            _follow(child, log)
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return child.returncode


def _follow(child: "subprocess.Popen[str]", log: TextIO | None) -> None:
    """Show and keep what it prints until it has ended."""
    assert child.stdout is not None
    for line in child.stdout:
        print(line, end="", flush=True)
        if log is not None:
            log.write(line)
            log.flush()
    child.wait()


def _time_is_up(_number: int, _frame: FrameType | None) -> None:
    raise TimeIsUpError


def budget_of(options: Sequence[str]) -> float:
    """The benchmark's budget in seconds, by its own options."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--budget", type=float, default=BENCH_S)
    return float(parser.parse_known_args(options)[0].budget)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    home = Path(os.environ.get("BUNDLE_HOME") or "~/.cache/triton-kafka-bridge-bundle")
    parser.add_argument("--home", type=Path, default=home, help="folder for what is unpacked")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser("install", help="unpack the parts that are here")
    one.add_argument("--python", default=sys.executable, help="the Python that has torch")
    one = commands.add_parser("check", help="check the machine, with real servers")
    one.add_argument("--device", choices=DEVICES, default=DEVICES[0])
    one.add_argument("--limit", type=float, default=CHECK_S, metavar="S", help="seconds")
    one = commands.add_parser("bench", help="measure; further options go to benchmarks.run")
    one.add_argument("--device", choices=DEVICES, default=DEVICES[0])
    one = commands.add_parser("run", help="run a command with what was unpacked")
    one.add_argument("argv", nargs=argparse.REMAINDER, metavar="...")
    return parser


def main(bundle: Path) -> int:
    """Run the command line; returns the exit code.

    Args:
        bundle: the folder of `common` and the parts.
    """
    parser = arguments()
    options, others = parser.parse_known_args()
    if others and options.command != "bench":
        parser.error(f"no such option: {' '.join(others)}")
    if options.command == "run" and not options.argv:
        parser.error("run needs a command")
    home = options.home.expanduser().absolute()
    out = Path(os.environ.get("OUT") or home / "results").absolute()
    out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGALRM, _time_is_up)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    python = str(home / setup.PYTHON)
    try:
        match options.command:
            case "install":
                signal.setitimer(signal.ITIMER_REAL, INSTALL_S)
                code = install(bundle, home, out, options.python)
            case "check":
                command = [python, "-m", "benchmarks.bundle.check", "--device", options.device,
                           "--limit", str(options.limit), "--output", str(out)]  # fmt: skip
                signal.setitimer(signal.ITIMER_REAL, options.limit + STOP_S)
                code = run(bundle, home, command)
            case "bench":
                budget = budget_of(others)
                command = [python, "-m", "benchmarks.run", "--device", options.device, "--quick",
                           "--budget", str(budget), "--output", str(out), *others]  # fmt: skip
                signal.setitimer(signal.ITIMER_REAL, budget + STOP_S)
                with (out / "bench.log").open("a") as log:
                    code = run(bundle, home, command, log)
            case _:
                return run(bundle, home, options.argv)
    except BundleError as error:
        show(f"{options.command}: {error}")
        return 1
    except TimeIsUpError:
        show(f"{options.command}: stopped, since its time is over")
        code = 1
    except KeyboardInterrupt:
        show(f"{options.command}: stopped")
        code = 130
    show(f"results: {out}")
    return code
