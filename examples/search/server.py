"""Web search over Tavily as an MCP tool whose results arrive as they are found.

The key is read from the file named by TAVILY_API_KEY_FILE, else from TAVILY_API_KEY, anew for each call: a rotated
Secret needs no restart. No message of this server contains it. SEARCH_TIMEOUT_SECONDS bounds each search (default 20),
TAVILY_BASE_URL names another endpoint, such as a proxy.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import httpx
from anyio.streams.memory import MemoryObjectSendStream
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field
from tavily import AsyncTavilyClient
from tavily.errors import TimeoutError as TavilyTimeoutError

Topic = Literal["general", "news", "finance"]

REFUSALS = {
    400: "Tavily did not understand the search",
    401: "Tavily does not accept the API key: check TAVILY_API_KEY_FILE or TAVILY_API_KEY",
    403: "this Tavily API key may not search",
    429: "too many searches for this Tavily API key at the moment: try again in a minute",
    432: "the quota of this Tavily plan is used up",
    433: "the pay-as-you-go limit of this Tavily key is reached",
}
"""What each status of Tavily's API means for whoever runs the search."""


class Result(BaseModel):
    """One page that was found."""

    title: str
    url: str
    snippet: str
    score: float = Field(description="Relevance to its query, 0 to 1")
    query: str = Field(description="The query that found it")


class Failure(BaseModel):
    """A query that brought nothing, and why."""

    query: str
    reason: str


class SearchResults(BaseModel):
    """Every page that was found, the most relevant first."""

    results: list[Result]
    failed: list[Failure] = Field(description="Queries that failed while others succeeded")


class SearchFailedError(Exception):
    """A search that did not come to a result, in words for the user."""


@dataclass
class Tavily:
    """The official client, kept open between calls; a new key gets a new client."""

    resources: AsyncExitStack
    seconds: float
    clients: dict[str, AsyncTavilyClient] = field(default_factory=dict[str, AsyncTavilyClient])

    async def client(self) -> AsyncTavilyClient:
        key = api_key()
        if key not in self.clients:
            base_url = os.environ.get("TAVILY_BASE_URL") or "https://api.tavily.com"
            http = httpx.AsyncClient(base_url=base_url, event_hooks={"response": [refuse]})
            await self.resources.enter_async_context(http)
            self.clients[key] = AsyncTavilyClient(api_key=key, client=http)
        return self.clients[key]


def api_key() -> str:
    """The key, from the file that a Secret is mounted as or from the environment."""
    path = os.environ.get("TAVILY_API_KEY_FILE")
    try:
        key = Path(path).read_text(encoding="utf-8") if path else os.environ.get("TAVILY_API_KEY", "")
    except (OSError, UnicodeDecodeError) as error:
        raise ToolError(f"the Tavily API key cannot be read from TAVILY_API_KEY_FILE={path}: {type(error).__name__}") from error
    key = key.strip()
    if not key:
        source = f"the file {path} is empty" if path else "set TAVILY_API_KEY_FILE to a file that holds it, or TAVILY_API_KEY"
        raise ToolError(f"there is no Tavily API key: {source}")
    if not key.isascii() or not key.isprintable():
        raise ToolError("the Tavily API key holds characters that no key has: check where it comes from")
    return key


async def refuse(response: httpx.Response) -> None:
    """Turn Tavily's refusals into our words: its own text may hold what was sent, the key included."""
    if response.status_code != httpx.codes.OK:
        raise SearchFailedError(REFUSALS.get(response.status_code, f"Tavily failed (HTTP {response.status_code}): try again later"))


async def search_one(tavily: AsyncTavilyClient, seconds: float, query: str, topic: Topic, max_results: int) -> list[Result]:
    """Run one search within its time.

    Raises:
        SearchFailedError: There is no result, and why.
    """
    try:
        with anyio.fail_after(seconds):
            answer: dict[str, Any] = await tavily.search(query, topic=topic, max_results=max_results, timeout=seconds)
        return [
            Result(title=page["title"], url=page["url"], snippet=page["content"], score=page["score"], query=query)
            for page in answer["results"]
        ]
    except (TimeoutError, TavilyTimeoutError) as error:
        raise SearchFailedError(f"Tavily did not answer within {seconds:g} s") from error
    except httpx.TransportError as error:
        raise SearchFailedError(f"Tavily cannot be reached ({type(error).__name__})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SearchFailedError("Tavily answered with something that is not a list of results") from error


Found = tuple[str, list[Result] | SearchFailedError]


async def search_into(
    found: MemoryObjectSendStream[Found], tavily: AsyncTavilyClient, seconds: float, query: str, topic: Topic, max_results: int
) -> None:
    async with found:
        try:
            await found.send((query, await search_one(tavily, seconds, query, topic, max_results)))
        except SearchFailedError as error:
            await found.send((query, error))


@asynccontextmanager
async def lifespan(_server: MCPServer[Tavily]) -> AsyncGenerator[Tavily]:
    try:
        seconds = float(os.environ.get("SEARCH_TIMEOUT_SECONDS") or 20)
    except ValueError as error:
        raise ValueError("SEARCH_TIMEOUT_SECONDS is not a number of seconds") from error
    async with AsyncExitStack() as resources:
        yield Tavily(resources, seconds)


mcp = MCPServer("search", version="1.0.0", instructions="Searches the web.", lifespan=lifespan)


@mcp.tool()
async def web_search(
    ctx: Context[Tavily],
    query: Annotated[str, Field(min_length=1, max_length=400, description="What to search for")],
    facets: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=100)]],
        Field(max_length=4, description="Sides of the question, each searched on its own at the same time, as in ['price', 'risks']"),
    ] = [],  # noqa: B006  # the schema shows it, and nothing changes it
    topic: Topic = "general",
    max_results: Annotated[int, Field(ge=1, le=20, description="Most results for each search")] = 5,
) -> SearchResults:
    """Search the web. Results are reported one by one as they are found, and returned together at the end."""
    tavily = ctx.request_context.lifespan_context
    client = await tavily.client()
    queries = [query, *dict.fromkeys(f"{query} {facet}" for facet in facets)]
    found: dict[str, Result] = {}
    failures: dict[str, SearchFailedError] = {}
    send, receive = anyio.create_memory_object_stream[Found](len(queries))
    async with anyio.create_task_group() as searches, receive:
        for each in queries:
            searches.start_soon(search_into, send.clone(), client, tavily.seconds, each, topic, max_results)
        send.close()
        async for each, outcome in receive:
            if isinstance(outcome, SearchFailedError):
                failures[each] = outcome
                continue
            for result in outcome:
                if result.url not in found:
                    found[result.url] = result
                    await ctx.report_progress(len(found), message=f"{result.title} <{result.url}>")
    if len(failures) == len(queries):
        raise ToolError("; ".join(dict.fromkeys(str(failure) for failure in failures.values())))
    return SearchResults(
        results=sorted(found.values(), key=lambda result: -result.score),
        failed=[Failure(query=each, reason=str(failure)) for each, failure in failures.items()],
    )
