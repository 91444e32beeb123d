"""The live view of this checkout as a child process: a local page of what passes."""

from pathlib import Path

from cli.child import command
from stack.ports import HOST, free_ports, require_free
from stack.probe import is_ok
from stack.service import Command, Service


class LiveView(Service):
    """The page at 127.0.0.1; ready when it is served.

    Args:
        brokers: brokers that it reads, host:port, comma separated.
        directory: folder for the log.
        port: port of the page; None: a free one.
    """

    def __init__(self, brokers: str, directory: Path, port: int | None = None) -> None:
        super().__init__("live-view", directory)
        self._brokers = brokers
        self._port = free_ports(1)[0] if port is None else port

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}/"

    def _prepare(self) -> Command:
        require_free(self._port, "the live view")
        return Command(command("watch", "--brokers", self._brokers, "--port", self._port))

    def _is_ready(self) -> bool:
        return is_ok(f"{HOST}:{self._port}", "/", method="HEAD", timeout_s=1)
