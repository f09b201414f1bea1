"""What is wrong with this host and its pipelines, and the remedy, as values: see finding.py."""
