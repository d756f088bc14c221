"""One file per output. Verdict or run in, text out; nothing here judges or measures."""
