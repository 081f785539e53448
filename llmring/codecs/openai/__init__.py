"""OpenAI's formats: chat completions, in every server's dialect, and Responses."""
