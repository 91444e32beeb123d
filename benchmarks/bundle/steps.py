"""Steps with a result each, kept in a JSON file as they end."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Facts = dict[str, Any]
"""What a step found, by name; it must fit JSON."""


class BundleError(Exception):
    """What a person has to know; the text says what to do."""


class TimeIsUpError(Exception):
    """A command's time is over."""


class Steps:
    """Runs steps, and keeps their results in a file that is written when each of them has ended.

    Attributes:
        found: results so far, each with its name, whether it went well, and its seconds.
    """

    def __init__(self, path: Path, say: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._say = say or show
        self._begin = time.monotonic()
        self.found: list[Facts] = []

    @property
    def failed(self) -> list[str]:
        """The names of the steps that failed."""
        return [step["name"] for step in self.found if not step["ok"]]

    def run(self, name: str, action: Callable[[], Facts]) -> bool:
        """Run one step; whether it went well. An error is kept, and the next step can follow.

        Raises:
            TimeIsUpError: the time of all steps was over.
        """
        begin = time.monotonic()
        try:
            facts, ok = action(), True
        except TimeIsUpError:
            self._add(name, begin, {"error": "it was not done in time"}, ok=False)
            raise
        except Exception as error:  # whatever it is: the person has only this file
            facts, ok = {"error": str(error) or type(error).__name__}, False
        self._add(name, begin, facts, ok=ok)
        return ok

    def _add(self, name: str, begin: float, facts: Facts, *, ok: bool) -> None:
        now = time.monotonic()
        seconds = round(now - begin, 1)
        self.found.append({"name": name, "ok": ok, "seconds": seconds, **facts})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        whole = {"ok": not self.failed, "steps": self.found}
        self._path.write_text(json.dumps(whole, indent=1) + "\n")
        text = "; ".join(f"{key}: {value}" for key, value in facts.items())
        verdict = "ok" if ok else "FAILED"
        self._say(f"[{now - self._begin:5.1f} s] {name}: {verdict} ({seconds} s) {text}")


def show(text: str) -> None:
    """Show a line at once, even where the output goes to a file."""
    print(text, flush=True)
