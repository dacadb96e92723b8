"""Real processes under watch: process groups that may hang."""
