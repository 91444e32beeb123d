"""Finds the project's own files that one of its files needs."""

import ast
from pathlib import Path

PACKAGES = ("exporter", "imaging", "wire")
"""The project's own packages; where it is installed, others lie in the same folder."""


def needed_files(start: Path, root: Path) -> set[Path]:
    """The files under `root` that `start` imports, directly or indirectly, without `start` itself.

    Args:
        start: a Python file that imports by full names, `from package.module import name`.
        root: the folder that contains the packages.
    """
    found: set[Path] = set()
    left = [start]
    while left:
        for node in ast.walk(ast.parse(left.pop().read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            parts = node.module.split(".")
            if parts[0] not in PACKAGES:
                continue
            module = root.joinpath(*parts)
            for path in (module.with_suffix(".py"), module.parent / "__init__.py"):
                if path.is_file() and path not in found and path.parent != root:
                    found.add(path)
                    left.append(path)
    return found
