"""Server-sent events out of raw bytes, wherever the network cut them."""

from __future__ import annotations


class EventReader:
    """Gives the `data` of each complete event. An event that the stream's end cut off is never given.

    Example:
        >>> reader = EventReader()
        >>> reader.feed(b'data: {"a":'), reader.feed(b'1}\\n\\n')
        ([], [b'{"a":1}'])
    """

    __slots__ = ("_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The events that this piece completes, in order."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        events: list[bytes] = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
        return events
