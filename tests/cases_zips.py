"""Hostile cases of zip files: what would leave the folder, fill the disk, or be unpacked in part."""

import hashlib
import io
import stat
import struct
import warnings
import zipfile
from unittest.mock import patch

import numpy as np
from hostile import CASES, Refused, Right
from test_downloads import tar

from cambook import files
from cambook.datasets import downloads, unpacking

NOISE = np.random.default_rng(0).bytes(200_000)
OUTSIDE = Refused("birds.zip contains '.*', a path outside its folder: delete it.$")
NAME = Refused("birds.zip contains '.*', a name that not every system allows: delete it.$")
TWICE = Refused("birds.zip contains '.*' twice, or names that not every system distinguishes: delete it.$")
NEEDLESS = Refused("birds.zip contains '.*', a link, a device or another member that no data set needs: delete it.$")
DAMAGED = Refused(r"birds.zip cannot be unpacked to .*\.birds\.unpacking \(.*\): delete it and fetch it again")
PART = Refused(r"\(it is not a zip file, or only a part of one\): delete it and fetch it again")
BOMB = Refused("birds.zip unpacks to more than [0-9]+ bytes: it is not a data set, delete it.$")


def zipped(*members, method=zipfile.ZIP_DEFLATED) -> bytes:
    """Members: (name or ZipInfo, content); the first is a harmless one, which may not stay either."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name twice
        for name, content in (("first.txt", b"harmless"), *members):
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo("x")
            if info is not name:
                info.filename = info.orig_filename = name  # as it is, with NUL and backslashes
            info.compress_type = method
            archive.writestr(info, content)
    return buffer.getvalue()


def of_mode(name, mode) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def changed(content: bytes, offset: int, form: str, value: int, *, local=None) -> bytes:
    """With another value in the directory's last entry, and in that member's local header."""
    edited = bytearray(content)
    entry = content.rindex(b"PK\1\2")
    struct.pack_into(form, edited, entry + offset, value)
    if local is not None:
        struct.pack_into(form, edited, content.rindex(b"PK\3\4") + local, value)
    return bytes(edited)


def flipped(content: bytes) -> bytes:
    """Some bytes in the middle of the content are others."""
    middle = len(content) // 2
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 64]) + content[middle + 64 :]


def overlapping(times: int) -> bytes:
    """One member's bytes, which the directory lists under so many names."""
    content = zipped(("000", NOISE))
    entry, end = content.rindex(b"PK\1\2"), content.rindex(b"PK\5\6")
    entries = [content[entry:end].replace(b"000", b"%03d" % number) for number in range(times)]
    first = content.index(b"PK\1\2")
    size = entry - first + sum(map(len, entries))
    tail = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, times + 1, times + 1, size, first, 0)
    return content[:entry] + b"".join(entries) + tail


def zip_case(name, expected, content, room=None):
    """A case of a data set whose zip file has this content, downloaded already and with the right checksum."""

    def fetch(folder):
        data = content()
        archive = downloads.Archive("birds.zip", (), len(data), f"md5:{hashlib.md5(data).hexdigest()}")
        top = files.CACHE / "datasets"
        (top / "downloads").mkdir(parents=True)
        (top / "downloads" / "birds.zip").write_bytes(data)
        with patch.object(unpacking, "_ROOM", room or unpacking._ROOM):
            try:
                birds = downloads.fetch_archives("birds", (archive,))
            except BaseException:
                assert [p.name for p in top.iterdir()] == ["downloads"], "something of it was used"
                raise
        assert not list((top / "downloads").glob("birds.zip"))
        return sorted(p.relative_to(birds).as_posix() for p in birds.rglob("*") if p.is_file())

    CASES.append(("archives", f"zip: {name}", fetch, expected))


# ---- paths

zip_case("a path above", OUTSIDE, lambda: zipped(("../evil", b"x")))
zip_case("a path above, deeper", OUTSIDE, lambda: zipped(("a/../../evil", b"x")))
zip_case("a path that ends above", OUTSIDE, lambda: zipped(("a/..", b"x")))
zip_case("an absolute path", OUTSIDE, lambda: zipped(("/tmp/evil", b"x")))
zip_case("a server's path", OUTSIDE, lambda: zipped(("//server/share/evil", b"x")))
zip_case("a drive letter", OUTSIDE, lambda: zipped(("C:/evil", b"x")))
zip_case("a drive letter without a slash", OUTSIDE, lambda: zipped(("c:evil", b"x")))
zip_case("backslashes above", OUTSIDE, lambda: zipped(("..\\..\\evil", b"x")))
zip_case("backslashes inside", OUTSIDE, lambda: zipped(("images\\evil", b"x")))
zip_case("a stream of another file", NAME, lambda: zipped(("first.txt:evil", b"x")))
zip_case("a name that ends in a dot", NAME, lambda: zipped(("first.txt.", b"x")))
zip_case("a folder without a name", NAME, lambda: zipped(("images//a.jpg", b"x")))
zip_case("a member without a name", NAME, lambda: zipped(("", b"x")))
zip_case("a name of 60,000 letters", Refused("'a{60}', a name that is too long"), lambda: zipped(("a" * 60_000, b"x")))
zip_case(
    "a device of Windows", Refused("'a/NUL.jpg', which is a device on Windows"), lambda: zipped(("a/NUL.jpg", b""))
)
zip_case("control characters for a name", NAME, lambda: zipped(("\1\n" * 100, b"x")))
zip_case("NUL in a name", NAME, lambda: zipped(("a.jpg\0.exe", b"x")))
zip_case("a path above behind NUL", OUTSIDE, lambda: zipped(("a.jpg\0/../evil", b"x")))


