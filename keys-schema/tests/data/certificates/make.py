"""Writes the certificates beside it, anew and at random, for the keys in `../keys`; needs `cryptography`.

They are written byte by byte, because no library makes most of them.
"""
import datetime
from base64 import encodebytes
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = Path(__file__).parent
NAME = "registry.example.com/team/app"
NULL = b"\x05\x00"


def tlv(tag, *parts):
    body = b"".join(parts)
    size = len(body)
    if size < 128:
        length = bytes([size])
    else:
        length = bytes([0x81, size]) if size < 256 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + length + body


def oid(text):
    first, second, *rest = [int(part) for part in text.split(".")]
    body = bytes([first * 40 + second])
    for part in rest:
        digits = [part & 0x7F]
        while part := part >> 7:
            digits.append(part & 0x7F | 0x80)
        body += bytes(reversed(digits))
    return tlv(0x06, body)


def sequence(*parts):
    return tlv(0x30, *parts)


def integer(value):
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def name(*values, tag=0x0C):
    attribute = lambda value: tlv(0x31, sequence(oid("2.5.4.3"), tlv(tag, value)))
    return sequence(*[attribute(value) for value in values])


def extension(number, value, critical=False):
    return sequence(oid(number), b"\x01\x01\xff" if critical else b"", tlv(0x04, value))


KEY_USAGE = extension("2.5.29.15", b"\x03\x02\x05\xa0", critical=True)
CODE_SIGNING = extension("2.5.29.37", sequence(oid("1.3.6.1.5.5.7.3.3")))
OWNER = extension("2.5.29.19", sequence(), critical=True)
AUTHORITY = extension("2.5.29.19", sequence(b"\x01\x01\xff"), critical=True)
EXTENSIONS = [KEY_USAGE, CODE_SIGNING, OWNER]

ECDSA_SHA256 = sequence(oid("1.2.840.10045.4.3.2"))
ECDSA_SHA512 = sequence(oid("1.2.840.10045.4.3.4"))
ECDSA_SHA1 = sequence(oid("1.2.840.10045.4.1"))
RSA_SHA256 = sequence(oid("1.2.840.113549.1.1.11"), NULL)
RSA_SHA1 = sequence(oid("1.2.840.113549.1.1.5"), NULL)
RSA_MD5 = sequence(oid("1.2.840.113549.1.1.4"), NULL)
ED25519 = sequence(oid("1.3.101.112"))
UNKNOWN = sequence(oid("1.2.3.4"))


def pss(number, salt):
    digest = sequence(oid(number), NULL)
    mask = sequence(oid("1.2.840.113549.1.1.8"), digest)
    parameters = sequence(tlv(0xA0, digest), tlv(0xA1, mask), tlv(0xA2, integer(salt)))
    return sequence(oid("1.2.840.113549.1.1.10"), parameters)


PSS_SHA256 = pss("2.16.840.1.101.3.4.2.1", 32)
PSS_SHA1 = pss("1.3.14.3.2.26", 20)


