"""Hostile cases of COCO files: what annotation tools, merges, scripts and broken downloads make of the JSON."""

import json
import tracemalloc

from hostile import SIZE, Found, Refused, Right, case
from test_datasets import BOX, GRID_BOX, HEIGHT, WIDTH, encoded, exif_jpeg, picture

from cambook import datasets
from cambook.datasets import json_lists

COCO_BOX = [BOX[0] - 1, BOX[1] - 1, BOX[2] - BOX[0] + 1, BOX[3] - BOX[1] + 1]


def made(value, *sentences):
    return Right(value, sentences)


CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def an_image(number, name=None, **changed):
    return {"id": number, "file_name": name or f"{number}.png", "width": WIDTH, "height": HEIGHT} | changed


def a_box(image, category, bbox=None, **changed):
    return {"image_id": image, "category_id": category, "bbox": bbox or COCO_BOX, "iscrowd": 0} | changed


def coco(folder, images=(), boxes=(), categories=CATEGORIES, text=None, files=(), name="result.json"):
    """A file of four cats and four dogs, and what a case adds to them; returns it."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    numbers = range(10, 18)
    for each in [f"{number}.png" for number in numbers] + list(files):
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_bytes(encoded(picture()) + each.encode())
    content = {
        "info": {"description": "made by a test"},
        "images": [an_image(number) for number in numbers] + list(images),
        "annotations": [a_box(number, 1 + number % 2) for number in numbers] + list(boxes),
        "categories": categories,
    }
    file.write_text(json.dumps(content) if text is None else text(json.dumps(content)), encoding="utf-8")
    return file


def opened(file, *wanted) -> Found:
    """The boxes of the wanted images, None for one that is not used; the reports of both splits, each line once."""
    both = [datasets.load(f"coco:{file}", split, SIZE) for split in ("train", "test")]
    found = []
    for name in wanted:
        data = next((data for data in both if name in data.names), None)
        found.append(data and data.batch([data.names.index(name)]).boxes[0].tolist())
    report = [line for data in both for line in data.report]
    return Found([sum(map(len, both)), *found], list(dict.fromkeys(report)))


def added(name, expected, *images, wanted="1.png", boxes=None, files=("1.png",), **options):
    """A case of what a file says of one more image."""

    @case("lists", f"COCO: {name}", expected)
    def _(folder):
        entries = images or (an_image(1),)
        file = coco(folder, entries, [a_box(1, 1)] if boxes is None else boxes, files=files, **options)
        return opened(file, *([wanted] if wanted else []))


def whole(name, sentence, text, **options):
    """A case of a file that is refused."""

    @case("lists", f"COCO: {name}", Refused(sentence))
    def _(folder):
        opened(coco(folder, text=text, **options))


# ---- the file


whole("half a file", "result.json is not valid JSON, or ends too early .*: export it again", lambda s: s[: len(s) // 2])
whole("only its last brace lacking", r"is not valid JSON \(its end instead of , or }\)", lambda s: s[:-1])
whole("empty", 'begins with "" and not with "{": COCO', lambda s: "")
whole("Label Studio's own JSON", r'begins with "\[" and not with "{": .*export as COCO', lambda s: f"[{s}]")
whole("not one of its lists", "has no list images or annotations or categories: export", lambda s: '{"a": 1}')
whole("two lists of images", "has two lists images: put their entries into one", lambda s: '{"images": [], ' + s[1:])
whole("nested a million deep", "is nested too deep|is not valid JSON", lambda s: '{"info": ' + "[" * 10**6)
whole("a number of 10,000 digits", "is not valid JSON, or ends too early", lambda s: f'{{"a": {"9" * 10**4}, ' + s[1:])
whole(
    "two names for one category",
    'result.json: category 1 is both "cat" and "bird": give each category its own id',
    None,
    categories=[*CATEGORIES, {"id": 1, "name": "bird"}],
)
whole("one class", 'result.json has only the class "cat", and at least two', lambda s: s.replace('"dog"', '"cat"'))


@case("lists", "COCO: not UTF-8", Refused("result.json is not text in UTF-8 .*: export it again"))
def _(folder):
    file = coco(folder)
    file.write_bytes(file.read_bytes().replace(b"made by a test", "Zürich".encode("latin-1")))
    opened(file)


@case("lists", "COCO: UTF-16 from PowerShell, after a mark", made([8]))
def _(folder):
    file = coco(folder)
    file.write_text(file.read_text(encoding="utf-8"), encoding="utf-16")
    return opened(file)


def in_little_memory(file) -> None:
    tracemalloc.start()
    try:
        opened(file)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 64 * 2**20, f"{peak:,} bytes"


@case("lists", "COCO: 200 MB in one entry", Refused("has an entry of more than 4,194,304 characters"))
def _(folder):
    file = coco(folder)
    with open(file, "wb") as written:
        written.write(b'{"info": "')
        for _ in range(200):
            written.write(b"a" * 10**6)
    in_little_memory(file)


@case(
    "lists", "COCO: larger than any", Refused("has 1,073,741,825 bytes, and at most 1,073,741,824 are read: split it")
)
def _(folder):
    file = coco(folder)
    with open(file, "ab") as written:  # its end takes no room on the disk
        written.truncate(json_lists.MAX_BYTES + 1)
    in_little_memory(file)


@case("lists", "COCO: millions of entries", Refused("result.json has more than 20 entries in images and annotations"))
def _(folder):
    before, json_lists.MAX_ENTRIES = json_lists.MAX_ENTRIES, 20
    try:
        in_little_memory(coco(folder, boxes=[a_box(10, 1)] * 100))
    finally:
        json_lists.MAX_ENTRIES = before


@case(
    "lists", "COCO: a folder in place of the file", Refused("is a folder, and the JSON file in it is needed: give .*_x")
)
def _(folder):
    coco(folder, name="train/_x.json")
    opened(folder)


@case(
    "lists", "COCO: two files for one split", Refused("a_train.json and .*a_training.json may both be its train split")
)
def _(folder):
    for name in ("a_train.json", "a_training.json", "a_val.json"):
        file = coco(folder, name=name)
    opened(file)


# ---- the names of images

GOOD = [9, [GRID_BOX]]


def outside(name, file_name):
    """A case of a name that leads to an image outside of the file's folder."""

    @case("lists", f"COCO: {name}", made([8, None], ".*outside.png: left out: there is no image of this name beside.*"))
    def _(folder):
        (folder / "outside.png").write_bytes(encoded(picture()))
        given = file_name if isinstance(file_name, str) else str(file_name(folder))
        return opened(coco(folder / "mine", [an_image(1, given)], [a_box(1, 1)]), given)


