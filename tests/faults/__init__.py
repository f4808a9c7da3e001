"""Faults that are real: agents and schedulers killed and stopped, disks that are full, while commands run.

What is claimed is held against evidence that the commands write themselves. `python -m faults` in the folder `tests`
makes as many as the project promises to stand; a few of each are in the suite.
"""
