"""Commands for stored movies: store, check, restore, describe, export and delete them."""
