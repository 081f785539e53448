"""`python -m llmring`: the command line."""

from llmring.cli.main import main

if __name__ == "__main__":
    main()
