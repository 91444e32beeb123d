"""The README says what is."""

from pathlib import Path

from scripts.settings_table import table

ROOT = Path(__file__).resolve().parents[1]


def test_the_readme_lists_every_setting_as_it_is() -> None:
    assert table() in (ROOT / "README.md").read_text(), (
        "README.md's table of settings is out of date: paste what scripts/settings_table.py prints"
    )