outside("a path out of the folder", "../outside.png")
outside("a path out of a folder inside it", "images/../../outside.png")
outside("an absolute path", lambda folder: folder / "outside.png")
outside("a Windows path out of the folder", "..\\outside.png")


@case(
    "lists",
    "COCO: a link out of the folder",
    made([8, None], ".*1.png: left out: .* is a link that leaves the folder"),
)
def _(folder):
    (folder / "outside.png").write_bytes(encoded(picture()))
    file = coco(folder / "mine", [an_image(1)], [a_box(1, 1)])
    (folder / "mine/1.png").symlink_to(folder / "outside.png")
    return opened(file, "1.png")


def read_as(name, file_name, called="cb06-a.png"):
    """A case of a name that an annotation tool writes for images/cb06-a.png."""
    told = (
        ".*result.json: 1 of 9 file names are not paths of images, .* first of them .*cb06-a.png as images/cb06-a.png"
    )
    images = (an_image(1, file_name),)
    added(name, made(GOOD, told), *images, wanted=called, files=("images/cb06-a.png",))


read_as(
    "Label Studio's path of the server",
    "..\\..\\label-studio\\upload\\4\\cb06-a.png",
    "label-studio/upload/4/cb06-a.png",
)
read_as("Label Studio's path with the project", "images\\1/cb06-a.png", "images/1/cb06-a.png")
read_as("Label Studio's address of a local file", "/data/local-files/?d=cats/cb06-a.png", "cats/cb06-a.png")
added("backslashes alone", made(GOOD), an_image(1, "in\\1.png"), wanted="in/1.png", files=("in/1.png",))
added(
    "a name that two images have",
    made([8, None], "1.png: left out: input/1.png and images/1.png may both be meant"),
    files=("1.png", "images/1.png"),
)
added("no such image", made([8, None], "1.png: left out: there is no image of this name beside the.*"), files=())
added(
    "a name with half a letter and a zero",
    made([8], ".*: left out: there is no image of this name beside.*"),
    an_image(1, "\ud800\0.png"),
    wanted=(),
)
added(
    "an entry of images without a name",
    made(
        [8], ".*result.json: 2 images left out, without an id or a file_name .first: 1.", ".*: 1 box left out, of an .*"
    ),
    an_image(1, file_name=None),
    an_image([1]),
    wanted=(),
)

