"""Who may come in and what they may do: accounts, invitations, sessions, tokens, guidelines, qualification, audit. No HTTP."""
