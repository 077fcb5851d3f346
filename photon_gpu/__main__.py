"""``python -m photon_gpu`` is the command ``photon-gpu``."""

from photon_gpu.cli import main

if __name__ == "__main__":
    main()
