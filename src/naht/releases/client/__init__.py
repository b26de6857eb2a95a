"""The host's side of the repository: what is verified here, and only that, may be applied."""
