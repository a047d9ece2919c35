"""A local server that speaks the part of Tavily's HTTP API that `web_search` uses: `POST /search`."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "tvly-dev-key-of-the-search-tests"


class Tavily(ThreadingHTTPServer):
    """Tavily's `POST /search`: two pages for each query, or the refusal that was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reset()

    def reset(self) -> None:
        """Forget the searches so far and answer everything well."""
        self.searches: list[dict[str, Any]] = []
        self.statuses: dict[str, int] = {}
        self.raw: bytes | None = None
        self.hold: dict[str, threading.Event | threading.Barrier] = {}

    def gather(self, *queries: str) -> None:
        """Answer these queries only when all of them have arrived."""
        self.hold.update(dict.fromkeys(queries, threading.Barrier(len(queries))))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        search = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.searches.append(search)
        query: str = search["query"]
        held = self.server.hold.get(query)
        if held is not None:
            held.wait(30)
        status = self.server.statuses.get(query, 200)
        if self.path != "/search" or self.headers["authorization"] != f"Bearer {KEY}":
            status = 401
        if status != 200:  # the real service sends a text of its own; a careless one would repeat what it got
            self._answer(status, json.dumps({"detail": {"error": f"refused: {self.headers['authorization']}"}}).encode())
            return
        pages = [
            {
                "title": f"{query} {n}",
                "url": f"https://{query.replace(' ', '-')}.example/{n}",
                "content": "text",
                "score": 1 / (n + 1),
                "raw_content": None,
            }
            for n in range(2)
        ] + [{"title": "everywhere", "url": "https://everywhere.example", "content": "text", "score": 0.1, "raw_content": None}]
        body = {"query": query, "answer": None, "images": [], "results": pages, "response_time": 0.1, "request_id": "1"}
        self._answer(200, self.server.raw if self.server.raw is not None else json.dumps(body).encode())

    def _answer(self, status: int, body: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # the client may have given up
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Say nothing."""


@contextlib.contextmanager
def tavily_api() -> Iterator[Tavily]:
    """Run the server until the block ends."""
    with Tavily() as tavily:
        thread = threading.Thread(target=tavily.serve_forever)
        thread.start()
        try:
            yield tavily
        finally:
            tavily.shutdown()
            thread.join(10)
