"""Says whether securesystemslib takes a DSSE envelope for signed with a key.

    securesystemslib_verify.py PUBLIC_KEY.pem ENVELOPE.json
    securesystemslib_verify.py --version

The envelope's empty key id stands for the key that is given. Subjects are not looked at.

Exit code 0: accepted. 1: refused, for the reason on the standard error. Anything else is a fault of this script.
"""

import json
import sys
from pathlib import Path

import securesystemslib
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey


def verify(public_key: str, envelope_file: str) -> int:
    """Report as an exit code; a refusal is an answer, not a crash."""
    key = SSlibKey.from_crypto(load_pem_public_key(Path(public_key).read_bytes()))
    document = json.loads(Path(envelope_file).read_text(encoding="utf-8"))
    for signature in document["signatures"]:
        signature["keyid"] = signature.get("keyid") or key.keyid
    try:
        Envelope.from_dict(document).verify([key], 1)
    except VerificationError as refusal:
        print(f"VerificationError: {refusal}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """Read the command line."""
    if sys.argv[1:] == ["--version"]:
        print(securesystemslib.__version__)
        return 0
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    return verify(*sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
