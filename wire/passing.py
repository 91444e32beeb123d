"""Headers of an image that are copied to its prediction."""

import re
from collections.abc import Sequence
from fnmatch import translate
from functools import lru_cache

from wire.record import Headers

MAX_PASSED = 16
"""Most headers of an image that are passed on."""
MAX_PASSED_BYTES = 4096
"""Most bytes of their names and values together, since they are in each prediction."""
MAX_PATTERNS = 32

_OWN_PREFIXES = ("ce_", "dlq.")
_OWN = ("content-type", "traceparent", "tracestate")
"""Headers of the prediction itself; if passed on, the image's would contradict them."""


class PassedHeaders:
    """Picks the headers that a setting names.

    Args:
        patterns: names; `*` stands for any characters, `?` for one, `[ab]` for one of a and b.

    Raises:
        ValueError: one names the project's own headers, or there are too many.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        if len(patterns) > MAX_PATTERNS:
            raise ValueError(f"{len(patterns)} names, {MAX_PATTERNS} are allowed")
        for one in patterns:
            if one.startswith(_OWN_PREFIXES) or one in _OWN:
                raise ValueError(
                    f"{one} cannot be passed on: ce_*, dlq.*, {', '.join(_OWN)} are a message's own"
                )
        found = re.compile("|".join(map(translate, patterns))) if patterns else None

        @lru_cache(1024)  # names come from strangers
        def wanted(name: str) -> bool:
            own = name.startswith(_OWN_PREFIXES) or name in _OWN
            return found is not None and not own and found.match(name) is not None

        self._wanted = wanted
        self._any = bool(patterns)

    def __bool__(self) -> bool:
        """Whether the setting names any header."""
        return self._any

    def of(self, headers: Headers | None) -> list[tuple[str, bytes | None]]:
        """The headers of an image that are passed on, in their order.

        Headers beyond `MAX_PASSED` or `MAX_PASSED_BYTES` are left out.
        """
        if not self._any or not headers:
            return []
        passed: list[tuple[str, bytes | None]] = []
        room = MAX_PASSED_BYTES
        for name, value in headers:
            # Asked only about names that may be passed: the answers are kept, with the names.
            if len(name) > MAX_PASSED_BYTES or not self._wanted(name):
                continue
            size = len(name.encode()) + len(value or b"")
            if size <= room and len(passed) < MAX_PASSED:
                passed.append((name, value))
                room -= size
        return passed


def read_patterns(text: str) -> list[str]:
    """The names in a comma-separated list."""
    return [part for part in (one.strip() for one in text.split(",")) if part]
