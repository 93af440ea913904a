"""Writes test vectors of password formats, one JSON object a line: Django's and passlib's by
themselves, crypt(3)'s by the system's libxcrypt, Apache's by openssl, the others by hashlib.

    pip install django passlib argon2-cffi bcrypt
    php tests/vectors/more-hashes.php > more-hashes.jsonl
    python3 -W ignore tests/vectors/more-hashes.py >> more-hashes.jsonl      Python up to 3.12

Salts come from a fixed sequence, except where a library insists on its own.
"""

import base64
import crypt
import hashlib
import itertools
import json
import struct
import subprocess

import argon2.low_level
import bcrypt
import django.conf
from passlib.hash import pbkdf2_sha1, pbkdf2_sha256, pbkdf2_sha512

django.conf.settings.configure()
from django.contrib.auth import hashers  # noqa: E402

PASSWORDS = [
    "p",
    'Zoë & <b>"naïve"</b>',
    "it's 100% € \\ /",
    "пароль",
    "密码密码",
    "a password of more than sixty-four bytes, which is a block of MD5",
]
LONG = "x" * 200 + "é" * 100

numbers = itertools.count()


def salt(length):
    letters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    seed = hashlib.shake_256(b"salt %d" % next(numbers)).digest(length)
    return "".join(letters[byte % 64] for byte in seed)


def b64(data):
    return base64.b64encode(data).decode()


def vector(source, form, password, hashed, profile=None, salt=None):
    line = {"source": source, "format": form, "password": password, "hash": hashed}
    if salt is not None:
        line["salt"] = salt
    line["profile"] = profile
    print(json.dumps(line, ensure_ascii=False))


def of_django(password):
    by = "Django " + django.get_version()
    vector(by, "django", password, hashers.PBKDF2PasswordHasher().encode(password, salt(22), 20))
    vector(by, "django", password, hashers.PBKDF2SHA1PasswordHasher().encode(password, salt(12), 7))
    vector(by, "django", password, hashers.MD5PasswordHasher().encode(password, salt(22)))
    # Gone from newer releases.
    for name in ["sha1", "md5"]:
        text = salt(5)
        digest = hashlib.new(name, (text + password).encode()).hexdigest()
        vector("hashlib, as Django 1.4", "django", password, f"{name}${text}${digest}")
        digest = hashlib.new(name, password.encode()).hexdigest()
        vector("hashlib, as Django 1.4", "django", password, f"{name}$${digest}")
    bare = hashlib.md5(password.encode()).hexdigest()
    vector("hashlib, as Django 1.4", "django-bare", password, bare, {"scheme": "django"})
    hasher = hashers.ScryptPasswordHasher()
    vector(by, "django", password, hasher.encode(password, salt(22), n=2**5, r=3, p=2))
    hasher = hashers.Argon2PasswordHasher()
    hasher.time_cost, hasher.memory_cost, hasher.parallelism = 2, 256, 8
    vector(by, "django", password, hasher.encode(password, salt(22)))
    setting = bcrypt.gensalt(4)
    hasher = hashers.BCryptSHA256PasswordHasher()
    vector(by, "django", password, hasher.encode(password, setting))
    if len(password.encode()) < 70:
        vector(by, "django", password, hashers.BCryptPasswordHasher().encode(password, setting))


def of_crypt(password):
    settings = [
        f"$1${salt(8)}",
        "$1$",
        f"$sha1$77${salt(8)}",
        f"$sha1$1234${salt(64)}",
        f"$5${salt(16)}",
        f"$5$rounds=1000${salt(1)}",
        f"$6${salt(16)}",
        f"$6$rounds=4321${salt(7)}",
        f"$2b$04${salt(21)}.",
        f"$2a$05${salt(21)}O",
        # N = 2^10 and r = 8, then with p = 2, then with t = 3.
        f"$y$j75${salt(20)}",
        f"$y$j7T${salt(22)[:-1]}.",
        f"$y$j/5$",
        f"$y$j75..${salt(4)}",
        f"$y$j75.0${salt(4)}",
        f"$y$j750/$ {salt(4)}".replace(" ", ""),
        f"$y$.75${salt(8)}",
        f"$y$/75${salt(8)}",
        f"$7$6..../....{salt(14)}",
        f"$7$30..../....{salt(3)}"[:14] + salt(5),
        f"$7$84..../....{salt(22)}"[:14] + salt(2),
    ]
    for setting in settings:
        hashed = crypt.crypt(password, setting + "$")
        if hashed is None or hashed.startswith("*"):
            continue
        if setting.startswith("$2") and len(password.encode()) >= 70:
            continue
        form = "crypt" + setting[: setting.index("$", 1) + 1]
        vector("libxcrypt", form, password, hashed)
        vector("libxcrypt", "ldap" + form, password, "{crypt}" + hashed)


def of_openssl(password):
    for kind in ["apr1", "1"]:
        command = ["openssl", "passwd", "-" + kind, "-salt", salt(8), "-stdin"]
        made = subprocess.run(command, input=password.encode(), capture_output=True, check=True)
        vector("openssl passwd", kind, password, made.stdout.decode().strip())


def of_ldap(password):
    for name in ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]:
        tail = salt(9).encode()
        plain = hashlib.new(name, password.encode()).digest()
        salted = hashlib.new(name, password.encode() + tail).digest() + tail
        title = {"md5": "MD5", "sha1": "SHA"}.get(name, name.upper())
        vector("hashlib", "ldap", password, "{%s}%s" % (title, b64(plain)))
        title = {"MD5": "SMD5"}.get(title, "S" + title)
        vector("hashlib", "ldap", password, "{%s}%s" % (title.lower(), b64(salted)))


