"""Figures: overlays let the picture through, boxes are told apart and named, text is readable, nothing is
shown twice."""

import base64
import inspect
import io
import os
import subprocess
import sys
from types import SimpleNamespace

import IPython
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from cambook import networks
from cambook.course import show

GREY = torch.full((3, 20, 30), 0.5)
BOXES = [(1, 2, 9, 9), (1, 2, 9, 8), None]
WEIGHTS = [1.0, -2.0, 0.5, -0.1, 0.0]


@pytest.fixture(scope="module")
def figures():
    """One figure of each kind."""
    g = np.random.default_rng(0)
    image, maps = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)), g.random((5, 4, 4))
    table = pd.DataFrame({"ours": [1.0, 2.0], "published": [2.0, 1.0]}, index=["a", "b"])
    return {
        "pictures": show.pictures([image] * 2, maps[:2], [(1, 2, 9, 9)] * 2, [(1, 2, 9, 8), None], ["a", "b"], "T"),
        "top_classes": show.top_classes(image, list("abcde"), [0.5, 0.2, 0.2, 0.1, 0.001], maps, "T"),
        "matrices": show.matrices({"x": np.eye(3), "y": -np.eye(3)}, "T", signs=["="]),
        "ledger": show.ledger(np.arange(6).reshape(2, 3), ["a", "b"], "right", "below", "T"),
        "curves": show.curves([0, 1], {"a": [1, 2], "b": [2, 1]}, "x", "y", "T", {"here": 0.5}),
        "layers": show.layers(
            {"a": [("conv", "kept"), ("fc", "removed")], "b": [("conv", "kept"), ("gap", "new")]}, "T"
        ),
        "layers with an arrow": show.layers(
            {"a": [("conv", "kept"), ("maps", "learns on")], "b": [("conv", "erased")]}, "T", [((0, 1), (1, 0))]
        ),
        "bars": show.bars({"a": 1.0, "b": 2.0}, {"a": (0.5, 3.0)}, "x", "T", ["b"]),
        "threshold_curves": show.threshold_curves([0, 0.5], {"a": [1, 2], "b": [2, 1]}, "x", "y", "T", (0.15, 0.2)),
        "draws": show.draws([1, 10], {"a": np.eye(2)}, "x", "y", "T", {"level": 0.5}),
        "beside": show.ours_beside_published(table, "x", "T"),
        "live": show.live_over_recorded(
            {"y": {"a": pd.DataFrame({5: [1.0, 2.0], 10: [2.0, 4.0]})}},
            {"y": {"a": {10: 3.5}}},
            "x",
            "T",
            {"y": {"c": 1}},
        ),
        "branches": show.branches(
            image[None], maps[:1], maps[1:2], maps[2:3], 0.6, [(1, 2, 9, 9)], [(1, 2, 9, 8)], ["a"], "T"
        ),
        "thresholds": show.thresholds(image, maps[0], (0.2, 0.5), "paper", (1, 2, 9, 9), "T"),
        "failures": show.failures([image] * 3, maps[:3], [(1, 2, 9, 9)] * 3, BOXES, ["a", "b", "c"], "T"),
        "grid": show.grid({"a": [image, maps[0]], "b": [maps[1] - 0.5]}, ["x", "y"], "T", "value", signed=True),
        "forest": show.forest({"a": (1.0, 0.5, 3.0), "b": (-1.0, -3.0, 0.5)}, "x", "T", better=("worse", "better")),
        "seeds": show.seeds(
            {"x": {"a": [1.0, 3.0], "b": [2.0, 4.0]}, "y": {"a": [5.0], "b": [6.0]}}, "T", {"x": {"c": 2}}
        ),
        "pipeline": show.pipeline(image, maps, WEIGHTS, maps[0], maps[0] > 0.5, (1, 2, 9, 9), "a", "T"),
        "small pipeline": show.pipeline(image, maps, WEIGHTS, maps[0], None, None, "a", "T", small=True),
        "architecture": show.architecture("T"),
        "swept": show.swept(
            [0, 1], {"a": [[1, 2], [2, 3]]}, {"a": {0.0: 1.5}, "b": {0.5: 2.0}}, {"b": [2, 2.5]}, "x", "y", "T"
        ),
    }


