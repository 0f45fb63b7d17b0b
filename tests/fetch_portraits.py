"""Fetch photographs of faces for `eggan bench photos` and the tests: `make portraits`.

They are test pictures of the package face_recognition, which take no part in this software and are
not handed on with it: White House photographs of two people, works of the government of the United States.
pip downloads the package, whose sha256 is pinned here; nothing of it is installed, and no code of it is kept.
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from eggan.files import files_in, replaced_folder

PACKAGE = "face_recognition==1.3.0"
SHA256 = "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec"
INSIDE = "face_recognition-1.3.0/tests/test_images"
# picture in the package -> person and name here: pictures of one person lie in one folder
PICTURES = {
    "obama.jpg": "obama/1.jpg",
    "obama2.jpg": "obama/2.jpg",
    "obama3.jpg": "obama/3.jpg",
    "biden.jpg": "biden/1.jpg",
}


def main(folder: Path) -> None:
    """Put the pictures into `folder`, unless they are there."""
    if folder.is_dir() and set(files_in(folder)) == set(PICTURES.values()):
        print(f"{folder} is there")
        return
    with tempfile.TemporaryDirectory() as scratch:
        archive = download(Path(scratch))
        unpack(archive, folder)
    print(f"wrote {folder}: {len(PICTURES)} photographs")


def download(scratch: Path) -> Path:
    """Return the package's source archive; pip refuses one with another hash before it looks into it."""
    wanted = scratch / "wanted.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    words = ["--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes", "--dest", str(scratch)]
    if subprocess.run([sys.executable, "-m", "pip", "download", *words, "-r", str(wanted)]).returncode:
        raise SystemExit(f"pip could not fetch {PACKAGE}")
    (archive,) = scratch.glob("*.tar.gz")
    return archive


def unpack(archive: Path, folder: Path) -> None:
    """Write the pictures of an archive, and nothing else of it, into `folder`."""
    with tarfile.open(archive) as package, replaced_folder(folder, list(PICTURES.values())) as new:
        for name, here in PICTURES.items():
            member = package.extractfile(f"{INSIDE}/{name}")
            assert member is not None
            (new / here).parent.mkdir(exist_ok=True)
            (new / here).write_bytes(member.read())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
