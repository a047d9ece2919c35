"""A LangGraph agent that works with the tools of an MCP server: `python -m examples.agent --help`."""
