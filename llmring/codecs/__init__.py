"""The wire formats: our requests into HTTP calls, replies into completions and errors. Sans-IO."""
