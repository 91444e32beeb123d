import pytest
from torch import nn

from exporter import models
from exporter.errors import ExportError


@pytest.mark.parametrize(
    ("depth", "million"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_cifar_networks_have_the_papers_number_of_parameters(depth: int, million: float) -> None:
    network = models.find(f"resnet{depth}_cifar10").build()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(million, rel=0.03)


@pytest.mark.parametrize("name", [*models.CIFAR_NAMES, "resnet18", "resnet50"])
def test_every_model_has_a_label_for_each_of_its_outputs(name: str) -> None:
    model = models.find(name)
    outputs = [m.out_features for m in model.build().modules() if isinstance(m, nn.Linear)]
    assert outputs == [len(model.labels)]


def test_downloaded_weights_bring_their_own_resize() -> None:
    assert models.find("resnet50", weights="none").resize == 256
    assert models.find("resnet50").resize == 232
    assert models.find("resnet50", weights="IMAGENET1K_V1").resize == 256
    assert models.find("resnet50", weights="folder/resnet50-11ad3fa6.pth").resize == 232
    assert models.find("resnet18").resize == 256


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ExportError, match="resnet20_cifar10"):
        models.find("resnet21_cifar10")
