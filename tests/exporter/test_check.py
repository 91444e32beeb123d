import pytest
import torch
from torch import Tensor, nn

from exporter import check, models, weights
from exporter.errors import ExportError
from exporter.graph import wrapped

pytestmark = pytest.mark.slow

RESNET20 = models.find("resnet20_cifar10")


class Scores(nn.Module):
    """Fixed probabilities for two images of class 0."""

    def __init__(self, *rows: list[float]) -> None:
        super().__init__()
        self.rows = torch.tensor(rows)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.rows[: len(pixels)]


IMAGES = check.Sample(torch.zeros(2, 1, 1, 3, dtype=torch.uint8), torch.tensor([0, 0]))
WANTED = Scores([0.6, 0.4], [0.50003, 0.49997])


def test_the_shipped_weights_classify_915_of_the_1000_images() -> None:
    network = wrapped(weights.load(RESNET20, None), RESNET20)
    verdict = check.compare(network, network, check.sample(RESNET20), "fp32")
    assert verdict == check.Verdict(images=1000, changed=0, max_difference=0.0, correct=915)


def test_the_largest_difference_is_found() -> None:
    verdict = check.compare(WANTED, Scores([0.59995, 0.40005], [0.50003, 0.49997]), IMAGES, "fp32")
    assert verdict.max_difference == pytest.approx(5e-5, rel=0.01)
    assert verdict.correct == 2


@pytest.mark.parametrize(
    ("exported", "reason"),
    [
        (Scores([0.59, 0.41], [0.50003, 0.49997]), "differs from eager mode by 1.0e-02"),
        (Scores([float("nan"), 0.4], [0.50003, 0.49997]), "differs from eager mode by nan"),
        (Scores([0.6, 0.4], [0.49998, 0.50002]), "1 of 2 images another top-1"),
        (Scores([0.6, 0.4, 0.0], [0.5, 0.5, 0.0]), r"not float32 \(2, 2\)"),
    ],
)
def test_another_function_is_refused(exported: nn.Module, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        check.compare(WANTED, exported, IMAGES, "fp32")


def test_fewer_right_answers_are_refused_where_the_precision_allows_other_ones() -> None:
    # One of 50 may get another class in bf16; that costs 2 points of accuracy, or gains them.
    images = check.Sample(torch.zeros(50, 1, 1, 3, dtype=torch.uint8), torch.zeros(50))
    right, wrong = [0.51, 0.49], [0.49, 0.51]
    wanted, worse = Scores(*[right] * 50), Scores(wrong, *[right] * 49)
    assert check.compare(worse, wanted, images, "bf16").correct == 50
    with pytest.raises(ExportError, match="right on 49 of 50 images, eager mode on 50"):
        check.compare(wanted, worse, images, "bf16")


def test_large_models_are_checked_on_images_of_their_size() -> None:
    pixels, labels = check.sample(models.find("resnet18"))
    assert pixels.shape == (16, 224, 224, 3)
    assert pixels.dtype == torch.uint8
    assert labels is None
