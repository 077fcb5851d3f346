"""Commands for what comes before a movie is stored: its noise, its step, its price."""
