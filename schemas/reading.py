"""Reads predictions of every format; the project's readers use it in place of the JSON reader."""

import time
from collections.abc import Callable
from typing import Any

from schemas.formats import (
    FORMATS,
    MissingPackageError,
    body_from,
    parse_avro,
    read_avro,
    read_json,
    read_protobuf,
)
from schemas.framing import is_framed, unframe
from schemas.registry import Registry, RegistryAwayError, RegistryRefusedError
from schemas.rows import Body
from schemas.settings import RegistrySettingError, RegistrySettings
from wire.prediction import Prediction, decode_prediction
from wire.record import ContractError, KafkaRecord, first_headers, raw_bytes

MAX_SCHEMAS = 1000
"""Most schema ids that are remembered: strangers can write any id."""
ASK_S = 10.0
"""Seconds for which a reader waits for an unavailable registry; then records become unreadable."""
AGAIN_S = 10.0
"""Seconds before an unavailable registry is asked again, so that it is not asked for each
record."""
PAUSE_S = 0.5

_BY_TYPE = {one.content_type: one for one in FORMATS.values()}


class PredictionReader:
    """Reads the predictions of a topic, on one thread.

    JSON Schema and Protobuf are read without a registry. Avro can only be read with the schema of
    its writer, which is looked up once by its id.

    Args:
        registry: None: there is none, and Avro cannot be read.
        warn: called with each reason why predictions cannot be read, once.
        clock, sleep: in seconds.
    """

    def __init__(
        self,
        registry: Registry | None,
        warn: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._registry = registry
        self._warn = warn
        self._clock = clock
        self._sleep = sleep
        self._writers: dict[int, Any] = {}
        """The schema of each id, or the lasting reason why there is none."""
        self._away_until = float("-inf")
        self._warned: set[str] = set()

    def close(self) -> None:
        """Close the connections to the registry."""
        if self._registry is not None:
            self._registry.close()

    def __call__(self, record: KafkaRecord) -> Prediction:
        """Read a prediction.

        Raises:
            ContractError: the record is no prediction, or cannot be read.
        """
        if not is_framed(raw_bytes(record.value())):
            return decode_prediction(record)
        kind = first_headers(record.headers()).get("content-type", b"")
        return decode_prediction(record, lambda value: self._body(kind, value))

    def _body(self, kind: bytes, value: bytes) -> Body:
        schema_id, payload = unframe(value)
        chosen = _BY_TYPE.get(kind)
        if chosen is None:
            told = kind[:80].decode(errors="replace")
            raise ContractError(f"a value with a schema's id, of the content type {told!r}")
        if chosen.name == "avro":
            return body_from(read_avro(payload, self._writer(schema_id)))
        return body_from(
            read_json(payload) if chosen.name == "json-schema" else read_protobuf(payload)
        )

    def _writer(self, schema_id: int) -> Any:
        found = self._writers.get(schema_id)
        if found is None:
            found = self._look_up(schema_id)
            if len(self._writers) >= MAX_SCHEMAS:
                self._writers.clear()
            self._writers[schema_id] = found
        if isinstance(found, ContractError):
            raise ContractError(str(found))
        return found

    def _look_up(self, schema_id: int) -> Any:
        """The writer's schema, or a lasting reason why there is none.

        Raises:
            ContractError: the registry is unavailable.
        """
        if self._registry is None:
            return self._lasting(
                "predictions are Avro, which is read with the schema it was written with: "
                "give --schema-registry-url"
            )
        deadline = self._clock() + ASK_S
        while self._clock() >= self._away_until:
            try:
                return parse_avro(self._registry.writer_text(schema_id))
            except (RegistryRefusedError, MissingPackageError, ContractError) as error:
                return self._lasting(str(error))
            except RegistryAwayError as error:
                self._tell(f"{error}; predictions are not read without it")
                if self._clock() >= deadline:
                    self._away_until = self._clock() + AGAIN_S
                else:
                    self._sleep(PAUSE_S)
        raise ContractError("the schema registry cannot be reached")

    def _lasting(self, text: str) -> ContractError:
        self._tell(text)
        return ContractError(text)

    def _tell(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < MAX_SCHEMAS:
            self._warned.add(text)
            self._warn(text)


def make_reader(settings: RegistrySettings, warn: Callable[[str], object]) -> PredictionReader:
    """Make a reader for a command.

    Raises:
        MissingPackageError: a registry is set, but its packages are not installed.
        RegistrySettingError: the settings cannot work.
    """
    if not settings.url and (settings.options or settings.user or settings.password):
        raise RegistrySettingError(
            "--schema-registry-url is missing: the other options of the schema registry need it"
        )
    return PredictionReader(Registry(settings) if settings.url else None, warn)
