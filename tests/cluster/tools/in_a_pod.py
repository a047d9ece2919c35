"""Runs in a pod: one POST to the server beside it. Reads what to send as JSON from standard input and prints status and message."""

import json
import sys
import urllib.error
import urllib.request

given = json.load(sys.stdin)
headers = {
    "authorization": f"Bearer {given['token']}",
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-session-id": given["session"],
    "mcp-protocol-version": "2025-11-25",
}
request = urllib.request.Request("http://127.0.0.1:8000/mcp", json.dumps(given["message"]).encode(), headers)
try:
    with urllib.request.urlopen(request, timeout=30) as response:
        status, kind, text = response.status, response.headers.get("content-type", ""), response.read().decode()
except urllib.error.HTTPError as error:
    status, kind, text = error.code, error.headers.get("content-type", ""), error.read().decode()
if kind.startswith("text/event-stream"):
    data = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]
    text = next(line for line in reversed(data) if line)
json.dump({"status": status, "message": json.loads(text) if text else None}, sys.stdout)
