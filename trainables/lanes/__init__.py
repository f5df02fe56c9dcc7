"""Trainings of one architecture, trained as one batched program with the bits of each alone."""
