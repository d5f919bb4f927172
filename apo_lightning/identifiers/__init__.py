"""One normal form of each kind of patient, study and image id, and which of them are one."""
