"""Writing whole or not at all, reading what was damaged, and who else writes: every file of this project goes through
here."""
