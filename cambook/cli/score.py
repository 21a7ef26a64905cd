"""`cambook score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cambook.localize.truths import Truths

Maps = Annotated[Path, typer.Argument(metavar="DIR", help="contains ID.npy for each image, or ID without its ending")]
Lists = Annotated[
    Path | None, typer.Option(metavar="DIR", help="true boxes or masks: lists in the form of wsolevaluation")
]
Data = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="or those of a data set: cub, voc:FOLDER, coco:FILE, wsol:FOLDER, ..."),
]
Masks = Annotated[Path | None, typer.Option(metavar="DIR", help="what the paths of masks in the lists start from")]
Split = Annotated[str, typer.Option(help="test, val or train of the lists, or a split of the data set")]
TuneOn = Annotated[
    str | None, typer.Option(metavar="SPLIT", help="choose the threshold on this split, report it on --split")
]
Predictions = Annotated[
    Path | None,
    typer.Option(metavar="CSV", help="image_id,top1,...,top5 for Loc", show_default="DIR/predictions.csv if it fits"),
]
Interval = Annotated[float, typer.Option(help="distance of the thresholds")]
Resize = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="maps that are not 224 x 224: bilinear, bicubic or nearest, as OpenCV"),
]
Normalize = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="maps that are not from 0 to 1: min-max, or max (below 0 becomes 0)"),
]
Partial = Annotated[bool, typer.Option("--partial", help="score the images that have a map; the result says how many")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="for the files", show_default="runs/score/NAME, NAME that of DIR"),
]


def score(
    maps: Maps,
    metadata: Lists = None,
    dataset: Data = None,
    masks: Masks = None,
    split: Split = "test",
    tune_on: TuneOn = None,
    predictions: Predictions = None,
    interval: Interval = 0.001,
    resize: Resize = None,
    normalize: Normalize = None,
    partial: Partial = False,
    out: Out = None,
) -> None:
    """Score maps of any method, kept as .npy files: MaxBoxAcc, MaxBoxAccV2, PxAP, top-1 and top-5 Loc.

    Boxes come out of the maps by rule wsol, counted exactly as in wsolevaluation,
    beside two controls that look at no image: a spot in the centre, and the whole
    image. Writes score.csv, per_image.csv and record.json.

    \b
    Examples:
      cambook score maps/cub --metadata metadata/CUB
      cambook score maps/cub --metadata metadata/CUB --split test --tune-on val
      cambook score maps/cub --metadata metadata/CUB --predictions guesses.csv
      cambook score maps/oi --metadata metadata/OpenImages --masks dataset/OpenImages
      cambook score maps/mine --dataset voc:data/mine --normalize min-max
      cambook score raw/cub --metadata metadata/CUB --resize bicubic --normalize min-max

    \b
    What to know about wsolevaluation:
      - Its README says 0.npy, its code saves 0.jpeg.npy: both are found here.
      - A docstring says that maps have the image's original size; they have 224 x 224,
        and true boxes are scaled there: each number times 224 / size, fraction cut off.
      - evaluation.py on its own takes thresholds at 0.01, MaxBoxAcc (V1) and IoU 0.5;
        main.py takes 0.001 and V2. Here: 0.001 and all of them, or --interval 0.01.
      - ILSVRC's blacklisted images count there, and so they do with --metadata.
      - CUBV2_boxes.txt begins with a heading, x0,y0,x1,y1, over columns that contain
        width and height; boxes in localization.txt are x0,y0,x1,y1.
      - Maps have to be those of the true class. Its ACoL looks at the true label while
        it makes maps, so published ACoL numbers know what they should not.
    """
    from cambook import files
    from cambook.cli.printing import from_here
    from cambook.localize import scoring
    from cambook.localize.score_report import as_text, write

    if (metadata is None) == (dataset is None):
        raise typer.BadParameter("give one of --metadata DIR and --dataset NAME: what the maps are scored against")
    if masks is not None and metadata is None:
        raise typer.BadParameter("--masks is what the paths in --metadata start from: a data set knows its masks")
    if tune_on is not None and tune_on == split:
        raise typer.BadParameter(f"--tune-on {tune_on} is --split, too: choose the threshold on another split")
    scoring.check_options(resize, normalize)
    folder = out if out is not None else files.RUNS / "score" / (maps.absolute().name or "maps")
    files.check_writable(folder)
    truths = _truths(metadata, dataset, masks, split)
    other = None if tune_on is None else _truths(metadata, dataset, masks, tune_on)
    given = {"maps": maps, "metadata": metadata, "dataset": dataset, "masks": masks, "split": split}
    given |= {"tune_on": tune_on, "predictions": predictions, "interval": interval, "resize": resize}
    given |= {"normalize": normalize, "partial": partial}
    how = {"tune_on": other, "predictions": predictions, "interval": interval, "resize": resize}
    found = scoring.score(maps, truths, normalize=normalize, partial_set=partial, **how)
    written = write(found, folder, given)
    typer.echo(as_text(found))
    typer.echo(f"\n{', '.join(path.name for path in written)}: {from_here(folder)}")


def _truths(metadata: Path | None, dataset: str | None, masks: Path | None, split: str) -> Truths:
    from cambook.localize import truths

    if metadata is not None:
        return truths.from_metadata(metadata, split, masks)
    from cambook import datasets
    from cambook.localize.inputs import image_ids

    data = datasets.load(dataset, split, truths.GRID, boxes=True)
    return truths.from_dataset(data, image_ids(data))