def test_where_the_map_is_zero_the_picture_stays_visible_in_grey():
    assert (show.overlay(GREY, np.zeros((20, 30))) == 128).all()
    red = torch.zeros(3, 20, 30)
    red[0] = 1.0
    assert (show.overlay(red, np.zeros((20, 30))) == round(0.299 * 255)).all()
    assert (show.overlay(red, np.zeros((20, 30)), grey=False) == show.pixels(red)).all()


def test_opacity_grows_with_the_value():
    row = show.overlay(GREY, np.tile(np.linspace(0, 1, 30), (20, 1)), level=None)[0].astype(float)
    colour = plt.get_cmap("magma")(np.linspace(0, 1, 30))[:, :3] * 255
    alpha = ((row - 128) * (colour - 128)).sum(1) / ((colour - 128) ** 2).sum(1)
    assert np.allclose(alpha, 0.8 * np.linspace(0, 1, 30), atol=0.02)


def test_a_small_map_is_brought_to_the_size_of_the_picture():
    shown = show.overlay(GREY, [[1.0, 0.0], [0.0, 0.0]])
    assert shown.shape == (20, 30, 3) and shown.dtype == np.uint8
    assert (shown[0, 0] != 128).any() and (shown[-1, -1] == 128).all()


def test_channels_first_channels_last_floats_and_bytes_are_the_same_picture():
    image = torch.rand(3, 8, 9, generator=torch.Generator().manual_seed(1))
    last = image.permute(1, 2, 0).numpy()
    for other in (last, show.pixels(image), show.pixels(image).transpose(2, 0, 1)):
        assert (show.pixels(other) == show.pixels(image)).all()


@pytest.mark.parametrize(
    "call, mend",
    [
        (lambda: show.pixels(torch.zeros(2, 3, 8, 8)), "not a batch"),
        (lambda: show.pixels(torch.full((3, 8, 8), 2.0)), r"values in \[0, 1\]"),
        (lambda: show.overlay(GREY, np.full((4, 4), 3.0)), "cambook.maps.normalize"),
        (lambda: show.overlay(GREY, np.full((4, 4), np.nan)), "cambook.maps.normalize"),
        (lambda: show.overlay(GREY, np.zeros((2, 4, 4))), "choose one"),
        (lambda: show.layers({"net": [("fc", "gone")]}), "use one of kept, new, removed"),
        (lambda: show.pictures([GREY] * 2, titles=["one"]), "2 images but 1 titles"),
    ],
)
def test_a_wrong_argument_is_answered_with_its_mend(call, mend):
    with pytest.raises(ValueError, match=mend):
        call()


def test_no_figure_stays_open_for_pyplot_and_each_has_its_takeaway(figures):
    assert plt.get_fignums() == []
    assert all(fig.get_suptitle() == "T" for fig in figures.values())


def test_every_text_has_12_points_or_more(figures):
    for name, fig in figures.items():
        fig.draw_without_rendering()
        sizes = [text.get_fontsize() for text in fig.findobj(Text) if text.get_text()]
        assert min(sizes) >= 12, name


