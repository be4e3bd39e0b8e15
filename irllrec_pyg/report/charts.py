"""Line pictures as SVG: where their lines, marks and ticks lie."""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

WIDTH, HEIGHT = 440, 280
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 46
COLOURS = 8  # in the style sheet
#: Lines are told apart by marks and dashes as well, for print and for eyes that see no hue.
MARKS = (
    "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0Z",
    "M-3.2-3.2H3.2V3.2H-3.2Z",
    "M0-4.4L4.2 3.2H-4.2Z",
    "M0-4.6L4.6 0L0 4.6L-4.6 0Z",
    "M-3.5-3.5L3.5 3.5M-3.5 3.5L3.5-3.5",
    "M0-4.4V4.4M-4.4 0H4.4",
    "M0 4.4L4.2-3.2H-4.2Z",
)
DASHES = ("", "6 3", "2 3", "8 3 2 3", "12 4")
MOST_MARKS = 10  # on one line


class Series(NamedTuple):
    """One line: points of x, y and the ends of y's interval, NaN where there is none."""

    name: str
    points: list[tuple[float, float, float, float]]


@dataclass
class Chart:
    """A picture.

    Args:
        title, x_label, y_label (str): Words.
        series (list of Series): The lines.
        labels (list): Pairs of x and its name, in the place of numbers.
        joined (bool): Whether a line joins the points; else they stand side by side.
    """

    title: str
    x_label: str
    y_label: str
    series: list[Series]
    labels: list[tuple[float, str]] = field(default_factory=list)
    joined: bool = True

    def drawn(self) -> "Drawn":
        """The picture in the units of its view box."""
        points = [point for one in self.series for point in one.points]
        xs = [point[0] for point in points]
        ys = [v for point in points for v in point[1:] if math.isfinite(v)]
        if self.labels:
            ys.append(0.0)  # differences are looked at from zero
        x_ticks = [at for at, _ in self.labels] or ticks(min(xs), max(xs), 6, whole=True)
        y_ticks = ticks(min(ys), max(ys))
        margin = 0.45 if self.labels else 0.0
        x_range = min([*xs, x_ticks[0]]) - margin, max([*xs, x_ticks[-1]]) + margin
        y_range = min(y_ticks[0], *ys), max(y_ticks[-1], *ys)
        digits = _digits(y_ticks)
        names = dict(self.labels)
        lines = []
        for at, one in enumerate(self.series):
            shift = 0.0 if not self.labels else 0.6 * ((at + 0.5) / len(self.series) - 0.5)
            lines.append(self._line(at, one, shift, x_range, y_range))
        return Drawn(
            x_ticks=[(_x(at, x_range), names.get(at, f"{at:g}")) for at in x_ticks],
            y_ticks=[(_y(at, y_range), f"{at:.{digits}f}") for at in y_ticks],
            zero=_y(0, y_range) if y_range[0] < 0 < y_range[1] else None,
            lines=lines,
        )

    def _line(
        self,
        at: int,
        one: Series,
        shift: float,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
    ) -> "Line":
        places = [(_x(x + shift, x_range), _y(y, y_range)) for x, y, *_ in one.points]
        step = max(1, -(-len(places) // MOST_MARKS))
        path = "M" + "L".join(f"{x} {y}" for x, y in places) if self.joined else ""
        bars = [
            (_x(x + shift, x_range), _y(low, y_range), _y(high, y_range))
            for x, _, low, high in one.points
            if math.isfinite(low) and math.isfinite(high)
        ]
        return Line(
            one.name, at % COLOURS, MARKS[at % len(MARKS)], DASHES[at % len(DASHES)], path,
            [*places[::step], *([] if (len(places) - 1) % step == 0 else places[-1:])], bars,
        )  # fmt: skip


class Line(NamedTuple):
    """A line as it is drawn."""

    name: str
    colour: int
    mark: str
    dash: str
    path: str
    marks: list[tuple[float, float]]
    bars: list[tuple[float, float, float]]


class Drawn(NamedTuple):
    """A picture as it is drawn."""

    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    zero: float | None
    lines: list[Line]


def ticks(low: float, high: float, count: int = 5, whole: bool = False) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``, about ``count`` of them.

    Example:
        >>> ticks(0.013, 0.058)
        [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
        >>> ticks(1, 12, whole=True)
        [0.0, 5.0, 10.0, 15.0]
    """
    if high <= low:
        high, low = high + (abs(high) * 0.1 or 1.0), low - (abs(low) * 0.1 or 1.0)
    rough = (high - low) / max(1, count)
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * part for part in (1, 2, 5, 10) if scale * part >= rough * 0.999)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{at * step:.10g}") for at in range(first, last + 1)]


def _digits(values: list[float]) -> int:
    """Decimals that tell ticks apart."""
    gap = min((b - a for a, b in pairwise(values)), default=1.0)
    return max(0, -math.floor(math.log10(gap) + 1e-9))


def _x(value: float, ends: tuple[float, float]) -> float:
    share = (value - ends[0]) / ((ends[1] - ends[0]) or 1.0)
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(value: float, ends: tuple[float, float]) -> float:
    share = (value - ends[0]) / ((ends[1] - ends[0]) or 1.0)
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)
