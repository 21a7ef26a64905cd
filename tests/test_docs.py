"""The pages for readers: short, every link leads somewhere, every command exists, and the output they show is true."""

import contextlib
import importlib
import io
import re
import shlex
from pathlib import Path

import gpu_tables
import pytest
import torch
import typer
from PIL import Image
from test_gpu import made_up

from cambook import datasets, files, maps, networks
from cambook.cli import commands
from cambook.course import sweeps
from cambook.course.lessons import check

ROOT = Path(__file__).parents[1]
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PROJECT = ROOT / "notebooks" / "project.md"
PAGES = [README, CONTRIBUTING, *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md", PROJECT]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    """The contents of a page's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


def prose(page):
    """A page without fenced blocks, tables, code and the targets of links."""
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in text.splitlines() if not line.startswith("|")]
    return re.sub(r"`[^`]*`|\]\([^)]*\)", "", "\n".join(lines))


# ---- their size ----


def test_readme_and_contributing_are_short():
    assert len(text_of(README).splitlines()) <= 120
    assert len(text_of(CONTRIBUTING).splitlines()) <= 80


def test_readme_is_short_with_results_on_a_gpu_too():
    rows = [{**row, "dataset": name} for name in ("pets", "cub", "wildlife") for row in made_up() if "dataset" in row]
    shown = gpu_tables.into_readme(text_of(README), rows)
    assert len(shown.splitlines()) <= 120 and "(docs/gpu.md)" in shown
    assert "92.0 (90.0 to 94.0) on `cub` (a spot in the middle: 87.0)" in " ".join(shown.split())


@each_page
def test_lines_outside_tables_and_links_fit_a_screen(page):
    long = [
        line for line in text_of(page).splitlines() if len(line) > 120 and not line.startswith(("|", "![", "cambook"))
    ]
    assert long == []


# ---- where they lead ----


def anchors(page):
    """What GitHub makes of a page's headings."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_link_leads_to_a_file_and_a_heading(page):
    links = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    for link in links:
        path, _, anchor = link.partition("#")
        if re.match(r"https?:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {target.name} has no heading #{anchor}"


def test_every_page_is_linked_from_readme():
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s]+)\)", text_of(README))}
    assert {page.resolve() for page in PAGES} - {README.resolve(), gpu_tables.PAGE.resolve()} <= linked


@each_page
def test_every_file_that_a_page_names_is_there(page):
    named = re.findall(r"`((?:benchmarks|cambook|data|docs|notebooks|tests)/[\w./-]+)`", text_of(page))
    made = re.compile(r"data/(cache|real)/|docs/gpu\.md|data/results/gpu\.csv|.*NAME")  # by a run, or by the reader
    assert [name for name in named if not made.match(name) and not (ROOT / name).exists()] == []


# ---- the commands they show ----


def shown_commands(page):
    """Lines that begin with cambook or make, in code blocks and between backticks."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines += re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE))
    for line in (" ".join(line.split()) for line in lines):
        if line.startswith(("cambook ", "make ")):
            yield shlex.split(line, comments=True)


@each_page
def test_every_command_that_a_page_shows_exists(page):
    known = typer.main.get_command(commands.app).commands
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in shown_commands(page):
        if words[0] == "make":
            assert [word for word in words[1:] if "=" not in word and word not in targets] == [], words
        elif words[1:] and words[1:] != ["--help"]:
            assert words[1] in known, words
            options = {name for parameter in known[words[1]].params for name in parameter.opts}
            assert {word.partition("=")[0] for word in words if word.startswith("-")} <= options, words
            if words[1] == "run" and words[2:] and not words[2].startswith("-"):
                assert commands.find_notebook(words[2]).is_file(), words
            if words[1] == "sweep":
                assert sweeps.find(words[2]).is_file(), words


# ---- the code they show ----


def printed(code, **names):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(code, {"__name__": "__main__", **names})
    return said.getvalue()


def test_readmes_python_prints_what_it_shows():
    (code,), (shown,) = blocks(README, "python"), blocks(README, "text")
    assert printed(code) == shown


def test_what_readme_says_of_that_map_is_true():
    """The shapes in its comments, the mean of the map plus the bias is the score, and what the box encloses."""
    (code,) = blocks(README, "python")
    found = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, found)
    image, logits, features, best, cam = (found[name] for name in ("image", "logits", "feature_maps", "best", "cam"))
    said = [tuple(map(int, shape.split(","))) for shape in re.findall(r"\((\d+(?:, \d+)+)\)", code)]
    assert said == [tuple(each.shape) for each in (image, logits, features, cam)]
    assert 0 <= image.min() and image.max() <= 1
    torch.testing.assert_close(cam.mean() + found["network"].class_bias[best][0], logits[0, best[0]])
    left, top, right, bottom = found["box"]
    large = maps.upsample(cam, image.shape[2:])[0, 0]
    kept = maps.boxes.largest_component(large > 0.2 * large.max())
    assert maps.boxes.tight_box(kept) == (left, top, right, bottom)