NAMED = {  # what the alternative text of each figure names beside its takeaway
    "pictures": ["2 images: a (IoU 0.86) and b (no box)", "true box, predicted box and map at 0.2"],
    "top_classes": ["6 images: the image, a 50%, b 20%", "5 with a map"],
    "matrices": ["x (3 x 3): 1, 0, 0, 0, 1", "y (3 x 3): -1, 0"],
    "ledger": ["2 rows (a and b)", "(right): 3, 12", "(below): 3, 5, 7", "total 15"],
    "curves": ["y over x, 0 to 1", "a from 1 to 2", "b from 2 to 1", "here at 0.5"],
    "layers": ["a: conv (kept), fc (removed)", "b: conv (kept), gap (new)"],
    "layers with an arrow": ["maps (learns on)", "b: conv (erased)"],
    "bars": ["Bars, x: a 1.0 (from 0.5 to 3.0) and b 2.0"],
    "threshold_curves": ["y over x", "a best 2.0 at 0.50", "15% and 20%"],
    "draws": ["y over x, 1 to 10", "a from 0.5 to 0.5", "level 0.5"],
    "beside": ["a ours 1.0 and published 2.0"],
    "live": ["y over x, 5 to 10", "a from 1.5 to 3", "in this run: a 3.5 at 10"],
    "branches": ["A: a, left for B, B and fused (IoU 0.86)"],
    "thresholds": ["threshold 0.2 (IoU", "threshold 0.5 (IoU", "above the threshold"],
    "failures": ["3 images: c (no box), b (IoU 0.86) and a (IoU 1.00)"],
    "grid": ["Rows: a and b", "Columns: x and y"],
    "forest": ["a +1.0 [+0.5, +3.0]", "b -1.0 [-3.0, +0.5], not decided"],
    "seeds": ["x: a 2.0 (1.0 to 3.0) and b 3.0 (2.0 to 4.0). Levels: c 2", "y: a 5.0 (5.0 to 5.0)"],
    "pipeline": ["an image of a", "4 of its 5 feature maps", "map 0 times +1.00", "the box around it"],
    "small pipeline": ["3 of its 5 feature maps", "no box"],
    "architecture": ["128 feature maps of 8x8", "gap: mean, linear", "12 scores"],
    "swept": ["y over x, 0 to 1", "a from 1.5 to 2.5", "Levels: b 2.25", "a 1.5 at 0"],
}


def test_each_figure_has_an_alternative_text_of_its_takeaway_and_what_was_drawn(figures):
    assert set(NAMED) == set(figures)
    for name, fig in figures.items():
        assert fig.alt.startswith("T. ") and 40 <= len(fig.alt) <= 500, (name, fig.alt)
        assert "\n" not in fig.alt and "\t" not in fig.alt
        for words in NAMED[name]:
            assert words in fig.alt, (name, fig.alt)


def test_every_function_that_gives_a_figure_is_tested_for_its_words(figures):
    drawn = {name for name in show.__all__ if inspect.isfunction(getattr(show, name))}
    drawn = {name for name in drawn if inspect.signature(getattr(show, name)).return_annotation == "Figure"}
    called = {"ours_beside_published": "beside", "live_over_recorded": "live"}
    assert {called.get(name, name) for name in drawn} <= set(NAMED)


def test_a_figure_hands_image_and_words_to_a_notebook(figures):
    data, metadata = DisplayFormatter().format(figures["bars"])
    assert data["text/plain"] == figures["bars"].alt and metadata == {"image/png": {"alt": figures["bars"].alt}}
    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert abs(image.width / (figures["bars"].get_figwidth() * figures["bars"].dpi) - 1) < 0.05


def test_a_notebook_draws_a_figure_once_and_still_gets_its_words(figures, monkeypatch):
    drawn, shell = [], SimpleNamespace(display_formatter=DisplayFormatter())
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    printer = shell.display_formatter.formatters["image/png"]
    printer.for_type(Figure, lambda figure: drawn.append(figure) or "as the reader chose")
    data, metadata = shell.display_formatter.format(figures["bars"])
    assert data == {"text/plain": figures["bars"].alt, "image/png": "as the reader chose"} and len(drawn) == 1
    assert metadata["image/png"]["alt"] == figures["bars"].alt


def test_a_long_text_is_cut_at_a_word():
    fig = show.bars({f"a method with a long name {i}": 1.0 for i in range(40)}, takeaway="T")
    assert len(fig.alt) <= 500 and fig.alt.endswith("and 29 more.")
    fig = show.matrices({f"a matrix with a long name {i}": [[1]] for i in range(40)}, "T")
    assert 450 < len(fig.alt) <= 500 and fig.alt.endswith(" ...")


def test_each_picture_says_its_iou_or_that_there_is_no_box(figures):
    first, second = figures["pictures"].axes
    assert first.get_xlabel() == "IoU 0.86" and second.get_xlabel() == "no box"


