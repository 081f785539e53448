"""The provider simulator: an HTTP server in a process of its own that plays OpenAI, Anthropic, Gemini and
Ollama over real sockets.

It is the independent referee of the router's limits: it enforces them with aiolimiter and speaks the wire
formats with its own code, so it imports nothing of the router, the providers or the chat types. Start it with
`python -m llmring.sim`, or from a program with `llmring.sim.process`.
"""
