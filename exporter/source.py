"""Loads the user's network from a Python file, a module, or a TorchScript file."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from exporter.errors import ArgumentError, ExportError
from exporter.formats import quiet

FORMS = "FILE.py:NAME, MODULE:NAME, or a TorchScript file FILE.pt"


class Source(NamedTuple):
    """A function that builds a network, and a digest of its file."""

    build: Callable[[], nn.Module]
    digest: str


def find_source(network: str) -> Source:
    """Read the value of `--network`.

    Raises:
        ArgumentError: there is no such file, or it is not named as it has to be.
        ExportError: the module cannot be imported.
    """
    place, _, attribute = network.rpartition(":")
    if place and not place.endswith(".py") and not Path(network).exists():
        return _module(place, attribute)
    path, attribute = (Path(place), attribute) if place.endswith(".py") else (Path(network), "")
    if not path.is_file():
        raise ArgumentError(f"no network at {path}: --network is {FORMS}")
    if path.suffix == ".py" and not attribute:
        raise ArgumentError(
            f"--network {path}:NAME has to say what in that file builds the network"
        )
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ArgumentError(f"--network {path} cannot be read: {error}") from None
    return Source(partial(_call, path, attribute) if attribute else partial(_load, path), digest)


def _module(name: str, attribute: str) -> Source:
    if not all(part.isidentifier() for part in (*name.split("."), attribute)):
        raise ArgumentError(f"no network at {name}:{attribute}: --network is {FORMS}")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)  # as with `python -m`
    try:
        module = importlib.import_module(name)
    except Exception as error:  # the user's code can raise anything
        raise ExportError(
            f"--network {name}:{attribute}: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(folder)
    file = getattr(module, "__file__", None)
    digest = hashlib.sha256(Path(file).read_bytes() if file else name.encode()).hexdigest()
    return Source(partial(_build, module, f"{name}:{attribute}", attribute), digest)


def _call(path: Path, attribute: str) -> nn.Module:
    """Run the user's file, and call the `attribute` in it."""
    name = f"own_network_{path.stem}"  # not the file's own name, which may be torch.py
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where torch.jit.script looks for its source
    sys.path.insert(0, str(path.resolve().parent))  # the file may import its neighbours
    try:
        spec.loader.exec_module(module)
        return _build(module, f"{path}:{attribute}", attribute)
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"{path}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)


def _build(module: object, where: str, attribute: str) -> nn.Module:
    try:
        found: Any = getattr(module, attribute)
        network = found if isinstance(found, nn.Module) else found()
    except Exception as error:
        hint = (
            ". What is called gets no arguments: give a function that takes none and passes them"
            if isinstance(error, TypeError)
            else ""
        )
        raise ExportError(f"{where}: {type(error).__name__}: {error}{hint}") from error
    return _require_network(network, where)


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
    for weight in module.parameters():  # otherwise a copy would keep each weight's history
        weight.requires_grad_(False)
    return module


def _require_network(network: object, where: str) -> nn.Module:
    if not isinstance(network, nn.Module):
        raise ExportError(
            f"{where} gives a {type(network).__name__}, not a torch.nn.Module: name a function or "
            "class that gives the network, or the network"
        )
    return network
