"""MaxBoxAcc, MaxBoxAccV2 and PxAP: cambook beside wsolevaluation's way, and how much memory a large set takes.

    python benchmarks/bench_evaluation.py

wsolevaluation's rule is done here with OpenCV: one contour search for each of 1000 thresholds, and one search serves
both metrics. An 8-bit map has no more than 255 different masks, so the second baseline searches each of them once: the
best that contour searches can do. On every map that is timed, all boxes at all thresholds have to be identical first,
and hits and metrics too. One thread against one thread is compared by the processor time of that thread, so that other
work on the machine does not count; each ratio is of one map. Memory is the peak of a process of its own, on Linux.
Writes data/results/bench-evaluation.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from form import CORES, row, write

from cambook.metrics import IOUS, BoxAccuracy, PixelAveragePrecision
from cambook.metrics.box_sweep import all_boxes, largest_boxes, levels, to_uint8

SIDE = 224
THRESHOLDS = np.arange(1000) * (1 / 1000)
SMOOTH, ROUGH = 500, 30  # maps of all kinds together
FEW, SOME, MANY, TOGETHER, POOL = 500, 10_000, 50_000, 64, 60
TIMES = "times as fast"


# ---- maps ----


def coarse(side: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Random values on a coarse grid, drawn large: as a class activation map is."""
    return lambda draw: cv2.resize(draw.random((side, side)), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def blurred(sigma: float) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda draw: cv2.GaussianBlur(draw.random((SIDE, SIDE)), (0, 0), sigma)


KINDS = {
    "smooth": {"7x7 drawn large": coarse(7), "14x14 drawn large": coarse(14), "noise, blurred by 9 px": blurred(9)},
    "rough": {"28x28 drawn large": coarse(28), "noise, 3 px": blurred(3), "noise, 1 px": blurred(1)},
}


def picture(kind: Callable[[np.random.Generator], np.ndarray], number: int) -> tuple[np.ndarray, np.ndarray]:
    """A map (SIDE, SIDE) float32 from 0 to 1, and one to three ground-truth boxes (n, 4)."""
    draw = np.random.default_rng(number)
    values = kind(draw)
    values = (values - values.min()) / (values.max() - values.min())
    starts = draw.uniform(0, SIDE / 2, (draw.integers(1, 4), 2))
    return values.astype(np.float32), np.hstack([starts, starts + draw.uniform(SIDE / 8, SIDE / 2, starts.shape)])


# ---- wsolevaluation's rule, done with OpenCV and numpy ----


def contour_searches(score: np.ndarray, cut: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each T of cut: box of the largest contour of {score > T} (n, 4), boxes of all (M, 4), how many those are."""
    largest, every, count = [], [], []
    for level in cut:
        _, mask = cv2.threshold(score, int(level), 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        boxes = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, contours)]
        areas = [cv2.contourArea(contour) for contour in contours]
        largest.append(boxes[areas.index(max(areas))])
        every += boxes
        count.append(len(boxes))
    return np.array(largest), np.array(every), np.array(count)


def best_ious(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(M, 4) and (n, 4) -> (M,): inclusive IoU of each box, clipped to the map, with the best of the ground truth."""
    boxes = np.concatenate([boxes[:, :2], np.minimum(boxes[:, 2:], SIDE - 1)], axis=1)[:, None]
    truth = np.trunc(truth - [0, 0, 1, 1])
    sides = np.minimum(boxes[..., 2:], truth[:, 2:]) - np.maximum(boxes[..., :2], truth[:, :2]) + 1
    shared = sides.clip(0).prod(-1)
    areas = [(some[..., 2:] - some[..., :2] + 1).prod(-1) for some in (boxes, truth)]
    return (shared / (areas[0] + areas[1] - shared)).max(1)


def searched(map2d: np.ndarray, truth: np.ndarray, repeat: bool = True) -> np.ndarray:
    """Right or wrong for (largest or all contours, IoU, threshold), (2, 3, 1000) bool, by contour searches.

    repeat: whether a mask that several thresholds share is searched for each of them
    """
    score = to_uint8(map2d)
    cut = levels(THRESHOLDS, score.max())
    cut, where = (cut, slice(None)) if repeat else np.unique(cut, return_inverse=True)
    largest, every, count = contour_searches(score, cut)
    best = best_ious(largest, truth), np.maximum.reduceat(best_ious(every, truth), np.cumsum(count) - count)
    return (np.stack(best)[:, None] >= np.array(IOUS)[:, None])[..., where]


def histograms(map2d: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(2, 1002): pixels outside and inside the mask in each bin, as wsolevaluation counts them for PxAP."""
    edges = np.append(THRESHOLDS, [1.0, 2.0, 3.0])
    return np.stack([np.histogram(map2d[mask == inside], edges)[0] for inside in (False, True)])


# ---- equal first, then timed ----


def check_that_boxes_are_identical(map2d: np.ndarray) -> None:
    """raises: AssertionError where the largest box, or the set of all boxes, is not the same at every threshold"""
    score = to_uint8(map2d)
    cut = levels(THRESHOLDS, score.max())
    largest, every, count = contour_searches(score, cut)
    assert np.array_equal(largest_boxes(score)[cut], largest)
    boxes, first, last = all_boxes(score)
    for level, theirs in zip(cut, np.split(every, np.cumsum(count)[:-1]), strict=True):
        ours = boxes[(first <= level) & (level <= last)]
        assert set(map(tuple, ours.tolist())) == set(map(tuple, theirs.tolist())), f"other boxes at level {level}"


def timed(work: Callable[[], object], repeats: int = 1, clock: Callable[[], float] = time.thread_time) -> tuple:
    """Median seconds of the work, and what it gave."""
    found = []
    for _ in range(repeats):
        start = clock()
        result = work()
        found.append(clock() - start)
    return float(np.median(found)), result


def counted(map2d: np.ndarray, truth: np.ndarray) -> BoxAccuracy:
    accuracy = BoxAccuracy(SIDE)
    accuracy.update(map2d, truth)
    return accuracy


def box_rows() -> list[dict]:
    rows, distinct = [], {}
    for character, number in (("smooth", SMOOTH), ("rough", ROUGH)):
        ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS[character]}
        ours, theirs = BoxAccuracy(SIDE), []
        for n in range(number):
            name = list(ratios)[n % len(ratios)]
            map2d, truth = picture(KINDS[character][name], n)
            check_that_boxes_are_identical(map2d)
            one, found = timed(partial(counted, map2d, truth), repeats=3)
            every, right = timed(partial(searched, map2d, truth))
            once, same = timed(partial(searched, map2d, truth, repeat=False))
            hits = [[found.hits(iou, contours)[0] for iou in IOUS] for contours in ("largest", "all")]
            assert np.array_equal(hits, right) and np.array_equal(hits, same), f"{name}, map {n}"
            ours.extend(found)
            theirs.append(right)
            ratios[name].append((every / one, once / one))
        share = 100 * np.mean(theirs, axis=0).max(-1)
        assert np.isclose(ours.max_box_acc()[0], share[0, IOUS.index(0.5)])
        assert np.isclose(ours.max_box_acc_v2(), share[1].mean())
        distinct[character] = [once for found in ratios.values() for _, once in found]
        aim = "20 times" if character == "smooth" else None
        for name, found in ratios.items():
            value = [every for every, _ in found]
            searches = f"1000 contour searches of OpenCV {cv2.__version__}"
            what = f"MaxBoxAcc and V2, {character} maps ({name}): one sweep, not {searches}"
            why = "three passes over the map (holes, largest box, all boxes) cost what they cost on a map so simple"
            rows.append(row(what, value, TIMES, aim, lambda times: times >= 20, why))
    for character, found in distinct.items():
        what = f"the same, all {len(found)} {character} maps, each of the 255 masks searched once"
        rows.append(row(what, found, TIMES))
    return rows


def one_by_one(accuracy: BoxAccuracy | PixelAveragePrecision, maps: list[np.ndarray], truth: list[np.ndarray]) -> None:
    for both in zip(maps, truth, strict=True):
        accuracy.update(*both)


def core_rows() -> list[dict]:
    """Batches of 50, 500 maps: `update_all` as it comes beside one map after another."""
    kinds = list(KINDS["smooth"].values())
    pictures = [picture(kinds[n % len(kinds)], n) for n in range(SMOOTH)]
    single, together, ratios = BoxAccuracy(SIDE), BoxAccuracy(SIDE), []
    counted(*pictures[0])  # so that all is compiled
    for start in range(0, SMOOTH, 50):
        maps, truth = zip(*pictures[start : start + 50], strict=True)
        one, _ = timed(partial(one_by_one, single, maps, truth), clock=time.perf_counter)
        all_cores, _ = timed(partial(together.update_all, maps, truth), clock=time.perf_counter)
        ratios.append(one / all_cores)
    assert np.array_equal(single.hits(0.5, "all"), together.hits(0.5, "all"))
    if CORES == 1:
        return []
    what = f"MaxBoxAcc and V2, batches of 50 smooth maps: {CORES} cores, as by default, not one"
    why = "other work kept the cores busy while this was measured, or one core alone can run"
    return [row(what, ratios, TIMES, "all cores used by default", lambda times: times > 1.5, why)]


def pixel_rows() -> list[dict]:
    kinds = list(KINDS["smooth"].values())
    ours, theirs, ratios = PixelAveragePrecision(), np.zeros((2, 1002), np.int64), []
    for n in range(SMOOTH):
        map2d, truth = picture(kinds[n % len(kinds)], n)
        mask = np.zeros(map2d.shape, bool)
        for x0, y0, x1, y1 in truth.astype(int):
            mask[y0:y1, x0:x1] = True
        its, count = timed(partial(histograms, map2d, mask), repeats=3)
        one, _ = timed(partial(PixelAveragePrecision().update, map2d, mask), repeats=3)
        ratios.append(its / one)
        theirs += count
        ours.update(map2d, mask)
    outside, inside = theirs[:, ::-1].cumsum(axis=1)
    precision, recall = inside / np.maximum(inside + outside, 1), inside / inside[-1]
    assert np.isclose(ours.value(), 100 * (precision * np.diff(recall, prepend=0)).sum(), atol=1e-9)
    what = f"PxAP, {SMOOTH} maps: one histogram an image, beside numpy's"
    return [row(what, ratios, TIMES, "at least level", lambda times: times >= 1, "numpy's histogram is faster here")]


# ---- a large set ----


def stream(number: int, keep_hits: bool) -> None:
    """Counts so many maps, made on the fly from a few by turning and mirroring; prints peak memory and seconds."""
    kinds = list(KINDS["smooth"].values())
    pool = [picture(kinds[n % len(kinds)], n) for n in range(POOL)]
    boxes, pixels = BoxAccuracy(SIDE, keep_hits=keep_hits), PixelAveragePrecision()
    boxes.update(*pool[0])
    mask = np.zeros((SIDE, SIDE), bool)
    mask[60:160, 60:160] = True
    pixels.update(pool[0][0], mask)
    spent = {"boxes": 0.0, "pixels": 0.0}
    for start in range(0, number, TOGETHER):
        these = range(start, min(start + TOGETHER, number))
        maps = [np.rot90(pool[n % POOL][0], n // POOL)[:, :: 1 - 2 * (n // POOL // 4 % 2)] for n in these]
        truth = [pool[(n + start) % POOL][1] for n in these]
        spent["boxes"] += timed(partial(boxes.update_all, maps, truth), clock=time.perf_counter)[0]
        spent["pixels"] += timed(partial(one_by_one, pixels, maps, [mask] * len(maps)), clock=time.perf_counter)[0]
    assert len(boxes) == number + 1 and boxes.max_box_acc()[0] > 0 and pixels.value() > 0
    peak = int(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0])
    print(json.dumps({"megabytes": peak * 1024 / 1e6, **spent}))


def stream_apart(number: int, keep_hits: bool) -> dict[str, float]:
    command = [sys.executable, __file__, "stream", str(number), "hits" if keep_hits else "counts"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout)


def stream_rows() -> list[dict]:
    few, many = (stream_apart(number, keep_hits=False) for number in (FEW, MANY))
    kept = [stream_apart(number, keep_hits=True)["megabytes"] for number in (FEW, SOME)]
    growth = many["megabytes"] - few["megabytes"]
    what = "peak memory of a process that counts boxes (keep_hits=False) and pixels of"
    return [
        row(f"{what} {FEW} maps", few["megabytes"], "MB"),
        row(f"{what} {MANY:,} maps", many["megabytes"], "MB"),
        row(
            f"growth of that memory, keep_hits=False, from {FEW} to {MANY:,} maps",
            growth,
            "MB",
            "constant (within 5 MB)",
            lambda megabytes: megabytes <= 5,
            "something is kept for each image",
        ),
        row(
            f"growth from {FEW} to {SOME:,} maps, with what is kept of each for intervals (193 bytes, as by default)",
            kept[1] - kept[0],
            "MB",
        ),
        row(
            f"MaxBoxAcc and V2 of {MANY:,} maps, as many as ILSVRC val, {CORES} cores; without the network",
            many["boxes"],
            "s",
            "under 300 s on two cores",
            lambda seconds: seconds < 300,
            "other work kept the cores busy while this was measured, or they are slower",
        ),
        row(f"PxAP of {MANY:,} maps, one core", many["pixels"], "s"),
    ]


if __name__ == "__main__":
    cv2.setNumThreads(1)
    if sys.argv[1:2] == ["stream"]:
        stream(int(sys.argv[2]), sys.argv[3] == "hits")
    else:
        rows = box_rows() + core_rows() + pixel_rows() + stream_rows()
        packages = ["numpy", "numba", "opencv-python-headless"]
        write("evaluation", "python benchmarks/bench_evaluation.py", packages, rows)
