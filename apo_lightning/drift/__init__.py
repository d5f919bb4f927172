"""How several teachers' texts of the same studies differ: agreement, change along steps and stream, conflict."""
