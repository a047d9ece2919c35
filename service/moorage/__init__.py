"""moorage: the production runtime for any MCP server."""

__version__ = "0.1.0"
