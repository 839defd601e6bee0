"""Training loops: supervised tuning, the reward model, policy optimisation; checkpoints and self-checks."""
