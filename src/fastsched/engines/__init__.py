"""What carries orders to workers and brings reports back."""
