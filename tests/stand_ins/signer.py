"""A stand-in for Google's accounts: signs identity tokens, and publishes the certificates they are verified by.

Its tokens have the form and claims that Pub/Sub's push documentation shows (RS256, key id, e-mail verified), its
certificates that of https://www.googleapis.com/oauth2/v1/certs: key id to X.509 in PEM.
"""

import datetime
import json
import time
from http.server import BaseHTTPRequestHandler

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from tests.stand_ins.served import Served


class Signer(Served):
    """Who signs; `with Signer() as google:`.

    Attributes:
        url: Of its certificates.
        asked: How often they were asked for.
        down: Whether it answers with 503.
    """

    def __init__(self):
        self.asked, self.down = 0, False
        self._keys = {"today": _key()}
        self.serve(_Handler)

    def certificates(self):
        """Return what is published."""
        return {name: _certificate(key) for name, key in self._keys.items()}

    def token(self, *, key="today", forged=False, **claims):
        """Return a token with these claims over those of a good one; None takes one away."""
        now = int(time.time())
        told = {
            "iss": "https://accounts.google.com",
            "aud": "https://flywheel.example.com",
            "email": "push@project.iam.gserviceaccount.com",
            "email_verified": True,
            "sub": "113774264463038321964",
            "iat": now,
            "exp": now + 3600,
        } | claims
        pem = _key() if forged else self._keys[key]
        signer = crypt.RSASigner.from_string(_private(pem), key)
        return jwt.encode(signer, {name: value for name, value in told.items() if value is not None}).decode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        stand_in = self.server.stand_in
        stand_in.asked += 1
        body = json.dumps(stand_in.certificates()).encode()
        self.send_response(503 if stand_in.down else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        return


def _key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _private(key):
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


def _certificate(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "federated-signon")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=7))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
