"""A server of our own in a thread, with Range requests: downloads that stop, go on, lie or attack."""

import hashlib
import io
import re
import shutil
import signal
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from cambook import datasets, files
from cambook.cli import commands
from cambook.datasets import Archive, DownloadError, downloads, unpacking


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        state = self.server.state
        body = state.files.get(self.path.lstrip("/"))
        given = re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) if state.ranges else None
        start = int(given[1]) if given else 0
        state.asked.append(start)
        if body is None:
            return self.send_error(404)
        rest = body[start:]
        self.send_response(206 if given else 200)
        if given:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if state.encoding:
            self.send_header("Content-Encoding", state.encoding)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        time.sleep(state.delay)
        self.wfile.write(rest[: state.stop_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        state = SimpleNamespace(files={}, asked=[], ranges=True, stop_after=None, encoding=None, delay=0)
        running.state = state
        state.url = f"http://127.0.0.1:{running.server_port}/"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(downloads, "TIMEOUT", (2, 2))


def tar(*members, compression="gz") -> bytes:
    """Members: (name, content), or TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            content = b"" if isinstance(member, tarfile.TarInfo) else member[1]
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


NOISE = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(4000))


@pytest.fixture
def offer(server):
    """offer(content, ...) makes it the archive of the data set "birds"; returns that archive."""
    known = dict(datasets.KNOWN)

    def make(content: bytes, checksum=None, mirrors=1, size=None) -> Archive:
        server.files["birds.tgz"] = content
        checksum = checksum or f"sha256:{hashlib.sha256(content).hexdigest()}"
        urls = [f"{server.url}nowhere.tgz"] * (mirrors - 1) + [f"{server.url}birds.tgz"]
        archive = Archive("birds.tgz", tuple(urls), size or len(content), checksum)
        facts = {"kind": "birds", "splits": {"train": 2, "test": 2}, "licence": "CC0", "archives": (archive,)}
        datasets.register(type("Birds", (datasets.DataSet,), facts))
        return archive

    yield make
    datasets.KNOWN.clear()
    datasets.KNOWN.update(known)


def held():
    kept = (files.CACHE / "datasets/downloads").iterdir()
    return {file.name: file.stat().st_size for file in kept if file.suffix != ".lock"}


def nothing_is_there():
    assert not downloads.folder_of("birds").exists()
    assert not [p for p in downloads.folder_of("birds").parent.iterdir() if "unpacking" in p.name]


# ---- downloads ----


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_set_is_downloaded_checked_unpacked_and_not_asked_for_again(server, offer, kind):
    content = tar(("CUB/images/a.jpg", NOISE), ("CUB/images.txt", b"1 a.jpg"))
    offer(content, f"{kind}:{hashlib.new(kind, content).hexdigest()}")
    folder = datasets.fetch("birds")
    assert folder == files.CACHE / "datasets/birds" and (folder / "CUB/images/a.jpg").read_bytes() == NOISE
    assert datasets.fetch("birds") == folder and server.asked == [0] and held() == {}


def test_a_download_that_was_cut_off_is_kept_and_finished_later(server, offer, monkeypatch):
    content = tar(("a", NOISE))
    offer(content)
    monkeypatch.setattr(downloads, "ROUNDS", 1)
    server.stop_after = 50_000
    with pytest.raises(DownloadError, match=rf"49152 of {len(content)} bytes are here and are kept; run"):
        datasets.fetch("birds")
    assert held() == {"birds.tgz.part": 49_152}
    nothing_is_there()
    server.stop_after = None
    assert (datasets.fetch("birds") / "a").read_bytes() == NOISE
    assert server.asked == [0, 49_152]  # whole chunks of 16 KiB


def test_a_second_round_goes_on_by_itself(server, offer):
    content = tar(("a", NOISE))
    offer(content)
    server.stop_after = 2**16
    assert (datasets.fetch("birds") / "a").read_bytes() == NOISE
    assert server.asked == [0, 2**16]


def test_a_server_without_ranges_begins_anew(server, offer):
    content = tar(("a", NOISE))
    offer(content)
    part = files.CACHE / "datasets/downloads/birds.tgz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    server.ranges = False
    assert (datasets.fetch("birds") / "a").read_bytes() == NOISE


def test_a_mirror_that_does_not_answer_is_passed_over(server, offer):
    offer(tar(("a", b"content")), mirrors=2)
    assert (datasets.fetch("birds") / "a").read_bytes() == b"content"
    assert len(server.asked) == 2


def test_a_tar_that_a_server_calls_an_encoding_is_kept_as_it_is(server, offer):
    offer(tar(("a", b"content")))
    server.encoding = "gzip"
    assert (datasets.fetch("birds") / "a").read_bytes() == b"content"


def test_no_server_is_one_sentence(server, offer):
    offer(tar(("a", b"")))
    server.files.clear()
    with pytest.raises(DownloadError, match="birds.tgz could not be downloaded .*404.*: 0 of") as raised:
        datasets.fetch("birds")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_wrong_checksum_is_said_and_deleted_and_nothing_is_used(server, offer, resumed):
    content = tar(("a", NOISE))
    offer(content)
    if resumed:  # what was there before is not the beginning of this file
        part = files.CACHE / "datasets/downloads/birds.tgz.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"x" * 1000)
    else:
        server.files["birds.tgz"] = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(DownloadError, match="sha256 checksum [0-9a-f]+ and should have [0-9a-f]+: it was deleted"):
        datasets.fetch("birds")
    assert held() == {}
    nothing_is_there()
    server.files["birds.tgz"] = content
    assert (datasets.fetch("birds") / "a").read_bytes() == NOISE


def test_a_server_that_sends_without_end_is_stopped(server, offer):
    content = tar(("a", NOISE))
    offer(content, size=1000)
    with pytest.raises(DownloadError, match="it sends more than the 1000 bytes"):
        datasets.fetch("birds")
    assert held() == {}
    nothing_is_there()


def test_too_little_room_is_said_before_anything_is_downloaded(server, offer):
    offer(tar(("a", b"")), size=10**18)
    with pytest.raises(DownloadError, match="birds needs .* GB while it is unpacked and .* free: free some, or set"):
        datasets.fetch("birds")
    assert server.asked == []


def test_two_that_want_the_same_set_download_it_once(server, offer):
    offer(tar(("a", NOISE)))
    server.delay, found = 0.2, []
    both = [threading.Thread(target=lambda: found.append(datasets.fetch("birds"))) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert found == [downloads.folder_of("birds")] * 2 and server.asked == [0]


# ---- archives that attack ----


def linked(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def device(name):
    info = tarfile.TarInfo(name)
    info.type = tarfile.CHRTYPE
    return info


ATTACKS = {
    "path above": (tar(("../evil", b"x")), "'../evil', a path outside its folder"),
    "path above, later": (tar(("a/../../evil", b"x")), "a path outside its folder"),
    "absolute path": (tar(("/evil", b"x")), "'/evil', a path outside its folder"),
    "symlink out": (tar(linked("a", "../.."), ("a/evil", b"x")), "contains what no data set needs"),
    "absolute symlink": (tar(linked("a", "/")), "contains what no data set needs"),
    "hard link out": (tar(linked("a", "../../evil", tarfile.LNKTYPE)), "contains what no data set needs"),
    "device": (tar(device("a")), "contains what no data set needs"),
    "bomb": (tar(("a", bytes(70 * 2**20))), "unpacks to more than"),
    "many empty files": (tar(*[(f"{i}", b"") for i in range(3000)]), "unpacks to more than"),
    "no archive": (b"<html>" * 100, "cannot be unpacked"),
    "half an archive": (tar(("a", NOISE))[:60_000], "cannot be unpacked"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_archive_that_attacks_is_refused_whole(offer, attack, tmp_path, monkeypatch):
    content, sentence = ATTACKS[attack]
    if attack == "many empty files":
        monkeypatch.setattr(unpacking, "_ROOM", 2**20)
    offer(content)
    with pytest.raises(DownloadError, match=sentence) as raised:
        datasets.fetch("birds")
    assert "\n" not in str(raised.value)
    nothing_is_there()
    assert not list(tmp_path.rglob("evil"))


# ---- a zip file: Tiny ImageNet's layout ----


def zipped(folder) -> bytes:
    """Everything in a folder, folders too, as Tiny ImageNet's archive has them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return buffer.getvalue()


@pytest.fixture
def tiny_imagenet(server, tmp_path, monkeypatch):
    """The server offers an archive in its layout, two classes of two training photographs and one to test on."""
    from test_photographs import tiny

    content = zipped(tiny(tmp_path / "published"))
    server.files["tiny-imagenet-200.zip"] = content
    archive = Archive.at(
        (server.url,), "tiny-imagenet-200.zip", len(content), f"md5:{hashlib.md5(content).hexdigest()}"
    )
    monkeypatch.setattr(datasets.TinyImageNet, "archives", (archive,))
    return content


def test_tiny_imagenet_is_fetched_by_its_name_and_read_as_from_a_folder(server, tiny_imagenet, tmp_path):
    for split, number in (("train", 4), ("test", 2)):
        data = datasets.load("tiny-imagenet", split, 64)
        own = datasets.load(f"tiny-imagenet:{tmp_path / 'published'}", split, 64)
        assert (data.name, len(data), data.report) == ("tiny-imagenet", number, [])
        assert data.fingerprint == own.fingerprint and data.classes == ["tench", "great white shark"]
        assert all(box.tolist() == [[10, 20, 30, 50]] for box in data.batch(range(number)).boxes)
    assert server.asked == [0] and held() == {}
    assert [p.name for p in downloads.folder_of("tiny-imagenet").iterdir()] == ["tiny-imagenet-200"]


def test_a_zip_file_that_was_cut_off_is_finished_later(server, tiny_imagenet, monkeypatch):
    monkeypatch.setattr(downloads, "ROUNDS", 1)
    monkeypatch.setattr(downloads, "_CHUNK", 2**10)
    server.stop_after = 2**11
    with pytest.raises(DownloadError, match="2048 of .* bytes are here and are kept; run `cambook data tiny-imagenet`"):
        datasets.fetch("tiny-imagenet")
    server.stop_after = None
    said = run("tiny-imagenet").output
    assert "tiny-imagenet is in" in said and "licence: ImageNet's terms" in said
    assert server.asked == [0, 2**11] and (downloads.folder_of("tiny-imagenet") / "tiny-imagenet-200/val").is_dir()


def test_an_interrupt_leaves_nothing_half_unpacked(server, tiny_imagenet, monkeypatch):
    copy, copied = shutil.copyfileobj, []

    def interrupted(content, part):
        copied.append(part.name)
        copy(content, part) if len(copied) < 4 else part.write(content.read(10)) and signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as for_now, pytest.raises(KeyboardInterrupt):
        for_now.setattr(shutil, "copyfileobj", interrupted)
        datasets.fetch("tiny-imagenet")
    assert len(copied) == 4 and sorted(p.name for p in (files.CACHE / "datasets").iterdir()) == ["downloads"]
    assert held() == {"tiny-imagenet-200.zip": len(tiny_imagenet)}
    assert len(datasets.load("tiny-imagenet", "train", 64)) == 4
    assert server.asked == [0] and held() == {}


def test_unpacking_a_zip_file_shows_how_far_it_is(tiny_imagenet, capfd):
    datasets.fetch("tiny-imagenet")
    said = capfd.readouterr().err
    assert "tiny-imagenet-200.zip" in said and re.search(r"unpacking tiny-imagenet-200.zip: .*/\d+ ", said)


# ---- the table ----


def test_every_archive_has_mirrors_a_size_and_a_checksum_of_the_right_length():
    archives = [archive for cls in datasets.KNOWN.values() for archive in cls.archives]
    assert len(archives) == 7
    for archive in archives:
        kind, _, digest = archive.checksum.partition(":")
        assert re.fullmatch({"sha256": "[0-9a-f]{64}", "md5": "[0-9a-f]{32}"}[kind], digest)
        assert archive.size > 10**7 and all(
            url.startswith("http") and url.endswith(archive.name) for url in archive.urls
        )


def test_checksums_are_those_that_torchvision_publishes():
    from torchvision.datasets.oxford_iiit_pet import OxfordIIITPet
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    ours = {a.name: a.checksum for name in ("pets", "voc2007") for a in datasets.find(name).archives}
    theirs = {url.rsplit("/", 1)[1]: f"md5:{md5}" for url, md5 in OxfordIIITPet._RESOURCES}
    theirs |= {y["filename"]: f"md5:{y['md5']}" for y in (DATASET_YEAR_DICT[k] for k in ("2007", "2007-test"))}
    assert ours == theirs


# ---- cambook data ----


def run(*arguments):
    return CliRunner().invoke(commands.app, ["data", *arguments])


def test_cambook_data_lists_every_set_with_licence_size_and_what_to_do():
    downloads.folder_of("pets").mkdir(parents=True)
    out = run().output
    for name, cls in datasets.KNOWN.items():
        assert name in out and cls.licence in out
        assert all(f"{number:,}" in out for number in cls.splits.values() if number and not cls.drawn)
    assert "5,994 and 5,794" in out and "drawn as asked for" in out and "your own" in out
    assert "1.2 GB" in out and "fetch it with: cambook data cub" in out and "154.6 GB" in out
    assert re.search("tiny-imagenet +100,000 and 10,000 +0.2 GB .*\n +fetch it with: cambook data tiny-imagenet\n", out)
    assert str(downloads.folder_of("pets")) in out and "cambook data pets" not in out


def test_cambook_data_fetches_a_set_or_says_how_to_get_it(offer):
    offer(tar(("a", b"content")))
    assert "birds is in" in run("birds").output and (downloads.folder_of("birds") / "a").is_file()
    assert "register at https://image-net.org" in run("ilsvrc").output
    assert "embedded, nothing to fetch" in run("scenes").output
    wrong = run("cubb")
    assert wrong.exit_code == 1 and 'did you mean "cub"?' in str(wrong.exception)
    with pytest.raises(DownloadError, match="ilsvrc is not downloaded: register"):
        datasets.fetch("ilsvrc")
