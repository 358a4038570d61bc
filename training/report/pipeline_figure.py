"""The pipeline of a bundle or a configuration as a picture, drawn from the networks as they are (paper, figure 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

_TITLE_PT, _LINE_PT = 10.0, 8.5
_PAD_IN, _GAP_IN, _ROW_GAP_IN, _MARGIN_IN = 0.12, 0.42, 0.3, 0.15
_LINE_IN = 1.5 * _LINE_PT / 72.0
# Fill and border; the kinds also differ in lightness.
_COLOURS = {
    "data": ("#f4f4f4", "#6b6b6b"),
    "network": ("#d3e0f0", "#0b3c8c"),
    "head": ("#fbe3c0", "#8c510a"),
    "answer": ("#cfe9df", "#136b4e"),
}


@dataclass(frozen=True)
class Step:
    """A box of the picture: its kind (a colour), its title and what it does, line by line."""

    kind: str
    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pipeline:
    """What every image goes through: common steps, then one row for each kind of member, then common steps again."""

    title: str
    before: tuple[Step, ...]
    rows: tuple[tuple[Step, ...], ...]
    after: tuple[Step, ...]


@dataclass(frozen=True)
class _Box:
    """Where a step is drawn, inches from the lower left corner."""

    step: Step
    left: float
    middle: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width


def draw_pipeline(pipeline: Pipeline) -> Figure:
    """Boxes as large as their text, arrows between them: nothing overlaps, whatever the names are."""
    figure = Figure(figsize=(4.0, 4.0))
    FigureCanvasAgg(figure)
    sizes = {step: _size(figure, step) for step in _all_steps(pipeline)}
    title_in = _text_width(figure, pipeline.title, _TITLE_PT + 1.0)
    before, rows, after, width, height = _layout(pipeline, sizes)
    title_height = 0.4
    figure = Figure(figsize=(max(width, title_in + 2.0 * _MARGIN_IN), height + title_height))
    size = figure.get_size_inches()
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0.0, size[0]), ylim=(0.0, size[1]))
    axes.set_axis_off()
    axes.text(
        _MARGIN_IN,
        size[1] - _MARGIN_IN,
        pipeline.title,
        fontsize=_TITLE_PT + 1.0,
        va="top",
        ha="left",
        parse_math=False,
    )
    for box in (*before, *(box for row in rows for box in row), *after):
        _draw_box(axes, box)
    _connect(axes, before)
    for row in rows:
        _connect(axes, [*before[-1:], *row, *after[:1]])
    _connect(axes, after)
    return figure


def _all_steps(pipeline: Pipeline) -> list[Step]:
    return [*pipeline.before, *(step for row in pipeline.rows for step in row), *pipeline.after]


def _layout(
    pipeline: Pipeline, sizes: dict[Step, tuple[float, float]]
) -> tuple[list[_Box], list[list[_Box]], list[_Box], float, float]:
    """Boxes before, in rows and after; width and height of the picture, inches. Columns of the rows are aligned."""
    heights = [max(sizes[step][1] for step in row) for row in pipeline.rows]
    outer = max((sizes[step][1] for step in (*pipeline.before, *pipeline.after)), default=0.0)
    total = max(sum(heights) + _ROW_GAP_IN * (len(heights) - 1), outer)
    height = total + 2.0 * _MARGIN_IN
    middle = height / 2.0
    before, left = _in_line(pipeline.before, sizes, _MARGIN_IN, middle)
    columns = [max(sizes[row[index]][0] for row in pipeline.rows) for index in range(len(pipeline.rows[0]))]
    rows = []
    top = middle + (sum(heights) + _ROW_GAP_IN * (len(heights) - 1)) / 2.0
    for row, row_height in zip(pipeline.rows, heights, strict=True):
        boxes, x = [], left
        for step, column in zip(row, columns, strict=True):
            boxes.append(_Box(step, x, top - row_height / 2.0, column, sizes[step][1]))
            x += column + _GAP_IN
        rows.append(boxes)
        top -= row_height + _ROW_GAP_IN
    after, right = _in_line(pipeline.after, sizes, left + sum(columns) + _GAP_IN * len(columns), middle)
    return before, rows, after, right - _GAP_IN + _MARGIN_IN, height


def _in_line(
    steps: Sequence[Step], sizes: dict[Step, tuple[float, float]], left: float, middle: float
) -> tuple[list[_Box], float]:
    boxes = []
    for step in steps:
        width, height = sizes[step]
        boxes.append(_Box(step, left, middle, width, height))
        left += width + _GAP_IN
    return boxes, left


def _size(figure: Figure, step: Step) -> tuple[float, float]:
    widths = [_text_width(figure, step.title, _TITLE_PT, "bold")]
    widths += [_text_width(figure, line, _LINE_PT) for line in step.lines]
    return max(widths) + 2.0 * _PAD_IN, _LINE_IN * (len(step.lines) + 1.3) + 2.0 * _PAD_IN


def _text_width(figure: Figure, text: str, size_pt: float, weight: str = "normal") -> float:
    """Width in inches of a text as it will be drawn."""
    drawn = figure.text(0.0, 0.0, text, fontsize=size_pt, fontweight=weight, parse_math=False)
    width_px = drawn.get_window_extent(figure.canvas.get_renderer()).width  # type: ignore[attr-defined]
    drawn.remove()
    return float(width_px / figure.dpi)


def _draw_box(axes: Axes, box: _Box) -> None:
    fill, border = _COLOURS[box.step.kind]
    bottom = box.middle - box.height / 2.0
    axes.add_patch(
        FancyBboxPatch(
            (box.left, bottom), box.width, box.height, boxstyle="round,pad=0,rounding_size=0.06", fc=fill, ec=border
        )
    )
    top = bottom + box.height - _PAD_IN
    axes.text(
        box.left + box.width / 2.0,
        top,
        box.step.title,
        fontsize=_TITLE_PT,
        fontweight="bold",
        ha="center",
        va="top",
        parse_math=False,
    )
    for number, line in enumerate(box.step.lines):
        y = top - _LINE_IN * (number + 1.3)
        axes.text(box.left + box.width / 2.0, y, line, fontsize=_LINE_PT, ha="center", va="top", parse_math=False)


def _connect(axes: Axes, boxes: Sequence[_Box]) -> None:
    for start, end in pairwise(boxes):
        arrow = FancyArrowPatch(
            (start.right, start.middle),
            (end.left, end.middle),
            arrowstyle="-|>",
            mutation_scale=11,
            lw=1.3,
            color="#333333",
            shrinkA=1,
            shrinkB=1,
        )
        axes.add_patch(arrow)
