"""What others are held to, and how their answers and models are made out."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.models import NULL, write_null_model
from benchmarks.progress import Progress
from benchmarks.rivals.answers import best_class
from benchmarks.rivals.entries import RIVALS
from benchmarks.rivals.flink import KINDS, name_of, write_variants
from benchmarks.rivals.table import EXACTLY_ONCE, OURS
from stack.errors import StackError

TOP = [{"label": "cat", "class_id": 3, "score": 0.9}, {"label": "dog", "class_id": 5, "score": 0.1}]


@pytest.mark.parametrize(
    ("answer", "best"),
    [
        (TOP, 3),
        ({"id": "b0", "top": TOP}, 3),
        ({"scores": [0.1, 0.2, 0.7]}, 2),
        ({"outputs": [{"name": "top", "data": [json.dumps(TOP)]}]}, 3),
    ],
)
def test_the_best_class_is_made_out_in_every_form(answer: Any, best: int) -> None:
    assert best_class(answer) == best


@pytest.mark.parametrize("answer", [None, [], {}, {"error": "no"}, [{"label": "cat"}]])
def test_an_answer_of_no_form_is_refused(answer: Any) -> None:
    with pytest.raises(StackError, match="not understood"):
        best_class(answer)


def test_flink_is_given_the_same_models_with_inputs_that_it_can_send(tmp_path: Path) -> None:
    write_null_model(tmp_path)
    write_null_model(tmp_path, "network")
    config = tmp_path / "network/config.pbtxt"
    warm_up = 'model_warmup {\n  inputs { key: "INPUT__0" value { dims: [ 32, 32, 3 ] } }\n}\n'
    config.write_text(config.read_text() + warm_up)
    code = (tmp_path / "network/1/model.py").read_text()
    write_variants(tmp_path, "network")
    for kind, (data_type, size) in KINDS.items():
        for of in ("network", NULL):
            text = (tmp_path / name_of(of, kind) / "config.pbtxt").read_text()
            assert f'name: "{name_of(of, kind)}"' in text
            assert f"data_type: {data_type} dims: [ {size} ]" in text
            assert "32, 32, 3" not in text
        folder = tmp_path / name_of("network", kind) / "1"
        assert (folder / "exported.py").read_text() == code
        compile((folder / "model.py").read_text(), "model.py", "exec")


def test_each_guarantee_has_a_bridge_to_be_compared_with() -> None:
    names = [rival.name for rival in RIVALS]
    assert len(set(names)) == len(names)
    assert {OURS, f"{OURS}, {EXACTLY_ONCE}"} <= set(names)
    for rival in RIVALS:
        assert (EXACTLY_ONCE in rival.name) == (rival.guarantee == EXACTLY_ONCE)


def test_a_part_has_its_share_of_the_time_and_what_is_kept_beside_it() -> None:
    kept: list[dict[str, Any]] = []
    progress = Progress(lambda _: None, kept.append, deadline=10.0, clock=lambda: 4.0)
    part = progress.part(0.5, {"right": {"a": 915}, "points": []})
    part.keep({"points": [1]})
    assert kept == [{"right": {"a": 915}, "points": [1]}]
    assert (part.left_s, progress.left_s) == (3.0, 6.0)
    assert Progress(lambda _: None, kept.append).part(0.5, {}).left_s is None
