"""The command line: one function a command."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cambook import files
from cambook.cli import boxes, few_shot, look, maps, score
from cambook.cli.printing import RunRow, from_here, print_progress, print_runs

PACKAGE = Path(files.__file__).parent
LONGEST_NAME = 120  # bytes of a run's folder: a name has at most 255, and Windows likes no path of more than 260

app = typer.Typer(
    help="Class Activation Mapping: a course that runs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """The `cambook` command; an expected mistake ends in one sentence, not in a traceback."""
    from cambook.course.extras import MissingPackage
    from cambook.course.notebooks import RunError

    try:
        app()
    except (ValueError, RunError, OSError, MissingPackage) as error:
        foreign = not Path(traceback.extract_tb(error.__traceback__)[-1].filename).is_relative_to(PACKAGE)
        if foreign and isinstance(error, ValueError):  # a mistake of ours, not of the reader
            raise
        typer.echo(f"cambook: {in_one_sentence(error)}", err=True)
        sys.exit(1)


def in_one_sentence(error: Exception) -> str:
    """An error for the screen: ours as it is; the operating system's with the file it is about."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return str(error).strip() or f"{type(error).__name__}, without a reason."


def lessons() -> list[Path]:
    """The course's notebooks in reading order.

    raises: FileNotFoundError if there are none
    """
    found = sorted(files.NOTEBOOKS.glob(files.LESSONS))
    if not found:
        raise FileNotFoundError(
            f"{files.NOTEBOOKS} contains no lesson: install cambook from its repository with `pip install "
            "-e .`, or set CAMBOOK_HOME to the repository's folder."
        )
    return found


def find_notebook(name: str) -> Path:
    """A notebook by its number, its name or its path.

    raises: FileNotFoundError that lists the known ones
    """
    if name.endswith(".ipynb") and os.path.isfile(name):
        return Path(name)
    stem = Path(name).stem
    known = sorted(set(files.NOTEBOOKS.rglob("*.ipynb")) - set(files.NOTEBOOKS.rglob(".ipynb_checkpoints/*")))
    number = re.fullmatch(r"(\d+)([a-z]?)", stem)
    number = number and f"{number[1].zfill(2)}{number[2]}_"
    for path in known:
        if path.stem == stem or (number and path.stem.startswith(number)):
            return path
    from cambook.course.parameters import did_you_mean

    hint = did_you_mean(stem, [path.stem for path in known]) or "."
    listed = ", ".join(path.stem for path in known) or "none"
    raise FileNotFoundError(f"No notebook is called {name!r}; {files.NOTEBOOKS.name}/ contains {listed}{hint}")


def run_folder(notebook: Path, given: dict[str, str]) -> Path:
    """Where a run's copy and record go: runs/NAME, or runs/NAME/seed=1,profile=full for given parameters."""
    folder = files.RUNS / notebook.stem
    if not given:
        return folder
    name = ",".join(f"{parameter}={value}" for parameter, value in sorted(given.items()))
    name = re.sub(r"[^\w.=,-]+", "-", name)
    if len(name.encode()) > LONGEST_NAME or name.endswith("."):  # no folder of Windows ends in a dot
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = name.encode()[: LONGEST_NAME - 9].decode(errors="ignore") + f"-{digest}"
    return folder / name


def _run_all(notebooks: list[Path], run: Callable, parameters: dict[str, str]) -> int:
    """Runs notebooks one after another and prints the table; returns how many did not reach their end."""
    from cambook.course.notebooks import RunError
    from cambook.course.parameters import check_parameters
    from cambook.course.runs import shown

    for notebook in notebooks:
        check_parameters(notebook, parameters)
    rows, faults = [], []
    for notebook in notebooks:
        folder = run_folder(notebook, parameters)
        try:
            record = run(notebook, folder)
        except RunError as fault:
            faults.append(str(fault))
            rows.append(RunRow(notebook.stem, "-", ["FAILED"], from_here(folder)))
        else:
            metrics = [f"{name} = {shown(value)}" for name, value in record.metrics.items()]
            rows.append(RunRow(notebook.stem, f"{record.seconds:.0f}", metrics, from_here(folder)))
    typer.echo("")
    print_runs(rows)
    for fault in faults:
        typer.echo(f"cambook: {fault}", err=True)
    return len(faults)


def _given(parameter: list[str], profile: str | None) -> dict[str, str]:
    given = {}
    for text in parameter:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE, write for example -p seed=1")
        given[name.strip()] = value
    if profile is not None:
        given["profile"] = profile
    return given


