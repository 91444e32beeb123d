"""Tiny models for a real Triton, in its Python backend: of the kinds that people have in theirs."""

import warnings
from pathlib import Path

_CODE = '''\
"""Written by tests/models.py."""

import json

import triton_python_backend_utils as pb_utils  # isort: split

import numpy as np


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.input = config["input"][0]["name"]
        self.batched = config["max_batch_size"] > 0
        self.folder = args["model_repository"] + "/" + args["model_version"]

    def execute(self, requests):
        responses = []
        for request in requests:
            images = pb_utils.get_input_tensor_by_name(request, self.input).as_numpy()
            outputs = self.answer(images)
            responses.append(pb_utils.InferenceResponse([
                pb_utils.Tensor(name, np.ascontiguousarray(values))
                for name, values in outputs.items()
            ]))
        return responses

    def answer(self, images):
'''


def write(repository: Path, name: str, config: str, answer: str, labels: str = "") -> None:
    """A model whose `answer` returns named arrays for `images`, both as its backend has them."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(f'name: "{name}"\nbackend: "python"\n{config}')
    body = "".join(f"        {line}\n" for line in answer.strip("\n").splitlines())
    (folder / "1" / "model.py").write_text(_CODE + body)
    if labels:
        (folder / "labels.txt").write_text(labels)


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def write_resnet20(repository: Path) -> None:
    """ResNet-20 as many have it: float32, channels first, normalised by the client; logits."""
    import torch  # noqa: PLC0415 - it takes seconds

    from exporter import models, weights  # noqa: PLC0415

    model = models.find("resnet20_cifar10")
    network = weights.load(model, None)
    write(
        repository,
        "resnet20_floats",
        "max_batch_size: 64\ndynamic_batching { }\n"
        'input { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, 32, 32 ] }\n'
        'output { name: "y" data_type: TYPE_FP32 dims: [ 10 ] label_filename: "labels.txt" }\n'
        + parameter("preprocess.normalize", "imagenet")
        + parameter("postprocess.activation", "softmax"),
        """
import torch
torch.set_num_threads(1)
if not hasattr(self, "network"):
    self.network = torch.jit.load(self.folder + "/model.pt")
with torch.inference_mode():
    return {"y": self.network(torch.from_numpy(images.copy())).numpy()}
""",
        "".join(f"{label}\n" for label in model.labels),
    )
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it is deprecated, and people have it
        traced = torch.jit.trace(network, torch.zeros(2, 3, 32, 32))  # type: ignore[no-untyped-call]
    traced.save(str(repository / "resnet20_floats" / "1" / "model.pt"))


def write_densenet(repository: Path) -> None:
    """The configuration of `densenet_onnx`, of Triton's quick start; its class is the colour."""
    write(
        repository,
        "densenet_onnx",
        "max_batch_size: 0\n"
        'input { name: "data_0" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, 224, 224 ]\n'
        "  reshape { shape: [ 1, 3, 224, 224 ] } }\n"
        'output { name: "fc6_1" data_type: TYPE_FP32 dims: [ 1000, 1, 1 ]\n'
        '  reshape { shape: [ 1, 1000, 1, 1 ] } label_filename: "labels.txt" }\n',
        """
assert images.shape == (1, 3, 224, 224) and images.dtype == np.float32
assert -1 <= images.min() and images.max() <= 1
scores = np.zeros((1, 1000, 1, 1), np.float32)
scores[0, int(images.mean((0, 2, 3)).argmax())] = 1 + images.max()
return {"fc6_1": scores}
""",
        "RED\nGREEN\nBLUE\n" + "".join(f"OTHER {i}\n" for i in range(997)),
    )


def write_detector(repository: Path, side: int = 64) -> None:
    """A YOLO of red and blue rectangles: a tensor before NMS, each found twice; grey borders."""
    write(
        repository,
        "detector",
        "max_batch_size: 16\ndynamic_batching { }\n"
        f'input {{ name: "images" data_type: TYPE_FP32 dims: [ 3, {side}, {side} ] }}\n'
        'output { name: "output0" data_type: TYPE_FP32 dims: [ 6, 20 ] }\n'
        + parameter("preprocess.normalize", "unit")
        + parameter("preprocess.fit", "letterbox")
        + parameter("postprocess.task", "detect")
        + parameter("postprocess.layout", "yolov8")
        + parameter("postprocess.labels", "red,blue"),
        """
rows = np.zeros((len(images), 6, 20), np.float32)
for row, image in zip(rows, images):
    for number, (channel, other) in enumerate(((0, 2), (2, 0))):
        found = (image[channel] > 0.6) & (image[other] < 0.4)
        if found.any():
            y, x = np.nonzero(found)
            left, top, right, bottom = x.min(), y.min(), x.max() + 1, y.max() + 1
            box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            row[:4, 2 * number] = row[:4, 2 * number + 1] = box
            row[4 + number, 2 * number : 2 * number + 2] = 0.9, 0.8
return {"output0": rows}
""",
    )


def write_embedder(repository: Path) -> None:
    """Mean and spread of each colour, and what makes an answer hostile: very bright images."""
    write(
        repository,
        "embedder",
        "max_batch_size: 16\ndynamic_batching { }\n"
        'input { name: "pixels" data_type: TYPE_FP16 dims: [ -1, -1, 3 ] }\n'
        'output { name: "vector" data_type: TYPE_FP32 dims: [ 6 ] }\n'
        + parameter("postprocess.task", "embed"),
        """
numbers = images.astype(np.float32)
means = numbers.mean((1, 2))
vectors = np.concatenate((means, numbers.std((1, 2))), axis=1)
vectors[(means > 0.99).all(axis=1)] = np.nan
return {"vector": vectors}
""",
    )


def write_liar(repository: Path) -> None:
    """Answers with another shape than its configuration says, once an image is not grey."""
    write(
        repository,
        "liar",
        "max_batch_size: 4\n"
        'input { name: "pixels" data_type: TYPE_UINT8 dims: [ 3, 8, 8 ] }\n'
        'output { name: "vector" data_type: TYPE_FP32 dims: [ -1 ] }\n'
        + parameter("postprocess.task", "embed"),
        """
count = len(images) if images.std() == 0 else len(images) + 1
return {"vector": np.ones((count, 4), np.float32)}
""",
    )
