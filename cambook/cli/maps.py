"""`cambook maps`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cambook import files
from cambook.cli.printing import from_here


def maps(
    network: Annotated[str, typer.Argument(help="a network's name, such as lite0-gap")],
    dataset: Annotated[str, typer.Argument(help="a data set's name, such as wsol:FOLDER, or a folder of images")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="where the maps go; continued if it has some of them")],
    split: Annotated[str, typer.Option(help="train, test, or another of the data set's")] = "test",
    source: Annotated[str, typer.Option(help="what makes the maps, such as cam or grad-cam")] = "cam",
    weights: Annotated[
        str, typer.Option(help="pretrained, trained (by `cambook train` on this data set), or a file")
    ] = "pretrained",
    classes: Annotated[
        str | None,
        typer.Option(
            help="map of each image's true class, or of the network's own top class",
            metavar="true|top",
            show_default="true if the network's outputs are the data set's classes",
        ),
    ] = None,
    enlarge: Annotated[
        str,
        typer.Option(metavar="bilinear|bicubic", help="from the raw map to 224 x 224; bicubic is the published way"),
    ] = "bilinear",
    length: Annotated[int | None, typer.Option(help="use at most this many images", min=1)] = None,
    size: Annotated[
        int | None, typer.Option(help="pixels per side", show_default="what the network is made for", min=1)
    ] = None,
) -> None:
    """Keep the maps of a data set, or of a folder of images, as .npy files, and the predictions as CSV.

    One file per image, FOLDER/ID.npy: 224 x 224 float32, from 0 to 1 (min-max of the enlarged map). To continue
    an interrupted run, give the same command again.

    \b
    Examples:
      cambook maps lite0-gap wsol:data/ILSVRC --out maps/ilsvrc
      cambook maps lite0-gap holiday/photographs --out maps/holiday
      cambook maps mini-gap tiny-imagenet --weights trained --out maps/tiny
    """
    from cambook import networks
    from cambook.localize import inputs, making
    from cambook.maps.methods import find_method

    _one_of("--classes", classes, making.CHOICES)
    _one_of("--enlarge", enlarge, making.ENLARGE)
    side = size or networks.spec(network).side
    method = find_method(source)
    making.check_apart(dataset, out)
    files.check_writable(out)
    data = inputs.open_images(dataset, split, side, length=length)
    typer.echo("\n  ".join([data.summary, *data.report]))
    ready = inputs.ready_network(network, weights, data)
    if refusal := method.refusal(ready):
        raise typer.BadParameter(f"--source {source}: {refusal} (--source grad-cam works for any head)")
    if source == "acol-peeking" and classes == "top":
        raise typer.BadParameter("--source acol-peeking peeks at the true class: leave out --classes top")
    chosen = making.class_choice(ready, data, classes)
    given = {"weights": weights, "length": length}
    parameters = making.parameters_of(ready, data, source=source, classes=chosen, enlarge=enlarge, **given)
    making.check_same(out, parameters)
    device = inputs.device_here()
    made = making.make_maps(ready, data, out, parameters, device=device)

    whose = "each image's true class" if chosen == "true" else f"the class that {network} finds most likely"
    kept = f", {made.kept} of them from before" if made.kept else ""
    typer.echo(f"{made.maps} maps in {from_here(out)}{kept}: {source} of {whose}, {enlarge}, 224 x 224, from 0 to 1")
    if made.constant:
        many = f"{len(made.constant)} maps are" if len(made.constant) > 1 else "1 map is"
        typer.echo(f"{many} the same everywhere and became zeros, the first of them that of {made.constant[0]}")
    error = "" if made.top1_error is None else f"; top-1 error {made.top1_error:.1f}%"
    typer.echo(f"predictions: {from_here(out / making.PREDICTIONS)}, names in {making.CLASSES}{error}")
    if data.has_boxes:
        typer.echo(f"to score them: {making.score_command(data, out, bool(length or data.left_out))}")


def _one_of(option: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise typer.BadParameter(f"{option} {value}: give {' or '.join(known)}")
