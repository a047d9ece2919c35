"""A local OTLP/HTTP backend that takes everything and counts bytes: `python -m bench.sink PORT`."""

import sys
from typing import Any

import uvicorn


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Read the whole body and say that all of it was accepted."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/x-protobuf"), (b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), lifespan="off", access_log=False, log_level="error")
