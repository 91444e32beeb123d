"""One contract for the registry of the tests and a real one; and what is said where it says no."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from schemas import texts
from schemas.formats import FORMATS, Format, FramedSerializer
from schemas.model import PREDICTION, Field
from schemas.reading import AGAIN_S, ASK_S, PredictionReader, make_reader
from schemas.registry import Registry, RegistryAwayError, RegistryRefusedError, subject_of
from schemas.rows import row_of
from schemas.settings import RegistrySettingError, RegistrySettings, check_url
from tests.schemas.apicurio import apicurio
from tests.schemas.registry_server import FakeRegistry
from tests.schemas.test_formats import NEWER, body, predicted
from tests.schemas.tls import Certificates, make_certificates
from tests.wire.test_answers import EVENT
from tests.wire.test_contract import stored
from wire.prediction import encode_prediction
from wire.record import ContractError, StoredRecord


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with apicurio(tmp_path_factory.mktemp("apicurio") / "log") as url:
        yield url


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=[pytest.mark.soak, pytest.mark.slow])])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a registry; the one named `real` runs in `make test-schemas` alone."""
    found = request.getfixturevalue(request.param)
    return found.url if isinstance(found, FakeRegistry) else str(found)


OPEN: list[Registry | PredictionReader | SchemaRegistryClient] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """What a test opens is closed after it."""
    yield
    while OPEN:
        OPEN.pop().close()


def registry_at(url: str, **more: Any) -> Registry:
    # A busy machine's Java takes its time; the settings' own timeout is for production.
    settings = RegistrySettings(url, **{"options": {"timeout": 60}, **more})
    OPEN.append(made := Registry(settings))
    return made


def subject() -> str:
    return f"predictions-{uuid4()}-value"


def avro_format(text: str) -> Format:
    return Format("avro", "AVRO", b"", lambda: text, lambda _row: b"")


def avro_with(field: Field) -> dict[str, Any]:
    return texts.avro(type(PREDICTION)("Prediction", (*PREDICTION.fields, field)))


@pytest.mark.parametrize("name", FORMATS)
def test_a_schema_is_registered_once_and_found_by_its_id(url: str, name: str) -> None:
    chosen, under = FORMATS[name], subject()
    with pytest.raises(RegistryRefusedError, match=r"404 .*schema_register"):
        registry_at(url).id_of(chosen, under, register=False)
    schema_id = registry_at(url).id_of(chosen, under, register=True)
    assert registry_at(url).id_of(chosen, under, register=True) == schema_id
    assert registry_at(url).id_of(chosen, under, register=False) == schema_id
    assert registry_at(url).id_of(chosen, subject(), register=True) == schema_id
    assert "stamps_ns" in registry_at(url).writer_text(schema_id)
    with pytest.raises(RegistryRefusedError, match="404"):
        registry_at(url).writer_text(schema_id + 1_000_000)


def test_a_newer_schema_is_taken_and_one_that_breaks_readers_is_not(url: str) -> None:
    under, registry = subject(), registry_at(url)
    first = registry.id_of(FORMATS["avro"], under, register=True)
    newer = avro_format(texts.text_of(texts.avro(NEWER)))
    assert registry.id_of(newer, under, register=True) != first
    wrong = avro_format(texts.text_of(avro_with(Field(99, "needed", "string"))))
    with pytest.raises(RegistryRefusedError, match=r"409 .*compatib"):
        registry.id_of(wrong, under, register=True)


def test_confluents_deserializers_read_by_the_registrys_schema(url: str) -> None:
    client = SchemaRegistryClient({"url": url})
    OPEN.append(client)
    context = SerializationContext("predictions", MessageField.VALUE)
    row = row_of(body("classes"))
    for name, deserializer in (("avro", AvroDeserializer), ("json-schema", JSONDeserializer)):
        schema_id = registry_at(url).id_of(FORMATS[name], subject(), register=True)
        value = FramedSerializer(FORMATS[name], schema_id)(body("classes"))
        conf = {"schema_registry_client": client}
        if name == "json-schema":
            conf["schema_str"] = None  # type: ignore[assignment]
        found = deserializer(**conf)(value, context)
        assert {key: found[key] for key in row} == row


def test_avro_is_read_by_the_writers_schema_which_is_asked_for_once(url: str) -> None:
    schema_id = registry_at(url).id_of(FORMATS["avro"], subject(), register=True)
    OPEN.append(read := make_reader(RegistrySettings(url, options={"timeout": 60}), pytest.fail))
    record = stored(
        encode_prediction(
            EVENT,
            b"k",
            predicted("detections"),
            "b",
            serializer=FramedSerializer(FORMATS["avro"], schema_id),
        )
    )
    assert read(record) == read(record)
    assert read(record).answer == predicted("detections").answer


@pytest.mark.parametrize("status", [401, 403, 409, 404, 422])
def test_a_no_is_told_with_what_to_do(fake: FakeRegistry, status: int) -> None:
    fake.status = status
    with pytest.raises(RegistryRefusedError, match=f"{fake.url}: .*: {status} told to say so"):
        registry_at(fake.url).id_of(FORMATS["avro"], "s", register=True)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_one_that_is_not_well_may_be_asked_again(fake: FakeRegistry, status: int) -> None:
    fake.status = status
    registry = registry_at(fake.url)
    with pytest.raises(RegistryAwayError, match=str(status)):
        registry.id_of(FORMATS["avro"], "s", register=True)
    fake.status = None
    assert registry.id_of(FORMATS["avro"], "s", register=True) == 1


