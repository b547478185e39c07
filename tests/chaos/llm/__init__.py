"""The crash matrix of LLM agents: killed at each request to the store and each HTTP request, and paid for once."""
