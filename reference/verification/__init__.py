"""Where the model meets the run: preflight before, status and watchdog during, traces after."""
