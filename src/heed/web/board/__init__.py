"""Where leads see what to trust."""
