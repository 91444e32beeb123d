"""torchvision's RetinaNet through the exporter, a real Triton and the bridge: minutes of a core."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from exporter.check import sample
from exporter.export import export
from exporter.graph import Pixels
from exporter.model import Model
from exporter.models import find
from stack.kafka import Kafka
from stack.triton import Triton
from tests.bridge.answers import collect_answers, predictions
from tests.bridge.conftest import StartBridge
from tests.conftest import Topics
from tests.exporter.test_end_to_end import Kept, as_pngs, eager, pictures, require_same_boxes
from tests.kafka_client import send

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

NAME = "retinanet_resnet50_fpn"


def weights(model: Model, path: Path) -> Path:
    """Random ones that find boxes near their anchors: its own would have to be downloaded.

    Boxes far from them would lie outside of the image, and what has no area is no detection.
    """
    torch.manual_seed(1)
    network: Any = model.build()
    images = Pixels(model, torch.float32)(sample(model).pixels)
    head = network.head.classification_head.cls_logits
    boxes = network.head.regression_head.bbox_reg
    seen: dict[nn.Module, list[torch.Tensor]] = {head: [], boxes: []}
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum, norm.eps = None, 1e-5  # what it sees first is what it knows
        network.train().backbone(images)
        for norm in norms:
            assert norm.running_var is not None
            norm.running_var.clamp_(min=1e-3)
            norm.eps = 0.0
        for layer, found in seen.items():
            layer.register_forward_hook(lambda _, __, out, into=found: into.append(out.flatten()))
        network.eval()(list(images))
        head.weight.mul_(2 / torch.cat(seen[head]).std())
        head.bias.fill_(-6)
        boxes.weight.mul_(0.1 / torch.cat(seen[boxes]).std())
    torch.save(network.state_dict(), path)
    return path


def test_retinanet_gives_the_boxes_of_eager_mode(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, tmp_path: Path
) -> None:
    kept = Kept(find(NAME), weights(find(NAME), tmp_path / "retinanet.pth"))
    done = export(
        NAME, tmp_path / "models", backend="python", weights=kept.weights, max_batch_size=2,
        instances=1,
    )  # fmt: skip
    assert done.verdict is not None
    assert done.verdict.boxes, "without boxes nothing was compared"
    sent = pictures((800, 800), count=2)
    with Triton(tmp_path / "models", tmp_path / "triton") as triton:
        start_bridge(triton=triton.grpc, model=NAME, request_timeout_s="300")
        send(kafka.bootstrap, topics.images, as_pngs(sent))
        found = {one.id: one for one in predictions(collect_answers(kafka, topics, 2), topics)}
    for name, picture in sent.items():
        require_same_boxes(found[name], eager(kept, picture), kept.model.labels, 800)
