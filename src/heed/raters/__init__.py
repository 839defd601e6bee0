"""Who gave the feedback: people and simulated raters."""
