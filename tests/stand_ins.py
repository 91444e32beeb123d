"""Models with the configurations that people have, each answered by a few lines of Python.

They see what a real one sees (its dtype, order and range are asserted), and answer by colours: so
that a test knows what must come out, in the pixels of the photo that was sent.
"""

from pathlib import Path

from tests.models import parameter, write

FIND = """
def find(red, green, blue):
    found = (red > 0.6) & (green < 0.4) & (blue < 0.4)
    y, x = np.nonzero(found)
    return None if not len(x) else (x.min(), y.min(), x.max() + 1, y.max() + 1)
"""
"""Left, top, right, bottom of what is red, in pixels of the input."""


def write_yolov8(repository: Path) -> None:
    """Write a model as `yolo export format=onnx` makes it: no batch of Triton's, [1, 84, 8400]."""
    write(
        repository,
        "yolov8n",
        "max_batch_size: 0\n"
        'input { name: "images" data_type: TYPE_FP32 dims: [ 1, 3, 640, 640 ] }\n'
        'output { name: "output0" data_type: TYPE_FP32 dims: [ 1, 84, 8400 ] }\n',
        FIND
        + """
assert images.shape == (1, 3, 640, 640) and images.dtype == np.float32
assert 0 <= images.min() and 0.5 < images.max() <= 1
rows = np.zeros((1, 84, 8400), np.float32)
found = find(*images[0])
if found is not None:
    left, top, right, bottom = found
    box = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    rows[0, :4, :3] = np.array([box]).T
    rows[0, 4 + 17, :3] = 0.9, 0.8, 0.7
return {"output0": rows}
""",
    )


def write_efficientnms(repository: Path) -> None:
    """A TensorRT engine that ends in EfficientNMS; what is behind the count is filling.

    Photos that are all grey choose a fault by their brightness.
    """
    write(
        repository,
        "efficientnms",
        "max_batch_size: 8\ndynamic_batching { }\n"
        'input { name: "images" data_type: TYPE_FP32 dims: [ 3, 64, 64 ] }\n'
        'output [ { name: "num_dets" data_type: TYPE_INT32 dims: [ 1 ] },\n'
        '  { name: "det_boxes" data_type: TYPE_FP32 dims: [ 100, 4 ] },\n'
        '  { name: "det_scores" data_type: TYPE_FP32 dims: [ 100 ] },\n'
        '  { name: "det_classes" data_type: TYPE_INT32 dims: [ 100 ] } ]\n',
        FIND
        + """
n = len(images)
count = np.ones((n, 1), np.int32)
boxes = np.full((n, 100, 4), np.nan, np.float32)
boxes[:, 0] = 0, 0, 8, 8
scores = np.full((n, 100), np.nan, np.float32)
scores[:, 0] = 0.9
classes = np.full((n, 100), -1, np.int32)
classes[:, 0] = 1
for row, image in enumerate(images):
    found = find(*image)
    if found is not None:
        boxes[row, 0] = found
    fault = round(float(image.mean()) * 255) if image.std() < 1e-6 else 0
    if fault == 1:
        count[row] = -1
    elif fault == 2:
        count[row] = 101
    elif fault == 3:
        boxes[row, 0] = np.nan
    elif fault == 4:
        scores[row, 0] = np.inf
    elif fault == 5:
        classes[row, 0] = -7
    elif fault == 6:
        classes[row, 0] = 80
return {"num_dets": count, "det_boxes": boxes, "det_scores": scores, "det_classes": classes}
""",
    )


def write_clip(repository: Path) -> None:
    """The image half of CLIP: [512] per image, which is no list of classes."""
    write(
        repository,
        "clip",
        "max_batch_size: 8\ndynamic_batching { }\n"
        'input { name: "pixel_values" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] }\n'
        'output { name: "image_embeds" data_type: TYPE_FP32 dims: [ 512 ] }\n',
        """
vectors = np.zeros((len(images), 512), np.float32)
vectors[:, :3] = images.mean((2, 3))
vectors[:, 3] = 1
return {"image_embeds": vectors}
""",
    )


def write_unet(repository: Path) -> None:
    """A U-Net of one class: logits [1, height, width]."""
    write(
        repository,
        "unet",
        "max_batch_size: 4\n"
        'input { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, 64, 96 ] }\n'
        'output { name: "logits" data_type: TYPE_FP32 dims: [ 1, 64, 96 ] }\n',
        "return {'logits': 20 * images[:, :1] - 10}",
    )


def write_keras(repository: Path) -> None:
    """TensorFlow's order, sizes left open, and classes last."""
    write(
        repository,
        "keras_segmenter",
        "max_batch_size: 4\n"
        'input { name: "input_1" data_type: TYPE_FP32 dims: [ -1, -1, 3 ] }\n'
        'output { name: "softmax" data_type: TYPE_FP32 dims: [ -1, -1, 3 ] }\n',
        """
assert images.shape[1:] == (48, 64, 3) and -1 <= images.min() and images.max() <= 1
return {"softmax": images}
""",
    )


