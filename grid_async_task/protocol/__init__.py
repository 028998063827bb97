"""The protocol as documents for other languages, made from what the code itself checks and writes.

`grid-async-task schema --write docs/protocol` writes them.

    message_schema.py   a task's message (SPEC section 2)
    callback_schema.py  the callback of a finished task (section 5)
    progress_schema.py  the answer to "how far is it?" (section 6)
    asyncapi.py         who sends what over which queue
    documents.py        all four by name
"""

from __future__ import annotations

from grid_async_task.protocol.documents import DOCUMENTS, Document

__all__ = ["DOCUMENTS", "Document"]
