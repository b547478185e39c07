"""The kill storm over service agents: they die in every way there is, and the orchestrator takes no notice of it."""
