"""map: one alias over many prompts, row by row or in batches of the providers', with a journal."""
