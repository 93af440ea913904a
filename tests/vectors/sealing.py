"""Seals and opens values as docs/keys.md says, by means of nothing of JCAS: Python's cryptography.

    sealing.py FORM open KEY DEPLOYMENT SUBJECT REGISTER SEALED    prints the clear value
    sealing.py FORM seal KEY DEPLOYMENT SUBJECT REGISTER CLEAR     prints the sealed value
    sealing.py FORM flips KEY DEPLOYMENT SUBJECT REGISTER SEALED   opens it with each bit flipped

FORM is user, wrapped, branch or job, the rest is hexadecimal. What does not open ends with exit
code 3; `flips` does where nothing opened.
"""

import os
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# Version, domain, bytes of a key's id and what that digest begins with.
FORMS = {
    "user": (1, b"jcas sealed user value v1", 8, b"jcas user key id"),
    "wrapped": (2, b"jcas wrapped user key v1", 16, b"jcas branch key id"),
    "branch": (3, b"jcas sealed branch value v1", 16, b"jcas branch key id"),
    "job": (4, b"jcas sealed job value v1", 8, b"jcas job key id"),
}


class Form:
    def __init__(self, name, key, context):
        self.version, self.domain, size, id_domain = FORMS[name]
        self.key, self.context = key, context
        digest = hashes.Hash(hashes.SHA256())
        digest.update(id_domain + key)
        self.head = bytes([self.version]) + digest.finalize()[:size]

    def derived(self, salt, name, size):
        info = self.domain + b": " + name
        return HKDF(hashes.SHA256(), size, salt, info).derive(self.key)

    def cipher(self, salt):
        iv = self.derived(salt, b"iv", 16)
        return Cipher(algorithms.AES256(self.derived(salt, b"cipher", 32)), modes.CBC(iv))

    def mac(self, salt, before):
        mac = hmac.HMAC(self.derived(salt, b"mac", 32), hashes.SHA256())
        for part in (self.domain, *self.context):
            mac.update(len(part).to_bytes(4, "big") + part)
        mac.update(before)
        return mac

    def seal(self, clear):
        salt = os.urandom(16)
        padder, encryptor = padding.PKCS7(128).padder(), self.cipher(salt).encryptor()
        padded = padder.update(clear) + padder.finalize()
        before = self.head + salt + encryptor.update(padded) + encryptor.finalize()
        return before + self.mac(salt, before).finalize()

    def open(self, sealed):
        before, tag, start = sealed[:-32], sealed[-32:], len(self.head)
        salt, encrypted = before[start:start + 16], before[start + 16:]
        if before[:start] != self.head:
            raise InvalidSignature
        self.mac(salt, before).verify(tag)
        decryptor, unpadder = self.cipher(salt).decryptor(), padding.PKCS7(128).unpadder()
        padded = decryptor.update(encrypted) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()

    def flips(self, sealed):
        for bit in range(len(sealed) * 8):
            changed = bytearray(sealed)
            changed[bit // 8] ^= 1 << bit % 8
            try:
                return self.open(bytes(changed))
            except InvalidSignature:
                pass
        raise InvalidSignature


def main():
    form, verb, *rest = sys.argv[1:]
    key, deployment, subject, register, value = (bytes.fromhex(part) for part in rest)
    # The last part is the hash profile's id, which none of these has.
    form = Form(form, key, [deployment, subject, register, b""])
    try:
        print({"open": form.open, "seal": form.seal, "flips": form.flips}[verb](value).hex())
    except InvalidSignature:
        sys.exit(3)


main()
