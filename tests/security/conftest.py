"""A broker and a Triton that speak TLS, with certificates of an authority made for the run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from stack.kafka import Kafka
from stack.ports import HOST, free_ports
from stack.triton import Triton

NAME = "localhost"
USER = "bridge"
PASSWORD = "correct-horse-battery"
JAAS = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True)
class Authority:
    """PEM files of the authority, and of a server that is 127.0.0.1 and `NAME`."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class SecureKafka:
    plain: Kafka
    """The same broker without any of it, for the tests' own clients."""
    tls: str
    sasl: str


def make_authority(directory: Path) -> Authority:
    authority = trustme.CA()
    issued = authority.issue_cert(HOST, NAME)
    files = Authority(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    authority.cert_pem.write_to_path(str(files.ca))
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    # The form that Java reads.
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def secure_kafka(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecureKafka]:
    directory = tmp_path_factory.mktemp("secure-kafka")
    store = directory / "keystore.pem"
    store.write_bytes(authority.key.read_bytes() + authority.certificate.read_bytes())
    tls, sasl = free_ports(2)
    broker = Kafka(
        directory,
        properties={
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,OAUTHBEARER",
            "listener.name.sasl.plain.sasl.jaas.config": f"{JAAS}.plain.PlainLoginModule required "
            f'user_{USER}="{PASSWORD}";',
            "listener.name.sasl.scram-sha-256.sasl.jaas.config": f"{JAAS}.scram.ScramLoginModule "
            "required;",
            "listener.name.sasl.oauthbearer.sasl.jaas.config": f"{JAAS}.oauthbearer."
            'OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
        },
    )
    broker.add_listener("TLS", tls, "SSL")
    broker.add_listener("SASL", sasl, "SASL_SSL")
    with broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        wanted = UserScramCredentialUpsertion(USER, scram, PASSWORD.encode())
        for done in admin.alter_user_scram_credentials([wanted]).values():
            done.result()
        yield SecureKafka(broker, f"{HOST}:{tls}", f"{HOST}:{sasl}")


@pytest.fixture(scope="session")
def secure_triton(
    authority: Authority, model_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Triton]:
    arguments = [
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={authority.certificate}",
        f"--grpc-server-key={authority.key}",
        f"--grpc-root-cert={authority.ca}",
    ]
    directory = tmp_path_factory.mktemp("secure-triton")
    with Triton(model_repository, directory, arguments=arguments) as server:
        yield server
