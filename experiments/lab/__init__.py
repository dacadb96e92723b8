"""Real processes under watch: teams of ranks that may hang."""
