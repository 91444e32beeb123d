"""docs/configuration.md is what the programs say of themselves."""

import re

import pytest

from bridge.config import Settings
from scripts.configuration import PAGE, page

FLAGS = [name.replace("_", "-") for name in Settings.model_fields]
ROWS = [
    *(f"| `--{flag}` | `BRIDGE_{flag.replace('-', '_').upper()}` |" for flag in FLAGS),
    "| `--rate` | `PRODUCER_RATE` | `100.0` |",
    "| `--idle` | `CONSUMER_IDLE` | `10.0` |",
    "| `--kafka-port` | `a free one` |",
    "| `NAME` | `resnet20_cifar10` |",
]


@pytest.fixture(scope="module")
def text() -> str:
    return page()


def test_the_page_of_settings_is_current(text: str) -> None:
    assert PAGE.read_text() == text, "out of date: run make docs"


@pytest.mark.parametrize("row", ROWS)
def test_each_setting_has_its_row(text: str, row: str) -> None:
    assert text.count(f"\n{row}") == 1


def test_flags_and_variables_agree_in_name_and_each_command_has_its_own_prefix(text: str) -> None:
    prefixes = []
    for section in text.split("\n## ")[1:]:
        rows = re.findall(r"^\| `--([a-z-]+)`.*? \| `([A-Z]+)_([A-Z_]+)` \|", section, re.MULTILINE)
        assert [flag.upper().replace("-", "_") for flag, _, _ in rows] == [row[2] for row in rows]
        if rows:
            (prefix,) = {row[1] for row in rows}
            prefixes.append(prefix)
    assert sorted(prefixes) == ["BRIDGE", "CONSUMER", "LIVEVIEW", "PRODUCER", "READER"]


def test_a_flag_shows_its_choices_and_its_bounds(text: str) -> None:
    assert "(`at-least-once`, `exactly-once`)" in text
    assert "(1 to 1,000)" in text
    assert "(above 0 to 60)" in text


def test_no_path_of_this_checkout_is_on_the_page(text: str) -> None:
    assert str(PAGE.parents[1]) not in text
