"""What people said: the kinds of feedback, the store, import and export. Imports no torch."""
