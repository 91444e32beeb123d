"""The demo of the detector judges what was said of each canvas, and draws it."""

from pathlib import Path

import numpy as np
from PIL import Image

from exporter.detector.canvases import LABELS, SIDE
from producer.sources import Folder
from stack.demo.detections import Detecting, draw_examples, judge, number_of, write_canvases
from wire.answers import Detection, Detections


def perfect(shown: Detecting) -> dict[int, Detections]:
    return {
        number: Detections(
            tuple(
                Detection(label=LABELS[kind], class_id=int(kind), score=0.9, box=box.tolist())
                for box, kind in zip(canvas.boxes, canvas.classes, strict=True)
            )
        )
        for number, canvas in enumerate(shown.canvases)
    }


def test_canvases_are_judged_by_their_place_in_the_folder(tmp_path: Path) -> None:
    shown = write_canvases(tmp_path / "canvases", 12)
    files = sorted(shown.folder.iterdir())
    for file, canvas in zip(files, shown.canvases, strict=True):
        with Image.open(file) as picture:
            np.testing.assert_array_equal(np.asarray(picture), canvas.pixels)
    said = perfect(shown)
    assert judge(shown, said).mean_average_precision == 1
    objects = sum(len(canvas.classes) for canvas in shown.canvases)
    missed = len(said.pop(3).found)
    assert judge(shown, said).recall == (objects - missed) / objects
    assert judge(shown, {}).mean_average_precision == 0


def test_a_canvas_is_found_again_by_the_id_that_the_producer_gives_its_file(
    tmp_path: Path,
) -> None:
    shown = write_canvases(tmp_path / "canvases", 12)
    names = Folder(shown.folder).names()
    assert [number_of(names.id(place)) for place in range(12)] == list(range(12))


def test_boxes_are_drawn_in_the_picture(tmp_path: Path) -> None:
    shown = write_canvases(tmp_path / "canvases", 2)
    draw_examples(shown, {}, tmp_path / "plain.png")
    draw_examples(shown, perfect(shown), tmp_path / "drawn.png")
    with Image.open(tmp_path / "plain.png") as plain, Image.open(tmp_path / "drawn.png") as drawn:
        assert plain.size == drawn.size
        assert drawn.size[0] > 2 * SIDE
        assert (np.asarray(plain) != np.asarray(drawn)).any()