def test_true_boxes_are_solid_predicted_ones_dashed_in_other_colours_and_named(figures):
    fig = figures["pictures"]
    true_line, predicted_line, _ = fig.legends[0].get_lines()
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["true box", "predicted box", "map at 0.2"]
    assert true_line.get_linestyle() == "-" and predicted_line.get_linestyle() == "--"
    assert true_line.get_color() != predicted_line.get_color()
    drawn = [(patch.get_edgecolor(), patch.get_linestyle()) for patch in fig.axes[0].patches]
    assert len({colour for colour, _ in drawn}) == 3 and drawn[-1][1] != drawn[1][1]


def test_the_iou_is_the_best_over_several_true_boxes():
    fig = show.pictures([GREY], truth=[[(0, 0, 4, 4), (10, 10, 20, 20)]], predicted=[(10, 10, 20, 15)])
    assert fig.axes[0].get_xlabel() == "IoU 0.50"
    fig = show.pictures([GREY], truth=[(0, 0, 4, 4)], predicted=[(0, 0, 4, 5)], dashed="window", iou=False)
    assert fig.axes[0].get_xlabel() == ""


def test_one_picture_serves_several_maps():
    assert len(show.pictures(GREY, np.zeros((3, 4, 4))).axes) == 3


def test_top_classes_shows_the_picture_and_then_each_class_with_its_probability(figures):
    titles = [ax.get_title() for ax in figures["top_classes"].axes]
    assert titles[0] == "the image" and titles[1] == "a\n50%" and titles[5] == "e\nunder 1%"


def test_a_matrix_writes_each_number_in_its_cell():
    fig = show.matrices({"m": [[1, -2], [30, 4]]}, fmt=".1f")
    written = {text.get_position(): text.get_text() for text in fig.axes[0].texts}
    assert written == {(0, 0): "1.0", (1, 0): "\N{MINUS SIGN}2.0", (0, 1): "30.0", (1, 1): "4.0"}


def test_a_matrix_writes_no_minus_before_a_zero():
    (ax,) = show.matrices({"x": np.array([[-0.0, -1.0]])}).axes
    assert [text.get_text() for text in ax.texts] == ["0", "\N{MINUS SIGN}1"]


def test_a_ledger_writes_row_sums_column_sums_and_the_total(figures):
    cells, right, below, total = ([text.get_text() for text in ax.texts] for ax in figures["ledger"].axes)
    assert cells == list("012345") and right == ["3", "12"] and below == ["3", "5", "7"] and total == ["15"]


def test_layers_names_the_fates_that_occur(figures):
    assert [text.get_text() for text in figures["layers"].legends[0].get_texts()] == [
        "kept",
        "new",
        "removed",
    ]


def test_a_saved_figure_has_twice_the_pixels_it_has_in_a_notebook(tmp_path, figures):
    path = show.save(figures["curves"], tmp_path / "new" / "curves.png")
    width = figures["curves"].get_figwidth() * figures["curves"].dpi
    assert abs(Image.open(path).width / (2 * width) - 1) < 0.05
    assert [each.name for each in path.parent.iterdir()] == ["curves.png"]


def test_the_readers_own_settings_stay_as_they_are_and_change_no_figure(tmp_path):
    code = "import matplotlib; before = dict(matplotlib.rcParams); from cambook.course import explore, show; "
    code += "fig = show.bars({'a': 1.0}); show.save(fig, 'bars.png'); after = dict(matplotlib.rcParams); "
    code += "assert before == after, {name for name in after if after[name] != before[name]}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=os.environ | {"MPLBACKEND": "agg"})
    usual = show.save(show.curves([0, 1], {"a": [1, 2]}, "x", "y", "T"), tmp_path / "usual.png")
    with plt.rc_context({"font.size": 30, "xtick.labelsize": 30, "axes.facecolor": "red", "figure.dpi": 30}):
        own = show.save(show.curves([0, 1], {"a": [1, 2]}, "x", "y", "T"), tmp_path / "own.png")
        assert plt.rcParams["font.size"] == 30
    assert usual.read_bytes() == own.read_bytes()


def test_dashed_boxes_may_have_another_name():
    fig = show.pictures([np.zeros((3, 8, 8))], predicted=[[1, 1, 5, 5]], dashed="measured box")
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["measured box"]


