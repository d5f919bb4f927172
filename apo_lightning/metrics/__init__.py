"""What is measured on texts: the findings they state, and how often those are right."""
