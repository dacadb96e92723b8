"""The model by itself over whole spaces: orderings, presence patterns, schedules."""
