"""Downloads of archives that may be interrupted at any moment.

A download continues where it stopped; what was downloaded is used only if its checksum is right; an archive is unpacked
into a temporary folder, which gets its name when everything is in it. So a data set is there whole, or not at all.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from cambook import files
from cambook.datasets.unpacking import DownloadError, unpack


@dataclass(frozen=True)
class Archive:
    """A tar or zip file that a data set is published in.

    Attributes:
        name: of the file; one that ends in .zip is a zip file, any other a tar file, compressed or not.
        urls: its mirrors, tried in this order.
        size: in bytes.
        checksum: "sha256:..." or "md5:...".

    Example:
        >>> Archive.at(("https://a.org/", "https://b.org/"), "birds.tgz", 10, "md5:0").urls
        ('https://a.org/birds.tgz', 'https://b.org/birds.tgz')
    """

    name: str
    urls: tuple[str, ...]
    size: int
    checksum: str

    @classmethod
    def at(cls, folders: tuple[str, ...], name: str, size: int, checksum: str) -> Archive:
        """An archive that lies under its name in each of these folders, given as URLs that end in a slash."""
        return cls(name, tuple(folder + name for folder in folders), size, checksum)


ROUNDS = 2  # how often each mirror is tried
TIMEOUT = (10, 60)  # seconds to connect, seconds without a byte
_CHUNK = 2**14  # bytes that are lost at most if a connection breaks


def folder_of(name: str) -> Path:
    """Where a downloaded data set lies, in the user's cache or a class's, or would lie.

    Args:
        name: the data set's, such as "cub".

    Returns:
        The first that exists of `files.cached`; if none does, `files.CACHE`/datasets/name, where it would be unpacked.

    Example:
        >>> folder_of("cub").parts[-2:]
        ('datasets', 'cub')
    """
    return next(iter(files.cached("datasets", name)), files.CACHE / "datasets" / name)


def fetch_archives(name: str, archives: tuple[Archive, ...]) -> Path:
    """Downloads a data set's archives and unpacks them into one folder.

    A folder that is there already, in the user's cache or a class's, is returned. A download continues where an earlier
    one stopped; a second process that wants the same data set waits.

    Args:
        name: the data set's, which becomes its folder's name in the cache.
        archives: what it is published in.

    Returns:
        The folder.

    Raises:
        DownloadError: if a download or an archive fails. The part that was downloaded is kept for the next time; one
            with a wrong checksum is deleted and nothing of it is used.

    Example:
        >>> import tempfile
        >>> from unittest.mock import patch
        >>> with tempfile.TemporaryDirectory() as cache, patch.object(files, "CACHE", Path(cache)):
        ...     folder_of("birds").mkdir(parents=True)  # as an earlier call leaves it, so nothing is downloaded
        ...     fetch_archives("birds", (Archive.at(("https://a.org/",), "birds.tgz", 10, "md5:0"),)).name
        'birds'
    """
    from filelock import FileLock  # slow to import, as requests below

    folder, kept = folder_of(name), files.CACHE / "datasets" / "downloads"
    if folder.is_dir():
        _remove(archives, kept)  # left by a process that was killed when it had unpacked them
        return folder
    kept.mkdir(parents=True, exist_ok=True)
    with FileLock(kept / f"{name}.lock"):
        if folder.is_dir():
            return folder
        needed = sum(archive.size - _held(archive, kept) + archive.size for archive in archives)
        free = shutil.disk_usage(kept).free
        if free < needed:
            raise DownloadError(
                f"{name} needs {needed / 1e9:.1f} GB while it is unpacked and {kept} has {free / 1e9:.1f} GB free: "
                "free some, or set CAMBOOK_CACHE to a folder with more space."
            )
        downloaded = [_download(archive, kept, name) for archive in archives]
        unpacked = folder.with_name(f".{name}.unpacking")
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            for file in downloaded:
                unpack(file, unpacked)
            files.move(unpacked, folder)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        _remove(archives, kept)
    return folder


def _remove(archives: tuple[Archive, ...], kept: Path) -> None:
    for archive in archives:
        with suppress(OSError):
            (kept / archive.name).unlink()


def _held(archive: Archive, kept: Path) -> int:
    both = (kept / archive.name, kept / f"{archive.name}.part")
    return next((file.stat().st_size for file in both if file.is_file()), 0)


def _download(archive: Archive, kept: Path, name: str) -> Path:
    file, part = kept / archive.name, kept / f"{archive.name}.part"
    if file.is_file():
        return file
    faults: list[str] = []
    for url in archive.urls * ROUNDS:
        try:
            _resume(url, part, archive)
        except OSError as fault:  # those of requests are OSErrors too
            faults.append(f"{url}: {fault}")
            continue
        break
    else:
        held = part.stat().st_size if part.is_file() else 0
        raise DownloadError(
            f"{archive.name} could not be downloaded ({faults[-1]}): {held} of {archive.size} bytes are here and are "
            f"kept; run `cambook data {name}` to go on."
        )
    kind, _, expected = archive.checksum.partition(":")
    with open(part, "rb") as content:
        found = hashlib.file_digest(content, kind).hexdigest()
    if found != expected:
        part.unlink()
        raise DownloadError(
            f"{archive.name} has the {kind} checksum {found} and should have {expected}: it was deleted and nothing of "
            f"it was used; run `cambook data {name}` to download it again."
        )
    files.move(part, file)
    return file


def _resume(url: str, part: Path, archive: Archive) -> None:
    """Downloads what is missing of a file. Raises OSError, as those of requests are, if something still is."""
    import requests

    held = part.stat().st_size if part.is_file() else 0
    if held >= archive.size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        answer.raw.headers.pop("Content-Encoding", None)  # a .tgz as it is, even if the server calls it an encoding
        begins = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if answer.status_code != 206 or not begins or int(begins[1]) != held:
            held = 0  # this server begins anew
        with (
            open(part, "ab" if held else "wb") as file,
            tqdm(total=archive.size, initial=held, desc=archive.name, unit="B", unit_scale=True) as bar,
        ):
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                if file.tell() > archive.size:
                    break
    got = part.stat().st_size
    if got > archive.size:
        part.unlink()
        raise OSError(f"it sends more than the {archive.size} bytes of {archive.name}")
    if got < archive.size:
        raise OSError(f"it ended after {got} of {archive.size} bytes")
