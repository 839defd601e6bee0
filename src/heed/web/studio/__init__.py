"""Where raters work."""
