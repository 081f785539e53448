"""What a router tells OpenTelemetry, by its API alone, which does nothing where the program has set up no SDK: a span
of every call and of every attempt, and metrics of both."""
