"""Three Tritons with a model that needs no CPU, and a name in DNS that stands for them."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stack.ports import free_ports
from stack.triton import Triton

MODEL = "first_byte"
CLASSES = 10
BATCH = 16
DELAY_S = 0.1
"""Of a batch: three servers answer 480 images/s, which a bridge on a busy machine keeps up with."""
NAME = "triton.test"

_CONFIG = f"""\
name: "{MODEL}"
backend: "python"
max_batch_size: {BATCH}
input [{{ name: "PIXELS" data_type: TYPE_UINT8 dims: [ 32, 32, 3 ] }}]
output [{{ name: "SCORES" data_type: TYPE_FP32 dims: [ {CLASSES} ] }}]
instance_group [{{ kind: KIND_CPU }}]
"""
_CODE = f"""\
import pathlib
import time

import numpy
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args):
        self.delay = pathlib.Path(args["model_repository"], "delay")

    def execute(self, requests):
        answers = []
        for request in requests:
            time.sleep(float(self.delay.read_text()))
            pixels = pb.get_input_tensor_by_name(request, "PIXELS").as_numpy()
            scores = numpy.eye({CLASSES}, dtype=numpy.float32)[pixels[:, 0, 0, 0] % {CLASSES}]
            answers.append(pb.InferenceResponse([pb.Tensor("SCORES", scores)]))
        return answers
"""
_DNS = f"""\
import json, os, socket
real = socket.getaddrinfo
def getaddrinfo(host, port, *arguments, **options):
    if host != {NAME!r}:
        return real(host, port, *arguments, **options)
    with open(os.environ["FAULT_HOSTS"]) as file:
        hosts = json.load(file)
    return [one for host in hosts for one in real(host, port, *arguments, **options)]
socket.getaddrinfo = getaddrinfo
"""


class Trio:
    """Servers on 127.0.0.2, .3 and so on, all on one port.

    Args:
        directory: keeps their models, their logs, and what the name stands for.
    """

    def __init__(self, directory: Path) -> None:
        self.servers: dict[str, Triton] = {}
        self.port = free_ports(1)[0]
        self._directory = directory
        shim = directory / "shim"
        shim.mkdir()
        (shim / "sitecustomize.py").write_text(_DNS)
        self._hosts = directory / "hosts.json"
        self.environment = {"PYTHONPATH": str(shim), "FAULT_HOSTS": str(self._hosts)}
        """With it, a Python program finds the servers under `NAME`."""

    def add(self, host: str) -> Triton:
        """A server that is not yet started."""
        model = self._directory / host / "models" / MODEL
        (model / "1").mkdir(parents=True)
        (model / "config.pbtxt").write_text(_CONFIG)
        (model / "1" / "model.py").write_text(_CODE)
        self.servers[host] = Triton(
            model.parent,
            self._directory / host,
            arguments=[f"--grpc-address={host}", f"--grpc-port={self.port}"],
        )
        self.slow(host, 1)
        return self.servers[host]

    def slow(self, host: str, times: float) -> None:
        """Have its model take that many times as long."""
        delay = self._directory / host / "models" / MODEL / "delay"
        new = delay.with_suffix(".new")
        new.write_text(str(DELAY_S * times))
        new.replace(delay)  # at once: it is read before each batch

    def point(self, *hosts: str) -> None:
        """What DNS says from now on."""
        self._hosts.write_text(json.dumps(hosts))

    @property
    def addresses(self) -> str:
        return ",".join(f"{host}:{self.port}" for host in self.servers)

    @property
    def name(self) -> str:
        return f"dns:///{NAME}:{self.port}"


@contextmanager
def three_tritons(directory: Path) -> Iterator[Trio]:
    trio = Trio(directory)
    with ExitStack() as running:
        for host in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            server = trio.add(host)
            running.callback(server.stop)
            server.launch()
        for server in trio.servers.values():
            server.wait_ready()
        trio.point(*trio.servers)
        yield trio
