"""The steps of an arm, one file each: a class that says what it reads and what its result depends on, and does it."""
