"""Seals and opens user values as docs/keys.md says, by means of nothing of JCAS: HMAC and HKDF of
the standard library, AES by the openssl program.

    sealing.py open KEY DEPLOYMENT SUBJECT REGISTER SEALED    prints the clear value
    sealing.py seal KEY DEPLOYMENT SUBJECT REGISTER CLEAR     prints the sealed value

Everything is hexadecimal. What does not open ends with exit code 3.
"""

import hashlib
import hmac
import os
import subprocess
import sys

DOMAIN = b"jcas sealed user value v1"


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(secret, salt, info, length):
    extracted = mac(salt, secret)
    return mac(extracted, info + b"\x01")[:length]


def lp(part):
    return len(part).to_bytes(4, "big") + part


def aes(direction, keys, data):
    command = ["openssl", "enc", direction, "-aes-256-cbc", "-K", keys["cipher"].hex()]
    command += ["-iv", keys["iv"].hex()]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def data_keys(key, salt):
    derived = {"cipher": 32, "iv": 16, "mac": 32}
    return {name: hkdf(key, salt, DOMAIN + b": " + name.encode(), size)
            for name, size in derived.items()}


def tag(keys, context, before):
    bound = b"".join(lp(part) for part in context)
    return mac(keys["mac"], lp(DOMAIN) + bound + before)


def key_id(key):
    return hashlib.sha256(b"jcas user key id" + key).digest()[:8]


def seal(key, context, clear):
    salt = os.urandom(16)
    keys = data_keys(key, salt)
    before = b"\x01" + key_id(key) + salt + aes("-e", keys, clear)
    return before + tag(keys, context, before)


def open_sealed(key, context, sealed):
    before, given = sealed[:-32], sealed[-32:]
    keys = data_keys(key, before[9:25])
    right = before[:1] == b"\x01" and before[1:9] == key_id(key)
    if not right or not hmac.compare_digest(tag(keys, context, before), given):
        sys.exit(3)
    return aes("-d", keys, before[25:])


def main():
    verb, *rest = sys.argv[1:]
    key, deployment, subject, register, value = (bytes.fromhex(part) for part in rest)
    # The last part is the hash profile's id, which no user value has.
    context = [deployment, subject, register, b""]
    done = {"open": open_sealed, "seal": seal}[verb](key, context, value)
    print(done.hex())


main()