def test_a_grid_has_a_named_row_for_each_entry_and_empty_cells_at_the_end():
    image = np.random.default_rng(0).random((8, 8, 3))
    fig = show.grid({"picture": [image], "map": [np.eye(4), np.eye(4)]}, ["first", "second"], "Two rows")
    axes = fig.axes
    assert [ax.get_ylabel() for ax in axes[::2]] == ["picture", "map"]
    assert [ax.get_title() for ax in axes[:2]] == ["first", "second"]
    assert [len(ax.images) for ax in axes] == [1, 0, 1, 1]
    assert fig.get_suptitle() == "Two rows"


def test_cells_show_what_is_positive_over_the_picture_or_alone():
    image, signed = torch.full((1, 3, 10, 10), 0.5), torch.full((1, 1, 10, 10), -1.0)
    signed[0, 0, :5] = 2.0
    (over,) = show.cells(image, signed)
    assert over.shape == (10, 10, 3) and (over[7:] == 128).all() and (over[:5] != 128).any()
    assert (over[0] == show.overlay(image[0], np.ones((10, 10)))[0]).all(), "its maximum is the brightest colour"
    (alone,) = show.cells(image, signed, alone=True)
    assert np.array_equal(alone, np.repeat([[1.0], [0.0]], 5, 0).repeat(10, 1))


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_two_outlines_lie_light_between_dark_on_any_image_and_leave_the_rest_as_it_was(grey):
    image, outer, inner = np.full((64, 64, 3), grey), np.zeros((16, 16), bool), np.zeros((64, 64), bool)
    outer[2:14, 2:14] = inner[20:44, 20:44] = True
    drawn = show.outlined(show.outlined(image, outer), inner, "white")
    blue, white, dark, plain = (86, 180, 233), (255,) * 3, (17,) * 3, (round(255 * grey),) * 3
    across = [tuple(each) for each in drawn[32, :32].tolist()]
    expected = [plain] * 6 + [dark, blue, blue, dark] + [plain] * 8 + [dark, white, white, dark] + [plain] * 10
    assert across == expected and (image == grey).all()


def test_recorded_curves_are_means_with_a_band_from_least_to_most_and_live_points_stand_out():
    table = pd.DataFrame({5: [1.0, 3.0], 10: [2.0, 4.0], 25: [np.nan, np.nan]})
    figure = show.live_over_recorded({"y": {"a": table}}, {"y": {"a": {10: 3.5}}}, "x")
    recorded, live = figure.axes[0].lines
    assert recorded.get_ydata().tolist() == [2, 3] and live.get_xydata().tolist() == [[1, 3.5]]
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 1 and band[:, 1].max() == 4
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["a, recorded", "a, live"]


def test_a_swept_figure_says_which_points_are_live_and_which_recorded(figures):
    legend = [text.get_text() for text in figures["swept"].legends[0].get_texts()]
    assert legend == ["a, recorded", "b, recorded", "a, live", "b, live"]


def test_what_is_not_kept_is_grey_and_the_rest_as_it_was():
    image = torch.rand(3, 8, 6, generator=torch.Generator().manual_seed(2))
    shown = show.left_over(image, [[True, False], [False, True]])
    assert (shown[:4, 3:] == 128).all() and (shown[4:, :3] == 128).all()
    assert (shown[:4, :3] == show.pixels(image)[:4, :3]).all() and (shown[4:, 3:] == show.pixels(image)[4:, 3:]).all()
    with pytest.raises(ValueError, match="one mask"):
        show.left_over(image, np.ones((1, 2, 2)))


def test_small_images_are_enlarged_smoothly_and_large_ones_stay():
    small, large = torch.rand(3, 64, 48, generator=torch.Generator().manual_seed(3)), np.zeros((300, 200, 3), np.uint8)
    shown = show.enlarged(small)
    assert shown.shape == (256, 192, 3) and show.enlarged(large) is large
    blocks = show.pixels(small).repeat(4, 0).repeat(4, 1)
    assert (shown != blocks).mean() > 0.5, "no pixel is only repeated"
    drawn = show.pictures([small]).axes[0].images[0].get_array()
    assert drawn.shape == (256, 192, 3)


