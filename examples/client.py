#!/usr/bin/env python3
"""Calls JCAS as a company does: signs the call, sends it, prints the answer.

    export JCAS_URL=http://127.0.0.1:8080 JCAS_COMPANY=shop JCAS_AUDIENCE=jcas:jcas
    export JCAS_API_KEY=jcas_... JCAS_SIGNING_KEY=...
    python3 examples/client.py GET /v1/whoami
    python3 examples/client.py POST /v1/users/lookup '{"email": "ada@example.com"}'

JCAS_SIGNING_KEY is what `jcas key issue` printed as signing_secret (HS256), or a private JWK
(EdDSA; needs the package cryptography). Nothing else is needed beyond Python's own library.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def ed25519(jwk: dict):
    """A function that signs with a private JWK."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        sys.exit("EdDSA needs the package cryptography: pip install cryptography")
    seed = base64.urlsafe_b64decode(jwk["d"] + "=" * (-len(jwk["d"]) % 4))
    return Ed25519PrivateKey.from_private_bytes(seed).sign


class Jcas:
    """One API key of one company."""

    def __init__(self, url, company, audience, api_key, signing_key):
        self.url, self.company, self.audience = url.rstrip("/"), company, audience
        self.api_key = api_key
        # jcas_<key id>_<secret>
        self.key_id = api_key.split("_")[1]
        if signing_key.lstrip().startswith("{"):
            self.alg, self.sign = "EdDSA", ed25519(json.loads(signing_key))
        else:
            self.alg = "HS256"
            self.sign = lambda m: hmac.new(signing_key.encode(), m, hashlib.sha256).digest()

    def token(self, method, path, request=None, idempotency_key=None):
        """A compact JWS. It is good for one call: make a new one for each try."""
        now = int(time.time())
        header = {"alg": self.alg, "kid": self.key_id}
        claims = {
            "iss": self.company,
            "aud": self.audience,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_urlsafe(16),
            "mth": method,
            "pth": path,
        }
        if request is not None:
            claims["req"] = request
        if idempotency_key is not None:
            claims["idk"] = idempotency_key
        parts = [base64url(json.dumps(part).encode()) for part in (header, claims)]
        message = ".".join(parts)
        return message + "." + base64url(self.sign(message.encode()))

    def call(self, method, path, request=None, idempotency_key=None):
        """Returns status and answer. A refusal is an answer too.

        With an idempotency key a POST may be sent again: it is given the first answer.
        """
        token = self.token(method, path, request, idempotency_key)
        headers = {"X-Api-Key": self.api_key}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        body = None
        if request is None:
            headers["Authorization"] = "Bearer " + token
        else:
            headers["Content-Type"] = "application/json"
            body = json.dumps({"jwt": token}).encode()
        call = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(call, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    names = ("URL", "COMPANY", "AUDIENCE", "API_KEY", "SIGNING_KEY")
    missing = [f"JCAS_{name}" for name in names if not os.environ.get(f"JCAS_{name}")]
    if missing:
        sys.exit("set " + ", ".join(missing))
    jcas = Jcas(*(os.environ[f"JCAS_{name}"] for name in names))
    request = json.loads(sys.argv[3]) if len(sys.argv) == 4 else None
    _, answer = jcas.call(sys.argv[1], sys.argv[2], request)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
