"""Where data sets come from: one table of mirrors, checksums and licences, and a download that may be killed.

A download goes on where it stopped; what was downloaded is used only where its checksum is the table's; an archive is
unpacked into a temporary folder, which gets its name when everything is in it. So a data set is there whole, or not.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
import tarfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from tqdm.auto import tqdm

from cambook import files


class DownloadError(OSError):
    """A data set that could not be fetched; the message says why and what to do."""


@dataclass(frozen=True)
class Archive:
    """A tar file that a data set is published in.

    urls: its mirrors, tried in this order; size: in bytes; checksum: "sha256:..." or "md5:..."
    """

    name: str
    urls: tuple[str, ...]
    size: int
    checksum: str


@dataclass(frozen=True)
class Source:
    """A data set as `cambook data` lists it.

    pictures: of train and test; size: in bytes, None where it takes no room of its own
    how:      where it comes from, for a set without archives
    """

    pictures: str
    licence: str
    size: int | None = None
    how: str = ""
    archives: tuple[Archive, ...] = ()


_CALTECH = "https://data.caltech.edu/records"
_OXFORD = ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/", "https://thor.robots.ox.ac.uk/~vgg/data/pets/")
_PASCAL = ("https://thor.robots.ox.ac.uk/pascal/VOC/voc2007/", "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/")


def _archive(name: str, folders: tuple[str, ...], size: int, checksum: str) -> Archive:
    return Archive(name, tuple(folder + name for folder in folders), size, checksum)


# MD5 of the pets and VOC 2007: torchvision's; SHA-256 and sizes of CUB: those of CaltechDATA's files, as several public
# loaders state them alike (MD5 97eceeb196236b17998738112f37df78 and 4d47ba1228eae64f2fa547c47bc65255).
SOURCES = {
    "scenes": Source("made as asked for", "drawings CC BY-SA 4.0, see NOTICE", how="embedded, nothing to fetch"),
    "scenes-new-objects": Source("made as asked for", "drawings CC BY-SA 4.0, see NOTICE", how="embedded, as scenes"),
    "voc:FOLDER": Source("your own", "your own", how="a folder with JPEGImages, Annotations and ImageSets/Main"),
    "folder:FOLDER": Source(
        "your own", "your own", how="one folder of pictures a class, in train/ and test/ or split here; no boxes"
    ),
    "ilsvrc:FOLDER": Source(
        "1,281,167 and 50,000",
        "non-commercial research and education, by agreement",
        154_642_401_280,
        "register at https://image-net.org/download-images, unpack the pictures and boxes of ILSVRC 2012 (task "
        "CLS-LOC) to train/, val/ and Annotations/CLS-LOC/, the devkit beside them",
    ),
    "tiny-imagenet:FOLDER": Source(
        "100,000 and 10,000",
        "ImageNet's terms: non-commercial research and education",
        248_100_043,
        "unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip (MD5 90528d7ca1a48142e341f4ef8d21d0de)",
    ),
    "cub": Source(
        "5,994 and 5,794",
        "non-commercial research and education; pictures belong to their photographers",
        archives=(
            _archive(
                "CUB_200_2011.tgz",
                (f"{_CALTECH}/65de6-vp158/files/",),
                1_150_585_339,
                "sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
            ),
            _archive(
                "segmentations.tgz",
                (f"{_CALTECH}/w9d68-gec53/files/",),
                39_272_883,
                "sha256:dc77f6cffea0cbe2e41d4201115c8f29a6320ecb04fffd2444f51b8066e4b84f",
            ),
        ),
    ),
    "pets": Source(
        "3,680 and 3,669",
        "CC BY-SA 4.0; pictures belong to their photographers",
        archives=(
            _archive("images.tar.gz", _OXFORD, 791_918_971, "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            _archive("annotations.tar.gz", _OXFORD, 19_173_078, "md5:95a8c909bbe2e81eed6a22bccdf3f68f"),
        ),
    ),
    "voc2007": Source(
        "5,011 and 4,952",
        "pictures under Flickr's terms of use",
        archives=(
            _archive("VOCtrainval_06-Nov-2007.tar", _PASCAL, 460_032_000, "md5:c52e279531787c972589f7e41ab4ae64"),
            _archive("VOCtest_06-Nov-2007.tar", _PASCAL, 451_020_800, "md5:b6e924de25625d8de591ea690078ad9f"),
        ),
    ),
}

ROUNDS = 2  # how often each mirror is tried
TIMEOUT = (10, 60)  # seconds to connect, seconds without a byte
_CHUNK = 2**14  # what is lost at most where a connection breaks
_GROWTH, _ROOM = 10, 64 * 2**20  # an archive may unpack to so many times its size and so many bytes more


def place(name: str) -> Path:
    """The folder where a downloaded data set lies or would lie."""
    return files.CACHE / "datasets" / name


def known(name: str) -> str:
    """A name of SOURCES, without ":FOLDER" too. raises: DownloadError with the nearest name"""
    for each in (name, f"{name}:FOLDER"):
        if each in SOURCES:
            return each
    near = get_close_matches(name, SOURCES, 1, 0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise DownloadError(f"unknown data set {name!r}: {hint}Known: {', '.join(SOURCES)}.")


def fetch(name: str) -> Path:
    """The folder of a data set of SOURCES that has archives, downloaded and unpacked where it is not there yet.

    raises: DownloadError where that cannot be; the part that was downloaded is kept for the next time, one with a wrong
            checksum is deleted and nothing of it is used
    """
    from filelock import FileLock  # here and below: a set that is there needs neither

    source, folder = SOURCES[known(name)], place(name)
    if not source.archives:
        raise DownloadError(f"{name} is not downloaded: {source.how}.")
    kept = folder.parent / "downloads"
    if folder.is_dir():
        _remove(source.archives, kept)  # a process that was killed when it had unpacked them left them
        return folder
    kept.mkdir(parents=True, exist_ok=True)
    with FileLock(kept / f"{name}.lock"):  # a second process waits, then finds the folder
        if folder.is_dir():
            return folder
        needed = sum(archive.size - _held(archive, kept) + archive.size for archive in source.archives)
        free = shutil.disk_usage(kept).free
        if free < needed:
            raise DownloadError(
                f"{name} needs {needed / 1e9:.1f} GB while it is unpacked and {kept} has {free / 1e9:.1f} GB free: "
                "free some, or set CAMBOOK_CACHE to a folder with more room."
            )
        files = [_download(archive, kept, name) for archive in source.archives]
        unpacked = folder.with_name(f".{name}.unpacking")
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            for file in files:
                unpack(file, unpacked)
            unpacked.rename(folder)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        _remove(source.archives, kept)
    return folder


def _remove(archives: tuple[Archive, ...], kept: Path) -> None:
    for archive in archives:
        with suppress(OSError):
            (kept / archive.name).unlink()


def _held(archive: Archive, kept: Path) -> int:
    files = (kept / archive.name, kept / f"{archive.name}.part")
    return next((file.stat().st_size for file in files if file.is_file()), 0)


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
    part.rename(file)
    return file


def _resume(url: str, part: Path, archive: Archive) -> None:
    """Downloads what is missing of a file. raises: OSError (those of requests are) where something still is"""
    import requests

    held = part.stat().st_size if part.is_file() else 0
    if held >= archive.size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        answer.raw.headers.pop("Content-Encoding", None)  # a .tgz as it is, even where the server calls it an encoding
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


def unpack(file: Path, folder: Path) -> None:
    """Unpacks a tar file, compressed or not.

    raises: DownloadError for a member or link that would leave the folder, a device, far more content than a data set's
            archive has, or damage; what was unpacked until then stays in the folder
    """
    limit = _GROWTH * file.stat().st_size + _ROOM
    total = 0
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(file) as archive, tqdm(desc=f"unpacking {file.name}", unit="file", leave=False) as bar:
            for member in archive:
                total += member.size + 512  # 512: the least that a member takes, so that a million empty ones count
                if total > limit:
                    raise DownloadError(
                        f"{file.name} unpacks to more than {limit} bytes: it is no data set, delete it."
                    )
                if ".." in Path(member.name).parts or Path(member.name).is_absolute():
                    raise DownloadError(f"{file.name} holds {member.name!r}, a place outside its folder: delete it.")
                archive.extract(member, folder, filter="data")
                bar.update()
            while rest := archive.fileobj.read(2**20):  # to its end, where a compressed file has a checksum
                total += len(rest)
                if total > limit:
                    raise DownloadError(f"{file.name} is longer than {limit} bytes: it is no data set, delete it.")
    except tarfile.FilterError as error:
        raise DownloadError(f"{file.name} holds what no data set needs ({error}): delete it.") from error
    except DownloadError:
        raise
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        no_tar = isinstance(error, tarfile.ReadError) and not total
        reason = "it is no tar file" if no_tar else str(error).splitlines()[0]
        mend = "delete it and fetch it again, or free some room there"
        raise DownloadError(f"{file.name} cannot be unpacked to {folder} ({reason}): {mend}.") from error


def catalogue() -> list[tuple[str, str, str, str, str]]:
    """Name, pictures, size, licence, and where it is or how to get it, of every data set."""
    rows = []
    for name, source in SOURCES.items():
        size = source.size or sum(archive.size for archive in source.archives)
        where = source.how or (str(place(name)) if place(name).is_dir() else f"fetch it with: cambook data {name}")
        rows.append((name, source.pictures, f"{size / 1e9:.1f} GB" if size else "-", source.licence, where))
    return rows
