"""Certificates of brokers: made where they are missing, renewed in time, yours left as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.ansible.lab.playbook import ROOT

PLAY = {
    "hosts": "k1",
    "connection": "local",
    "gather_facts": False,
    "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
    "roles": ["kafka_access"],
    "tasks": [
        {
            "include_role": {"name": "kafka_access", "tasks_from": "certificate"},
            "vars": {"kafka_access_names": ["DNS:k1", "IP:192.0.2.1"]},
        }
    ],
}
HOSTS: dict[str, Any] = {"kafka": {"hosts": {"k1": {}}}, "load": {"hosts": {"client": {}}}}


class Authority:
    """The folder of an inventory's authority, and the role that fills it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.folder = directory / "kafka-authority"

    def play(self, **variables: Any) -> tuple[int, str]:
        (self.directory / "hosts.json").write_text(json.dumps({"all": {"children": HOSTS}}))
        (self.directory / "play.yaml").write_text(json.dumps([PLAY]))
        given = {"kafka_access_path": str(self.directory / "certificates")} | variables
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "--inventory=hosts.json",
                f"--extra-vars={json.dumps(given)}",
                "play.yaml",
            ],
            cwd=self.directory,
            env=os.environ
            | {"ANSIBLE_ROLES_PATH": str(ROOT / "ansible/roles"), "ANSIBLE_PIPELINING": "1"},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, " ".join(done.stdout.split())

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / f"{name}.pem").read_bytes())

    def shorten(self, name: str, days: int) -> None:
        """The same certificate, but with fewer days to its end."""
        key = load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        old = self.certificate(name)
        made = x509.CertificateBuilder(
            issuer_name=old.issuer,
            subject_name=old.subject,
            public_key=old.public_key(),
            serial_number=old.serial_number,
            not_valid_before=old.not_valid_before_utc,
            not_valid_after=datetime.now(UTC) + timedelta(days=days),
            extensions=list(old.extensions),
        )
        signed = made.sign(key, SHA256())  # type: ignore[arg-type] # an EC key, here
        (self.folder / f"{name}.pem").write_bytes(signed.public_bytes(Encoding.PEM))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("access"))
    status, said = made.play()
    assert status == 0, said
    return made


def test_a_broker_is_known_by_the_names_that_it_is_reached_at(authority: Authority) -> None:
    certificate = authority.certificate("k1")
    certificate.verify_directly_issued_by(authority.certificate("ca"))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["k1"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1"]
    constraints = authority.certificate("ca").extensions.get_extension_for_class(
        x509.BasicConstraints
    )
    assert constraints.value.ca


def test_a_certificate_is_renewed_in_its_last_month_and_not_before(authority: Authority) -> None:
    made = authority.certificate("k1")
    authority.shorten("k1", days=29)
    status, said = authority.play()
    assert status == 0, said
    renewed = authority.certificate("k1")
    assert renewed.not_valid_after_utc > datetime.now(UTC) + timedelta(days=390)
    assert renewed.public_key() == made.public_key()
    status, said = authority.play()
    assert status == 0, said
    assert "changed=0" in said
    assert authority.certificate("k1") == renewed


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"kafka_access_password": "short"}, "kafka_access_password of 12 or more printable"),
        ({"kafka_access_user": "a b"}, "kafka_access_user is of letters, digits"),
    ],
)
def test_what_could_not_be_handed_on_is_refused(
    authority: Authority, variables: dict[str, str], message: str
) -> None:
    status, said = authority.play(**variables)
    assert status != 0
    assert message in said


ONE: dict[str, Any] = {"kafka": {"hosts": {"k1": {}}}, "gpu": {"hosts": {"k1": {}}}}


@pytest.mark.parametrize(
    ("inventory", "variables", "protocol"),
    [
        (ONE, {}, "PLAINTEXT"),
        (ONE | {"load": {"hosts": {"client": {}}}}, {}, "SASL_SSL"),
        (ONE, {"kafka_bind_address": "0.0.0.0"}, "SASL_SSL"),
        (ONE | {"load": {"hosts": {"c": {}}}}, {"kafka_access_protocol": "PLAINTEXT"}, "PLAINTEXT"),
    ],
    ids=["one machine", "several", "opened", "as it was told"],
)
def test_a_broker_that_others_reach_is_secured_unless_it_is_told_otherwise(
    tmp_path: Path, inventory: dict[str, Any], variables: dict[str, str], protocol: str
) -> None:
    play = {
        "hosts": "k1",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(ROOT / "ansible/roles/kafka_access/defaults/main.yml")],
        "tasks": [{"assert": {"that": f"kafka_access_protocol == '{protocol}'"}}],
    }
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": inventory}}))
    (tmp_path / "play.yaml").write_text(json.dumps([play]))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    words = ["--inventory=hosts.json", f"--extra-vars={json.dumps(variables)}", "play.yaml"]
    done = subprocess.run(
        [program, *words], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_certificates_of_your_own_are_used_as_they_are(authority: Authority) -> None:
    yours = authority.certificate("k1")
    (authority.folder / "ca.key").unlink()
    status, said = authority.play()
    assert status == 0, said
    assert authority.certificate("k1") == yours
    (authority.folder / "k1.pem").unlink()
    status, said = authority.play()
    assert status != 0
    assert "has a ca.pem without ca.key, and no k1.pem with k1.key" in said
    assert "DNS:k1, IP:192.0.2.1" in said
