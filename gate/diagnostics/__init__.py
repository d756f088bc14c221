"""The gate looks at itself: what repeated runs teach, and whether it can fail."""
