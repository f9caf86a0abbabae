"""What a provider and the trace agree on: no I/O, no clock, no OpenTelemetry."""
