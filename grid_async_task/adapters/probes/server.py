from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler

from grid_async_task.adapters.listener import REQUEST_TIMEOUT_S, Listener

#: what is wrong with each part; None: nothing
Answer = Mapping[str, str | None]


class ProbeServer(Listener):
    """An answer without anything wrong is a 200, else a 503; the body says which.

    It names no task, no server and no secret: everybody in the cluster may read it.
    """

    def __init__(self, port: int, answers: Mapping[str, Callable[[], Answer]]) -> None:
        """`answers` by their paths."""
        super().__init__(port, _handler(answers), setting="HEALTH_PORT", what="probes")


def _handler(answers: Mapping[str, Callable[[], Answer]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            if answer is None:
                self._say(404, {"paths": sorted(answers)})
                return
            checks = answer()
            is_well = not any(checks.values())
            shown = {name: problem or "ok" for name, problem in checks.items()}
            self._say(200 if is_well else 503, {"ok": is_well, "checks": shown})

        def _say(self, status: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def version_string(self) -> str:
            return "grid-async-task"

        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds."""

    return Handler
