"""`cambook score` on real boxes beside wsolevaluation's way, with maps that stream from disk.

    python benchmarks/bench_score.py

The boxes are those of CUB's test images, from lists in wsolevaluation's form, CAMBOOK_TEST_DATA/cub/metadata; no image
is read.
The maps are smooth noise, of 14 x 14 cells as wsolevaluation's networks have, with a hill near the box, kept as float32
.npy files in a temporary folder. wsolevaluation's way is written anew with OpenCV: each map is read, and its contours
are searched for at each of 1000 thresholds, one search for both metrics, which favours it. `score` does more than that:
it looks at every file first, counts two controls and boxes by rule "paper", and draws intervals. Both have to find the
same numbers. They take turns in one run; each ratio is of two runs over all maps, by the clock and by processor time.
Other programs only ever add time, so the fastest run of each is compared, too.
Writes data/results/bench-score.json.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from bench_evaluation import coarse, searched
from form import CORES, row, write

from cambook.localize.scoring import max_box_acc, score
from cambook.localize.truths import Truths, from_metadata
from cambook.metrics import IOUS

SIDE = 224
REPEATS = 9
TIMES = "times as fast"


def write_maps(truths: Truths, folder: Path) -> None:
    """A map for each image: noise of 14 x 14 cells drawn large, and a hill as wide as the box, not far from it."""
    grid = np.arange(SIDE)
    for number, identity in enumerate(truths.labels):
        draw = np.random.default_rng(number)
        x0, y0, x1, y1 = truths.where(identity).boxes[0]
        x, y = ((low + high) / 2 + draw.uniform(-0.5, 0.5) * (high - low) for low, high in ((x0, x1), (y0, y1)))
        hill = np.exp(-(((grid - y) / (y1 - y0)) ** 2))[:, None] * np.exp(-(((grid - x) / (x1 - x0)) ** 2))
        values = hill + 0.5 * coarse(14)(draw)
        values = (values - values.min()) / (values.max() - values.min())
        path = folder / f"{identity}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values.astype(np.float32))


def by_searches(folder: Path, truths: Truths) -> tuple[list[float], float]:
    """MaxBoxAcc at each IoU, and MaxBoxAccV2, by 1000 contour searches for each map."""
    right = np.zeros((2, len(IOUS), 1000), np.int64)
    for identity in truths.labels:
        right += searched(np.load(folder / f"{identity}.npy"), truths.where(identity).boxes)
    best = 100 * right.max(axis=-1) / len(truths.labels)
    return best[0].tolist(), float(best[1].mean())


def by_score(folder: Path, truths: Truths) -> tuple[list[float], float]:
    found = score(folder, truths)
    return [found.value(max_box_acc(iou)) for iou in IOUS], found.value("MaxBoxAccV2")


def timed(work: Callable[[], tuple]) -> tuple[float, float, tuple]:
    """Seconds by the clock and of the processor, and what the work returned."""
    began, spent = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - began, time.process_time() - spent, found


def rows(metadata: str, repeats: int) -> list[dict]:
    truths = from_metadata(metadata, "test")
    images = len(truths.labels)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_maps(truths, folder)
        by_score(folder, truths)  # so that all is compiled
        seconds, other, clock, processor = [], [], [], []
        for _ in range(repeats):
            one, mine, ours = timed(lambda: by_score(folder, truths))
            its, theirs, expected = timed(lambda: by_searches(folder, truths))
            np.testing.assert_allclose(np.hstack(ours), np.hstack(expected), atol=1e-9)
            seconds.append(1000 * one / images)
            other.append(1000 * its / images)
            clock.append(its / one)
            processor.append(theirs / mine)
    searches = f"1000 contour searches a map with OpenCV {cv2.__version__} on one"
    what = f"score, {images} maps on disk, real boxes of CUB, all of {CORES} cores beside {searches}"
    why = "the sweep over the pixels of a map takes four fifths of the time, and it was made faster before"
    return [
        row(what, clock, TIMES, "20 times", lambda times: times >= 20, why),
        row(f"the same, the fastest of {repeats} runs of each", [min(other) / min(seconds)], TIMES),
        row("the same by processor time", processor, TIMES),
        row("score, one map with its share of all else", seconds, "ms"),
    ]


if __name__ == "__main__":
    if "CAMBOOK_TEST_DATA" not in os.environ:
        sys.exit("set CAMBOOK_TEST_DATA to the folder that contains cub/metadata: the boxes are real ones")
    cv2.setNumThreads(1)
    found = rows(os.path.join(os.environ["CAMBOOK_TEST_DATA"], "cub", "metadata"), REPEATS)
    write("score", "python benchmarks/bench_score.py", ["numpy", "numba", "opencv-python-headless"], found)
