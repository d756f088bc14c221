"""What each side of a comparison has of its own: tree, installations, variables; and what it really used."""
