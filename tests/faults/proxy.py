"""A TCP proxy on loopback that can be cut, slowed down, or made to drip."""

import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress

CHUNK = 65536
DRIP_BYTES = 512
DRIP_EVERY_S = 0.005
"""About 100 KB/s each way while dripping: a bad mobile link."""


class Proxy:
    """Forwards one port to another. A context manager.

    Attributes:
        port: where clients connect.
    """

    def __init__(self, target_port: int, port: int = 0) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._delay_s = 0.0
        self._drip = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()

    def cut(self) -> None:
        """Drop every connection, and accept none until `restore`."""
        self._open.clear()
        with self._lock:
            for pair in self._pairs:
                for one in pair:
                    with suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
            self._pairs.clear()

    def slow(self, delay_s: float) -> None:
        """Deliver everything that much later, each way."""
        self._delay_s = delay_s

    def drip(self) -> None:
        """Let only `DRIP_BYTES` through each `DRIP_EVERY_S`."""
        self._drip = True

    def restore(self) -> None:
        self._delay_s = 0.0
        self._drip = False
        self._open.set()

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._open.is_set():
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._pairs.append((client, server))
            if not self._open.is_set():  # cut meanwhile, when this pair was not there yet
                client.close()
                server.close()
                continue
            threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        waiting: deque[tuple[float, bytes]] = deque()
        ended = False
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(source, selectors.EVENT_READ)
                # What was sent before the end arrives, too, however late.
                while waiting or not ended:
                    wait = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
                    if selector.select(wait):
                        data = source.recv(CHUNK)
                        if data:
                            waiting.append((time.monotonic() + self._delay_s, data))
                        else:
                            ended = True
                            selector.unregister(source)
                    while waiting and waiting[0][0] <= time.monotonic():
                        self._pass_on(waiting.popleft()[1], sink)
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # cut, or closed by one end: the other end is told
            for one in (source, sink):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, data: bytes, sink: socket.socket) -> None:
        if not self._drip:
            sink.sendall(data)
            return
        for start in range(0, len(data), DRIP_BYTES):
            sink.sendall(data[start : start + DRIP_BYTES])
            if self._drip:
                time.sleep(DRIP_EVERY_S)
