"""One module per command of ``photon-gpu``, in a folder per heading of its help; each loads when it runs."""
