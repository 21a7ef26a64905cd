"""Boxes of 1000 thresholds: one contour search each, as wsolevaluation does it, against `cambook.sweep`.

Side by side in one process on one thread. Both first have to find the same boxes. Run:
    python benchmarks/bench_sweep.py [--maps 7]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import cv2
import numpy as np

from cambook.sweep import all_boxes, largest_boxes, levels

SIDE = 224
THRESHOLDS = np.arange(0, 1, 0.001)


def contour_searches(score: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Box of the largest contour of {score > T} for each T in cut, (n, 4), by one search for each."""
    boxes = []
    for level in cut:
        _, mask = cv2.threshold(score, int(level), 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        x, y, w, h = cv2.boundingRect(max(contours, key=cv2.contourArea))
        boxes.append((x, y, x + w, y + h))
    return np.array(boxes)


def one_sweep(score: np.ndarray, cut: np.ndarray) -> np.ndarray:
    return largest_boxes(score)[cut]


def coarse(side: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Random values on a coarse grid, drawn large: as a class activation map is."""
    return lambda draw: cv2.resize(draw.random((side, side)), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def blurred(sigma: float) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda draw: cv2.GaussianBlur(draw.random((SIDE, SIDE)), (0, 0), sigma)


MAPS = {
    "smooth: 7x7 drawn large": coarse(7),
    "smooth: 14x14 drawn large": coarse(14),
    "smooth: noise, blurred by 9 px": blurred(9),
    "rough: 28x28 drawn large": coarse(28),
    "rough: noise, blurred by 3 px": blurred(3),
    "rough: noise, blurred by 1 px": blurred(1),
}


def milliseconds(function: Callable, *arguments: np.ndarray, repeats: int = 1) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=7, help="maps of each kind (default 7)")
    count = parser.parse_args().maps
    cv2.setNumThreads(1)
    print(f"OpenCV {cv2.__version__}, Python {platform.python_version()}, {platform.machine()}, one thread")
    print(f"{SIDE}x{SIDE}, medians over {count} maps: milliseconds a map, and medians of the ratios to our sweep\n")
    print(f"{'map':32}{'1000 searches':>15}{'sweep':>8}{'ratio':>8}{'255 searches':>14}{'ratio':>8}{'all boxes':>11}")
    for name, make in MAPS.items():
        rows = []
        for number in range(count):
            values = make(np.random.default_rng(number))
            values = (values - values.min()) / (values.max() - values.min())
            score = (values * 255).astype(np.uint8)
            cut = levels(THRESHOLDS, score.max())
            assert np.array_equal(contour_searches(score, cut), one_sweep(score, cut)), f"{name}, map {number}"
            all_boxes(score)
            sweep = milliseconds(one_sweep, score, cut, repeats=5)
            searches = milliseconds(contour_searches, score, cut)
            distinct = milliseconds(contour_searches, score, np.unique(cut))
            every = milliseconds(all_boxes, score, repeats=5)
            rows.append((searches, sweep, searches / sweep, distinct, distinct / sweep, every))
        a, b, c, d, e, f = np.median(rows, axis=0)
        print(f"{name:32}{a:15.1f}{b:8.2f}{c:8.1f}{d:14.1f}{e:8.1f}{f:11.2f}", flush=True)


if __name__ == "__main__":
    main()
