"""Signing in, invitations, guidelines, settings and people."""
