"""Tables of movies, programs that insert into them, and a campaign of kills."""
