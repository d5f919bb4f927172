"""What a student is made of: the pre-trained network, its adapters, the precision of each part, how it writes."""
