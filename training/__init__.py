"""The offline half: from a folder of photos to a model bundle and a report (run as `python -m training COMMAND`)."""
