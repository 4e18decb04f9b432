#!/usr/bin/env python3
"""Makes the keys and signatures beside this file and the probe in src/crypto/host.rs; needs `cryptography`.

Nothing here is secret: private keys are thrown away.
"""
import base64
import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

HERE = pathlib.Path(__file__).parent
MESSAGE = b"probe"
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value):
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def pem(key, encoding=serialization.PublicFormat.SubjectPublicKeyInfo):
    return key.public_bytes(serialization.Encoding.PEM, encoding).decode()


rsa_key = rsa.generate_private_key(65537, 2048)
curves = {"256": ec.generate_private_key(ec.SECP256R1()), "384": ec.generate_private_key(ec.SECP384R1())}

lines = [f"const RSA_MODULUS: &str = \"{number(rsa_key.public_key().public_numbers().n)}\";"]
for bits, curve in curves.items():
    point = curve.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    lines.append(f"const P{bits}_POINT: &str = \"{b64(point)}\";")
for bits, digest in HASHES.items():
    lines.append(f"const RS{bits}: &str = \"{b64(rsa_key.sign(MESSAGE, padding.PKCS1v15(), digest))}\";")
for bits, curve in curves.items():
    r, s = decode_dss_signature(curve.sign(MESSAGE, ec.ECDSA(HASHES[bits])))
    length = int(bits) // 8
    lines.append(f"const ES{bits}: &str = \"{b64(r.to_bytes(length, 'big') + s.to_bytes(length, 'big'))}\";")
(HERE / "probe.rs").write_text("// Made by generate.py.\n" + "\n".join(lines) + "\n")

name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jwt-authn test")])
certificate = (
    x509.CertificateBuilder()
    .subject_name(name)
    .issuer_name(name)
    .public_key(rsa_key.public_key())
    .serial_number(1)
    .not_valid_before(datetime.datetime(2026, 1, 1))
    .not_valid_after(datetime.datetime(2126, 1, 1))
    .sign(rsa_key, hashes.SHA256())
)
blocks = [
    pem(rsa_key.public_key()),
    pem(curves["256"].public_key()),
    pem(curves["384"].public_key()),
    pem(ed25519.Ed25519PrivateKey.generate().public_key()),
    pem(rsa_key.public_key(), serialization.PublicFormat.PKCS1),
    certificate.public_bytes(serialization.Encoding.PEM).decode(),
]
(HERE / "public-keys.pem").write_text("".join(blocks))
