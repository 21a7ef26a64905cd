"""`cambook boxes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cambook.cli.printing import from_here


def boxes(
    network: Annotated[str, typer.Argument(help="a network's name, such as lite0-gap")],
    images: Annotated[str, typer.Argument(metavar="DATASET_OR_FOLDER", help="such as cub, voc:FOLDER, holiday/")],
    out: Annotated[Path, typer.Option(metavar="FILE.json|FILE.csv|FOLDER", help="COCO JSON, CSV, or VOC XML")],
    split: Annotated[str, typer.Option(help="train, test or another; of a folder all images")] = "test",
    weights: Annotated[str, typer.Option(metavar="pretrained|trained|FILE")] = "pretrained",
    source: Annotated[str, typer.Option(help="what makes the maps: cam, grad-cam, ...")] = "cam",
    rule: Annotated[str, typer.Option(help="how a box is read from a map: paper or wsol")] = "paper",
    threshold: Annotated[float, typer.Option(help="of that rule: a share from 0 to 1", min=0, max=1)] = 0.2,
    classes: Annotated[
        str | None, typer.Option(help="true: an image's own; top: the most likely", show_default="true if known")
    ] = None,
    top: Annotated[int | None, typer.Option(help="boxes of so many classes", min=1, max=100, show_default="1")] = None,
) -> None:
    """Write the predicted boxes of a data set, or of a folder of images: COCO JSON, VOC XML or CSV.

    Images in, scored boxes out: pre-annotations for a labelling tool, in pixels of the upright image.

    What is written loads again as `coco:FILE` or `voc:FOLDER`, if it has at least two classes.

    \b
    cambook boxes lite0-gap holiday/ --out holiday/boxes.json
    cambook boxes lite0-gap voc:data/wildlife --split train --classes top --top 3 --out boxes.csv
    cambook boxes resnet50-gap cub --weights trained --rule wsol --threshold 0.35 --out cub-boxes
    """
    from cambook import networks
    from cambook.datasets import KNOWN, Photographs
    from cambook.localize import inputs, predicted
    from cambook.localize.findings import printable
    from cambook.machine import tqdm
    from cambook.maps.boxes import RULES
    from cambook.maps.methods import find_method

    if rule not in RULES:
        raise typer.BadParameter(f"--rule {rule} is unknown: choose {' or '.join(RULES)}")
    if classes not in (None, "true", "top"):
        raise typer.BadParameter(f"--classes {classes} is unknown: choose true or top")
    if classes == "true" and top is not None:
        raise typer.BadParameter("--classes true asks for the one class of each image, --top for several: give one")
    if refusal := find_method(source).refusal(networks.build(network, 2)):  # before ImageNet's weights are downloaded
        raise typer.BadParameter(f"--source {source}: {refusal} (--source grad-cam works for any head)")
    out = out.expanduser()
    kind = predicted.FORMATS[predicted.format_of(out)]
    given = images.partition(":")[0]
    if any(cls.kind == given and not issubclass(cls, Photographs) for cls in KNOWN.values()):
        raise ValueError(f"{images} is drawn and has no image files to which boxes could belong: give a folder")
    data = inputs.open_images(images, split, networks.spec(network).side)
    ready = inputs.ready_network(network, weights, data)
    if classes == "true":
        inputs.check_classes(ready, data)
    true = inputs.own_classes(ready, data) if classes is None and top is None else classes == "true"
    names = inputs.class_names(ready, data)
    typer.echo("\n  ".join([data.summary, *data.report]))
    asked = {"source": source, "rule": rule, "threshold": threshold}
    made = predicted.predict(ready, data, true=true, top=top or 1, device=inputs.device_here(), **asked)
    found = list(tqdm(made, desc="boxes", total=len(data), unit="image", leave=False))
    used = sorted({one.label for each in found for one in each.found})
    listed = range(len(names)) if inputs.own_classes(ready, data) else used
    made_by = {
        "network": network,
        "weights": printable(weights),
        "images": printable(data.name),
        "split": split,
        **asked,
    }
    made_by |= {"classes": "true" if true else "top", "top": 1 if true else top or 1}
    predicted.write(out, found, predicted.paths_of(data)[1], names, listed, split if data.labelled else None, made_by)
    without = sum(not each.found for each in found)
    most = "its most likely class" if (top or 1) == 1 else f"its {top} most likely classes"
    whose = "for the class of each image's label" if true else f"for each image and {most}"
    typer.echo(f"{len(found)} images, {sum(len(each.found) for each in found)} boxes, {whose}: {len(used)} classes")
    typer.echo(f"maps: {source} of {network}; boxes: rule {rule}, threshold {threshold:g}")
    if without:
        typer.echo(f"images without a box, as their maps are nowhere high enough: {without}, listed without annotation")
    typer.echo(f"{kind}: {from_here(out)}")
    if kind != "CSV":
        typer.echo(predicted.how_to_load(out, data, found))
