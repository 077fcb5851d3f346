"""Writers of export files, one module per format."""
