"""Write the rivals' table into docs/performance.md, from the results of the last run."""

from collections.abc import Iterator

import typer

from benchmarks.results import Section, read
from benchmarks.rivals.table import lines
from stack.paths import ROOT

PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- rivals -->", "<!-- /rivals -->"


def text(section: Section) -> Iterator[str]:
    """The table, with the machine, the commit and the day of its results."""
    about = section["machine"]
    yield (
        f"{about['device']}: {about['cpu']}, {about['cores']} cores; commit {about['commit']}, "
        f"{section['date']}; {section['repeats']} repeats, alternating; median (lowest to highest)."
    )
    yield ""
    yield from lines(section)
    for name, why in section["failures"].items():
        yield f"- not measured: {name}: {why.splitlines()[0]}"


def main() -> None:
    """Renew the page between its markers."""
    found = read(ROOT / "benchmarks/results", ["rivals"])
    if "rivals" not in found:
        raise typer.BadParameter("there are no results of the rivals: run make bench-rivals first")
    before, rest = PAGE.read_text().split(BEGIN)
    new = "\n".join(text(found["rivals"]))
    PAGE.write_text(f"{before}{BEGIN}\n{new}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    typer.run(main)
