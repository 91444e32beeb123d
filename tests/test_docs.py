"""The documentation says what is."""

import ast
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from bridge.loading import load
from bridge.triton.model import PARAMETERS
from consumer.measuring.matching import TIMES
from consumer.measuring.statistics import STAGES
from tests.test_rooms import ALLOWED

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])


def headings(text: str) -> set[str]:
    return set(re.findall(r"^#+ (.+)$", text, re.MULTILINE))


def anchor(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_each_alert_has_a_section_in_the_runbook() -> None:
    alerts = re.findall(r"- alert: (\w+)", (ROOT / "observability" / "alerts.yaml").read_text())
    assert alerts
    missing = set(alerts) - headings((DOCS / "operations.md").read_text())
    assert not missing, f"docs/operations.md has no section for {sorted(missing)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^(    .*|```.*?```)$", "", page.read_text(), flags=re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, fragment = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}: there is no {target}"
        if fragment:
            anchors = {anchor(one) for one in headings(target.read_text())}
            assert fragment in anchors, f"{page.name}: {link}: no such section"


def direct_dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    listed += tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for line in (ROOT / "ansible" / "requirements.in").read_text().splitlines():
        requirement = line.partition("#")[0].strip()
        if requirement:
            listed.append(requirement)
    return {re.split(r"[\[=<>~! ]", one, maxsplit=1)[0] for one in listed}


def test_each_direct_dependency_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", (DOCS / "dependencies.md").read_text(), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == direct_dependencies()


PACKAGES = (
    "wire",
    "imaging",
    "bridge",
    "cli",
    "producer",
    "consumer",
    "deadletters",
    "exporter",
    "stack",
    "storage",
    "scripts",
    "tracing",
)


def messages() -> set[str]:
    """Every string of the source, with … for what an f-string fills in."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [
                        str(part.value) if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    ]
                    found.add("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return found


def test_each_message_in_troubleshooting_occurs_in_the_source() -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    quoted = re.findall(r"^### `(.+)`$", page, re.MULTILINE)
    assert quoted
    known = messages()
    gone = [text for text in quoted if not any(text in message for message in known)]
    assert not gone, f"docs/troubleshooting.md quotes what no program says: {gone}"


def test_each_event_in_the_documentation_is_logged() -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    events = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert events
    assert set(events) <= messages()


def test_readme_sums_up_the_table_of_faults() -> None:
    page = (DOCS / "reliability.md").read_text()
    table = page.partition("<!-- faults -->\n")[2].partition("<!-- /faults -->")[0]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
    ]
    trials = [dict(zip(head, row, strict=True)) for row in rows]
    sent = min(int(one["sent"].replace(",", "")) for one in trials)
    assert f"in {len(trials)} trials of 20,000 images or more" in (ROOT / "README.md").read_text()
    assert sent >= 20_000
    assert {one["lost"] for one in trials} == {"0"}
    assert {one["doubled"] for one in trials if one["delivery"] == "exactly-once"} == {"0"}


def test_the_glossary_has_every_stamp_and_every_stage() -> None:
    page = (DOCS / "glossary.md").read_text()
    stamps = re.findall(r"^\| `(\w+)` \| [^`]", page, re.MULTILINE)
    assert tuple(stamps) == TIMES
    stages = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE)
    assert tuple(stages) == STAGES


def test_architecture_says_which_package_may_import_which() -> None:
    page = (DOCS / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", page, re.MULTILINE)
    said = {package: set(re.findall(r"`(\w+)`", allowed)) for package, allowed in rows}
    assert {name: said.get(name) for name in ALLOWED} == {
        name: set(allowed) for name, allowed in ALLOWED.items()
    }


def test_each_parameter_of_a_model_is_explained_and_its_examples_can_be_loaded(
    tmp_path: Path,
) -> None:
    page = (DOCS / "bring-your-own-model.md").read_text()
    for parameter in PARAMETERS:
        short = parameter[parameter.index(".") :]
        assert f"`{parameter}`" in page or f"`{short}`" in page, parameter
    examples = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 6
    for example in examples:
        path = tmp_path / "bridge.toml"
        path.write_text(example)
        assert set(load({"config": path}).model_parameters) <= set(PARAMETERS)
