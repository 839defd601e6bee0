"""Reinforcement learning small enough to be looked at: tables in place of networks."""
