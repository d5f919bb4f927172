"""One experiment: arms x seeds x stages, from files to files. Read ``run`` first."""
