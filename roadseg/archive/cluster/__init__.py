"""Clips on a Ray cluster: Ray Data hands them to actors, and each actor holds an opened network."""
