"""Encode and decode the chunks of layout plain, whose samples are labels, by single compiled calls."""
