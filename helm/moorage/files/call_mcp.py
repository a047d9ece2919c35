# ruff: noqa: T201 - a program that prints
"""Makes MCP calls of both eras through the Service, as `helm test` does it, and prints what it saw.

Needs nothing but Python. HOST and PORT say where; TOKEN is the API key; without one and with AUTH=true, being turned away is what is right.
"""

import http.client
import json
import os
import sys

MODERN, LEGACY = "2026-07-28", "2025-11-25"
CLIENT = {"name": "helm-test", "version": "1"}


def main() -> None:
    """Call in both eras; the first thing that is not as it should be ends the test."""
    connection = http.client.HTTPConnection(os.environ["HOST"], int(os.environ["PORT"]), timeout=20)
    if os.environ.get("AUTH") == "true":
        check_challenge(connection)
        if not os.environ.get("TOKEN"):
            print("no key is known to the chart (tests.tokenSecret): nothing more to try")
            return
    call_modern(connection)
    call_legacy(connection)


def check_challenge(connection: http.client.HTTPConnection) -> None:
    """A caller without a key is told how to identify itself."""
    response, _ = post(connection, {"jsonrpc": "2.0", "id": 0, "method": "ping"}, token="")
    challenge = response.getheader("WWW-Authenticate", "")
    expect(response.status == 401 and challenge.startswith("Bearer"), f"without a key: {response.status}, WWW-Authenticate: {challenge}")


def call_modern(connection: http.client.HTTPConnection) -> None:
    """2026-07-28: every request stands alone."""
    capabilities = modern_result(connection, "server/discover")["capabilities"]
    for kind in ("tools", "resources", "prompts"):
        if kind in capabilities:
            report(kind, MODERN, modern_result(connection, f"{kind}/list"))


def modern_result(connection: http.client.HTTPConnection, method: str) -> dict:
    """The result of a request of the modern era."""
    about = {"protocolVersion": MODERN, "clientInfo": CLIENT, "clientCapabilities": {}}
    meta = {f"io.modelcontextprotocol/{key}": value for key, value in about.items()}
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    return result(post(connection, {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta}}, headers), f"{MODERN} {method}")


def call_legacy(connection: http.client.HTTPConnection) -> None:
    """2025-11-25: a handshake, a session, its end. One connection, so that the Service leads to one pod."""
    offer = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
    answer = post(connection, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": offer})
    capabilities = result(answer, f"{LEGACY} initialize")["capabilities"]
    session = answer[0].getheader("Mcp-Session-Id")
    expect(bool(session), f"{LEGACY} initialize: a session id")
    headers = {"MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": session}
    noted, _ = post(connection, {"jsonrpc": "2.0", "method": "notifications/initialized"}, headers)
    expect(noted.status == 202, f"{LEGACY} notifications/initialized: {noted.status}")
    for kind in ("tools", "resources", "prompts"):
        if kind in capabilities:
            listed = post(connection, {"jsonrpc": "2.0", "id": 2, "method": f"{kind}/list"}, headers)
            report(kind, LEGACY, result(listed, f"{LEGACY} {kind}/list"))
    ended, _ = exchange(connection, "DELETE", None, headers)
    # 405: several replicas without a store cannot promise it.
    expect(ended.status in (200, 204, 405), f"{LEGACY} end of the session: {ended.status}")


def post(connection: http.client.HTTPConnection, message: dict, headers: dict | None = None, token: str | None = None) -> tuple:
    """POST a message; the answer's last event is its text, whichever form it came in."""
    return exchange(connection, "POST", json.dumps(message), headers or {}, token)


def exchange(connection: http.client.HTTPConnection, verb: str, body: str | None, headers: dict, token: str | None = None) -> tuple:
    """One HTTP exchange: the response and its JSON text."""
    own = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    token = os.environ.get("TOKEN", "") if token is None else token
    if token:
        own["Authorization"] = f"Bearer {token}"
    connection.request(verb, "/mcp", body, {**own, **headers})
    response = connection.getresponse()
    text = response.read().decode()
    if response.getheader("Content-Type", "").startswith("text/event-stream"):
        text = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:") and line[5:].strip()][-1]
    return response, text


def result(answer: tuple, what: str) -> dict:
    """The result in an answer."""
    response, text = answer
    message = json.loads(text) if text else {}
    expect(response.status == 200 and "result" in message, f"{what}: {response.status}" + ("" if "result" in message else f" {text[:300]}"))
    return message["result"]


def report(kind: str, era: str, listed: dict) -> None:
    """Print what a list holds."""
    print(f"     {era} {kind}: {', '.join(item['name'] for item in listed[kind]) or 'none'}")


def expect(held: bool, what: str) -> None:
    """Print what was seen; end the test when it is not what was expected."""
    print("ok  " if held else "FAIL", what, flush=True)
    if not held:
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        expect(held=False, what=f"http://{os.environ['HOST']}:{os.environ['PORT']}/mcp: {type(error).__name__}: {error}")
