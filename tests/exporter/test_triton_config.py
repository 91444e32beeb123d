from pathlib import Path

import pytest

from exporter import models
from exporter.triton_config import Serving, parse, queue_size, render, warmup_sizes

RESNET20 = models.find("resnet20_cifar10")
COMMITTED = Path(__file__).resolve().parents[2] / "model_repository" / "resnet20_cifar10"


def test_the_committed_files_are_what_the_exporter_writes() -> None:
    assert (COMMITTED / "config.pbtxt").read_text() == render(RESNET20, Serving())
    assert (COMMITTED / "labels.txt").read_text().splitlines() == list(RESNET20.labels)


@pytest.mark.parametrize("name", [*models.CIFAR_NAMES, "resnet50", "efficientnet_b1"])
@pytest.mark.parametrize("backend", ["pytorch", "python"])
def test_a_config_says_what_the_model_takes_and_gives(name: str, backend: str) -> None:
    model = models.find(name)
    config = parse(render(model, Serving(backend=backend)))
    assert (config.name, config.backend) == (name, backend)
    assert config.platform == ("pytorch_libtorch" if backend == "pytorch" else "")
    assert list(config.input[0].dims) == [*model.size, 3]
    assert list(config.output[0].dims) == [len(model.labels)]
    assert config.output[0].label_filename == "labels.txt"
    assert config.parameters["preprocess.resize"].string_value == str(model.resize)


def test_options_reach_the_config() -> None:
    serving = Serving(
        "pytorch", max_batch_size=8, instances=3, device="cuda", queue_delay_us=500, threads=4
    )
    config = parse(render(RESNET20, serving))
    assert config.max_batch_size == 8
    assert config.instance_group[0].count == 3
    assert config.instance_group[0].Kind.Name(config.instance_group[0].kind) == "KIND_GPU"
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert config.parameters["INTRA_OP_THREAD_COUNT"].string_value == "4"
    assert config.parameters["ENABLE_WEIGHT_SHARING"].string_value == "true"


def test_a_model_of_single_images_has_no_dynamic_batcher() -> None:
    config = parse(render(RESNET20, Serving(max_batch_size=1)))
    assert not config.HasField("dynamic_batching")
    assert [warmup.batch_size for warmup in config.model_warmup] == [1]


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (64, [1, 2, 4, 8, 16, 32, 64]), (5, [1, 2, 4, 5])],
)
def test_warm_up_ends_with_the_largest_batch(largest: int, sizes: list[int]) -> None:
    assert warmup_sizes(largest) == sizes


def test_the_queue_is_bounded_by_the_bytes_that_wait_in_it() -> None:
    large = models.find("resnet50")
    assert queue_size(RESNET20, 64) == 1024
    assert queue_size(large, 64) * 64 * 224 * 224 * 3 <= 1 << 30
    assert queue_size(large, 4096) == 16