def test_the_researchers_python_trains_and_evaluates(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CACHE", tmp_path)
    (code,) = blocks(ROOT / "docs" / "researchers.md", "python")
    small = code.replace("size=64", "size=64, length=24")
    assert small != code
    lines = small.strip().splitlines()
    found = {}
    exec("\n".join([*lines[:-1], f"row = {lines[-1]}"]), found)
    assert 0 <= found["row"]["max_box_acc"] <= 100


def test_the_python_for_labels_alone_draws_a_map_of_each_test_photograph(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    for number in range(8):
        photograph = tmp_path / "my" / "classes" / ("cat", "dog")[number % 2] / f"{number}.png"
        photograph.parent.mkdir(parents=True, exist_ok=True)
        colour = [0, 200, 40 + number] if number % 2 else [200, 0, 40 + number]
        Image.new("RGB", (32, 24), tuple(colour)).save(photograph)
    _, code = blocks(ROOT / "docs" / "data.md", "python")
    small = code.replace("size=224", "size=32").replace("(224, 224)", "(32, 32)")
    said = [line.split()[:2] for line in printed(small).splitlines()]
    assert [Path(name).parent.name for name, _ in said] == ["cat", "dog"] and all(c in ("cat", "dog") for _, c in said)
    assert [Image.open(tmp_path / f"map-{n}.png").size for n in range(2)] == [(32, 32)] * 2


def test_the_researchers_list_of_networks_is_complete():
    known, text = networks.names(), text_of(ROOT / "docs" / "researchers.md")
    _, _, table = text.partition("## Networks by name")
    listed = re.findall(r"`([^`]+)`", "\n".join(line for line in table.splitlines() if line.startswith("|")))
    assert sorted(listed) == sorted(known)


# ---- the four additions ----


@pytest.fixture
def added(request):
    """added("network") carries out the diff under that heading of CONTRIBUTING.md, in the module that it changes."""
    registries = [registry for registry in (networks.KNOWN, datasets.KNOWN, maps.MAPS, check.EXERCISES)]
    before = [dict(registry) for registry in registries]
    _, *parts = re.split(r"^## Add an? ", text_of(CONTRIBUTING), flags=re.MULTILINE)
    diffs = {
        part.partition("\n")[0]: re.findall(r"^```diff\n(.*?)^```", part, re.DOTALL | re.MULTILINE) for part in parts
    }

    def carry_out(kind):
        (diff,) = diffs[kind]
        head, *lines = diff.splitlines()
        file = ROOT / head.removeprefix("+++ b/")
        assert file.is_file() and all(line.startswith("+") for line in lines)
        module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
        code = "\n".join(line[1:] for line in lines)
        exec(compile(code, str(file), "exec"), names := dict(vars(module)))
        return names

    yield carry_out
    for registry, former in zip(registries, before, strict=True):
        registry.clear()
        registry.update(former)


def test_a_network_is_added_by_its_diff(added):
    with pytest.raises(ValueError, match="mini-wide"):
        networks.build("mini-wide")
    added("network")
    network = networks.build("mini-wide", 5)
    logits, feature_maps = network(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 5) and feature_maps.shape[:2] == (2, 512) and "mini-wide" in networks.names()


def test_a_data_set_is_added_by_its_diff(added, tmp_path):
    added("data set")
    for split in ("train", "val"):
        for shade, name in enumerate(("dark", "light")):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (9, 9), (200 * shade,) * 3).save(tmp_path / split / name / "a.png")
    data = datasets.load(f"imagenette:{tmp_path}", "test", 8, boxes=False)
    assert data.classes == ["dark", "light"] and data.batch([0, 1]).images.shape == (2, 3, 8, 8)
    assert [row[1] for row in datasets.catalogue() if row[0] == "imagenette:FOLDER"] == ["9,469 and 3,925"]


def test_a_map_is_added_by_its_diff(added):
    added("map")
    network, images = networks.build("mini-gap", 4), torch.rand(2, 3, 64, 64)
    classes = torch.tensor([[0, 3], [1, 2]])
    found = maps.MAPS["layer-cam"](network, images, None, classes)
    gradients = maps.layer_gradients(network, images, classes)
    by_hand = torch.zeros_like(found)
    for channel in range(gradients.activations.shape[1]):
        by_hand += gradients.gradients[:, :, channel].clamp(min=0) * gradients.activations[:, channel, None]
    torch.testing.assert_close(found, by_hand)


def test_an_exercise_is_added_by_its_diff(added, capsys):
    added("exercise")
    check.score_from_map(lambda class_map, bias: class_map.mean() + bias)
    check.score_from_map(lambda class_map, bias: class_map.sum() + bias)
    right, wrong = capsys.readouterr().out.splitlines()
    assert right == "✓ score_from_map: correct."
    assert wrong == "✗ score_from_map: you summed over the positions; average pooling takes the mean."


def test_the_packages_of_the_layout_are_all_there_in_order_of_import():
    rows = re.findall(r"^\| (`.*?) \|", text_of(CONTRIBUTING), re.MULTILINE)
    named = [name.strip("`/") for row in rows for name in row.split(", ")]
    found = {path.name for path in (ROOT / "cambook").iterdir() if path.is_dir() or path.suffix == ".py"}
    found = {name for name in found if not name.startswith("_")}
    assert set(named) == found
    order = [named.index(name) for name in ("maps", "metrics", "course", "localize", "cli")]
    assert order == sorted(order)


# ---- how they are written ----

HOUSE_WORDS = (
    r"\bpictures?\b|\bplaces?\b(?<!take place)(?<!in place)|\btrainings\b|\bexamine[rd]?s?\b|\blikeliest\b"
    r"|\btells? apart\b|\bis no [a-z]+\b|\bgrounds?\b|\bholds 0\b|\bsays? of\b|\basks? of\b"
)


@each_page
def test_pages_use_the_words_of_the_field(page):
    assert [found.group() for found in re.finditer(HOUSE_WORDS, prose(page), re.IGNORECASE)] == []
