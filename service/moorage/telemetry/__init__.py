"""What this process tells about itself: logs, spans and measurements.

`logs` writes, `instruments` measures, `observer` watches one HTTP exchange and its MCP messages, `bootstrap` builds the
OpenTelemetry SDK behind them. Only `bootstrap` imports the SDK, its exporters and the Prometheus client.
"""
