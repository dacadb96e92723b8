"""The model held against others: reported hangs, labelled suites, SPIN."""
