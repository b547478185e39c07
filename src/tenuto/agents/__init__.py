"""Task agents: what tasks are addressed to."""
