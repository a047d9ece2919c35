"""The only rooms that know the MCP SDK's server half; everything above sees `service.McpService`."""
