"""What the command lines of all three packages share: choosing a command, printing, telling what hides a package."""