# ---- members that are none of a data set


zip_case("a link", NEEDLESS, lambda: zipped((of_mode("a", stat.S_IFLNK | 0o777), b"../.."), ("a/evil", b"x")))
zip_case("a link inside its folder", NEEDLESS, lambda: zipped((of_mode("a", stat.S_IFLNK | 0o777), b"first.txt")))
zip_case("a device", NEEDLESS, lambda: zipped((of_mode("a", stat.S_IFCHR | 0o666), b"")))
zip_case("a pipe", NEEDLESS, lambda: zipped((of_mode("a", stat.S_IFIFO | 0o666), b"")))
zip_case("a folder called a file", NEEDLESS, lambda: zipped((of_mode("a", stat.S_IFDIR | 0o777), b"")))
zip_case(
    "a folder with content",
    Refused("'a/', a folder with the content of a file"),
    lambda: zipped((of_mode("a/", stat.S_IFDIR | 0o777), b"x")),
)
zip_case(
    "an encrypted member",
    Refused("'a', which is encrypted: delete it"),
    lambda: changed(zipped(("a", b"x")), 8, "<H", 1, local=6),
)
zip_case(
    "a member compressed as nobody needs",
    Refused("'first.txt', which is compressed in a way that no data set needs: delete it"),
    lambda: zipped(("a", b"x"), method=zipfile.ZIP_BZIP2),
)
zip_case("a name twice", TWICE, lambda: zipped(("a.jpg", b"one"), ("a.jpg", b"two")))
zip_case("names that differ in their case", TWICE, lambda: zipped(("a.jpg", b"one"), ("A.JPG", b"two")))
zip_case("names that differ in how letters are composed", TWICE, lambda: zipped(("\xe9", b"1"), ("e\u0301", b"2")))
zip_case("a file and a folder of one name", TWICE, lambda: zipped(("a", b"x"), ("a/", b"")))
zip_case(
    "a file inside a file",
    Refused("'a/b', inside what is a file in it too: delete it"),
    lambda: zipped(("a", b"x"), ("a/b", b"x")),
)


# ---- bombs


zip_case("a bomb", BOMB, lambda: zipped(("a", bytes(66 * 2**20))))
zip_case("a bomb of the same bytes again and again", BOMB, lambda: overlapping(100), 2**20)
zip_case("a size of 4 GB that is none", BOMB, lambda: changed(zipped(("a", b"x")), 24, "<I", 2**32 - 2))


# ---- damage


zip_case("fewer bytes said than there are", DAMAGED, lambda: changed(zipped(("a", NOISE)), 24, "<I", 1000))
zip_case(
    "more bytes said than there are",
    Refused(r"\('a' ends after 200000 bytes\): delete it and fetch it again"),
    lambda: changed(zipped(("a", NOISE), method=zipfile.ZIP_STORED), 24, "<I", 300_000),
)
zip_case(
    "damaged in the middle, stored",
    Refused(r"\(Bad CRC-32 for file 'a'\): delete it and fetch it again"),
    lambda: flipped(zipped(("a", NOISE), method=zipfile.ZIP_STORED)),
)
zip_case("damaged in the middle", DAMAGED, lambda: flipped(zipped(("a", b"".join(b"%d " % i for i in range(99_999))))))
zip_case("half a file", PART, lambda: zipped(("a", NOISE))[:90_000])
zip_case("without its last byte", PART, lambda: zipped(("a", NOISE))[:-1])
zip_case("without its first half", DAMAGED, lambda: zipped(("a", NOISE))[90_000:])
zip_case(
    "another name in front of the content", DAMAGED, lambda: zipped(("other", b"x")).replace(b"other", b"evil!", 1)
)
zip_case(
    "a name in another encoding than it says", DAMAGED, lambda: zipped(("\xe9", b"x")).replace(b"\xc3\xa9", b"\xff\xff")
)
zip_case("a part of a patch", DAMAGED, lambda: changed(zipped(("a", b"x")), 8, "<H", 0x20, local=6))
zip_case("a version of the year 3000", DAMAGED, lambda: changed(zipped(("a", b"x")), 6, "<H", 250))
zip_case("a page of an error", PART, lambda: b"<html>Not found</html>" * 100)
zip_case("a tar file", PART, lambda: tar(("a", b"x"), compression=""))
zip_case("nothing", PART, lambda: b"")


# ---- and what is right


zip_case(
    "empty files, folders and names in Hangul",
    Right(["first.txt", "images/강아지/1.jpg", "images/강아지/2.jpg"]),
    lambda: zipped(("images/", b""), ("images/강아지/1.jpg", b""), ("images/강아지/2.jpg", NOISE)),
)
