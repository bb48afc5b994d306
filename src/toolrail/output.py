"""A declared output: the final answer as a validated value, or a sentence that tells the model what to mend."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

MAX_FAULTS = 5


class Output:
    """Reads a final answer as a value of a type."""

    def __init__(self, kind: type[Any]) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(kind)
        self.schema: dict[str, Any] = self._adapter.json_schema()

    def read(self, text: str) -> tuple[Any, str | None]:
        """The value and None, or None and what to tell the model."""
        body = _unfenced(text)
        try:
            return self._adapter.validate_json(body), None
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_FAULTS]
            told = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'answer'}: {f['msg']}" for f in faults)
            return None, f"Your answer does not fit the required JSON: {told}. Answer again with the JSON alone."
        except Exception as error:  # a validator of the user's own
            return None, f"Your answer could not be checked ({type(error).__name__}). Answer again with the JSON alone."


def _unfenced(text: str) -> str:
    body = text.strip()
    if body.startswith("```") and body.endswith("```") and "\n" in body:
        body = body[body.index("\n") + 1 : -3].strip()
    return body