added(
    "a name of two lines",
    made([8], "a[?]b.png: left out: there is no image of this name beside.*"),
    an_image(1, "a\nb.png"),
    wanted=(),
    files=("a\nb.png",),
)
added(
    "a name of a million letters",
    made(
        [8], ".*: 1 image left out, without an id or a file_name .first: 1.", ".*: 1 box left out, of an image that.*"
    ),
    an_image(1, "a" * 10**6),
    wanted=(),
)
added("ids as fractions", made(GOOD), an_image(1.0, "1.png"))

# ---- entries that disagree

added("an image listed twice", made(GOOD), an_image(1), an_image(1))
added(
    "one id for two images",
    made(
        [8, None],
        ".*result.json: 1 image left out, with the id of another .first: 2.png.",
        ".*1.png: left out: its id 1 is also that of 2.png, so that nobody knows whose its boxes are",
    ),
    an_image(1),
    an_image(1, "2.png"),
    files=("1.png", "2.png"),
)
added(
    "two ids for one image",
    made(
        [8, None],
        ".*result.json: 1 image left out, as they mean the file of another .first: 1.png.",
        ".*1.png: left out: several entries of its file mean this image",
    ),
    an_image(1),
    an_image(2, "1.png"),
    boxes=[a_box(1, 1), a_box(2, 2)],
)
added(
    "two sizes of one image",
    made([8, None], ".*1.png: left out: it is listed twice, with different sizes"),
    an_image(1),
    an_image(1, width=7),
)
added(
    "a size of another image",
    made([8, None], ".*1.png: left out: the size tag says 9 x 90, the image has 80 x 40, and the boxes fit neither"),
    an_image(1, width=9, height=90),
    boxes=[a_box(1, 1, [0, 30, 9, 60])],
)
added("a size that is none", made(GOOD), an_image(1, width="wide", height=-1))


def one_box(name, bbox, why, **changed):
    """A case of a box that is left out, beside a good one."""
    sentence = f".*result.json: 1 box left out, {why} .first: .*"
    added(name, made(GOOD, sentence), boxes=[a_box(1, 1), a_box(1, 1, bbox) | changed])


NUMBERS = "whose bbox is not four numbers of pixels"
for name, bbox in {
    "NaN": [0, 0, float("nan"), 1],
    "infinity": [0, 0, float("inf"), 1],
    "a number of 400 digits": [0, 0, 10**400, 1],
    "text": ["0", "0", "5", "5"],
    "three numbers": [0, 0, 5],
    "booleans": [True] * 4,
}.items():
    one_box(f"{name} in a box", bbox, NUMBERS)
one_box("a box of no width", [5, 5, 0, 9], "without area")
one_box("a box of negative height", [5, 5, 9, -1], "without area")
one_box("a box of no image", None, "of an image that the file does not list", image_id="1")
one_box("a box of no category", None, "of a category that the file does not list", category_id=9)
one_box("a box whose image is a list", None, "without an image_id or a category_id", image_id=[1])
one_box(
    "a crowd as run lengths",
    [0, 0, 80, 40],
    "marked iscrowd",
    iscrowd=1,
    segmentation={"counts": [9], "size": [40, 80]},
)
added(
    "entries that are numbers",
    made(GOOD, ".*: 2 entries left out, as they are not objects.*annotations."),
    boxes=[a_box(1, 1), 3, None],
)
added(
    "boxes outside of the image alone",
    made([8, None], ".*1.png: left out: every box lies outside the image"),
    boxes=[a_box(1, 1, [200, 200, 9, 9])],
)
added("no box", made([8, None], ".*1.png: left out: no box that can be used is given for it"), boxes=[])
added("a box past the border by rounding", made([9, [[0, 0, 80, 80]]]), boxes=[a_box(1, 1, [-0.004, 0, 80.01, 40.2])])
added(
    "a box far past the border",
    made([9, [[0, 0, 80, 80]]], ".*1.png: 1 of 1 boxes passed the border and were clipped"),
    boxes=[a_box(1, 1, [-9, 0, 99, 40])],
)


@case(
    "lists",
    "COCO: drawn upright, EXIF turns the image",
    made(GOOD, ".*1.jpg: EXIF orientation 3: .*upright image, kept.*"),
)
def _(folder):
    from cases_datasets import upright

    file = coco(folder, [an_image(1, "1.jpg")], [a_box(1, 1)])
    (folder / "1.jpg").write_bytes(upright(3))
    return opened(file, "1.jpg")


@case(
    "lists", "COCO: drawn on the stored image, as its size says", made([9, ...], ".*1.jpg: EXIF .* 6: .*as the size.*")
)
def _(folder):
    file = coco(folder, [an_image(1, "1.jpg")], [a_box(1, 1)])
    (folder / "1.jpg").write_bytes(exif_jpeg(6, picture()))
    return opened(file, "1.jpg")
