# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

pytest.importorskip("monailabel", reason="MONAI Label is not installed here: make test-label")

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

from tests.label.label_server import LIVER, free_port, serving, tiny_liver, write_scan


@pytest.fixture
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def realm(key: rsa.RSAPrivateKey) -> Iterator[str]:
    """The address of a realm, which tells its public key as Keycloak does."""
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    answer = json.dumps({"public_key": base64.b64encode(key.public_key().public_bytes(*form)).decode()}).encode()

    class Realm(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

    server = HTTPServer(("127.0.0.1", 0), Realm)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/realms/hospital"
    server.shutdown()


def token(key: rsa.RSAPrivateKey, *roles: str) -> dict[str, str]:
    content = {"preferred_username": "ann", "exp": time.time() + 600, "realm_access": {"roles": roles}}
    return {"token_type": "Bearer", "access_token": jwt.encode(content, key, algorithm="RS256")}


def test_a_server_with_authentication_serves_holders_of_a_role(
    tmp_path: Path, repository: Path, key: rsa.RSAPrivateKey, realm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings of docs/annotate.md."""
    monkeypatch.setenv("MONAI_LABEL_AUTH_ENABLE", "true")
    monkeypatch.setenv("MONAI_LABEL_AUTH_REALM_URI", realm)
    bundle = tiny_liver(repository, tmp_path)
    (tmp_path / "studies").mkdir()
    write_scan(tmp_path / "studies")
    port = free_port()
    command = [sys.executable, "-m", "monai_semgan", "label", "studies", "--bundles", str(bundle), "--port", str(port)]
    with serving(command, port, tmp_path / "server.log", tmp_path) as url:

        def status(roles: tuple[str, ...] | None, signer: rsa.RSAPrivateKey = key, model: str = LIVER) -> str:
            client = MONAILabelClient(url, str(tmp_path))
            if roles is not None:
                client.update_auth(token(signer, *roles))
            try:
                client.infer(model, "scan", {"preset": "fast"})
            except MONAILabelClientException as error:
                return error.msg.removeprefix("Status: ").partition(";")[0]
            return "200"

        assert status(None) == "401"
        # names of models are told to nobody else
        assert status(None, model="nothing") == "401"
        assert status(("monailabel-user",), rsa.generate_private_key(public_exponent=65537, key_size=2048)) == "401"
        assert status(("visitor",)) == "403"
        assert status(("monailabel-user",)) == "200"
        assert status(("monailabel-user",), model="nothing") == "404"
