"""OpenTelemetry metrics of conversations, recorded from their ended spans."""
