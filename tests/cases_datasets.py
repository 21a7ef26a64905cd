"""Hostile cases of data sets: what annotation tools, cameras, archives and operating systems make of a folder."""

import unicodedata
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hostile import SIZE, Found, LeftOut, Near, Refused, Right, annotation, case, row, thing, used, voc
from PIL import Image
from test_datasets import BOX, GRID_BOX, HEIGHT, WIDTH, encoded, exif_jpeg, picture

from cambook import datasets

TURNS = {  # what a camera stores so that orientation k shows the image: the inverse of the turn
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
PUPPY = "강아지"
TWIN = unicodedata.normalize("NFD", PUPPY)
assert PUPPY != TWIN and len(PUPPY) == 3 < len(TWIN)


def folders(root: Path, *names: str, data=None) -> Path:
    """Image files of these names, no two with the same bytes."""
    for number, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((encoded(picture()) if data is None else data) + str(number).encode())
    return root


def each(*classes: str, of=(1, 2, 3, 4), ending=".png") -> list[str]:
    return [f"{name}/{number}{ending}" for name in classes for number in of]


def found_in(root: Path, name=None) -> Found:
    """Classes, and the number of images to train and to test on; the reports of both, each line once."""
    train, test = (datasets.load(f"folder:{name or root}", split, 8, boxes=False) for split in ("train", "test"))
    assert train.classes == test.classes and not set(train.names) & set(test.names)
    return Found([train.classes, len(train), len(test)], list(dict.fromkeys([*train.report, *test.report])))


def in_folders(name, expected, *names, given="", kind="folders"):
    """A case of `folder:`: the files are there, and the folder (or one inside it) is loaded."""

    @case(kind, name, expected)
    def _(folder):
        return found_in(folders(folder, *names) / given)


# ---- boxes and the orientation that EXIF gives


def upright(orientation, box=BOX, size=(WIDTH, HEIGHT)) -> bytes:
    """A photograph that any viewer shows with its red box where it was annotated."""
    return exif_jpeg(orientation, picture(box, size).transpose(TURNS[orientation]))


def kept(orientation, why):
    return f"EXIF orientation {orientation}: image turned upright, boxes, drawn on the upright image, kept .{why}.*"


for number in (2, 3, 4):
    row(
        "annotations",
        f"drawn on the upright image, orientation {number}",
        used(kept(number, "the size tag cannot tell")),
        data=lambda number=number: upright(number),
    )
for number in (6, 8):
    row(
        "annotations",
        f"drawn on the upright square, orientation {number}",
        used(kept(number, "the size tag cannot tell"), box=[10, 5, 30, 15]),
        data=lambda number=number: upright(number, size=(SIZE, SIZE)),
        xml=annotation(thing(), size=(SIZE, SIZE)),
    )
row(
    "annotations",
    "drawn on the upright image, no size tag, and the boxes fit both",
    used(kept(6, "the size tag cannot tell"), "the size tag gives no size.*", box=[20, 5, 60, 30]),
    data=lambda: upright(6, (11, 6, 30, 30), (HEIGHT, WIDTH)),
    xml=annotation(thing((11, 6, 30, 30)), size=(0, 0)),
)
row(
    "annotations",
    "no size tag, and the boxes fit the stored image alone",
    used(
        "EXIF orientation 6: image turned upright, boxes turned with it .the boxes fit no other.",
        "the size tag gives no size.*",
        box=[50, 60, 70, 70],
    ),
    data=lambda: exif_jpeg(6, picture((61, 6, 70, 15))),
    xml=annotation(thing((61, 6, 70, 15)), size=(0, 0)),
)


def in_old_tool(folder, boxes):
    """A box drawn on the stored image, of orientation 3: its place upright, and that of the red pixels."""
    voc(folder, exif_jpeg(3, picture()))
    data = datasets.load(f"voc:{folder}", "train", SIZE, boxes=boxes)
    batch = data.batch([data.names.index("dirty")])
    rows, columns = np.nonzero((batch.images[0, 0] > 0.5).numpy() & (batch.images[0, 1] < 0.3).numpy())
    red = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return Found([batch.boxes[0][0].tolist(), Near(red)], [line for line in data.report if "EXIF" in line])


OLD = [[50, 50, 70, 70], Near([50, 50, 70, 70])]


@case("annotations", "drawn in an old tool, said by a name", Right(OLD, ".*boxes turned with it.*CAMBOOK_BOXES.*"))
def _(folder):
    return in_old_tool(folder, "stored")


@case("annotations", "drawn in an old tool, said by the environment", Right(OLD, ".*boxes turned with it.*"))
def _(folder):
    from cambook.machine import environ

    with environ("CAMBOOK_BOXES", "stored"):
        return in_old_tool(folder, True)


@case(
    "annotations",
    "a bird's box and mask drawn on the upright image",
    Right([[20, 20, 40, 40], [0, 0, 20, 20], [0, 0, 20, 20]], "Bird_1_0001.png: EXIF .* 3: .*upright image, kept .*"),
)
def _(folder):
    from test_photographs import SIZE as SMALL
    from test_photographs import block, cub, grey, replace_line, scene

    drawn = (0, 0, 40, 20)
    image = exif_jpeg(3, scene(drawn).transpose(TURNS[3]))
    (cub(folder) / "CUB_200_2011/images/001.Bird_1/Bird_1_0001.jpg").write_bytes(image)
    (folder / "segmentations/001.Bird_1/Bird_1_0001.png").write_bytes(grey(block(255, 0, drawn)))
    replace_line(folder / "CUB_200_2011/bounding_boxes.txt", "1", "1 0 0 40 20")
    as_published = datasets.load(f"cub:{folder}", "train", SMALL).batch([0])
    data = datasets.load(f"cub:{folder}", "train", SMALL, boxes="upright")
    batch = data.batch([0])
    rows, columns = np.nonzero(batch.masks[0].numpy())
    mask = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    report = [line.partition("/")[2] for line in data.report]
    return Found([as_published.boxes[0][0].tolist(), batch.boxes[0][0].tolist(), mask], report)


@case("annotations", "drawn nobody knows where", Refused('CAMBOOK_BOXES is "sideways": write upright or stored'))
def _(folder):
    in_old_tool(folder, "sideways")


# ---- splits under other names, and classes under the names of splits

CATS_DOGS = Right([["cats", "dogs"], 8, 8])


def splits(train, test, *classes):
    return each(*(f"{part}/{name}" for part in (train, test) for name in classes or ("cats", "dogs")))


for train, test in (
    ("training_set", "test_set"),
    ("Training", "VALIDATION"),
    ("train_data", "dev"),
    ("train2017", "val2017"),
    ("학습", "검증"),
    ("01_train", "02_eval"),
    ("seg_train", "seg_test"),
    ("seg_train/seg_train", "seg_test/seg_test"),
):
    in_folders(f"splits called {train} and {test}", CATS_DOGS, *splits(train, test))
in_folders(
    "train, valid, and a test split without classes",
    Right(CATS_DOGS.value, "test: its images that lie in no class's folder are not used"),
    *splits("train", "valid"),
    "test/1.png",
    "test/2.png",
)
in_folders("test beside val", CATS_DOGS, *splits("train", "test"), *each("val/cats", "val/dogs"))
in_folders(
    "val beside a folder testing",
    CATS_DOGS,
    *splits("train", "val"),
    *each("testing/cats", "testing/dogs", of=(1, 2)),
)
in_folders(
    "splits under names of their own",
    Refused(r"\(mine, theirs\) contains the same folders \(cats, dogs\) and no images: it looks like splits"),
    *splits("mine", "theirs"),
)
in_folders(
    "classes that are split inside",
    Refused(r"\(cats, dogs\) contains test, train: it looks like classes that are split inside; put the splits outs"),
    *splits("cats", "dogs", "train", "test"),
)
in_folders(
    "two folders to train on",
    Refused("contains train_a?_?1, train_2, each of which may be the folder train: rename the one"),
    *splits("train_1", "train_2"),
    *each("test/cats", "test/dogs"),
)
in_folders("splits without classes", Refused("test and train contain images and no folder"), *each("train", "test"))
in_folders(
    "classes in folders of one name",
    Right([["cats", "dogs"], 6, 2]),
    *each("cats/images", "dogs/images"),
)
for last in (["train"], ["train", "test"], ["training"], ["Val"], ["dev", "prod"]):
    classes = sorted(["bus", "car", *last])
    in_folders(
        f"classes called {', '.join(classes)}", Right([classes, 3 * len(classes), len(classes)]), *each(*classes)
    )
in_folders("classes called control and test", Right([["control", "test"], 6, 2]), *each("control", "test"))
in_folders(
    "classes called bus, train, in splits",
    Right([["bus", "train"], 8, 8]),
    *splits("train", "test", "bus", "train"),
)
in_folders(
    "train, a class or a split",
    Refused("contains train beside bus, car: if it is a class, put its images into it directly"),
    *each("bus", "car", "train/steam", "train/diesel"),
)
in_folders(
    "a folder around the classes",
    Refused("contains 1 folders, .*; if its folders are the classes, give .*unpacked$"),
    *each("unpacked/cats", "unpacked/dogs"),
)


in_folders(
    "images around the classes",
    Right([["cats", "dogs"], 6, 2], "2 images directly in input, in no class's folder, are not used"),
    *each("cats", "dogs"),
    "1.png",
    "2.JPG",
    "notes.txt",
)
in_folders(
    "images around the classes of a split",
    Right([["cats", "dogs"], 8, 8], "1 images directly in train, in no class's folder, are not used"),
    *splits("train", "test"),
    "train/all.png",
)
in_folders(
    "images and annotations, each in a folder",
    Refused("has images in its folder images alone, .* are needed; if its folders are the classes, give .*images$"),
    *each("images/cats", "images/dogs"),
    "annotations/cats.json",
)


def with_lists(folder, train, val) -> Found:
    found = voc(folder)
    lists = folder / "ImageSets" / "Main"
    (lists / "train.txt").rename(lists / train)
    (lists / "val.txt").rename(lists / val)
    names = [datasets.load(f"voc:{folder}", split, SIZE).names for split in ("train", "test")]
    return Found(names, found.report)


for train, val in (("Training.txt", "VALID.TXT"), ("train_set.txt", "test_list.txt"), ("훈련.txt", "테스트.txt")):
    case("lists", f"lists called {train} and {val}", Right([["cat", "dirty", "dog"], ["cat", "dog"]]))(
        lambda folder, train=train, val=val: with_lists(folder, train, val)
    )


# ---- one name, composed and decomposed


@case("annotations", "a label in two forms", Right(["cat", "dog", PUPPY]))
def _(folder):
    found = voc(folder, xml=annotation(thing(name=PUPPY), thing((31, 6, 40, 15), TWIN)))
    return Found(datasets.load(f"voc:{folder}", "train", SIZE).classes, found.report)


for listed, identity in ((PUPPY, TWIN), (TWIN, PUPPY)):

    @case("lists", f"an id of {len(listed)} letters, its files of {len(identity)}", Right(["cat", "dog", PUPPY]))
    def _(folder, listed=listed, identity=identity):
        voc(folder)
        for file in [*folder.rglob("dirty.*")]:
            file.rename(file.with_stem(identity))
        (folder / "ImageSets/Main/train.txt").write_text(f"cat\ndog\n{listed}\n", encoding="utf-8")
        return datasets.load(f"voc:{folder}", "train", SIZE).names


in_folders(
    "a class's folder in two forms",
    Right([["cat", PUPPY], 9, 3], f'2 folders are called "{PUPPY}" and are read as one class'),
    *each("cat"),
    *each(PUPPY, of=(1, 2, 3, 4)),
    *each(TWIN, of=(5, 6, 7, 8)),
)
in_folders(
    "a class in one form to train and in the other to test",
    Right([["cat", PUPPY], 8, 8]),
    *each("train/cat", f"train/{PUPPY}", "test/cat", f"test/{TWIN}"),
)


@case("folders", "a folder typed in the other form", Right([["cats", "dogs"], 6, 2]))
def _(folder):
    folders(folder, *each(f"{TWIN}/cats", f"{TWIN}/dogs"))
    return found_in(folder, folder / PUPPY)


@case("folders", "the same data on a Mac and on Linux", Right(True))
def _(folder):
    prints = []
    for form in ("NFC", "NFD"):
        names = [unicodedata.normalize(form, name) for name in each("고양이", PUPPY)]
        root = folders(folder / form, *names)
        prints.append([datasets.load(f"folder:{root}", s, 8, boxes=False).fingerprint for s in ("train", "test")])
    return prints[0] == prints[1]


@case("pictures", "a single photograph, typed in the other form", Right([1, 3, HEIGHT, WIDTH]))
def _(folder):
    folders(folder, f"{TWIN}.png")
    return list(datasets.load_picture(folder / f"{PUPPY}.png").shape)


@case("folders", "did you mean, in the other form", Refused(f"did you mean .*{TWIN}"))
def _(folder):
    folders(folder, *each(f"{TWIN}/cats"))
    found_in(folder, folder / f"{PUPPY}s")


# ---- what operating systems and notebooks leave, and copies

JUNK = {
    "checkpoints of Jupyter": [f"cats/.ipynb_checkpoints/{n}-checkpoint.png" for n in (1, 2)],
    "twins that a Mac writes": [f"{name}/._{n}.png" for name in ("cats", "dogs") for n in (1, 2, 3)],
    "a folder that a Mac packs": ["__MACOSX/cats/._1.png", "__MACOSX/1.png"],
    "Windows' own files": ["cats/Thumbs.db", "dogs/desktop.ini", "System Volume Information/1.png"],
    "thumbnails of a network disk": ["cats/@eaDir/1.png", "@eaDir/2.png", "#recycle/3.png", "lost+found/4.png"],
    "editors' copies": ["cats/1.png~", "cats/~$1.png", "dogs/.1.png.swp"],
}
for name, names in JUNK.items():
    in_folders(name, Right([["cats", "dogs"], 6, 2]), *each("cats", "dogs"), *names)
in_folders("litter beside splits", CATS_DOGS, *splits("train", "test"), "__MACOSX/train/cats/._1.png", ".git/1.png")


@case("folders", "litter changes neither the split nor the fingerprint", Right(True))
def _(folder):
    clean, dirty = folders(folder / "a", *each("cats", "dogs")), folders(folder / "b", *each("cats", "dogs"))
    folders(dirty, *(name for names in JUNK.values() for name in names), data=b"junk")
    prints = [
        [datasets.load(f"folder:{root}", split, 8, boxes=False).fingerprint for split in ("train", "test")]
        for root in (clean, dirty)
    ]
    return prints[0] == prints[1]


@case("folders", "a Mac's twins among ImageNet's images", Right([4, 4]))
def _(folder):
    names = [f"n0000000{k}/n0000000{k}_{n}.JPEG" for k in (1, 2) for n in (1, 2)]
    folders(folder / "train", *names, *(f"{Path(name).parent}/._{Path(name).name}" for name in names))
    data = datasets.load(f"ilsvrc:{folder}", "train", 8)
    return [len(data), int(data.summary.split()[1])]


def copied(folder, twins) -> Found:
    for one, other in twins:
        (folder / other).write_bytes((folder / one).read_bytes())
    return found_in(folder)


COPY = "also in the {} split, byte by byte, so that what is learned here is already known there ..*."


@case(
    "folders",
    "an image in both splits",
    Right([["cats", "dogs"], 8, 8], (f"cats/1.png: {COPY.format('test')}", f"cats/3.png: {COPY.format('train')}")),
)
def _(folder):
    return copied(folders(folder, *splits("train", "test")), [("train/cats/1.png", "test/cats/3.png")])


@case(
    "folders",
    "copies under another name that the quarter for testing parts",
    Right([["cats", "dogs"], 6, 2], ("cats/[123].png: also .*", "cats/4.png: also in the train split.*")),
)
def _(folder):
    folders(folder, *each("cats", "dogs"))
    test = Path(datasets.load(f"folder:{folder}", "test", 8, boxes=False).names[0]).name
    (folder / "cats" / test).rename(folder / "cats" / "test")
    rest = sorted((folder / "cats").glob("*.png"))
    (folder / "cats" / test).write_bytes(rest[0].read_bytes())
    (folder / "cats" / "test").unlink()
    found = found_in(folder)
    return Found(found.value, [line.replace(f"cats/{test}:", "cats/4.png:") for line in found.report])


@case("lists", "an image in both lists under two names", Right(2, f"JPEGImages/dirty.jpg: {COPY.format('test')}"))
def _(folder):
    voc(folder)
    (folder / "JPEGImages" / "copy.jpg").write_bytes((folder / "JPEGImages" / "dirty.jpg").read_bytes())
    (folder / "Annotations" / "copy.xml").write_bytes((folder / "Annotations" / "dirty.xml").read_bytes())
    (folder / "ImageSets/Main/val.txt").write_text("copy\n", encoding="utf-8")
    found = datasets.load(f"voc:{folder}", "train", SIZE)
    test = datasets.load(f"voc:{folder}", "test", SIZE)
    return Found(sum("byte by byte" in line for line in [*found.report, *test.report]), found.report)


# ---- endings


def saved_as(format, **options):
    return lambda: encoded(picture(), format, **options)


for ending, make in {
    ".jfif": saved_as("JPEG", quality=95, subsampling=0),
    ".JPE": saved_as("JPEG", quality=95, subsampling=0),
    ".jp2": saved_as("JPEG2000"),
    ".ppm": saved_as("PPM"),
    ".avif": saved_as("AVIF", quality=100, subsampling="4:4:4"),
    ".WebP": saved_as("WEBP", lossless=True),
}.items():
    row("pictures", f"an image that ends in {ending}", used(), data=make, ending=ending)
row(
    "pictures",
    "grey levels that end in .pgm",
    used("grey image converted to RGB", red=...),
    data=lambda: encoded(picture().convert("L"), "PPM"),
    ending=".pgm",
)
row("pictures", "a HEIC photograph", LeftOut("Pillow does not read files with .heic"), data=b"heic", ending=".heic")
row("pictures", "a raw photograph", LeftOut("Pillow does not read files with .cr2"), data=b"II*", ending=".CR2")
in_folders(
    "classes that end in .jfif, .JPG and .ppm",
    Right([["cats", "dogs"], 9, 3]),
    *each("cats", ending=".jfif"),
    *each("cats", of=(5, 6, 7, 8), ending=".JPG"),
    *each("dogs", ending=".ppm"),
)
in_folders(
    "endings that nobody reads",
    Right(
        [["cats", "dogs"], 6, 2],
        (
            "1 file without an ending left out: rename images so that they end in .jpg or what they are",
            "1 file with .heic left out: Pillow does not read it; save it as JPEG or PNG, or install pillow-heif.*",
            "4 files with .raw left out: Pillow does not read them; save them as JPEG or PNG",
        ),
    ),
    *each("cats", "dogs"),
    *each("cats", of=(1, 2), ending=".raw"),
    *each("dogs", of=(1, 2), ending=".RAW"),
    "cats/5.HEIC",
    "dogs/nothing",
    "dogs/labels.txt",
)


# ---- lists as other tools write them

MEANT = r'ImageSets/Main/train.txt: 1 of 3 lines are not the names .*, the first of them ".*" as dirty'


def listed_as(name, line):
    box = Near(GRID_BOX)
    row("lists", name, Right([GRID_BOX, box], MEANT), listed=line)


listed_as("an ending", "dirty.jpg")
listed_as("an ending that the image had before", "dirty.PNG")
listed_as("a path", "JPEGImages/dirty.jpg")
listed_as("a Windows path", "C:\\data\\VOC\\JPEGImages\\dirty.jpg")
listed_as("another machine's path", "/home/me/VOC/JPEGImages/dirty.jpg")
listed_as("a path from the list", "../../JPEGImages/dirty.jpg")
listed_as("capitals, as Windows does not mind", "DIRTY.JPG")
listed_as("quotes", '"dirty"')
listed_as("quotes and a comma", "'dirty.jpg',")
listed_as("a folder that is not there", "day1/dirty")
listed_as("an ending and a flag", "dirty.jpg 1")
row("lists", "out of the folder after all", LeftOut("may not be a path out of it"), listed="JPEGImages/../dirty")
row("lists", "an absolute path", LeftOut("may not be a path out of it"), listed="/etc/dirty")


def rewritten(folder, *, list=None, parts=("JPEGImages", "Annotations")) -> list[str]:
    """The images of `voc` in folders, as CVAT exports them, and the list as these bytes."""
    voc(folder)
    for part in parts:
        (folder / part / "day1").mkdir()
        for file in sorted((folder / part).glob("dirty.*")):
            file.rename(folder / part / "day1" / file.name)
    if list is not None:
        (folder / "ImageSets/Main/train.txt").write_bytes(list)
    return datasets.load(f"voc:{folder}", "train", SIZE)


IN_FOLDERS = ["cat", "day1/dirty", "dog"]
for name, content in {
    "ids with folders": b"cat\ndog\nday1/dirty\n",
    "ids with folders, a byte-order mark and blank lines": b"\xef\xbb\xbfcat\r\n\r\n  \r\nday1/dirty\r\ndog",
    "ids with folders, as PowerShell writes": "cat\r\ndog\r\nday1/dirty\r\n".encode("utf-16"),
}.items():
    case("lists", name, Right(IN_FOLDERS))(lambda folder, content=content: rewritten(folder, list=content).names)
for name, line in {"no folder": "dirty", "an ending and backslashes": "day1\\dirty.jpg"}.items():
    sentence = rf'.*: 1 of 3 lines .* the first of them "{line}" as day1/dirty'.replace("\\", "\\\\")

    @case("lists", f"images in folders, listed with {name}", Right(IN_FOLDERS, sentence))
    def _(folder, line=line):
        data = rewritten(folder, list=f"cat\ndog\n{line}\n".encode())
        return Found(data.names, [one for one in data.report if "and in the test list" not in one])


for encoding, name in {"cp949": PUPPY, "shift_jis": "子犬", "gb18030": "小狗"}.items():

    @case("lists", f"a list in {encoding}", Right(["cat", "dog", name]))
    def _(folder, encoding=encoding, name=name):
        voc(folder)
        for file in [*folder.rglob("dirty.*")]:
            file.rename(file.with_stem(name))
        (folder / "ImageSets/Main/train.txt").write_bytes(f"cat\r\ndog 1\r\n{name}.jpg\r\n".encode(encoding))
        return datasets.load(f"voc:{folder}", "train", SIZE).names


@case("lists", "images in folders, annotations in none", Right([IN_FOLDERS, GRID_BOX]))
def _(folder):
    data = rewritten(folder, list=b"cat\ndog\nday1/dirty\n", parts=["JPEGImages"])
    return [data.names, data.batch([1]).boxes[0][0].tolist()]


@case(
    "lists", "a name that two folders have", Right(None, "dirty: left out: JPEGImages has several .*, such as day1.*")
)
def _(folder):
    rewritten(folder)
    for part, ending in (("JPEGImages", ".jpg"), ("Annotations", ".xml")):
        (folder / part / "day2").mkdir()
        (folder / part / f"day2/dirty{ending}").write_bytes((folder / part / f"day1/dirty{ending}").read_bytes())
    data = datasets.load(f"voc:{folder}", "train", SIZE)
    assert data.names == ["cat", "dog"]
    return Found(None, [one for one in data.report if "and in the test list" not in one])


@case(
    "lists", "two folders of which there is none", Refused("day1/dirty and day2/dirty may both mean JPEGImages/dirty")
)
def _(folder):
    voc(folder, listed="day1/dirty\nday2/dirty")


@case("lists", "pets with endings", Right([2, 2], "annotations/trainval.txt: 1 names are written with an ending.*"))
def _(folder):
    from test_photographs import pets

    file = pets(folder) / "annotations/trainval.txt"
    file.write_text(file.read_text(encoding="utf-8").replace("Sphynx_100 ", "Sphynx_100.jpg "), encoding="utf-8")
    (folder / "annotations/trimaps/Abyssinian_100.png").unlink()
    data = datasets.load(f"pets:{folder}", "train", SIZE)
    return Found([len(data), data.labels.tolist()[0]], [one for one in data.report if "Abyssinian" not in one])


# ---- XML in the encodings of East Asia, and in others than it says


def declared(encoding, name="cat", written=None, head="", source="") -> bytes:
    text = annotation(thing(name=name), source, head=f'<?xml version="1.0" encoding="{encoding}"?>{head}')
    return text.encode(written or encoding)


WRONG = "the annotation declares {} and is in {}, as which it is read"
for encoding, label in {
    "euc-kr": "cat",
    "EUC-KR": PUPPY,
    "ks_c_5601-1987": PUPPY,
    "cp949": "똠방각하",
    "Shift_JIS": "子犬",
    "euc-jp": "子犬",
    "iso-2022-jp": "子犬",
    "gb2312": "小狗",
    "gb18030": "小狗🐕",
    "Big5": "小狗",
}.items():

    @case("annotations", f"{encoding} around {label}", Right([sorted(["cat", "dog", label]), GRID_BOX]))
    def _(folder, encoding=encoding, label=label):
        found = voc(folder, xml=declared(encoding, label))
        classes = {*datasets.load(f"voc:{folder}", "train", SIZE).classes, "cat"}
        return Found([sorted([*classes, *["cat"] * (label == "cat")]), found.value[0]], found.report)


row("annotations", "x-windows-949", used(), xml=lambda: declared("x-windows-949", PUPPY, "cp949"))
row(
    "annotations",
    "euc-kr that is UTF-8",
    used(WRONG.format("euc-kr", "UTF-8")),
    xml=lambda: declared("euc-kr", PUPPY + "가", "utf-8"),
)
row(
    "annotations",
    "UTF-16 that is UTF-8",
    used(WRONG.format("utf-16", "UTF-8")),
    xml=lambda: declared("utf-16", PUPPY, "utf-8"),
)
row(
    "annotations",
    "UTF-8 that is UTF-16",
    used(WRONG.format("utf-8", "UTF-16")),
    xml=lambda: declared("utf-8", PUPPY, "utf-16"),
)
row("annotations", "UTF-16 that says so", used(), xml=lambda: declared("utf-16", PUPPY, "utf-16"))
row(
    "annotations",
    "entities in euc-kr",
    LeftOut("declares a document type .DOCTYPE., which may hide entities"),
    xml=lambda: declared("euc-kr", "&a;", head=f'<!DOCTYPE a [<!ENTITY a "{PUPPY}">]>'),
)
row("annotations", "euc-kr that is cut off", LeftOut("not valid XML"), xml=lambda: declared("euc-kr", PUPPY)[:-20])
row("annotations", "euc-kr that is noise", LeftOut("not valid XML"), xml=lambda: declared("euc-kr") + b"\xff\xfe\xff")


# ---- more pixels than Pillow decodes


@contextmanager
def at_most(pixels):
    """A smaller limit, so that a case does not need a hundred megapixels."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def limited(name, expected, pixels, data, **options):
    @case("pictures", name, expected)
    def _(folder):
        with at_most(pixels):
            return voc(folder, data(), **options)


def large(size, box, orientation=None) -> bytes:
    image = picture(box, size)
    return encoded(image, "JPEG", quality=95) if orientation is None else exif_jpeg(orientation, image)


PHONE = (1501, 751, 4500, 2251)  # of 12000 x 9000 pixels


@case(
    "pictures",
    "a phone's 108 megapixels",
    Right([[10, 6.6667, 30, 20.0089], Near([10, 7, 30, 20])], ".*dirty.jpg: 12000 x 9000 pixels are .*read at 1/2 .*"),
)
def _(folder):
    return voc(folder, large((12000, 9000), PHONE), annotation(thing(PHONE), size=(12000, 9000)))


LIMIT = 80 * 40 // 4 * 3  # the small images of these cases have 3200 pixels
SMALL = dict(xml=annotation(thing((22, 12, 60, 30)), size=(160, 80)))
limited(
    "read at a half, and turned",
    used("160 x 80 pixels .*read at 1/2 .*", "EXIF orientation 6: .*boxes turned with it .*", box=[50, 10.5, 69, 30]),
    12_000,
    lambda: large((160, 80), (22, 12, 60, 30), 6),
    **SMALL,
)
limited(
    "read at a half without a size tag",
    used("160 x 80 pixels .*read at 1/2 .*", "the size tag gives no size: .* 160 x 80 image", box=[10.5, 11, 30, 30]),
    12_000,
    lambda: large((160, 80), (22, 12, 60, 30)),
    xml=annotation(thing((22, 12, 60, 30)), size=(0, 0)),
)
limited(
    "read at a half, cut off",
    LeftOut("cut off or damaged"),
    30_000,
    lambda: large((400, 200), (22, 12, 60, 30))[:-300],
    xml=annotation(thing((22, 12, 60, 30)), size=(400, 200)),
)
limited(
    "a JPEG beyond four times the limit",
    LeftOut("more than 3200 pixels: make it smaller"),
    3200,
    lambda: large((200, 100), (22, 12, 60, 30)),
    **SMALL,
)


@case("pictures", "a single photograph of 108 megapixels", Right([1, 3, 20, 40], ()))
def _(folder):
    (folder / "phone.jpg").write_bytes(large((160, 80), BOX))
    with at_most(12_000):
        half, small = datasets.load_picture(folder / "phone.jpg"), datasets.load_picture(folder / "phone.jpg", 20)
    assert half.shape == (1, 3, 40, 80)
    return list(small.shape)


@case(
    "pictures", "a single PNG of too many pixels", Refused("more than 3000 pixels: make it smaller, for example half")
)
def _(folder):
    folders(folder, "large.png")
    with at_most(3000):
        datasets.load_picture(folder / "large.png")
