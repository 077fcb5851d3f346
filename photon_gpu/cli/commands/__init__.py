"""One module per command of ``photon-gpu``; each loads when it runs."""
