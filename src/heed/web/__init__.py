"""The server: the studio for raters, the board for leads, and the HTTP API under both. No torch."""
