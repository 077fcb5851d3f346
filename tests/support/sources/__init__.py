"""Files of every format that the sources read."""
