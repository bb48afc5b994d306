"""Small charts as SVG made here: they need no script, and a strict policy allows them (no inline style)."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from toolrail.records.views import Spark


def bars(spark: Sequence[Spark], *, width: int = 120, height: int = 24, label: str = "") -> Markup:
    """Calls as bars with the errors in them, from left to right; empty where nothing was counted."""
    most = max((step.calls for step in spark), default=0)
    if not most:
        return Markup("")
    pace = width / len(spark)
    parts: list[str] = []
    for place, step in enumerate(spark):
        if step.calls:
            parts.append(_bar("ok", place * pace, pace, height, step.calls / most))
        if step.errors:
            parts.append(_bar("bad", place * pace, pace, height, step.errors / most))
    calls, errors = sum(step.calls for step in spark), sum(step.errors for step in spark)
    text = f"{label} {calls:,} calls, {errors:,} errors; at most {most:,} in a step".strip()
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" width="{}" height="{}" preserveAspectRatio="none" role="img" '
        'aria-label="{}"><title>{}</title>{}</svg>'
    ).format(width, height, width, height, text, text, Markup("".join(parts)))


def _bar(kind: str, x: float, pace: float, height: int, share: float) -> str:
    tall = max(1.0, share * height)
    wide = max(0.8, pace - 0.6)
    return f'<rect class="{kind}" x="{x:.1f}" y="{height - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>'
