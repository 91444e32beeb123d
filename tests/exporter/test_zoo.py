"""torchvision's networks by name, with what their own weights want."""

import copy
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from exporter import models, zoo
from exporter.errors import ExportError
from exporter.graph import wrapped
from exporter.heads import without_last_layer
from exporter.own import own_model


def test_every_classifier_has_the_preprocessing_of_its_own_weights() -> None:
    for name in zoo.CLASSIFIERS:
        for member in get_model_weights(name):
            if member.meta["categories"] is None:  # vgg16's features, which have no classifier
                continue
            model, transforms = models.find(name, weights=member.name), member.transforms()
            assert list(model.size) == transforms.crop_size * 2, member
            assert [model.resize] == transforms.resize_size, member
            assert (list(model.mean), list(model.std)) == (transforms.mean, transforms.std), member
            assert model.interpolation == transforms.interpolation.value, member
            assert model.labels == tuple(member.meta["categories"])
            assert model.pretrained is member


def test_every_detector_says_its_classes_and_how_images_become_its_input() -> None:
    assert len(zoo.DETECTORS) >= 12
    small = models.find("ssdlite320_mobilenet_v3_large")
    assert (small.task, small.size, small.fit) == ("detect", (320, 320), "exact")
    assert (small.labels[0], small.labels[1], small.labels[12]) == ("__background__", "person", "")
    large = models.find("fasterrcnn_mobilenet_v3_large_320_fpn", weights="none")
    assert (large.size, large.fit) == ((320, 320), "letterbox")
    assert models.find("retinanet_resnet50_fpn_v2").size == (800, 800)
    for model in (small, large):  # they normalise by themselves
        assert (model.mean, model.std) == ((0.0,), (1.0,))


def test_detectors_have_the_batch_norms_that_their_weights_were_trained_with() -> None:
    with torch.device("meta"):
        network = models.find("retinanet_resnet50_fpn").build()
    found = {one.eps for one in network.modules() if isinstance(one, nn.BatchNorm2d)}
    assert found == {0.0}


def test_a_vision_transformer_is_built_for_the_size_that_is_asked() -> None:
    with torch.device("meta"):
        network = zoo.model("vit_b_16", size=(64, 64), labels=("a", "b")).build().eval()
        assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 2)


def test_the_largest_vision_transformer_fits_its_own_weights() -> None:
    model = models.find("vit_h_14")  # trained on 518x518; where nothing is told, built for 224x224
    with torch.device("meta"):
        assert model.build().get_parameter("encoder.pos_embedding").shape[1] == (518 // 14) ** 2 + 1


def test_torchvision_is_a_module_to_take_a_network_from() -> None:
    model = own_model("birds", "torchvision.models:vit_b_16")
    assert (model.name, model.size, len(model.labels)) == ("birds", (224, 224), 1000)
    assert model.resize == 256
    assert model.source == ""


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("vit_b_16", {"size": "32x64"}, "takes square images, not 32x64"),
        ("resnet18", {"task": "detect"}, "finds no boxes; torchvision's detectors are faster"),
        ("ssd300_vgg16", {"task": "classify"}, "finds boxes: its task is detect"),
        ("resnet20_cifar10", {"task": "detect"}, "finds no boxes"),
        ("resnet20_cifar10", {"size": "64x64"}, "yours need --network"),
        ("resnet18", {"channels": 1}, "a function that builds it: --network FILE.py:NAME"),
        ("mobilenet", {}, "such as mobilenet_v2.* --network FILE.py:NAME --size"),
        ("resnet18", {"task": "segment"}, "task is one of classify, detect, embed"),
    ],
)
def test_what_a_network_cannot_do_is_said_with_what_can_be_done(
    name: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ExportError, match=complaint):
        own_model(name, None, **options).build()


def test_an_unknown_network_of_torchvision_is_refused_with_those_that_are() -> None:
    with pytest.raises(ExportError, match=r"has no 'resnet19'; it has alexnet"):
        own_model("mine", "torchvision.models:resnet19")


FAMILIES = (
    "resnet18", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5",
    "regnet_y_400mf", "efficientnet_b0", "densenet121", "mnasnet0_5", "convnext_tiny", "swin_t",
    "maxvit_t",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_an_embedding_is_what_the_last_layer_gets(name: str) -> None:
    torch.manual_seed(0)
    network = get_model(name, weights=None).eval()
    last = [one for one in network.modules() if isinstance(one, nn.Linear | nn.Conv2d)][-1]
    taken: list[Tensor] = []
    handle = last.register_forward_hook(lambda _, given, __: taken.append(given[0]))
    side = 224 if name == "maxvit_t" else 64
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        network(images)
        handle.remove()
        found = without_last_layer(network, name)(images)
    (wanted,) = taken
    # Of squeezenet a pooling follows.
    wanted = wanted if wanted.dim() == 2 else wanted.mean((2, 3))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_the_networks_own_head_stays_as_it_was() -> None:
    network = get_model("resnet18", weights=None)
    before = copy.deepcopy(network.state_dict())
    without_last_layer(network, "resnet18")
    assert before.keys() == network.state_dict().keys()


def test_a_network_without_a_known_head_is_refused_with_what_to_give() -> None:
    with pytest.raises(ExportError, match=r"--network FILE\.py:NAME --task embed"):
        without_last_layer(nn.Sequential(nn.Linear(2, 2)), "mine")


def test_a_vector_has_no_softmax_and_keeps_its_numbers() -> None:
    model = models.find("resnet20_cifar10", task="embed")
    around = wrapped(model.build().eval(), model)
    vector = around(torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8))
    assert vector.shape == (2, 64)
    assert not torch.allclose(vector.sum(1), torch.ones(2))


def test_torchvisions_list_is_what_is_offered() -> None:
    assert "vit_b_16" in zoo.CLASSIFIERS
    assert not [name for name in zoo.CLASSIFIERS if name.startswith("quantized")]
    assert set(zoo.CLASSIFIERS) <= set(torchvision.models.list_models())
