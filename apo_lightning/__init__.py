"""apo-lightning: distil one vision-language student from several drifting teachers (arXiv 2510.04142)."""

__version__ = "0.3.0"
