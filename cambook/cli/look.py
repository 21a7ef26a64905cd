"""`cambook look`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cambook import files
from cambook.cli.printing import from_here


def look(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="photographs, and folders of them")],
    network: Annotated[str, typer.Option(help="a network's name")] = "lite0-gap",
    weights: Annotated[str, typer.Option(metavar="pretrained|FILE", help="ImageNet's, or your own")] = "pretrained",
    top: Annotated[int, typer.Option(help="number of classes to show of each photograph", min=1, max=20)] = 5,
    source: Annotated[str, typer.Option(help="what makes the maps: cam, grad-cam, ...")] = "cam",
    rule: Annotated[str, typer.Option(help="how a box is read from a map: paper or wsol")] = "paper",
    threshold: Annotated[float, typer.Option(help="of that rule: a share from 0 to 1", min=0, max=1)] = 0.2,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="for page, figures and table", show_default="runs/look")
    ] = None,
) -> None:
    """Look at photographs: the most likely classes, a map and a box of each, as figures and one HTML page.

    A photograph that cannot be used is left out, and the reason is printed at the end.

    What an earlier run left in the folder of --out is replaced; no other file there is touched.

    \b
    cambook look cat.jpg
    cambook look holiday/ --top 3 --out runs/holiday
    cambook look *.jpg --network squeezenet --source grad-cam --rule wsol --threshold 0.35
    """
    from cambook import networks
    from cambook.datasets.reading import Unusable
    from cambook.localize import findings, inputs, page
    from cambook.machine import tqdm
    from cambook.maps.boxes import RULES
    from cambook.maps.methods import find_method

    if rule not in RULES:
        raise typer.BadParameter(f"--rule {rule} is unknown: choose {' or '.join(RULES)}")
    method = find_method(source)
    if refusal := method.refusal(networks.build(network, 2)):  # before ImageNet's weights are downloaded
        raise typer.BadParameter(f"--source {source}: {refusal} (--source grad-cam works for any head)")
    out = files.RUNS / "look" if out is None else out.expanduser()
    found, left_out = findings.photographs(photos)
    folder = page.Folder(out) if found else None
    entries: list[tuple[str, findings.Seen]] = []
    stopped = False
    if found:
        ready = inputs.ready_network(network, weights)
        classes, side = inputs.class_names(ready), networks.spec(network).side
        square = findings.sees_squares(ready, side)
        how = page.How(
            network, Path(weights).name, ready.classes, method.title, rule, threshold, side, square, method.pixels
        )
        asked = {"square": square, "top": top, "source": source, "rule": rule, "threshold": threshold}
        widest = max(map(len, map(findings.printable, found)))
        bar = tqdm(found.items(), desc="looking", unit="photograph", leave=False, disable=len(found) == 1)
        try:
            for name, file in bar:
                shown_name = findings.printable(name)
                try:
                    seen, image, maps = findings.look_at(ready, classes, name, file, side, **asked)
                except Unusable as reason:
                    left_out.append(f"{shown_name}: {reason}")
                    continue
                entries.append((folder.add(name, page.figure(seen, image, maps, how)), seen))
                first = seen.findings[0]
                line = f"{shown_name:<{min(widest, 40)}}  {first.name} {page.percent(first.probability)}"
                bar.clear()
                typer.echo(f"{line}  {page.corners(first.box)}")
        except KeyboardInterrupt:
            stopped = True
    if entries:
        named = {"network": network, "weights": findings.printable(weights), **asked}
        written = folder.close(entries, left_out, how, named)
        typer.echo(f"{len(entries)} of {len(found)} photographs, figures and table on one page: {from_here(written)}")
    for sentence in left_out:
        typer.echo(f"cambook: left out: {sentence}", err=True)
    if stopped:
        typer.echo(f"cambook: stopped after {len(entries)} of {len(found)} photographs", err=True)
        raise typer.Exit(130)
    if not entries:
        typer.echo("cambook: no photograph could be looked at: give the path of a JPEG or PNG file", err=True)
        raise typer.Exit(1)