def test_boxes_belong_to_the_frame_and_the_image_may_be_larger():
    sharp = torch.zeros(3, 200, 200)
    fig = show.pictures([sharp], truth=[(0, 0, 10, 20)], predicted=[(0, 0, 10, 10)], frame=50)
    (ax,) = fig.axes
    assert ax.get_xlim() == (0, 50) and ax.get_ylim() == (50, 0) and ax.images[0].get_extent() == [0, 50, 50, 0]
    assert [patch.get_bbox().bounds for patch in ax.patches[1::2]] == [(0, 0, 10, 20), (0, 0, 10, 10)]
    assert ax.get_xlabel() == "IoU 0.50"
    wide = show.pictures([torch.zeros(3, 100, 200)], frame=(50, 100)).axes[0]
    assert wide.get_xlim() == (0, 100) and wide.get_ylim() == (50, 0)


def test_a_map_of_the_frame_is_laid_over_the_sharp_image():
    sharp = torch.full((3, 256, 256), 0.5)
    drawn = show.pictures([sharp], [np.pad(np.ones((32, 32)), ((0, 32), (0, 32)))], frame=64).axes[0].images[0]
    assert (drawn.get_array()[:120, :120] != 128).any(-1).all() and (drawn.get_array()[140:] == 128).all()


def corners(line):
    return np.concatenate([path.vertices for path in line.get_paths() if len(path.vertices)])


def test_a_mask_is_a_line_around_its_pixels_closed_at_the_border():
    mask = np.zeros((64, 64), bool)
    mask[16:48, :32] = True
    fig = show.pictures([GREY], outlines=[mask], outlined="object", frame=64)
    edge, line = fig.axes[0].collections
    found = corners(line)
    assert np.allclose([found.min(0), found.max(0)], [[0, 16], [32, 48]], atol=0.8)
    assert line.get_edgecolor()[0].tolist() == [1, 1, 1, 1] and edge.get_linewidth() > line.get_linewidth()
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["object"]


def test_several_outlines_have_names_and_dashes_and_an_empty_one_no_line():
    masks = np.zeros((3, 8, 8), bool)
    masks[0, 2:4, 2:4] = masks[1, 5:7, 5:7] = True
    fig = show.pictures([GREY] * 2, outlines=[masks, None], outlined=["seed", "background", "none"])
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["seed", "background", "none"]
    lines = fig.axes[0].collections[1::2]
    assert len(lines) == 2 and lines[0].get_linestyle() != lines[1].get_linestyle()
    assert not fig.axes[1].collections


def test_an_overlay_has_a_line_around_what_is_lit_closed_at_the_border():
    lit = np.zeros((64, 64))
    lit[:, :20] = 1.0
    plain, lined = (show.overlay(np.full((64, 64, 3), 0.5), lit, level=level) for level in (None, 0.2))
    changed = (plain != lined).any(2)
    assert changed[:2, :20].all() and changed[-2:, :20].all() and changed[:, :2].all(), "closed at the border"
    assert changed[30].nonzero()[0].tolist() == [0, 1, 18, 19, 20, 21] and not changed[:, 22:].any()
    assert {tuple(each) for each in lined[30, 18:22].tolist()} == {(17, 17, 17), (86, 180, 233)}, "dark on both sides"
    assert (show.outlined(plain, lit > 0.2) == lined).all()


def test_each_image_may_have_a_level_of_its_own():
    fig = show.pictures([GREY] * 3, [np.eye(4), np.eye(4), None], level=[0.3, None, 0.4])
    assert [len(ax.collections) for ax in fig.axes] == [2, 0, 0]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["map at 0.3"]
    fig = show.pictures([GREY] * 2, [np.eye(4)] * 2, level=[0.3, 0.4])
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["map at the threshold"]


def test_a_level_is_a_line_where_the_map_has_that_value():
    ramp = np.tile(np.linspace(0, 1, 64), (64, 1))
    fig = show.pictures([torch.zeros(3, 256, 256)], [ramp], level=0.5, frame=64)
    found = corners(fig.axes[0].collections[-1])
    assert abs(found[:, 0].min() - 32) < 1 and found[:, 0].max() == pytest.approx(64, abs=0.2)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["map at 0.5"]