OneOrAll = Annotated[str | None, typer.Argument(help="number, name or path of a notebook; none: all lessons")]
Profile = Annotated[str | None, typer.Option(help="quick, full or paper", show_default="quick")]


@app.command()
def course(profile: Profile = None) -> None:
    """Run every lesson in order; executed copies and records go to runs/."""
    from cambook.course import notebooks

    parameters = _given([], profile)
    failed = _run_all(lessons(), lambda notebook, folder: notebooks.execute(notebook, parameters, folder), parameters)
    raise typer.Exit(1 if failed else 0)


@app.command()
def run(
    notebook: OneOrAll = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="may be given several times"),
    ] = None,
    profile: Profile = None,
) -> None:
    """Run one notebook or all lessons: `cambook run 03 -p seed=1`, `cambook run --profile full`."""
    from cambook.course import notebooks

    parameters = _given(parameter or [], profile)
    chosen = [find_notebook(notebook)] if notebook else lessons()
    failed = _run_all(chosen, lambda path, folder: notebooks.execute(path, parameters, folder), parameters)
    raise typer.Exit(1 if failed else 0)


@app.command()
def sweep(
    name: Annotated[str, typer.Argument(metavar="NAME_OR_YAML", help="a sweep of the course, or a YAML file")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="in place of the grid's; several times"),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="quick, full or paper", show_default="the sweep's")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="0,1,2", show_default="the sweep's")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="runs at a time on this machine", show_default="one per GPU, or one")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:8786", help="a dask scheduler whose workers make the runs")
    ] = None,
) -> None:
    """Make every run of a sweep that was not made before: `cambook sweep table2 --seeds 0,1,2 --jobs 4`."""
    from cambook.course import sweeps
    from cambook.course.results import collect, report

    if jobs and cluster:
        raise typer.BadParameter("--jobs is for this machine, --cluster for others: give one of them")
    file = sweeps.find(name)
    chosen = sweeps.read(file, profile=profile, seeds=seeds and seeds.split(","))
    beside = file.parent / chosen.notebook
    notebook = beside if beside.is_file() else find_notebook(chosen.notebook)
    planned = sweeps.plan(chosen, notebook, file.stem, _given(parameter or [], None))
    jobs = jobs or (1 if cluster else max(1, len(sweeps.gpus())))
    try:
        outcomes = sweeps.carry_out(planned, jobs, cluster, title=file.stem)
    except KeyboardInterrupt:
        done = sum(one.finished() for one in planned)
        quoted = subprocess.list2cmdline if os.name == "nt" else shlex.join
        command = quoted(["cambook", *sys.argv[1:]])
        typer.echo(f"\nStopped: {done} of {len(planned)} runs are done. To continue: {command}", err=True)
        raise typer.Exit(130) from None
    labels = {one.run: one.label for one in planned}
    folder = planned[0].folder.parent
    found = collect(folder)
    found = found[found.run.isin(labels)]
    if len(found):
        typer.echo(report(found, folder))
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    made, before = (sum(outcome.state == state for outcome in outcomes) for state in ("ran", "done"))
    typer.echo(f"{file.stem}: {len(outcomes)} runs, {before} done before, {made} made now, {len(failed)} failed")
    typer.echo(f"records, tables and executed notebooks: {from_here(folder)}")
    for outcome in failed:
        typer.echo(f"cambook: {labels[outcome.run]}: {outcome.error}", err=True)
    raise typer.Exit(1 if failed else 0)


@app.command()
def results(
    sweep: Annotated[str | None, typer.Argument(help="name of a sweep; none: all runs, of sweeps and of `run`")] = None,
) -> None:
    """Collect the runs' records into one table, ours beside the papers', on the screen and as CSV and Markdown."""
    from cambook.course.parameters import did_you_mean
    from cambook.course.results import collect, report

    known = sorted(path.name for path in (files.RUNS / "sweeps").glob("[!.]*/"))
    if sweep is not None and sweep not in known:
        hint = did_you_mean(sweep, known) or "."
        listed = ", ".join(known) or "none: make one with `cambook sweep NAME`"
        raise FileNotFoundError(f"No sweep {sweep!r} was made here; there are {listed}{hint}")
    folder = files.RUNS / "sweeps" / sweep if sweep else files.RUNS
    found = collect(folder)
    if found.empty:
        raise FileNotFoundError(
            f"{from_here(folder)} contains no finished run with a number in it: `cambook run` makes one."
        )
    folder = folder if sweep else files.RUNS / "results"
    typer.echo(report(found, folder))
    typer.echo(f"{found.run.nunique()} runs; CSV and Markdown: {from_here(folder)}")


