"""OpenTelemetry tracing for speech-to-speech voice agents."""
