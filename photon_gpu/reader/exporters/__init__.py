"""Writers of stored movies in the formats that they are exported to."""
