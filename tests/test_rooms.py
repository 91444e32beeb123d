"""Dependencies point one way: which package may import which."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED: dict[str, frozenset[str]] = {
    "wire": frozenset(),
    "imaging": frozenset({"wire"}),
    "cli": frozenset({"wire"}),
    "schemas": frozenset({"wire", "cli"}),
    "tracing": frozenset({"wire", "cli"}),
    "storage": frozenset({"wire"}),
    "bridge": frozenset({"wire", "imaging", "storage", "schemas", "tracing", "cli"}),
    "producer": frozenset({"wire", "storage", "schemas", "tracing", "cli"}),
    "consumer": frozenset({"wire", "imaging", "storage", "schemas", "tracing", "cli"}),
    "deadletters": frozenset({"wire", "cli"}),
    "exporter": frozenset({"wire", "imaging", "cli"}),
    "stack": frozenset({"wire", "bridge", "consumer", "exporter", "cli"}),
}
"""The project's own packages that each of them may import. `scripts`, `benchmarks` and `tests` may
import them all, and no package may import those three."""


def imported(package: str) -> dict[str, set[str]]:
    """For each file, the project's other packages that it imports, at its top or later."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            else:
                continue
            tops = {name.partition(".")[0] for name in names}
            ours = {one for one in tops if (ROOT / one).is_dir()} - {package}
            if ours:
                found.setdefault(str(path.relative_to(ROOT)), set()).update(ours)
    return found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_it_may(package: str) -> None:
    wrong = {path: names - ALLOWED[package] for path, names in imported(package).items()}
    assert {path: sorted(names) for path, names in wrong.items() if names} == {}


def test_the_rules_name_every_package() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"benchmarks", "scripts", "tests"} <= ALLOWED.keys()
    assert all((ROOT / package).is_dir() for package in ALLOWED)


def modules() -> dict[str, set[str]]:
    """For each module, those of the same package that it imports, at its top or later."""
    names = {
        str(path.relative_to(ROOT).with_suffix("")).replace("/", "."): path
        for package in ALLOWED
        for path in (ROOT / package).rglob("*.py")
    }
    found: dict[str, set[str]] = {}
    for name, path in names.items():
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            # What is imported for the types alone is not there when the program runs.
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = []
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        wanted = {node.module or "" for node in imports}
        wanted |= {f"{node.module}.{one.name}" for node in imports for one in node.names}
        found[name] = wanted & names.keys()
    return found


def test_no_module_imports_itself_by_way_of_others() -> None:
    left = modules()
    while ends := {name for name, wanted in left.items() if not wanted}:
        left = {name: wanted - ends for name, wanted in left.items() if name not in ends}
    assert sorted(left) == []


def test_no_admin_client_is_asked_for_the_offsets_of_a_group() -> None:
    """librdkafka crashes where a broker is not the group's coordinator (its issue 5040)."""
    asking = [
        str(path.relative_to(ROOT))
        for package in (*ALLOWED, "scripts", "benchmarks")
        for path in (ROOT / package).rglob("*.py")
        if ".list_consumer_group_offsets(" in path.read_text()
    ]
    assert asking == []
