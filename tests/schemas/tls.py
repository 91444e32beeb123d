"""Certificates of an authority made for the run, and the server's side of TLS with them."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

from stack.ports import HOST


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of the authority, and of whoever is 127.0.0.1."""

    ca: Path
    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificates(directory: Path) -> Certificates:
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    files = Certificates(directory / "ca.pem", directory / "own.pem", directory / "own.key")
    authority.cert_pem.write_to_path(str(files.ca))
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(files.key))
    return files
