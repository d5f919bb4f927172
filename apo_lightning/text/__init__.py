"""What a text states: findings, their course, where two texts contradict each other."""
