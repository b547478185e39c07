"""LLM agents: what durability costs per turn, with a model that answers at once, early and late in a conversation."""