def sign(key, algorithm, message):
    """Signs as `algorithm` says; with SHA-256 where the library refuses the digest."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        digest = {ECDSA_SHA512: hashes.SHA512(), ECDSA_SHA1: hashes.SHA1()}.get(algorithm, hashes.SHA256())
        return key.sign(message, ec.ECDSA(digest))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    if algorithm in [PSS_SHA256, PSS_SHA1]:
        digest, salt = (hashes.SHA256(), 32) if algorithm == PSS_SHA256 else (hashes.SHA1(), 20)
        return key.sign(message, padding.PSS(padding.MGF1(digest), salt), digest)
    digest = {RSA_SHA1: hashes.SHA1(), RSA_MD5: hashes.MD5()}.get(algorithm, hashes.SHA256())
    return key.sign(message, padding.PKCS1v15(), digest)


def certificate(
    key, algorithm=ECDSA_SHA256, outer=None, version=2, subject=None, extensions=EXTENSIONS, unique_id=b"",
    dates=(tlv(0x17, b"260102030405Z"), tlv(0x17, b"360102030405Z")),
):
    subject = name(NAME.encode()) if subject is None else subject
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    tbs = sequence(
        tlv(0xA0, integer(version)) if version else b"",
        integer(int.from_bytes(b"\x0f" * 16, "big")), algorithm, subject, sequence(*dates), subject, spki,
        unique_id, tlv(0xA3, sequence(*extensions)) if extensions else b"",
    )
    return sequence(tbs, outer or algorithm, tlv(0x03, b"\0", sign(key, algorithm, tbs)))


def write(file, *ders):
    blocks = []
    for der in ders:
        body = encodebytes(der).replace(b"\n", b"").decode()
        lines = "\n".join(body[i:i + 64] for i in range(0, len(body), 64))
        blocks.append(f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
    (HERE / f"{file}.pem").write_text("".join(blocks))


def secret(file):
    return load_pem_private_key((HERE.parent / "keys" / f"{file}.pem").read_bytes(), None)


def write_good(key):
    write("p256", certificate(key))
    write("p256-v1", certificate(key, version=0, extensions=[]))
    write("p256-sha512", certificate(key, ECDSA_SHA512))
    write("p256-printable", certificate(key, subject=name(NAME.encode(), tag=0x13)))
    no_end = (tlv(0x17, b"260102030405Z"), tlv(0x18, b"99991231235959Z"))
    write("p256-long-life", certificate(key, dates=no_end))
    write("p256-prefix", certificate(key, subject=name(b"registry.example.com/team/*")))
    authority = ec.generate_private_key(ec.SECP384R1())
    behind = certificate(authority, subject=name(b"An Authority"), extensions=[AUTHORITY])
    write("p256-chain", certificate(key), behind, certificate(key, extensions=[AUTHORITY]))
    old = certificate(authority, ECDSA_SHA1, subject=name(b"An Authority"), extensions=[AUTHORITY])
    write("p256-sha1-authority-behind", certificate(key), old)
    write("p256-authority-first", behind, certificate(key))


def write_as_notary(key):
    """The certificate that Notary's own code would make, by a library."""
    subject = x509.Name([
        x509.NameAttribute(NameOID.COMMON_NAME, "registry.example.com:5000/team/app", x509.name._ASN1Type.PrintableString)
    ])
    usage = dict.fromkeys([
        "content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "encipher_only",
        "decipher_only",
    ], False)
    date = lambda year: datetime.datetime(year, 1, 2, 3, 4, 5)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(int.from_bytes(b"\x8f" * 16, "big"))
        .not_valid_before(date(2026)).not_valid_after(date(2036))
        .add_extension(x509.KeyUsage(digital_signature=True, key_encipherment=True, **usage), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
        .add_extension(x509.BasicConstraints(False, None), True)
        .sign(key, hashes.SHA256())
    )
    write("p256-as-notary", made.public_bytes(Encoding.DER))


def write_bad(key):
    good = certificate(key)
    write("p256-authority", certificate(key, extensions=[AUTHORITY]))
    write("p256-two-owners", good, certificate(key, version=0, extensions=[]))
    write("p256-sha1", certificate(key, ECDSA_SHA1))
    write("p256-signed-unknown", certificate(key, UNKNOWN))
    write("p256-no-name", certificate(key, subject=sequence()))
    write("p256-two-names", certificate(key, subject=name(NAME.encode(), b"registry.example.com/other")))
    write("p256-name-nul", certificate(key, subject=name(NAME.encode() + b"\0.example.org")))
    write("p256-name-utf16", certificate(key, subject=name(NAME.encode("utf-16-be"), tag=0x1E)))
    write("p256-name-long", certificate(key, subject=name(b"a" * 513)))
    unknown = extension("1.2.3.4", NULL, critical=True)
    write("p256-unknown-critical", certificate(key, extensions=[*EXTENSIONS, unknown]))
    write("p256-extension-twice", certificate(key, extensions=[*EXTENSIONS, KEY_USAGE]))
    broken = extension("2.5.29.19", sequence(b"\x01\x01\x01"), critical=True)
    write("p256-basic-constraints-broken", certificate(key, extensions=[broken]))
    trailing = extension("2.5.29.15", b"\x03\x02\x05\xa0\x00", critical=True)
    write("p256-key-usage-trailing", certificate(key, extensions=[trailing]))
    write("p256-trailing", good + b"\0")
    write("p256-long-length", good[:1] + b"\x83\0" + good[2:])
    write("p256-two-algorithms", certificate(key, outer=ECDSA_SHA512))
    write("p256-v1-extensions", certificate(key, version=0))
    write("p256-v1-unique-id", certificate(key, version=0, extensions=[], unique_id=tlv(0x81, b"\0x")))
    write("p256-v4", certificate(key, version=3))
    backwards = (tlv(0x17, b"360102030405Z"), tlv(0x17, b"260102030405Z"))
    write("p256-ends-first", certificate(key, dates=backwards))


def write_others():
    key = secret("rsa-2048-secret")
    write("rsa-2048", certificate(key, RSA_SHA256))
    write("rsa-2048-signed-pss", certificate(key, PSS_SHA256))
    write("rsa-2048-signed-pss-sha1", certificate(key, PSS_SHA1))
    write("rsa-2048-sha1", certificate(key, RSA_SHA1))
    write("rsa-2048-md5", certificate(key, RSA_MD5))
    write("rsa-1024", certificate(rsa.generate_private_key(65537, 1024), RSA_SHA256))
    write("p384", certificate(secret("p384-secret")))
    write("ed25519", certificate(secret("ed25519-secret"), ED25519))


p256 = secret("p256-secret")
write_good(p256)
write_as_notary(p256)
write_bad(p256)
write_others()
