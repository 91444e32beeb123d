"""The threads of a pool: one for each server, one that moves batches and one that asks DNS."""

from threading import Event, Thread

import structlog

from bridge.inference import InferenceError
from bridge.triton.member import Member
from bridge.triton.model import UnservableModelError
from bridge.triton.pool import Pool

log = structlog.get_logger()

CHECK_EVERY_S = 1.0
"""Time between two checks of a server, in seconds. With the bound on a check, the batches of a
frozen server are moved to others after three seconds."""
RESOLVE_EVERY_S = 5.0
"""Time between two look-ups of the addresses, in seconds. Kubernetes reports a new pod in about a
second, and lets DNS answers be kept for 5 to 30 s."""


class PoolWatch:
    """Keeps a pool's knowledge of its servers up to date until `stop`.

    The pool must have found its model before: other servers' models are compared with it.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._over = Event()

    def start(self) -> None:
        for member in list(self._pool.members.values()):
            self._start(member)
        Thread(target=self._move, name="triton-moves", daemon=True).start()
        if self._pool.addresses.changing:
            Thread(target=self._resolve, name="triton-dns", daemon=True).start()

    def stop(self) -> None:
        self._over.set()
        self._pool.close()

    def _start(self, member: Member) -> None:
        name = f"triton-{member.name}"
        Thread(target=self._watch, args=(member,), name=name, daemon=True).start()

    def _watch(self, member: Member) -> None:
        pool = self._pool
        while not member.gone.is_set():
            if member.examined:
                if not member.changed.wait(CHECK_EVERY_S):
                    pool.ask(member)
                member.changed.clear()
            elif not member.gone.wait(member.backoff.next_wait()):
                self._look(member)
        while member.calls and not self._over.is_set():
            if not member.changed.wait(CHECK_EVERY_S):
                pool.ask(member)
            member.changed.clear()
        member.server.close()

    def _look(self, member: Member) -> None:
        try:
            self._pool.look(member)
        except (InferenceError, UnservableModelError):
            pass  # the pool has logged it
        except Exception:  # an unexpected error must not end the examinations
            log.exception("triton_not_examined", server=member.name)

    def _move(self) -> None:
        while (call := self._pool.waiting.get()) is not None:
            try:
                self._pool.forward(call)
            except Exception as error:  # it is about this batch: the next one must still be moved
                call.done(InferenceError("INTERNAL", f"a request that cannot be made: {error}"))

    def _resolve(self) -> None:
        while not self._over.wait(RESOLVE_EVERY_S):
            for member in self._pool.refresh():
                self._start(member)
