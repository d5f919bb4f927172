"""How several teachers' texts of the same studies differ: agreement, change along the stream, dependence, conflict."""
