"""How much of a process one principal may hold. Knows neither HTTP nor MCP; nothing here waits."""
