"""The other side: a service that wants to be called back, and Feishu."""

from __future__ import annotations

import html
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

CALLBACK_PATH, FEISHU_PATH = "/callback", "/open-apis/bot/v2/hook/demo"


class Receiver:
    """An HTTP server in a thread, on a free port of this machine. Keeps what it is sent."""

    def __init__(self) -> None:
        #: bodies of the callbacks, by task id
        self.callbacks: dict[str, dict[str, Any]] = {}
        #: texts of the Feishu cards
        self.cards: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._request_handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def callback_url(self) -> str:
        return self._url(CALLBACK_PATH)

    @property
    def feishu_url(self) -> str:
        return self._url(FEISHU_PATH)

    def take(self, path: str, body: Any) -> dict[str, Any]:
        """Keep what has come; the answer to it."""
        if path == FEISHU_PATH:
            self.cards.append(text_of(body["card"]))
            return {"code": 0, "msg": "success", "data": {}}
        self.callbacks[body["task_id"]] = body  # a repeat says the same once more
        return {}

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def _request_handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = json.dumps(receiver.take(self.path, json.loads(body))).encode()
                self.send_response(200)  # whoever is called back answers 200: anything else means "again, please"
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the story tells what has come."""

        return Handler


def text_of(card: Any) -> str:
    """All texts of a card, as a person reads them."""
    if isinstance(card, list):
        return "\n".join(filter(None, map(text_of, card)))
    if not isinstance(card, dict):
        return ""
    match card.get("tag"):
        case "plain_text":
            return str(card["content"])
        case "lark_md":
            name, _, value = html.unescape(card["content"]).partition("\n")
            return f"{name.strip('*')}: {value}"
        case "collapsible_panel":
            return "(earlier lines are folded away)"
    return text_of(list(card.values()))
