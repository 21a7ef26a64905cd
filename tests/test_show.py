"""Figures: overlays let the picture through, boxes are told apart and named, text is readable, nothing is
shown twice."""

import os
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from cambook.course import show

GREY = torch.full((3, 20, 30), 0.5)


@pytest.fixture
def figures():
    """One figure of each kind."""
    g = np.random.default_rng(0)
    image, maps = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)), g.random((5, 4, 4))
    table = pd.DataFrame({"ours": [1.0, 2.0], "published": [2.0, 1.0]}, index=["a", "b"])
    return {
        "pictures": show.pictures([image] * 2, maps[:2], [(1, 2, 9, 9)] * 2, [(1, 2, 9, 8), None], ["a", "b"], "T"),
        "top_classes": show.top_classes(image, list("abcde"), [0.5, 0.2, 0.2, 0.1, 0.001], maps, "T"),
        "proposals": show.proposals(image, [(0, 0, 9, 9)] * 7, maps[0], (1, 2, 9, 9), ("a", "b"), "T", drawn=3),
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
        "swept": show.swept(
            [0, 1], {"a": [[1, 2], [2, 3]]}, {"a": {0.0: 1.5}, "b": {0.5: 2.0}}, {"b": [2, 2.5]}, "x", "y", "T"
        ),
    }


def test_where_the_map_is_zero_the_picture_stays_as_it_is():
    assert (show.overlay(GREY, np.zeros((20, 30))) == 128).all()


def test_opacity_grows_with_the_value():
    row = show.overlay(GREY, np.tile(np.linspace(0, 1, 30), (20, 1)))[0].astype(float)
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
        fig.canvas.draw()
        sizes = [text.get_fontsize() for text in fig.findobj(Text) if text.get_text()]
        assert min(sizes) >= 12, name


def test_each_picture_says_its_iou_or_that_there_is_no_box(figures):
    first, second = figures["pictures"].axes
    assert first.get_xlabel() == "IoU 0.86" and second.get_xlabel() == "no box"


def test_true_boxes_are_solid_predicted_ones_dashed_in_other_colours_and_named(figures):
    fig = figures["pictures"]
    true_line, predicted_line = fig.legends[0].get_lines()
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["true box", "predicted box"]
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


def test_proposals_draws_only_as_many_candidates_as_asked_for(figures):
    left, right = figures["proposals"].axes
    assert len(left.patches) == 3 and len(right.patches) == 2  # a box is a dark outline and a dashed line


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
    assert over.shape == (10, 10, 3) and (over[5:] == 128).all() and (over[:5] != 128).any()
    assert (over[0] == show.overlay(image[0], np.ones((10, 10)))[0]).all(), "its maximum is the brightest colour"
    (alone,) = show.cells(image, signed, alone=True)
    assert np.array_equal(alone, np.repeat([[1.0], [0.0]], 5, 0).repeat(10, 1))


def test_labelled_pixels_are_tinted_unknown_ones_grey_and_the_background_is_as_it_was():
    labels = np.zeros((20, 30), int)
    labels[0, 0], labels[0, 1] = 1, -100
    found = show.labelled(GREY, labels).astype(int)
    assert (found[1:] == 128).all()
    assert found[0, 0, 0] > found[0, 0, 2] and len(set(found[0, 1])) == 1 and found[0, 1, 0] != 128
    assert (show.labelled(GREY, labels == 1)[0, 0] == found[0, 0]).all()
    with pytest.raises(ValueError, match="one label per pixel"):
        show.labelled(GREY, labels[:5])


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
