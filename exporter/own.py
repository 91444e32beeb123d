"""A network of the user's: from a Python file that builds it, or a TorchScript file."""

import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from exporter.errors import ExportError
from exporter.formats import quiet
from exporter.models import Model

MAX_SIDE = 16384
MAX_LABELS = 1_000_000


def own_model(
    name: str,
    network: str,
    labels: Path,
    size: str,
    *,
    resize: int | None = None,
    mean: str = "0,0,0",
    std: str = "1,1,1",
    interpolation: str = "bilinear",
    probabilities: bool = False,
) -> Model:
    """Describe a network that takes float32 [N, 3, H, W] and gives [N, classes].

    Args:
        network: `FILE.py:NAME`, a function or class that gives the network when called, or a
            TorchScript file.
        labels: file with a class name a line, in the order of the network's outputs.
        size: HEIGHTxWIDTH of its input, pixels.
        resize: the shorter side that an image is scaled to before `size` is cut from its centre;
            by default the shorter of `size`.
        mean, std: R,G,B of pixels in [0, 1] that the network was trained with.
        probabilities: it gives these itself; otherwise softmax is put behind it.

    Raises:
        ExportError: an argument that can't be used.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
        raise ExportError(
            f"a model's name is 1 to 200 letters, digits, dots, underscores and hyphens, not "
            f"{name[:200]!r}"
        )
    height, width = _size(size)
    path, _, attribute = network.rpartition(":") if ".py:" in network else (network, "", "")
    source = Path(path)
    if not source.is_file():
        raise ExportError(f"no network at {path}: --network is FILE.py:NAME or a TorchScript file")
    if source.suffix == ".py" and not attribute:
        raise ExportError(f"--network {path}:NAME has to say what in that file builds the network")
    build = partial(_call, source, attribute) if attribute else partial(_load, source)
    return Model(
        name=name,
        build=build,
        labels=_labels(labels),
        size=(height, width),
        resize=min(height, width) if resize is None else resize,
        mean=_three("--mean", mean),
        std=_three("--std", std),
        interpolation=interpolation,
        source=hashlib.sha256(source.read_bytes()).hexdigest(),
        probabilities=probabilities,
    )


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    sides = [int(side) for side in found.groups()] if found else []
    if not sides or not all(0 < side <= MAX_SIDE for side in sides):
        raise ExportError(f"--size is HEIGHTxWIDTH in pixels, such as 224x224, not {text[:40]!r}")
    return sides[0], sides[1]


def _three(flag: str, text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        raise ExportError(
            f"{flag} is three numbers R,G,B, such as 0.485,0.456,0.406, not {text[:60]!r}"
        ) from None
    if flag == "--std" and not all(value > 0 for value in (red, green, blue)):
        raise ExportError(f"--std divides: each must be above 0, not {text[:60]!r}")
    return red, green, blue


def _labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"no labels can be read from {path}: {error}") from None
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names or len(names) > MAX_LABELS or not all(names):
        raise ExportError(f"{path} has to have a class name on each line, and no empty line")
    return tuple(names)


def _call(path: Path, attribute: str) -> nn.Module:
    """Run the user's file, and what it calls `attribute`."""
    name = f"own_network_{path.stem}"  # not its bare name: it may be called torch.py
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where torch.jit.script looks for its source
    sys.path.insert(0, str(path.resolve().parent))  # its neighbours are its to import
    try:
        spec.loader.exec_module(module)
        found: Any = getattr(module, attribute)
        network = found if isinstance(found, nn.Module) else found()
    except Exception as error:
        raise ExportError(f"{path}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    return _require_network(network, f"{path}:{attribute}")


def _load(path: Path) -> nn.Module:
    try:
        with quiet():
            network = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]  # untyped
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(
            f"{path} is not a TorchScript file ({reason}); for a checkpoint of weights, give "
            "--network FILE.py:NAME and --weights FILE"
        ) from None
    module = _require_network(network, str(path))
    for weight in module.parameters():  # else a copy would keep the history of each
        weight.requires_grad_(False)
    return module


def _require_network(network: object, where: str) -> nn.Module:
    if not isinstance(network, nn.Module):
        raise ExportError(f"{where} gives a {type(network).__name__}, not a torch.nn.Module")
    return network


def require_output(
    predict: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor, labels: Sequence[str]
) -> None:
    """Does it run on pixels of this size, and give a number for each label?

    Raises:
        ExportError: it doesn't; the text says what it does.
    """
    height, width = pixels.shape[1:3]
    try:
        with torch.inference_mode():
            shape = tuple(predict(pixels).shape)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(f"the network fails on images of {height}x{width}: {reason}") from error
    if shape != (len(pixels), len(labels)):
        raise ExportError(
            f"for {len(pixels)} images the network gives {list(shape)}, and there are "
            f"{len(labels)} labels: it has to give [{len(pixels)}, {len(labels)}]"
        )
