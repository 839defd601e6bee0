"""The built-in world: a support desk with a grammar, a tiny base model and a known true utility."""