def write_mnist(repository: Path) -> None:
    """Grey digits; the brightest row says which. A second input may be left out."""
    write(
        repository,
        "mnist",
        "max_batch_size: 16\n"
        'input { name: "Input3" data_type: TYPE_FP32 dims: [ 1, 28, 28 ] }\n'
        'input { name: "threshold" data_type: TYPE_FP32 dims: [ 1 ] optional: true }\n'
        'output { name: "Plus214_Output_0" data_type: TYPE_FP32 dims: [ 10 ] }\n'
        'output { name: "word" data_type: TYPE_STRING dims: [ 1 ] }\n',
        """
assert images.shape[1:] == (1, 28, 28)
logits = images[:, 0, :10].mean(2) * 10
words = np.array([[b"digit %d" % row.argmax()] for row in logits], object)
return {"Plus214_Output_0": logits, "word": words}
""",
    )


def write_heads(repository: Path) -> None:
    """Two heads of logits, one in 16 bits, and a feature map as the model's own business."""
    write(
        repository,
        "clothes",
        "max_batch_size: 4\n"
        'input { name: "x" data_type: TYPE_FP16 dims: [ 3, 32, 32 ] }\n'
        'output { name: "kind" data_type: TYPE_FP32 dims: [ 3 ] }\n'
        'output { name: "colour" data_type: TYPE_FP16 dims: [ 3 ] }\n'
        'output { name: "features" data_type: TYPE_FP32 dims: [ -1 ] }\n',
        """
assert images.dtype == np.float16
means = images.astype(np.float32).mean((2, 3))
length = 200000 if means[0].min() > 0.9 else 4  # of a white image, more than a message holds
return {
    "kind": 8 * means[:, ::-1],
    "colour": (8 * means).astype(np.float16),
    "features": np.full((len(images), length), 0.1, np.float32),
}
""",
    )


def write_brain(repository: Path) -> None:
    """Numbers of bfloat16, which numpy does not know: torch reads them."""
    write(
        repository,
        "brain",
        "max_batch_size: 4\n"
        'input { name: "x" data_type: TYPE_BF16 dims: [ 3, 32, 32 ] }\n'
        'output { name: "embedding" data_type: TYPE_FP32 dims: [ 3 ] }\n',
        "return {'embedding': images.float().mean((2, 3)).numpy()}",
    )
    code = repository / "brain" / "1" / "model.py"
    code.write_text(
        code.read_text()
        .replace("import numpy as np\n", "import numpy as np\nimport torch\n")
        .replace(
            "images = pb_utils.get_input_tensor_by_name(request, self.input).as_numpy()",
            "images = torch.from_dlpack("
            "pb_utils.get_input_tensor_by_name(request, self.input).to_dlpack())",
        )
    )


def write_faulty(repository: Path) -> None:
    """What it answers has another shape or dtype than its configuration says, by brightness."""
    write(
        repository,
        "faulty",
        "max_batch_size: 1\n"
        'input { name: "x" data_type: TYPE_UINT8 dims: [ 8, 8, 3 ] }\n'
        'output { name: "vector" data_type: TYPE_FP32 dims: [ 4 ] }\n'
        + parameter("postprocess.task", "embed"),
        """
shape, dtype = {1: ((1, 5), "f4"), 2: ((1, 4), "f8"), 3: ((1, 2, 2), "f4"), 4: ((2, 4), "f4")}.get(
    int(images.max()), ((1, 4), "f4")
)
return {"vector": np.ones(shape, dtype)}
""",
    )


def write_refused(repository: Path) -> None:
    """What cannot be served as it is configured."""
    pixels = 'input { name: "x" data_type: TYPE_FP32 dims: [ 3, 32, 32 ] }\n'
    scores = 'output { name: "y" data_type: TYPE_FP32 dims: [ 10 ] }\n'
    answer = "return {}"
    for name, config in {
        "sequence": "max_batch_size: 4\nsequence_batching { }\n" + pixels + scores,
        "decoupled": "max_batch_size: 0\nmodel_transaction_policy { decoupled: true }\n"
        + pixels + scores,
        "pair": "max_batch_size: 4\n" + pixels + pixels.replace('"x"', '"other"') + scores,
        "flat": "max_batch_size: 4\n" + pixels.replace("3, 32, 32", "28, 28") + scores,
        "words": "max_batch_size: 4\n" + pixels
        + 'output { name: "word" data_type: TYPE_STRING dims: [ 1 ] }\n',
    }.items():  # fmt: skip
        write(repository, name, config, answer)


def write_all(repository: Path) -> None:
    for one in (
        write_yolov8, write_efficientnms, write_clip, write_unet, write_keras, write_mnist,
        write_heads, write_brain, write_faulty, write_refused,
    ):  # fmt: skip
        one(repository)