def of_pbkdf2(password):
    given = password.encode()
    for hasher in [pbkdf2_sha1, pbkdf2_sha256, pbkdf2_sha512]:
        made = hasher.using(rounds=33, salt=salt(17).encode()).hash(password)
        vector("passlib", "passlib-pbkdf2", password, made)
    key_salt = salt(16).encode()
    made = hashlib.pbkdf2_hmac("sha1", given, key_salt, 1000, 32)
    profile = {"scheme": "aspnet-identity"}
    vector("hashlib", "aspnet-2", password, b64(b"\0" + key_salt + made), profile)
    for number, name in enumerate(["sha1", "sha256", "sha512"]):
        for salt_bytes, key_bytes in [(16, 32), (19, 64)]:
            key_salt = salt(salt_bytes).encode()
            made = hashlib.pbkdf2_hmac(name, given, key_salt, 55 + number, key_bytes)
            head = struct.pack(">BIII", 1, number, 55 + number, salt_bytes)
            vector("hashlib", "aspnet-3", password, b64(head + key_salt + made), profile)
    for name, algorithm in [("sha1", "pbkdf2"), ("sha256", "pbkdf2-sha256"), ("sha512", "pbkdf2-sha512")]:
        made = hashlib.pbkdf2_hmac(name, given, key_salt, 99, 64)
        secret = {"value": b64(made), "salt": b64(key_salt), "additionalParameters": {}}
        data = {"hashIterations": 99, "algorithm": algorithm, "additionalParameters": {}}
        whole = {"type": "password", "secretData": json.dumps(secret), "credentialData": json.dumps(data)}
        vector("hashlib", "keycloak", password, json.dumps(whole))
        whole = {"id": "5f3", "createdDate": 1, "secretData": secret, "credentialData": data}
        vector("hashlib", "keycloak", password, json.dumps(whole))


def of_argon2(password):
    given, key_salt = password.encode(), salt(16).encode()
    kinds = {"d": argon2.low_level.Type.D, "i": argon2.low_level.Type.I, "id": argon2.low_level.Type.ID}
    for name, kind in kinds.items():
        for version in [16, 19]:
            made = argon2.low_level.hash_secret_raw(given, key_salt, 3, 128, 4, 24, kind, version)
            texts = [b64(key_salt).rstrip("="), b64(made).rstrip("=")]
            vector("argon2-cffi", "argon2", password, f"$argon2{name}$v={version}$m=128,t=3,p=4${texts[0]}${texts[1]}")
            if version == 16:
                vector("argon2-cffi", "argon2", password, f"$argon2{name}$m=128,t=3,p=4${texts[0]}${texts[1]}")
    made = argon2.low_level.hash_secret_raw(given, key_salt, 5, 7168, 1, 32, kinds["id"], 19)
    more = {"hashLength": ["32"], "memory": ["7168"], "type": ["id"], "version": ["1.3"], "parallelism": ["1"]}
    secret = {"value": b64(made), "salt": b64(key_salt), "additionalParameters": {}}
    data = {"hashIterations": 5, "algorithm": "argon2", "additionalParameters": more}
    whole = {"secretData": json.dumps(secret), "credentialData": json.dumps(data)}
    vector("argon2-cffi", "keycloak", password, json.dumps(whole))


def of_others(password):
    given = password.encode()
    column = b64(salt(5).encode())
    for name in ["md5", "sha1", "sha256", "sha512"]:
        made = hashlib.new(name, given + column.encode()).hexdigest().upper()
        vector("hashlib", "nopcommerce", password, made, {"scheme": "nopcommerce"}, column)
        vector("hashlib", "nopcommerce", password, made, {"scheme": "nopcommerce", "digest": name}, column)
    for stretches, column in [(20, salt(20)), (3, None)]:
        digest = password + (column or "")
        for _ in range(stretches):
            digest = hashlib.sha512(digest.encode()).hexdigest()
        profile = {"scheme": "authlogic", "stretches": stretches}
        vector("hashlib", "authlogic", password, digest, profile, column)
    for mem_cost, rounds, separator in [(9, 8, b"\7"), (5, 3, b"")]:
        signer_key, own = salt(64).encode(), salt(10).encode()
        key = hashlib.scrypt(given, salt=own + separator, n=2**mem_cost, r=rounds, p=1, dklen=32)
        command = ["openssl", "enc", "-aes-256-ctr", "-K", key.hex(), "-iv", "0" * 32]
        made = subprocess.run(command, input=signer_key, capture_output=True, check=True).stdout
        profile = {"scheme": "firebase-scrypt", "signer_key": b64(signer_key), "rounds": rounds, "mem_cost": mem_cost}
        if separator:
            profile["salt_separator"] = b64(separator)
        vector("hashlib and openssl", "firebase-scrypt", password, b64(made), profile, b64(own))
        web = base64.urlsafe_b64encode(made).decode()
        vector("hashlib and openssl", "firebase-scrypt", password, web, profile, b64(own))


for password in PASSWORDS + [LONG]:
    of_django(password)
    of_crypt(password)
    of_ldap(password)
    of_pbkdf2(password)
    of_argon2(password)
    of_others(password)
    # It cuts longer ones.
    if password != LONG:
        of_openssl(password)
