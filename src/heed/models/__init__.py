"""Networks: policies, reward and value models, and the sampling of completions."""
