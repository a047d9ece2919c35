"""Programs that keep the repository: generated files, locks, linters, images. Run them as `python -m scripts.NAME`."""