def test_titles_are_wrapped_to_their_column_and_rows_have_up_to_four_images():
    fig = show.pictures([GREY] * 5, titles=["a title of several words that is long"] * 5)
    assert "\n" in fig.axes[0].get_title() and len(fig.axes) == 6
    assert len(show.pictures([GREY] * 8).axes) == 8 and len(show.pictures([GREY] * 4, columns=2).axes) == 4


def test_the_legend_may_call_both_boxes_otherwise_and_a_bar_has_its_label():
    fig = show.pictures([GREY], [np.eye(4)], [(1, 1, 3, 3)], [(1, 1, 3, 2)], dashed="B", solid="A", bar="share")
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["A", "B", "map at 0.2"]
    assert fig.axes[-1].get_ylabel() == "share"


def test_no_iou_stands_on_an_image_or_a_box(figures):
    fig = show.pictures([GREY] * 2, truth=[(0, 0, 30, 20)] * 2, predicted=[(0, 0, 30, 20)] * 2)
    fig.draw_without_rendering()
    for ax in fig.axes:
        image, words = ax.get_window_extent(), ax.xaxis.label.get_window_extent()
        assert words.y1 < image.y0 - 3 * fig.dpi / 72


def test_signed_matrices_diverge_from_white_at_zero_on_one_scale():
    fig = show.matrices({"x": [[-1.0, 0.0]], "y": [[4.0, 2.0]]}, bar="evidence")
    images = [ax.images[0] for ax in fig.axes[:2]]
    assert {image.get_clim() for image in images} == {(-4, 4)} and fig.axes[2].get_ylabel() == "evidence"
    assert min(images[0].cmap(images[0].norm(0.0))[:3]) > 0.95, "0 is white"
    counted = show.matrices({"x": [[1.0, 2.0]]}, bar="evidence")
    assert counted.axes[0].images[0].get_clim() == (-2, 2) and counted.axes[1].get_ylim() == (0, 2)


def test_a_matrix_of_true_and_false_is_grey_and_has_no_part_in_the_scale():
    fig = show.matrices({"mask": np.eye(2, dtype=bool), "map": [[-3.0, 1.0]]})
    mask, numbers = (ax.images[0] for ax in fig.axes)
    assert numbers.get_clim() == (-3, 3) and mask.get_cmap().name == "Greys"
    assert [text.get_text() for text in fig.axes[0].texts] == ["1", "0", "0", "1"]


def test_a_row_is_as_high_as_its_images():
    fig = show.pictures([torch.zeros(3, 50, 100), torch.zeros(3, 100, 50)], columns=1)
    assert fig.axes[0].get_gridspec().get_height_ratios() == [0.5, 2.0]


def test_numbers_can_be_read_on_their_cells():
    fig = show.matrices({"x": np.linspace(-1, 1, 9).reshape(3, 3)}, fmt=".1f")
    image = fig.axes[0].images[0]
    for text in fig.axes[0].texts:
        column, row = text.get_position()
        red, green, blue, _ = image.cmap(image.norm(image.get_array()[row, column]))
        light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        assert (text.get_color() == "white") == (light < 0.45) or 0.35 < light < 0.6


def test_maps_of_few_cells_are_shown_as_cells_larger_ones_smoothly():
    fig = show.grid({"a": [np.eye(8), np.eye(64)]})
    assert [ax.images[0].get_interpolation() for ax in fig.axes] == ["nearest", "bicubic"]


def test_failures_are_those_with_the_lowest_iou_lowest_first():
    truth = [(0, 0, 10, 10), (0, 0, 10, 10), [], (0, 0, 10, 10)]
    found = [(0, 0, 10, 8), None, (0, 0, 9, 9), (0, 0, 10, 3)]
    fig = show.failures([GREY] * 4, None, truth, found, list("abcd"), count=2)
    shown = [(ax.get_title(), ax.get_xlabel()) for ax in fig.axes if ax.get_title()]
    assert shown == [("b", "no box"), ("d", "IoU 0.30")]


