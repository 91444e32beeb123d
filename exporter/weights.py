"""Checkpoints: finding them, reading them, and checking that they fit."""

import contextlib
import hashlib
import pickle
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from exporter.errors import ArgumentError, ExportError
from exporter.model import DEFAULT, RANDOM, Model

DOWNLOAD_TIMEOUT_S = 30.0
"""Seconds of silence after which a download is given up: torch.hub itself waits for ever."""

NAMED_KEYS = 8
"""Most keys that an error names; the others are only counted."""


def load(model: Model, weights: str | Path | None) -> nn.Module:
    """Build the network in eval mode, with its weights.

    Args:
        weights: a checkpoint file; "DEFAULT" for torchvision's pretrained weights (downloaded
            once, then cached by torch.hub), or another name of such weights, for example
            "IMAGENET1K_V1"; "none" for random weights from a fixed seed, for load tests; None for
            the first that exists of: the weights with which the user's own network is built, the
            shipped checkpoint, DEFAULT.

    Raises:
        ExportError: the checkpoint cannot be found or read, or does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = model.build().eval()
    if weights == RANDOM or (weights is None and model.source):
        return network
    if weights is None and model.shipped is not None:
        weights = model.shipped
    named = model.pretrained is not None and weights == model.pretrained.name
    if weights in (None, DEFAULT) or named:
        state, source = _download(model), f"torchvision's {model.pretrained}"
    else:
        state, source = read_checkpoint(Path(str(weights))), str(weights)
    fit(network, state, f"{source} does not fit {model.name}")
    return network


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read a state dict, plain or as `{"state_dict": ...}`, without `DataParallel`'s prefix.

    Only tensors and plain containers are unpickled: a checkpoint cannot run code.

    Raises:
        ArgumentError: there is no such file.
        ExportError: it is no checkpoint.
    """
    if not path.is_file():
        raise ArgumentError(f"no checkpoint at {path}")
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as why:  # what is no checkpoint can make the unpickler raise anything
        reason = f"{type(why).__name__}: {why}".strip().splitlines()[0]
        raise ExportError(f"{path} can't be read as a checkpoint of tensors: {reason}") from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise ExportError(f"{path} holds a {type(content).__name__}, not a state dict")
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise ExportError(f"{path} is not a state dict: {_some(others)} hold no tensor")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def fit(network: nn.Module, state: Mapping[str, Tensor], complaint: str) -> None:
    """Load `state` into `network`.

    `num_batches_tracked` may be missing: it only counts training steps.

    Raises:
        ExportError: a key does not fit; the text names the keys of each kind after `complaint`.
    """
    wanted = network.state_dict()
    missing = [
        name for name in wanted if name not in state and not name.endswith("num_batches_tracked")
    ]
    unexpected = [name for name in state if name not in wanted]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    faults = (("missing", missing), ("unexpected", unexpected), ("wrong shape", shapes))
    found = "; ".join(f"{kind}: {_some(keys)}" for kind, keys in faults if keys)
    if found:
        raise ExportError(f"{complaint}: {found}")
    network.load_state_dict(state, strict=False)


def digest(network: nn.Module) -> str:
    """SHA-256 of every weight with its name, dtype and shape."""
    found = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _download(model: Model) -> Mapping[str, Any]:
    if model.pretrained is None:
        raise ExportError(
            f"no weights for {model.name} with {len(model.labels)} classes can be had: give a "
            "checkpoint of yours with --weights FILE, or --weights none for random ones"
        )
    url = model.pretrained.url
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch.hub announces the download
            state: Mapping[str, Any] = model.pretrained.get_state_dict(
                progress=True, check_hash=True, map_location="cpu", weights_only=True
            )
    except (URLError, OSError, RuntimeError, pickle.UnpicklingError) as error:
        reason = getattr(error, "reason", None) or error
        raise ExportError(
            f"can't download {url}: {reason}. Where it can be reached, fetch it and give it with "
            "--weights FILE; or use --weights none for random weights"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    return state


def _some(names: list[str]) -> str:
    rest = len(names) - NAMED_KEYS
    return ", ".join(names[:NAMED_KEYS]) + (f" and {rest} more" if rest > 0 else "")
