"""The command line's screens: progress, the judge, the chat, tables. All text from outside is made harmless first."""
