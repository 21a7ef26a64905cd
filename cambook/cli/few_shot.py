"""`cambook few-shot`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from cambook import files
from cambook.cli.printing import from_here


def few_shot(
    dataset: Annotated[str, typer.Argument(help="a data set with boxes, such as wsol:FOLDER or voc:FOLDER")],
    network: Annotated[str, typer.Option(help="frozen; the localizer reads its feature maps")] = "lite0-gap",
    weights: Annotated[
        str, typer.Option(help="pretrained, trained (by `cambook train` on this data set), or a file")
    ] = "pretrained",
    numbers: Annotated[str, typer.Option(help="of boxed images to learn from, separated by commas")] = "1,2,5,10,20",
    repeats: Annotated[int, typer.Option(help="draws of the boxed images", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="of the random draws", min=0)] = 0,
    source: Annotated[str, typer.Option(help="what makes the maps whose threshold is tuned")] = "cam",
    boxed: Annotated[
        str | None, typer.Option(help="split to draw from", show_default="val if there is one, else train")
    ] = None,
    split: Annotated[str, typer.Option(help="split to measure on")] = "test",
    length: Annotated[int | None, typer.Option(help="use at most this many images of each split", min=1)] = None,
    size: Annotated[
        int | None, typer.Option(help="pixels per side", show_default="what the network is made for", min=1)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="for few-shot.csv and few-shot.json", show_default="runs/few-shot/NAME"),
    ] = None,
) -> None:
    """Measure the few-shot baseline: boxes of a few images train a small localizer on a frozen network.

    Boxes used to choose a threshold could train a localizer instead. Each draw gives the same boxed images to both: a
    ridge regression on the feature maps, and the choice of a threshold for the maps. The test split decides.

    \b
    Examples:
      cambook few-shot wsol:data/CUB
      cambook few-shot voc:data/birds --numbers 5,50 --network mini-gap --weights trained
    """
    from cambook import networks
    from cambook.localize import few_shot as measure
    from cambook.localize import inputs, records
    from cambook.localize.findings import printable
    from cambook.localize.making import check_apart
    from cambook.maps.methods import find_method

    wanted = measure.read_numbers(numbers)
    side = size or networks.spec(network).side
    method = find_method(source)
    out = out or files.RUNS / "few-shot" / re.sub(r"[^\w.=-]+", "-", f"{network}-{Path(dataset).name}")[:100]
    check_apart(dataset, out)
    files.check_writable(out)
    test = inputs.open_images(dataset, split, side, length=length, boxes=True)
    drawn = measure.open_boxed(dataset, boxed, test, length)
    for each in (drawn, test):
        typer.echo("\n  ".join([each.summary, *each.report]))
    ready = inputs.ready_network(network, weights, test)
    if refusal := method.refusal(ready):
        raise typer.BadParameter(f"--source {source}: {refusal} (--source grad-cam works for any head)")
    device = inputs.device_here()
    how = {"repeats": repeats, "seed": seed, "source": source, "device": device}
    found = measure.baseline(ready, drawn, test, wanted, **how)

    measure.write_draws(found, out / "few-shot.csv")
    parameters = {
        "dataset": printable(dataset),
        "network": network,
        "weights": printable(weights),
        "numbers": wanted,
        "repeats": repeats,
    }
    parameters |= {"seed": seed, "source": source, "boxed": drawn.split, "split": test.split, "length": length}
    parameters |= {"size": side, "protocol": getattr(test, "protocol", "")}
    parameters |= {"data_fingerprints": [drawn.fingerprint, test.fingerprint]}
    on = None if device == "cpu" else device
    records.write_record(out / "few-shot.json", "few-shot", parameters, found.results(), on)
    _print(found, parameters)
    typer.echo(f"every draw: {from_here(out / 'few-shot.csv')}; record: {from_here(out / 'few-shot.json')}")


def _print(found, parameters: dict) -> None:
    rows = [("boxed images", "few-shot localizer", f"{parameters['source']}, tuned threshold", "where it was tuned")]
    for row in found.summary():
        cells = (row[name] for name in ("few_shot", "tuned_threshold", "apparent"))
        shown = (f"{each['mean']:.1f} [{each['p5']:.1f}, {each['p95']:.1f}]" for each in cells)
        rows.append((str(row["boxed_images"]), *shown))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    typer.echo(f"right boxes in percent of {found.test} test images: mean and middle 90% of {len(found.taught)} draws")
    for row in rows:
        typer.echo("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    whose = "the true class" if found.classes == "true" else "the network's own top class"
    plain = "" if found.best_plain is None else f" (counted as the localizer's boxes are: {found.best_plain:.1f})"
    typer.echo(f"best threshold on the test images, {found.best_threshold:.3f}: {found.best:.1f}{plain}")
    typer.echo(f"centre: {found.centre:.1f}; whole image: {found.whole:.1f}; maps of {whose}")
    typer.echo(
        f"few-shot: {_rules()['few-shot']}\nthreshold: {_rules()['threshold']}\n{parameters['protocol']}".rstrip()
    )
    if found.without_box:
        typer.echo(f"{found.without_box} images without a box were left aside")


def _rules() -> dict[str, str]:
    from cambook.localize.few_shot import RULES

    return RULES