def test_one_that_is_not_there_is_away(fake: FakeRegistry) -> None:
    fake.close()
    with pytest.raises(RegistryAwayError, match="is not reached"):
        registry_at(fake.url).id_of(FORMATS["avro"], "s", register=True)


def test_user_and_password_are_sent_and_never_shown(fake: FakeRegistry) -> None:
    fake.credentials = "me:s3cret"
    settings = RegistrySettings(fake.url, "me", "s3cret")
    assert "s3cret" not in repr(settings)
    found = registry_at(fake.url, user="me", password="s3cret")
    assert found.id_of(FORMATS["avro"], "s", register=True) == 1
    with pytest.raises(RegistryRefusedError, match=r"401 .*schema_registry_password") as refused:
        registry_at(fake.url, user="me", password="wr0ng").id_of(
            FORMATS["avro"], "s", register=True
        )
    assert "wr0ng" not in str(refused.value)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path)


def test_over_tls_a_registry_is_trusted_by_the_authority_that_is_named(
    certificates: Certificates,
) -> None:
    registry = FakeRegistry(tls=certificates.server())
    trusted = {"ssl.ca.location": str(certificates.ca), "timeout": 60}
    try:
        assert registry.url.startswith("https://")
        found = registry_at(registry.url, options=trusted)
        assert found.id_of(FORMATS["avro"], "s", register=True) == 1
        assert "stamps_ns" in found.writer_text(1)
        asked = registry.requests
        # Waited for, since a certificate can be renewed; and told, since it may never be.
        with pytest.raises(RegistryAwayError, match="certificate"):
            registry_at(registry.url).id_of(FORMATS["avro"], "s", register=True)
        assert registry.requests == asked
    finally:
        registry.close()


def test_over_tls_a_registry_may_ask_for_a_certificate(certificates: Certificates) -> None:
    server = certificates.server()
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(certificates.ca)
    registry = FakeRegistry(tls=server)
    trusted = {"ssl.ca.location": str(certificates.ca), "timeout": 60}
    ours = {
        "ssl.certificate.location": str(certificates.certificate),
        "ssl.key.location": str(certificates.key),
    }
    try:
        found = registry_at(registry.url, options={**trusted, **ours})
        assert found.id_of(FORMATS["protobuf"], "s", register=True) == 1
        with pytest.raises(RegistryAwayError):
            registry_at(registry.url, options=trusted).id_of(
                FORMATS["protobuf"], "s", register=True
            )
    finally:
        registry.close()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"user": "a:b"}, "colon"),
        ({"password": "s3cret"}, "without schema_registry_user"),
        ({"options": {"ssl.ca.locations": "x"}}, "ssl.ca.locations"),
        ({"options": {"ssl.ca.location": "/no/such/file"}}, "schema_registry"),
    ],
)
def test_settings_that_cannot_work_are_refused(more: dict[str, Any], told: str) -> None:
    with pytest.raises(RegistrySettingError, match=told) as refused:
        registry_at("http://127.0.0.1:1", **more)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("wrong", ["host:8081", "ftp://host", "http://", "http://me:s3cret@host"])
def test_what_is_no_address_is_refused_without_its_password(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"schema registry|schema_registry_user") as refused:
        check_url(wrong)
    assert "s3cret" not in str(refused.value)


def test_the_subject_is_named_by_the_strategy() -> None:
    assert subject_of("t", "topic") == "t-value"
    assert subject_of("t", "record") == "triton_kafka_bridge.Prediction"
    assert subject_of("t", "topic-record") == "t-triton_kafka_bridge.Prediction"


def avro_record(schema_id: int) -> StoredRecord:
    serializer = FramedSerializer(FORMATS["avro"], schema_id)
    return stored(encode_prediction(EVENT, b"k", predicted("classes"), "b", serializer=serializer))


def test_a_reader_without_a_registry_says_once_that_avro_needs_one() -> None:
    told: list[str] = []
    read = PredictionReader(None, told.append)
    for schema_id in (1, 1, 2):
        with pytest.raises(ContractError, match="--schema-registry-url"):
            read(avro_record(schema_id))
    assert len(told) == 1


def test_an_id_that_is_not_there_is_asked_for_once(fake: FakeRegistry) -> None:
    told: list[str] = []
    read = PredictionReader(registry_at(fake.url), told.append)
    for _ in range(3):
        with pytest.raises(ContractError, match="404"):
            read(avro_record(5))
    assert (fake.requests, len(told)) == (1, 1)


def test_a_registry_that_is_away_is_waited_for_within_bounds(fake: FakeRegistry) -> None:
    now = [0.0]
    told: list[str] = []
    schema_id = registry_at(fake.url).id_of(FORMATS["avro"], "s", register=True)
    fake.status = 503

    def sleep(seconds: float) -> None:
        now[0] += seconds

    read = PredictionReader(registry_at(fake.url), told.append, lambda: now[0], sleep)
    with pytest.raises(ContractError, match="cannot be reached"):
        read(avro_record(schema_id))
    assert now[0] >= ASK_S
    asked, waited = fake.requests, now[0]
    with pytest.raises(ContractError, match="cannot be reached"):
        read(avro_record(schema_id))
    assert (fake.requests, now[0], len(told)) == (asked, waited, 1)
    now[0] += AGAIN_S
    fake.status = None
    assert read(avro_record(schema_id)).id == EVENT.id


def test_what_is_no_registry_is_told(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "answer", lambda *_: (200, "hello"))
    with pytest.raises(RegistryRefusedError, match="no registry"):
        registry_at(fake.url).id_of(FORMATS["avro"], "s", register=True)
