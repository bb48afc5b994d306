"""`read_result`: a tool that reads on in results which were too long for the conversation.

Put it among the tools: `Rail([search_products, read_result])`. Where it is offered, a result over its cap is kept whole
in the store, and its preview names the handle that this tool takes. Run, tenant and principal are bound to it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from toolrail.context import KeptResult, RunContext, kept_result
from toolrail.definition import ResultRules, tool
from toolrail.encoding import Passage
from toolrail.errors import ToolError
from toolrail.previews.finding import found_in_lines, found_in_parts
from toolrail.previews.shortening import bytes_of, written
from toolrail.previews.skim import SLICE, NoSuchPart, located
from toolrail.previews.slices import Slices, with_pauses
from toolrail.previews.windows import View, container, lines

MISSING = (
    "There is no kept result with this handle. A handle comes from the preview of a long result and is good within the "
    "same run. If the tool that gave it only reads, call that tool again and ask for less."
)


@tool(
    effect="read",
    result=ResultRules(reads_kept=True),
    when='a result was shown shortened, with a "handle", and you need more of it',
    when_not="the preview has what you need",
)
async def read_result(
    ctx: RunContext[object],
    handle: Annotated[str, Field(description='The "handle" of the shortened result, as it stands there')],
    path: Annotated[
        str, Field(description='A part of a JSON result, as in "orders[3].lines"; other names as in ["odd name"]')
    ] = "",
    offset: Annotated[
        int, Field(ge=0, description="Where to begin: the number of an item or field, or of a character of a text")
    ] = 0,
    limit: Annotated[
        int | None, Field(ge=1, description="At most so many items or fields, characters, or lines with `line`")
    ] = None,
    line: Annotated[int | None, Field(ge=1, description="The line of a text to begin at, in place of `offset`")] = None,
    find: Annotated[
        str | None, Field(min_length=1, description="Show only the items, fields or lines that contain this word")
    ] = None,
) -> Passage:
    """Reads on in a long result of which only a part was shown."""
    kept = await kept_result(ctx, handle)
    if kept is None:
        raise ToolError(MISSING)
    call = f'{kept.reader}(handle="{handle}"' + (f", find={json.dumps(find, ensure_ascii=False)}" if find else "")
    view = View(kept.cap, path=path.strip(), offset=offset, limit=limit, call=call)
    try:
        return Passage(await with_pauses(_window(kept, view, line, find)), kept.trust)
    except NoSuchPart as wrong:  # it may name fields of the result, so it has the label of the whole
        return Passage(written({"note": str(wrong)[: max(200, kept.cap // 8)]}), kept.trust)


def _window(kept: KeptResult, view: View, line: int | None, find: str | None) -> Slices[str]:
    """What was asked for: a part of the JSON, or of the text."""
    text = kept.content
    try:
        at, end = yield from located(text, view.path)
        if at >= 0 and text[at] in "{[":
            if line is not None:
                raise NoSuchPart("line= is for texts; this has items or fields: use offset=.")
            return (yield from _parts(text, at, end, view, find))
        if at >= 0:
            value: Any = json.loads(text[at:end])
            if not isinstance(value, str) or _whole(view, line, find, text[at:end]):
                return text[at:end]
            text = value
    except (ValueError, RecursionError):  # it only looks like JSON
        if view.path:
            raise NoSuchPart(f"There is no {view.path!r}: the result is text, without parts.") from None
    return (yield from _text(text, view, line, find))


def _parts(text: str, at: int, end: int, view: View, find: str | None) -> Slices[str]:
    if find is not None:
        return (yield from found_in_parts(text, at, view, find))
    if view.path and _whole(view, None, find, text[at:end]):
        return text[at:end]
    return (yield from container(text, at, view, whole=not view.path))


def _whole(view: View, line: int | None, find: str | None, text: str) -> bool:
    """Whether all of it was asked for and fits."""
    asked = view.offset == 0 and view.limit is None and line is None and find is None
    return asked and bytes_of(text) <= view.cap


def _text(text: str, view: View, line: int | None, find: str | None) -> Slices[str]:
    if find is not None:
        return (yield from found_in_lines(text, view, find))
    start = view.offset if line is None else (yield from _start_of(text, line))
    if start >= len(text) and start:
        raise NoSuchPart(f"offset={start} is past the end: the text has {len(text)} characters.")
    return lines(text, replace(view, offset=start), by_line=line is not None)


def _start_of(text: str, line: int) -> Slices[int]:
    """Where a line begins.

    Raises:
        NoSuchPart: the text has fewer.
    """
    start, left = 0, line - 1
    while start < len(text) and (here := text.count("\n", start, start + SLICE)) < left:
        start, left = start + SLICE, left - here
        yield
    for _ in range(left if start < len(text) else 0):
        start = text.find("\n", start) + 1
    if start >= len(text) and line > 1:
        count = text.count("\n") + (not text.endswith("\n"))
        raise NoSuchPart(f"line={line} is past the end: the text has {count} lines.")
    return start
