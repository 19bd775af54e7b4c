"""Writes the key files beside it, anew and at random; needs `cryptography` and `pynacl`.

The tests compare the files with each other, so that a new run needs no change of a test.
"""
import hashlib
import json
import os
from base64 import b64encode, encodebytes
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from nacl.secret import SecretBox

HERE = Path(__file__).parent
NULL = b"\x05\x00"


def tlv(tag, *parts):
    body = b"".join(parts)
    size = len(body)
    length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + length + body


def spki(oid, parameters, bits):
    return tlv(0x30, tlv(0x30, tlv(0x06, bytes.fromhex(oid)), parameters), tlv(0x03, b"\0", bits))


def pem(name, der, label="PUBLIC KEY"):
    body = encodebytes(der).replace(b"\n", b"").decode()
    lines = "\n".join(body[i:i + 64] for i in range(0, len(body), 64))
    (HERE / f"{name}.pem").write_text(f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")


def public(name, key):
    pem(name, key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def secret(name, key):
    pem(name, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), "PRIVATE KEY")


def seal(name, key, n, label):
    """cosign's encrypted key file, with the passphrase `correct horse`."""
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, nonce = os.urandom(32), os.urandom(24)
    sealing = hashlib.scrypt(b"correct horse", salt=salt, n=n, r=8, p=1, maxmem=1 << 28, dklen=32)
    text = lambda content: b64encode(content).decode()
    envelope = {
        "kdf": {"name": "scrypt", "params": {"N": n, "r": 8, "p": 1}, "salt": text(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": text(nonce)},
        "ciphertext": text(SecretBox(sealing).encrypt(der, nonce).ciphertext),
    }
    pem(name, json.dumps(envelope, separators=(",", ":")).encode(), label)


def pss_parameters(hash_oid, salt):
    algorithm = tlv(0x30, tlv(0x06, bytes.fromhex(hash_oid)), NULL)
    mgf = tlv(0x30, tlv(0x06, bytes.fromhex("2a864886f70d010108")), algorithm)
    return tlv(0x30, tlv(0xA0, algorithm), tlv(0xA1, mgf), tlv(0xA2, tlv(0x02, bytes([salt]))))


def write_p256():
    key = ec.generate_private_key(ec.SECP256R1())
    public("p256", key)
    secret("p256-secret", key)
    for n in [1 << 15, 1 << 16, 1 << 17]:
        for label in ["SIGSTORE", "COSIGN"]:
            seal(f"p256-sealed-{n}-{label.lower()}", key, n, f"ENCRYPTED {label} PRIVATE KEY")
    ec_oid, curve = "2a8648ce3d0201", tlv(0x06, bytes.fromhex("2a8648ce3d030107"))
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    short = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    pem("p256-compressed", spki(ec_oid, curve, short))
    pem("p256-hybrid", spki(ec_oid, curve, bytes([6 + (point[-1] & 1)]) + point[1:]))
    pem("p256-off-curve", spki(ec_oid, curve, point[:-1] + bytes([point[-1] ^ 1])))
    pem("p256-identity", spki(ec_oid, curve, b"\0"))
    pem("p256-no-curve", spki(ec_oid, b"", point))
    pem("p256-null-curve", spki(ec_oid, NULL, point))


def write_rsa():
    key = rsa.generate_private_key(65537, 2048)
    public("rsa-2048", key)
    secret("rsa-2048-secret", key)
    seal("rsa-2048-sealed", key, 1 << 16, "ENCRYPTED SIGSTORE PRIVATE KEY")
    pkcs1 = key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    plain, pss = "2a864886f70d010101", "2a864886f70d01010a"
    sha256, sha512 = "608648016503040201", "608648016503040203"
    pem("rsa-2048-no-parameters", spki(plain, b"", pkcs1))
    pem("rsa-2048-odd-parameters", spki(plain, tlv(0x02, b"\1"), pkcs1))
    pem("rsa-2048-pss", spki(pss, b"", pkcs1))
    pem("rsa-2048-pss-sha256", spki(pss, pss_parameters(sha256, 32), pkcs1))
    pem("rsa-2048-pss-sha512", spki(pss, pss_parameters(sha512, 64), pkcs1))
    pem("rsa-2048-pss-long-salt", spki(pss, pss_parameters(sha256, 64), pkcs1))
    pem("rsa-2048-pss-null", spki(pss, NULL, pkcs1))
    sha = hashes.SHA256()
    for name, salt in [("digest", 32), ("longest", padding.PSS.MAX_LENGTH), ("20", 20), ("0", 0)]:
        signature = key.sign(b"message", padding.PSS(padding.MGF1(sha), salt), sha)
        (HERE / f"rsa-2048-salt-{name}.sig").write_text(signature.hex() + "\n")
    (HERE / "rsa-2048-pkcs1v15.sig").write_text(key.sign(b"message", padding.PKCS1v15(), sha).hex() + "\n")
    other = padding.PSS(padding.MGF1(hashes.SHA512()), 32)
    (HERE / "rsa-2048-mgf1-sha512.sig").write_text(key.sign(b"message", other, sha).hex() + "\n")


def write_rsa_sizes():
    public("rsa-1024", rsa.generate_private_key(65537, 1024))
    # 2047 bits and, with 2049, an encoded message one byte shorter than the modulus.
    public("rsa-2047", rsa.generate_private_key(65537, 2047))
    odd = rsa.generate_private_key(65537, 2049)
    public("rsa-2049", odd)
    sha = hashes.SHA256()
    signature = odd.sign(b"message", padding.PSS(padding.MGF1(sha), padding.PSS.MAX_LENGTH), sha)
    (HERE / "rsa-2049-salt-longest.sig").write_text(signature.hex() + "\n")
    number = lambda value: tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))
    key = lambda modulus, exponent: spki(
        "2a864886f70d010101", NULL, tlv(0x30, number(modulus), number(exponent))
    )
    pem("rsa-8193", key((1 << 8192) + 1, 65537))
    pem("rsa-even-modulus", key(1 << 2047, 65537))
    for exponent in [1, 2, (1 << 33) + 1]:
        pem(f"rsa-exponent-{exponent}", key((1 << 2047) + 1, exponent))


def write_foreign():
    public("p224", ec.generate_private_key(ec.SECP224R1()))
    public("p384", ec.generate_private_key(ec.SECP384R1()))
    secret("p384-secret", ec.generate_private_key(ec.SECP384R1()))
    public("p521", ec.generate_private_key(ec.SECP521R1()))
    public("secp256k1", ec.generate_private_key(ec.SECP256K1()))
    public("dsa", dsa.generate_private_key(2048))
    public("ed448", ed448.Ed448PrivateKey.generate())
    public("x25519", x25519.X25519PrivateKey.generate())
    key = ed25519.Ed25519PrivateKey.generate()
    public("ed25519", key)
    secret("ed25519-secret", key)
    seal("ed25519-sealed", key, 1 << 16, "ENCRYPTED SIGSTORE PRIVATE KEY")
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem("ed25519-null-parameters", spki("2b6570", NULL, raw))


write_p256()
write_rsa()
write_rsa_sizes()
write_foreign()
