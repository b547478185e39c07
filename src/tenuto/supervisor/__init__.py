"""Service agents: started in order, watched, limited, restarted and stopped, by six managers that also work alone."""
