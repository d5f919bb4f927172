"""Layouts of archives that only one or two sets need."""
