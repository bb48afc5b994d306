"""The validate stage: raw text to arguments, or one short message from which a model can correct itself."""

from __future__ import annotations

from toolrail.arguments.faults import message
from toolrail.arguments.strictjson import parse
from toolrail.arguments.values import Accepted, ArgumentReader, Fault
from toolrail.frozen import frozen

Validated = Accepted
"""What the stage gives on: values or model, effective arguments, flags."""


@frozen
class Invalid:
    """The arguments do not fit; the handler must not run."""

    message: str
    """For the model: at most five faults and 600 characters."""
    faults: tuple[Fault, ...]
    """All of them."""


def validate(
    reader: ArgumentReader, text: str, *, tool: str, null_means_default: frozenset[str] = frozenset()
) -> Validated | Invalid:
    """Reads the raw text of a call's arguments. Never raises, whatever the text.

    Args:
        reader: of the tool.
        text: what the model wrote, from a response that was not cut off.
        tool: its name as the model knows it, for the message.
        null_means_default: the arguments whose `null` a provider's dialect added.

    Example: `validate(tool.reader, '{"max_results": 50}', tool="search_products")`
    """
    parsed = parse(text, empty_ok=reader.takes_nothing_required)
    if isinstance(parsed, Fault):
        return Invalid(message(tool, [parsed]), (parsed,))
    read = reader.read(parsed.text, parsed.data, null_means_default=null_means_default, flags=parsed.flags)
    if isinstance(read, Accepted):
        return read
    return Invalid(message(tool, read), tuple(read))
