"""Follows a TUF repository with python-tuf's own client and says what it came to trust.

    python_tuf_client.py refresh|download METADATA_URL TARGETS_URL STATE_DIR ROOT_FILE
                         [--target NAME --out DIR]

STATE_DIR keeps what the client trusts from one run to the next. ROOT_FILE is the pinned
root. SSL_CERT_FILE in the environment names the authority of an https server.

Prints one JSON object: the version of each top-level role and, after a download, the
target's length and SHA-256; or, when the client refuses, `{"refused": ..., "text": ...}`.
Exit code 0: followed. 1: refused. Anything else is a fault of this program.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import Metadata
from tuf.ngclient import Updater, UpdaterConfig

ROLES = ("root", "timestamp", "snapshot", "targets")


def follow(args: argparse.Namespace) -> dict:
    """Run the client once and report what it trusts afterwards."""
    state = Path(args.state_dir)
    state.mkdir(parents=True, exist_ok=True)
    if args.out:
        Path(args.out).mkdir(parents=True, exist_ok=True)
    updater = Updater(
        str(state),
        args.metadata_url,
        target_dir=args.out,
        target_base_url=args.targets_url,
        config=UpdaterConfig(app_user_agent="bulla-peer"),
        bootstrap=Path(args.root_file).read_bytes(),
    )
    updater.refresh()
    report = {role: trusted_version(state, role) for role in ROLES}
    if args.command == "download":
        report["target"] = download(updater, args.target)
    return report


def download(updater: Updater, name: str) -> dict:
    """Find the target through the delegations, fetch it, and hash the file that was written."""
    info = updater.get_targetinfo(name)
    if info is None:
        raise RepositoryError(f"no role lists the target {name}")
    path = Path(updater.find_cached_target(info) or updater.download_target(info))
    data = path.read_bytes()
    return {"path": str(path), "length": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def trusted_version(state: Path, role: str) -> int:
    """The version in the client's own store, which holds nothing that it did not verify."""
    return Metadata.from_file(str(state / f"{role}.json")).signed.version


def parse_arguments() -> argparse.Namespace:
    """Read the command line, the same one as that of tuf_js_client.mjs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["refresh", "download"])
    for name in ("metadata_url", "targets_url", "state_dir", "root_file"):
        parser.add_argument(name)
    parser.add_argument("--target")
    parser.add_argument("--out")
    args = parser.parse_args()
    if args.command == "download" and not (args.target and args.out):
        parser.error("download needs --target and --out")
    return args


def main() -> int:
    """Report as JSON; a refusal is an answer, not a crash."""
    try:
        report, code = follow(parse_arguments()), 0
    except (RepositoryError, DownloadError) as refusal:
        report, code = {"refused": type(refusal).__name__, "text": str(refusal)}, 1
    print(json.dumps(report))
    return code


if __name__ == "__main__":
    sys.exit(main())