def test_thresholds_draw_the_region_that_the_rule_keeps_and_its_box():
    bump = np.zeros((8, 8))
    bump[2:5, 2:5] = 1.0
    fig = show.thresholds(torch.zeros(3, 256, 256), bump - 0.1, (0.2, 0.6), "wsol", frame=64)
    boxes_drawn = [ax.patches[1].get_bbox().bounds for ax in fig.axes]
    assert boxes_drawn[0][2] > boxes_drawn[1][2], "a higher threshold, a smaller box"
    for ax, (left, top, width, height) in zip(fig.axes, boxes_drawn, strict=True):
        region = corners(ax.collections[1])
        assert np.allclose([region.min(0), region.max(0)], [[left, top], [left + width, top + height]], atol=1.5)


def test_a_forest_fills_what_is_decided_and_writes_the_numbers(figures):
    (ax,) = figures["forest"].axes
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() for dot in dots] == ["#0072B2", "white"]
    words = [text.get_text() for text in ax.texts]
    assert words == ["+1.0 [+0.5, +3.0]", "−1.0 [−3.0, +0.5]", "← worse", "better →"]
    assert [line.get_xdata() for line in ax.lines][0] == [0, 0]
    assert show.forest({"a": (1.0, 0.0, 2.0)}, "x").alt.endswith("not decided."), "an interval that touches 0"


def test_each_seed_is_a_dot_and_their_mean_a_bar_with_its_number(figures):
    left, right = figures["seeds"].axes
    dots = [line.get_xdata().tolist() for line in left.lines if line.get_marker() == "o"]
    bars = [bar.get_segments()[0][0, 0] for bar in left.collections]
    assert dots == [[1, 3], [2, 4]] and bars == [2, 3]
    assert [text.get_text() for text in left.texts] == ["2.0", "3.0"]
    assert [text.get_text() for text in figures["seeds"].legends[0].get_texts()] == ["one seed", "mean", "c"]
    assert not right.get_legend_handles_labels()[1], "the control belongs to one panel"


def test_a_pipeline_draws_the_maps_that_contribute_most(figures):
    words = [text.get_text() for text in figures["pipeline"].axes[0].texts]
    assert words[:4] == ["× +1.00", "× +0.50", "× −0.10", "× −2.00"] and "class map" in words
    small = figures["small pipeline"]
    assert small.get_figheight() < figures["pipeline"].get_figheight() / 1.5


def test_the_diagram_has_the_shapes_of_the_small_network(figures):
    network = networks.build("mini-nin", 12, seed=0)
    words = [text.get_text() for text in figures["architecture"].axes[0].texts]
    x, shapes = torch.zeros(1, 3, 64, 64), []
    for layer in network.backbone:
        x = layer(x)
        shapes += ["x".join(map(str, x.shape[1:]))] if isinstance(layer, torch.nn.Conv2d) else []
    assert [word for word in words if word.count("x") == 2 and word[0].isdigit()][1:7] == shapes
    assert "x".join(map(str, network.classifier(x).shape[1:])) in words
    with pytest.raises(ValueError, match="'mean' is unknown: use some of fc, gap"):
        show.architecture(heads=["mean"])


def test_no_legend_covers_a_curve(figures):
    for name in ("curves", "draws", "swept", "threshold_curves", "live", "forest", "seeds"):
        fig = figures[name]
        fig.draw_without_rendering()
        box = fig.legends[0].get_window_extent()
        assert not any(ax.get_legend() for ax in fig.axes)
        assert not any(box.overlaps(ax.get_window_extent()) for ax in fig.axes), name


def test_a_readers_own_figure_is_shown_after_one_of_the_course():
    code = "import matplotlib; matplotlib.use('module://matplotlib_inline.backend_inline')\n"
    code += "from cambook.course import show; show.bars({'a': 1.0}); print(matplotlib.is_interactive())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    alone = "import matplotlib.pyplot as plt; import matplotlib\nmatplotlib.use('module://matplotlib_inline.backend_inline')"
    alone += "\nplt.figure(); print(matplotlib.is_interactive())"
    wanted = subprocess.run([sys.executable, "-c", alone], capture_output=True, encoding="utf-8", check=True)
    assert told.stdout == wanted.stdout
