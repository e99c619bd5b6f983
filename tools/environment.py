"""Makes .venv and installs this checkout into it; does nothing when it is up to date.

    python3 tools/environment.py [EXTRA ...]

Standard library only. Works where Debian's python3-venv (ensurepip) and pip are not installed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "lamella-environment.json"

# Fetched only where no pip can be found on the machine; the hash is what makes it trusted.
PIP_URL = (
    "https://files.pythonhosted.org/packages/44/3c/"
    "d717024885424591d5376220b5e836c2d5293ce2011523c9de23ff7bf068/pip-25.3-py3-none-any.whl"
)
PIP_SHA256 = "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd"
_MOST_BYTES = 16 << 20

QUIET = ["--quiet", "--disable-pip-version-check"]


def main(extras: list[str]) -> int:
    """Brings .venv up to date with pyproject.toml and the extras; returns an exit status."""
    want = {"root": str(ROOT), "pyproject": _digest(ROOT / "pyproject.toml")}
    have = _read_stamp()
    fresh = have is not None and all(have.get(k) == v for k, v in want.items()) and _runs(PYTHON)
    installed = set(have["extras"]) if fresh and have is not None else set()
    if fresh and installed.issuperset(extras):
        return 0
    if not fresh and not _make_venv():
        return _fail(
            "a virtual environment could not be made.",
            "On Debian or Ubuntu: sudo apt install python3-venv",
        )
    wanted = sorted(installed.union(extras))
    target = f".[{','.join(wanted)}]" if wanted else "."
    print(f"installing {target} into .venv (this takes a minute, once)", flush=True)
    STAMP.unlink(missing_ok=True)
    if _call(PYTHON, "-m", "pip", "install", *QUIET, "--editable", target):
        return _fail("the packages could not be installed; pip's message stands above.")
    STAMP.write_text(json.dumps({**want, "extras": wanted}))
    return 0


def _make_venv() -> bool:
    """An empty .venv with pip in it, by the first way that works on this machine."""
    print(f"making .venv with Python {sys.version.split()[0]}", flush=True)
    if VENV.is_symlink():
        VENV.unlink()
    shutil.rmtree(VENV, ignore_errors=True)
    if not _call(sys.executable, "-m", "venv", VENV, quiet=True) and _has_pip():
        return True
    shutil.rmtree(VENV, ignore_errors=True)
    if _call(sys.executable, "-m", "venv", "--without-pip", VENV):
        return False
    return any(way() and _has_pip() for way in (_pip_of_the_machine, _pip_of_debian, _pip_fetched))


def _pip_of_the_machine() -> bool:
    pip = [sys.executable, "-m", "pip", "--python", PYTHON]
    return not _call(*pip, "install", *QUIET, "pip", quiet=True)


def _pip_of_debian() -> bool:
    wheels = sorted(Path("/usr/share/python-wheels").glob("pip-*.whl"))
    return bool(wheels) and _install_pip(wheels[-1])


def _pip_fetched() -> bool:
    print("no pip on this machine: fetching it", flush=True)
    try:
        content = _fetch(PIP_URL)
    except OSError as e:
        print(f"{PIP_URL}: {e}", file=sys.stderr)
        return False
    if hashlib.sha256(content).hexdigest() != PIP_SHA256:
        print(f"{PIP_URL}: not the file expected (sha256 differs)", file=sys.stderr)
        return False
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder) / PIP_URL.rpartition("/")[2]
        wheel.write_bytes(content)
        return _install_pip(wheel)


def _fetch(url: str) -> bytes:
    """The bytes at `url`; without ca-certificates too, since the hash vouches for the bytes."""
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            return reply.read(_MOST_BYTES)
    except urllib.error.URLError as e:
        if not isinstance(e.reason, ssl.SSLCertVerificationError):
            raise
    unverified = ssl._create_unverified_context()
    with urllib.request.urlopen(url, timeout=60, context=unverified) as reply:
        return reply.read(_MOST_BYTES)


def _install_pip(wheel: Path) -> bool:
    """A pip wheel is a zip that Python runs as it is: it installs itself."""
    return not _call(PYTHON, wheel / "pip", "install", *QUIET, "--no-index", wheel)


def _has_pip() -> bool:
    return not _call(PYTHON, "-m", "pip", "--version", quiet=True)


def _runs(python: Path) -> bool:
    try:
        return not _call(python, "-c", "", quiet=True)
    except OSError:
        return False


def _call(*command: object, quiet: bool = False) -> int:
    out = subprocess.DEVNULL if quiet else None
    return subprocess.call([str(c) for c in command], stdout=out, stderr=out, cwd=ROOT)


def _read_stamp() -> dict | None:
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _fail(*lines: str) -> int:
    for line in lines:
        print("environment: " + line, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
