"""Crashes of the past, replayed through the rules: see node/cli/crash/README.md."""
