"""Cross checks of a noise estimate: fixed patterns, and traces that processing leaves in the noise."""
