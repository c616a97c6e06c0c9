"""Organizations, workspaces, members, API keys and sign-in."""
