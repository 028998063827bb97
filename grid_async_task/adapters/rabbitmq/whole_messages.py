"""pika's connection, but a message leaves in one piece.

pika hands the frames of a message (method, header, body) to the socket one by one: three packets, for each of which the
broker wakes up. Together they cost less processor time (`benchmarks/batch_send.py`). A body of many frames is left as
it is: of a write that was taken in part pika copies the rest, each time.
"""

from __future__ import annotations

from collections.abc import Sequence

from pika.adapters.select_connection import SelectConnection

#: frames of a message whose body is one
SMALL = 3


class WholeMessageConnection(SelectConnection):
    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        # not pika's public face, nor in its stubs: should the name go one day, only the speed goes with it
        is_small = len(marshaled_frames) <= SMALL
        super()._output_marshaled_frames([b"".join(marshaled_frames)] if is_small else marshaled_frames)  # type: ignore[misc]