@app.command()
def figures(
    notebook: OneOrAll = None,
) -> None:
    """Run lessons and export each of their figures for slides: 1920 x 1080 PNG files in runs/figures/LESSON."""
    from cambook.course import notebooks

    def export(path: Path, _: Path):
        folder = files.RUNS / "figures" / path.stem
        record = notebooks.execute(path, {}, folder, sharpness=2)
        made = notebooks.export_figures(folder / path.name, folder)
        typer.echo(f"{path.stem}: {len(made)} figures in {from_here(folder)}")
        return record

    raise typer.Exit(1 if _run_all([find_notebook(notebook)] if notebook else lessons(), export, {}) else 0)


@app.command()
def notebooks() -> None:
    """Run every lesson and table and refresh the outputs that are committed with it."""
    from cambook.course.notebooks import refresh

    tables = sorted((files.NOTEBOOKS / "reproduce").glob("*.ipynb"))
    raise typer.Exit(1 if _run_all(lessons() + tables, refresh, {}) else 0)


@app.command()
def train(
    network: Annotated[str, typer.Argument(help="a network's name, such as vgg16-gap")],
    dataset: Annotated[str, typer.Argument(help="a data set's name, such as ilsvrc:FOLDER")] = "scenes",
    size: Annotated[
        int | None, typer.Option(help="pixels per side", show_default="what the network is made for", min=1)
    ] = None,
    length: Annotated[int | None, typer.Option(help="at most so many training images", min=1)] = None,
    epochs: Annotated[int | None, typer.Option(help="in place of the recipe's")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="in place of the recipe's")] = None,
    seed: Annotated[int, typer.Option(help="of images, weights and order")] = 0,
    source: Annotated[str, typer.Option(help="what makes the maps that are measured")] = "cam",
) -> None:
    """Train a network, and first the original it was cut from; then measure it. Notebooks find it in the cache.

    On the four GPUs of a machine: torchrun --nproc-per-node 4 -m cambook.cli train vgg16-gap ilsvrc:FOLDER
    """
    from cambook import datasets, networks, training
    from cambook.course import runs
    from cambook.metrics import evaluation
    from cambook.training import distributed

    given = {"network": network, "dataset": dataset, "seed": seed}
    given |= {"epochs": epochs, "learning_rate": learning_rate}
    given = {name: value for name, value in given.items() if value is not None}
    spec = networks.spec(network)
    try:
        if not spec.original or source not in ("cam", "grad-cam"):  # every cut has these maps
            evaluation.check_source(networks.build(network, 2), source)
    except (ValueError, TypeError) as error:
        raise typer.BadParameter(f"--source {source}: {error}") from None
    with distributed.processes() as device:
        folder = run_folder(Path("train"), given)
        dataset = distributed.from_first(lambda: runs.start("train", folder, **given).parameters.dataset)
        record = runs.record if distributed.rank() == 0 else lambda *_: None
        size = size or spec.side
        with distributed.first_before_others():
            data = datasets.load(dataset, "train", size, length=length, seed=seed)
            test = datasets.load(dataset, "test", size, seed=seed)
        if distributed.rank() == 0 and isinstance(data, datasets.Photographs):
            for each in (data, test):
                typer.echo("\n  ".join([each.summary, *each.report]))
        how = {"seed": seed, "device": device}
        plan = training.policy(network, data, epochs, learning_rate)
        if spec.original:
            both = training.before_and_after(network, data, epochs=epochs, lr=learning_rate, **how)
        else:
            both = [training.trained(network, data, plan, **how)]
        record("processes", distributed.world_size())
        record("pixels a side", size)
        record("training images", len(data))
        record("test images", len(test))
        for each in both:
            error = evaluation.top1_error(each.network, test, device=device)
            record("top1_error", error, each.network.name)
        found = evaluation.evaluate(both[-1].network, test, source, **how)
        for metric, value in found.row.items():
            if metric != "top1_error":
                record(metric, value, network, "-" if metric == "top5_error" else source)
        for metric, value in training.throughput(both[-1].network, data, plan.recipe, device=device).items():
            record(metric, value, network)
        if distributed.rank() == 0:
            ended = {"finished": datetime.now(UTC).isoformat(timespec="seconds")}
            whole = runs.Record.load(folder).model_copy(update=ended)
            whole.environment["protocol"] = found.protocol
            whole.save(folder)
            typer.echo(f"counted with {found.protocol}")
            typer.echo(f"recorded in {from_here(folder)}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(context: typer.Context) -> None:
    """Open JupyterLab on the lessons, for this machine alone (127.0.0.1, with a token).

    In a folder made by `cambook lessons` it opens that copy. Elsewhere an installed package copies the lessons to
    cambook-lessons first. More options go to JupyterLab, for example --no-browser.
    """
    from cambook.course import handout
    from cambook.course.extras import require

    require("course", "jupyterlab")
    folder = lessons()[0].parent
    if handout.is_copy(Path.cwd()):
        folder = Path.cwd()
    elif files.INSTALLED:
        folder = Path.cwd() / handout.DEFAULT
        if not handout.is_copy(folder):
            handout.hand_out(folder)
            typer.echo(f"The lessons are copied to {from_here(folder)}.")
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", *context.args]
    raise typer.Exit(subprocess.run(command, cwd=folder).returncode)


@app.command("lessons")
def copy_lessons(
    folder: Annotated[Path, typer.Argument(help="is made if it is missing")] = Path("cambook-lessons"),
    student: Annotated[
        bool, typer.Option("--student", help="without the solutions; checks and hints work as always")
    ] = False,
    with_solutions: Annotated[
        bool, typer.Option("--with-solutions", help="brings them into a copy that was made without")
    ] = False,
) -> None:
    """Copy the lessons to a folder to work in, or bring a copy up to date; what you changed stays as it is."""
    from cambook.course import handout

    if student and with_solutions:
        raise typer.BadParameter("--student leaves the solutions out and --with-solutions brings them: give one")
    done = handout.hand_out(folder, True if with_solutions else False if student else None)
    shown = "with" if done.solutions else "without"
    where = f"{from_here(folder)}: {len(done.written)} files written, {shown} solutions"
    typer.echo(f"{where}. To open them: `cambook lab` in that folder.")
    if done.changed:
        changed = f"{', '.join(done.changed)}: you have changed {'it' if len(done.changed) == 1 else 'them'}"
        typer.echo(f"cambook: {changed}, and there is a newer version: rename yours and call this again.", err=True)
        raise typer.Exit(1)


@app.command("progress")
def show_progress(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER...", help="of a student; several for a class", show_default="your runs"),
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="write every exercise to a CSV file")] = None,
) -> None:
    """Say which exercises are solved: yours, or those of a class, as in `cambook progress /home/* --csv class.csv`."""
    from cambook.course import progress
    from cambook.course.lessons import check

    if not folders and not (files.RUNS / progress.RECORD).is_file():
        raise FileNotFoundError(f"No exercise was checked yet: {from_here(files.RUNS / progress.RECORD)} is missing.")
    known = check.by_lesson()
    rows = [row for folder in folders or [files.RUNS] for row in progress.progress(folder, known)]
    print_progress(rows)
    if csv:
        progress.write(rows, csv)
        typer.echo(f"every exercise: {from_here(csv)}")


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="data set to fetch, for example cub; none: list them all")] = None,
) -> None:
    """List the data sets: images for training and test, size, licence, where each is; or fetch one of them."""
    from cambook import datasets

    if name is None:
        for known, images, size, licence, where in datasets.catalogue():
            typer.echo(f"{known:<18}  {images:>20}  {size:>8}  {licence}\n{'':<18}  {where}")
        return
    found = datasets.find(name)
    if found.archives:
        typer.echo(f"{name} is in {from_here(datasets.fetch(name))}; licence: {found.licence}")
    else:
        typer.echo(f"{name}: {found.source}")


@app.command()
def doctor() -> None:
    """Say what is installed, which device, data and weights are there, and how to fix what is not."""
    from cambook.cli.doctor import findings

    typer.echo(f"cambook {importlib.metadata.version('cambook')}, Python {platform.python_version()}, {sys.prefix}")
    ill = 0
    for finding in findings():
        ill += finding.fit is False
        mark = {True: "ok", None: "--", False: "NO"}[finding.fit]
        mend = f"; {finding.mend}" if finding.mend else ""
        typer.echo(f"{mark}  {finding.what}: {finding.found}{mend}")
    typer.echo("All that the quick lessons need is here." if not ill else f"{ill} to fix, marked NO above.")
    raise typer.Exit(1 if ill else 0)


for _command in (look.look, maps.maps, score.score, boxes.boxes, few_shot.few_shot):
    app.command(_command.__name__.replace("_", "-"))(_command)
