"""Archives that are unpacked into one folder and nowhere else, or refused in one sentence."""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from pathlib import Path

from tqdm.auto import tqdm

_GROWTH, _ROOM = 10, 64 * 2**20  # an archive may unpack to so many times its size and so many bytes more
_MEMBER = 512  # bytes that a member takes at least, so that a million empty ones count
_DEVICE = re.compile(r"(con|conin\$|conout\$|prn|aux|nul|com\d|lpt\d)\s*(\..*)?", re.IGNORECASE)  # names of Windows
_FORBIDDEN = re.compile(r'[\x00-\x1f:<>"|?*]|[. ]$')  # in names of Windows
_LONGEST = 255, 1000  # bytes of a name, characters of a path
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags of zip


class DownloadError(OSError):
    """A data set that could not be fetched; the message says why and what to do."""


def unpack(file: Path, folder: Path) -> None:
    """Unpacks a tar file, compressed or not, or a zip file.

    Args:
        file: the archive; one that ends in .zip is a zip file.
        folder: where to; made if it is missing.

    Raises:
        DownloadError: for a member or link that would leave the folder, a device, far more content than a data set's
            archive has, or damage. What was unpacked until then stays in the folder. In a zip file also for any link,
            an encrypted member, or two members that some system cannot keep apart.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with tarfile.open(f"{folder}/birds.tar", "w") as archive:
        ...         archive.addfile(tarfile.TarInfo("images/a.jpg"))
        ...     unpack(Path(folder, "birds.tar"), Path(folder, "birds"))
        ...     Path(folder, "birds", "images", "a.jpg").is_file()
        True
    """
    limit = _GROWTH * file.stat().st_size + _ROOM
    folder.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() == ".zip":
        _unpack_zip(file, folder, limit)
    else:
        _unpack_tar(file, folder, limit)


def _unpack_tar(file: Path, folder: Path, limit: int) -> None:
    total = 0
    try:
        with tarfile.open(file) as archive, tqdm(desc=f"unpacking {file.name}", unit="file", leave=False) as bar:
            for member in archive:
                total += member.size + _MEMBER
                if total > limit:
                    raise DownloadError(
                        f"{file.name} unpacks to more than {limit} bytes: it is not a data set, delete it."
                    )
                if ".." in Path(member.name).parts or Path(member.name).is_absolute():
                    raise DownloadError(f"{file.name} contains {member.name!r}, a path outside its folder: delete it.")
                archive.extract(member, folder, filter="data")
                bar.update()
            while rest := archive.fileobj.read(2**20):  # to its end, at which a compressed file has a checksum
                total += len(rest)
                if total > limit:
                    raise DownloadError(f"{file.name} is longer than {limit} bytes: it is not a data set, delete it.")
    except tarfile.FilterError as error:
        raise DownloadError(f"{file.name} contains what no data set needs ({error}): delete it.") from error
    except DownloadError:
        raise
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        no_tar = isinstance(error, tarfile.ReadError) and not total
        raise _damaged(file, folder, "it is not a tar file" if no_tar else str(error)) from error


def _unpack_zip(file: Path, folder: Path, limit: int) -> None:
    """All members are looked at before the first is unpacked; none can be longer than it says."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sum(member.file_size + _MEMBER for member in members) > limit:
                raise DownloadError(f"{file.name} unpacks to more than {limit} bytes: it is not a data set, delete it.")
            if why := _objection(members):
                raise DownloadError(f"{file.name} contains {why}: delete it.")
            for member in tqdm(members, desc=f"unpacking {file.name}", unit="file", leave=False):
                target = folder / member.filename
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as content, open(target, "xb") as part:  # its end has a checksum
                    shutil.copyfileobj(content, part)
                    if part.tell() != member.file_size:
                        raise zipfile.BadZipFile(f"{member.filename!r} ends after {part.tell()} bytes")
    except DownloadError:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, zlib.error, struct.error, ValueError, RuntimeError) as error:
        no_zip = isinstance(error, zipfile.BadZipFile) and not zipfile.is_zipfile(file)
        raise _damaged(file, folder, "it is not a zip file, or only a part of one" if no_zip else str(error)) from error


def _objection(members: list[zipfile.ZipInfo]) -> str:
    """What a zip file contains that no data set needs; empty if there is nothing of the kind."""
    kinds: dict[str, str] = {}  # name as the least exact file system compares it -> "file" or "folder"
    for member in members:
        name, mode = member.orig_filename, member.external_attr >> 16  # `filename` is cut at a NUL
        parts, shown = name.removesuffix("/").split("/"), repr(name[:60])
        if len(name) > _LONGEST[1] or any(len(part.encode()) > _LONGEST[0] for part in parts):
            return f"{shown}, a name that is too long"
        if name.startswith("/") or ".." in parts or "\\" in name or re.match("[a-z]:", name, re.IGNORECASE):
            return f"{shown}, a path outside its folder"
        if "" in parts or any(map(_FORBIDDEN.search, parts)):
            return f"{shown}, a name that not every system allows"
        if any(map(_DEVICE.fullmatch, parts)):
            return f"{shown}, which is a device on Windows"
        if stat.S_IFMT(mode) not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
            return f"{shown}, a link, a device or another member that no data set needs"
        if member.flag_bits & _ENCRYPTED:
            return f"{shown}, which is encrypted"
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return f"{shown}, which is compressed in a way that no data set needs"
        if member.is_dir() and member.file_size:
            return f"{shown}, a folder with the content of a file"
        keys = [unicodedata.normalize("NFC", part).casefold() for part in parts]
        for depth in range(1, len(keys)):
            if kinds.setdefault("/".join(keys[:depth]), "folder") != "folder":
                return f"{shown}, inside what is a file in it too"
        kind, key = "folder" if member.is_dir() else "file", "/".join(keys)
        if kinds.get(key, kind) != kind or (kind == "file" and key in kinds):
            return f"{shown} twice, or names that not every system distinguishes"
        kinds[key] = kind
    return ""


def _damaged(file: Path, folder: Path, reason: str) -> DownloadError:
    reason = " ".join(reason.split())[:200] or "it ends early"
    mend = "delete it and fetch it again, or free some space there"
    return DownloadError(f"{file.name} cannot be unpacked to {folder} ({reason}): {mend}.")
