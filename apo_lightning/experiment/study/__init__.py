"""A study: an experiment in several worlds, where every arm is tuned with an equal number of trials.

In each world the search is one ordinary run of arms x trials, answered on the validation split, and the final is
another one, of the trials that were chosen. Both go through the store as every run does: what a study adds is their
settings (`parts`), the choice (`rule`), and what is gathered from their folders (`record`, `tables`).
"""
